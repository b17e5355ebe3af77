"""How tables are compressed: the names users give, checked in one place."""

import re
from collections.abc import Sequence
from difflib import get_close_matches
from typing import Final, TypeAlias

from kvarts.base.errors import InvalidArgument, WrongType

Compression: TypeAlias = str | Sequence[str]
"""A name for all levels, or one for each level from level 0 on, of which the last counts for all deeper ones."""

STORES: Final = "store"
"""In the place of a keyspace's compression: what the store was opened with counts for it again."""
LEVELS_MAX: Final = 7
_NAMES: Final = ("none", "lz4", "zstd")
_ZSTD: Final = re.compile(r"zstd:([1-9]|1[0-9])")
_HINT: Final = '"none", "lz4", "zstd", "zstd:1" to "zstd:19", or one for each level, as ("none", "lz4", "zstd")'


def check_compression(value: object, name: str = "compression") -> tuple[str, ...]:
    """Return the names of a compression, one for each level that has its own. Raises WrongType, InvalidArgument."""
    names = (value,) if isinstance(value, str) else value
    if isinstance(names, bytes | bytearray) or not isinstance(names, Sequence):
        raise WrongType(f"{name}= takes names, not {type(value).__name__}", hint=_HINT)
    if not 1 <= len(names) <= LEVELS_MAX:
        raise InvalidArgument(
            f"{name}= has {len(names)} levels", hint=f"1 to {LEVELS_MAX}: the last counts for all deeper"
        )
    return tuple(_check_name(one, name) for one in names)


def _check_name(value: object, name: str) -> str:
    if not isinstance(value, str):
        raise WrongType(f"{name}= takes names, not {type(value).__name__}", hint=_HINT)
    if value in _NAMES or _ZSTD.fullmatch(value):
        return "zstd" if value == "zstd:3" else value
    text = value if len(value) <= 20 else f"{value[:20]}..."
    if value.startswith("zstd:"):
        raise InvalidArgument(f"{name}={text!r}: zstd has levels 1 to 19", hint='"zstd" is "zstd:3"')
    near = get_close_matches(value.lower()[:20], _NAMES, n=1)
    raise InvalidArgument(
        f"{name}={text!r} is no compression", hint=f"did you mean {near[0]!r}? {_HINT}" if near else _HINT
    )
