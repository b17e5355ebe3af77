"""Bytes of format 1, decoded as docs/formats says and without the engine. Pure: bytes in, values or FormatError out."""
