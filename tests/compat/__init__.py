"""Stores that older builds wrote, kept byte for byte: what was written then is read now."""
