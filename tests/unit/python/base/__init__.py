"""The command line, as text and as JSON."""
