"""Values that tuples hold: strategies, and a way to tell whether two are the same to the bit."""

import struct
from typing import Any

from hypothesis import strategies as st

from kvarts.base.tuples import INT_BYTES_MAX, SingleFloat, Versionstamp

INT_MAX = (1 << 8 * INT_BYTES_MAX) - 1
EDGES = sorted(
    {sign * (1 << bits) + by for bits in range(0, 8 * INT_BYTES_MAX, 8) for sign in (1, -1) for by in (-1, 0, 1)}
)

ints = st.integers() | st.integers(-INT_MAX, INT_MAX) | st.sampled_from(EDGES)
texts = st.text(st.characters(exclude_categories=["Cs"])) | st.text("\0\x01a\xff")
singles = st.integers(0, (1 << 32) - 1).map(SingleFloat.from_bits) | st.floats(width=32).map(SingleFloat)
stamps = st.builds(
    Versionstamp, st.binary(min_size=10, max_size=10).filter(lambda tr: tr != b"\xff" * 10), st.integers(0, 65535)
)
plain = (
    st.none()
    | st.binary()
    | st.text("\0\xff", max_size=3).map(lambda text: text.encode("latin-1"))
    | texts
    | ints
    | st.booleans()
    | st.floats()
    | singles
    | st.uuids()
    | stamps
)
items = st.recursive(plain, lambda inner: st.lists(inner, max_size=4).map(tuple), max_leaves=12)
tuples = st.lists(items, max_size=6).map(tuple)


def exact(value: Any) -> Any:
    """Return what is equal where two values are the same: types, the sign of 0 and the bits of NaN told apart."""
    if isinstance(value, tuple):
        return tuple(exact(item) for item in value)
    return type(value), struct.pack(">d", value) if isinstance(value, float) else value
