"""The 128 bytes that open every file."""

from dataclasses import dataclass, field
from typing import Final

from kvarts.inspect.format.checksum import matches
from kvarts.inspect.format.fields import FormatError, is_zero, u32_at, u64_at

FORMAT_VERSION: Final = 2
FORMAT_VERSION_MIN: Final = 1
HEADER_BYTES: Final = 128
MAGIC: Final = b"kvarts\r\n"
CIPHERS: Final = {0: "none", 1: "AES-256-GCM"}
KINDS: Final = {1: "table", 2: "log", 3: "manifest"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """What a file says of itself. Without a cipher `key_id` is 0, and `wrapped`, the key of the file, is zeros.

    `associated` are the bytes that the wrapped key is bound to.
    """

    version: int
    kind: str
    cipher: int
    file: int
    store: str
    key_id: int
    wrapped: bytes = field(repr=False)
    associated: bytes = field(repr=False)

    @property
    def key_name(self) -> str:
        """The id of the master key as text."""
        return f"{self.key_id:016x}"


def read_header(data: bytes, kind: str | None) -> Header:
    """Decode a header; `kind` is what the file should be, None takes any. Raises FormatError."""
    if len(data) < HEADER_BYTES:
        raise FormatError(len(data), f"the file is shorter than its header of {HEADER_BYTES} bytes")
    data = data[:HEADER_BYTES]
    if data[:8] != MAGIC:
        raise FormatError(0, "not a file of kvarts: it does not begin with the magic")
    version = u32_at(data, 8)
    if version > FORMAT_VERSION:
        raise FormatError(8, f"format {version} is newer than {FORMAT_VERSION}, the newest that is known here")
    if not matches(u64_at(data, 16), 0, data):
        raise FormatError(0, "the checksum of the file header differs")
    if version < FORMAT_VERSION_MIN:
        raise FormatError(8, f"there is no format {version}")
    found = Header(
        version=version,
        kind=KINDS.get(data[12], f"kind {data[12]}"),
        cipher=data[13],
        file=u64_at(data, 16),
        store=data[24:40].hex(),
        key_id=u64_at(data, 40),
        wrapped=data[48:112],
        associated=data[:48],
    )
    if found.cipher not in CIPHERS:
        raise FormatError(13, f"unknown cipher {found.cipher}: nothing but the header can be read here")
    if found.kind not in KINDS.values() or kind not in (None, found.kind):
        raise FormatError(12, f"it is a {found.kind}, not a {kind or 'file of a known kind'}")
    if not is_zero(data, 14, 16) or not (found.cipher or is_zero(data, 40, 112)):
        raise FormatError(14, "a reserved field of the file header is not zero")
    if found.cipher and not found.key_id:
        raise FormatError(40, "an encrypted file names no key")
    return found
