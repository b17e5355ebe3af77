"""How the parts of a file are sealed: by a checksum, or by a cipher that hides them. The cipher itself is handed in."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from struct import pack
from typing import Final

from kvarts.base.hkdf import derive
from kvarts.inspect.format.checksum import TAG_BYTES, matches
from kvarts.inspect.format.fields import FormatError
from kvarts.inspect.format.header import Header

SALT_BYTES: Final = 16
KEY_BYTES: Final = 32
_WRAP_INFO = b"kvarts file key wrap 1"
_WRAPPED_AT = 48

Aead = Callable[[bytes, bytes, bytes, bytes, bytes], bytes | None]
"""AES-256-GCM: key, nonce, associated, hidden, tag; returns what was hidden, or None where the tag does not match."""


class HiddenError(Exception):
    """The file is encrypted, and the key with this id is not here."""

    def __init__(self, needed: str) -> None:
        super().__init__(f"encrypted with key {needed}, which was not given")
        self.needed = needed


@dataclass(frozen=True, slots=True)
class Seal:
    """How one file is sealed: without a key by the checksum."""

    file: int
    key: bytes = field(default=b"", repr=False)
    aead: Aead | None = None

    def open(self, offset: int, sealed: bytes, *, clear: int = 0, attempt: int = 0) -> bytes | None:
        """Return the content of what is stored at `offset`, tag last; None where the tag does not match.

        The first `clear` bytes are readable all the same.
        """
        if self.aead is None:
            return sealed[:-TAG_BYTES] if matches(self.file, offset, sealed) else None
        head, hidden, tag = sealed[:clear], sealed[clear:-TAG_BYTES], sealed[-TAG_BYTES:]
        nonce, place = pack("<QI", offset, attempt), pack("<QQ", self.file, offset)
        opened = self.aead(self.key, nonce, place + head, hidden, tag)
        return None if opened is None else head + opened


@dataclass(frozen=True, slots=True)
class Keys:
    """Master keys by their ids, and the cipher. None of them by default: what is encrypted stays hidden."""

    by_id: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    aead: Aead | None = None

    def seal(self, header: Header) -> Seal:
        """Return how the file with this header is sealed. Raises HiddenError, FormatError."""
        if not header.cipher:
            return Seal(header.file)
        master = self.by_id.get(header.key_name)
        if master is None or self.aead is None:
            raise HiddenError(header.key_name)
        salt, hidden = header.wrapped[:SALT_BYTES], header.wrapped[SALT_BYTES : SALT_BYTES + KEY_BYTES]
        tag = header.wrapped[SALT_BYTES + KEY_BYTES :]
        key = self.aead(derive(master, salt, _WRAP_INFO), bytes(12), header.associated, hidden, tag)
        if key is None:
            raise FormatError(_WRAPPED_AT, "the key of the file does not open: the header was changed")
        return Seal(header.file, key, self.aead)


NO_KEYS: Final = Keys()
