"""Floor 1: errors, types, options, codecs and the face. Pure: no clock, socket, file, thread or native module."""
