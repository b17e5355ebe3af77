"""Which keys a scan or a delete covers."""

from dataclasses import dataclass
from typing import Any

from kvarts.base import codecs, tuples
from kvarts.base.codecs import Codec
from kvarts.base.errors import InvalidArgument, WrongType
from kvarts.remote.coding import Encode

Bound = tuple[bytes, bool]
"""An encoded key, and whether it is in the range."""


@dataclass(frozen=True, slots=True)
class Range:
    """Bounds of encoded keys, the view's prefix in front; b"" is no bound. `empty`: no key fits."""

    start: bytes = b""
    include_start: bool = True
    stop: bytes = b""
    include_stop: bool = False
    empty: bool = False

    def half_open(self) -> tuple[bytes, bytes]:
        """Return the same range as [start, stop)."""
        start = self.start if self.include_start else self.start + b"\0"
        return start, self.stop + b"\0" if self.include_stop else self.stop


def within(codec: Codec[Any], start: Bound | None, stop: Bound | None, prefix: bytes, view: bytes) -> Range:
    """Return the keys of `view` that begin with `prefix` and lie within the bounds."""
    whole = view + prefix
    low = _tighter(_absolute(view, start), (whole, True) if whole else None, lower=True)
    high = _tighter(_absolute(view, stop), _after(codec, whole), lower=False)
    empty = high is not None and not high[0]
    if low is not None and high is not None:
        empty = empty or low[0] > high[0] or (low[0] == high[0] and not (low[1] and high[1]))
    return Range(
        start=low[0] if low else b"",
        include_start=low[1] if low else True,
        stop=high[0] if high else b"",
        include_stop=high[1] if high else False,
        empty=empty,
    )


def of_slice(codec: Codec[Any], given: slice, encode: Encode, view: bytes) -> tuple[Range, bool]:
    """Return the keys of db[a:b], and whether they come last first: db[a:b:-1]. Raises InvalidArgument."""
    if given.step is not None and given.step not in (1, -1):
        raise InvalidArgument("a slice of a store has step 1 or -1", hint="db[a:b], or db[a:b:-1] in reverse")
    start = None if given.start is None else (encode(given.start), True)
    stop = None if given.stop is None else (encode(given.stop), False)
    return within(codec, start, stop, b"", view), given.step == -1


def check_flag(value: object) -> bool:
    """Return a bool, and nothing that is merely true. Raises WrongType."""
    if isinstance(value, bool):
        return value
    raise WrongType(f"expected True or False, got {type(value).__name__}")


def check_count(value: object) -> int:
    """Return a number of rows. Raises WrongType, InvalidArgument."""
    if not isinstance(value, int):
        raise WrongType(f"expected a number of rows (int), got {type(value).__name__}")
    if value < 0:
        raise InvalidArgument("a number of rows below 0", hint="0 or more")
    return value


def _absolute(view: bytes, bound: Bound | None) -> Bound | None:
    return None if bound is None else (view + bound[0], bound[1])


def _after(codec: Codec[Any], prefix: bytes) -> Bound | None:
    """Return the first key after all that begin with `prefix`, excluded; None where there is no such key."""
    if codec is codecs.Tuple:
        return (tuples.after(prefix), False) if prefix else None
    kept = prefix.rstrip(b"\xff")
    return (kept[:-1] + bytes([kept[-1] + 1]), False) if kept else None


def _tighter(a: Bound | None, b: Bound | None, *, lower: bool) -> Bound | None:
    """Return the bound that leaves fewer keys; of equal keys the excluded one."""
    if a is None or b is None:
        return a or b
    if a[0] == b[0]:
        return a[0], a[1] and b[1]
    return a if (a[0] > b[0]) == lower else b
