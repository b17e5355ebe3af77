"""How blocks are stored: compression, raw length, bytes, tag."""

from dataclasses import dataclass
from typing import Final

from kvarts.inspect.format import lz4, zstd
from kvarts.inspect.format.checksum import TAG_BYTES
from kvarts.inspect.format.fields import FormatError, is_zero, u32_at
from kvarts.inspect.format.seal import Seal

CODECS: Final = {0: "none", 1: "lz4", 2: "zstd"}
HEAD_BYTES: Final = 8
_RAW_BYTES_MAX = 1 << 30
_GROWTH_MAX: Final = {"none": 1, "lz4": 255, "zstd": 32 << 10}
_EXPAND: Final = {"lz4": lz4.expand, "zstd": zstd.expand}


@dataclass(frozen=True, slots=True)
class Opened:
    """A block whose tag holds, decompressed."""

    codec: str
    raw: bytes


def open_sealed(seal: Seal, offset: int, sealed: bytes) -> Opened:
    """Check and decompress a block as stored. Raises FormatError."""
    if len(sealed) < HEAD_BYTES + TAG_BYTES:
        raise FormatError(0, f"a block has at least {HEAD_BYTES + TAG_BYTES} bytes, this one {len(sealed)}")
    content = seal.open(offset, sealed)
    if content is None:
        raise FormatError(0, "the checksum differs")
    codec, size = CODECS.get(content[0]), u32_at(content, 4)
    if codec is None:
        raise FormatError(0, f"unknown compression {content[0]}")
    if not is_zero(content, 1, 4) or size > _RAW_BYTES_MAX:
        raise FormatError(1, "the head of a block is not one")
    stored = content[HEAD_BYTES:]
    if codec == "none" and len(stored) != size:
        raise FormatError(4, f"{len(stored)} raw bytes where the head says {size}")
    if size > len(stored) * _GROWTH_MAX[codec]:
        raise FormatError(4, f"{len(stored)} bytes of {codec} cannot stand for {size}")
    return Opened(codec, stored if codec == "none" else _EXPAND[codec](stored, size))
