"""Blocks of zstd: one frame that says its length. The library is Python's own, or its backport."""

from importlib import import_module
from typing import Any, Final

from kvarts.base.errors import InvalidArgument
from kvarts.inspect.format.fields import FormatError

_MAGIC: Final = b"\x28\xb5\x2f\xfd"
_LIBRARIES: Final = ("compression.zstd", "backports.zstd")


def expand(stored: bytes, size: int) -> bytes:
    """Decompress to exactly `size` bytes. Raises FormatError; InvalidArgument where this Python has no zstd."""
    library = _library()
    try:
        info = library.get_frame_info(stored) if stored.startswith(_MAGIC) else None
        if info is None or info.decompressed_size != size:
            raise FormatError(0, f"zstd: no frame of {size} bytes")
        frame = library.ZstdDecompressor()
        raw: bytes = frame.decompress(stored, max_length=size + 1)
    except library.ZstdError as error:
        raise FormatError(0, f"zstd: {error}") from None
    if not frame.eof or frame.unused_data or len(raw) != size:
        raise FormatError(0, f"zstd: the frame does not end with the block, or has not {size} bytes")
    return raw


def _library() -> Any:
    for name in _LIBRARIES:
        try:
            return import_module(name)
        except ImportError:
            continue
    raise InvalidArgument(
        "the file has blocks of zstd, which this Python cannot expand by itself",
        hint='pip install "kvarts[zstd]", which is backports.zstd, or use Python 3.14',
    )
