"""kvarts: an ordered key-value database for Python."""
