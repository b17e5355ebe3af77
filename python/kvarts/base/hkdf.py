"""HKDF-SHA256, and the names of keys that are derived by it. Pure. Source: RFC 5869."""

_ID_INFO = b"kvarts master key id 1"


def derive(secret: bytes | bytearray, salt: bytes, info: bytes) -> bytes:
    """Return 32 bytes."""
    import hmac  # it loads OpenSSL, which a store that is not encrypted has no use for

    extracted = hmac.digest(salt or bytes(32), secret, "sha256")
    return hmac.digest(extracted, info + b"\x01", "sha256")


def key_id(key: bytes | bytearray) -> str:
    """Return the name of a master key, which says nothing of it: 16 hexadecimal digits (docs/formats/format-1.md)."""
    first = int.from_bytes(derive(key, b"", _ID_INFO)[:8], "little")
    return f"{max(first, 1):016x}"
