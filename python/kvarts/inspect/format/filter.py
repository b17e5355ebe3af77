"""The Bloom filter of a table: lines of 64 bytes, each key sets bits of one."""

from dataclasses import dataclass, field

from kvarts.base.rapidhash import rapidhash
from kvarts.inspect.format.fields import FormatError, is_zero, u32_at

_HEAD_BYTES = 8
_LAYOUT = 1
_LINE_BYTES = 64
_PROBES_MAX = 14
_PROBES_PER_MIX = 7
_REMIX = 0x9E3779B97F4A7C15
_MASK = (1 << 64) - 1


@dataclass(frozen=True, slots=True)
class Filter:
    """A filter: its shape, and the share of its bits that are set."""

    probes: int
    lines: int
    share: float
    bits: bytes = field(repr=False)

    def may_hold(self, key: bytes) -> bool:
        """Tell whether the key may be in the table; False is certain."""
        if not self.lines:
            return False
        hashed = rapidhash(key)
        line = (hashed * self.lines >> 64) * _LINE_BYTES
        mixed = hashed * _REMIX & _MASK
        for probe in range(self.probes):
            if probe == _PROBES_PER_MIX:
                spread = hashed ^ _REMIX
                mixed = (spread << 32 | spread >> 32) * _REMIX & _MASK
            bit = mixed >> 55
            mixed = mixed << 9 & _MASK
            if not self.bits[line + (bit >> 3)] >> (bit & 7) & 1:
                return False
        return True


def read_filter(raw: bytes) -> Filter:
    """Decode a raw filter. Raises FormatError."""
    if len(raw) < _HEAD_BYTES or raw[0] != _LAYOUT or not 1 <= raw[1] <= _PROBES_MAX or not is_zero(raw, 2, 4):
        raise FormatError(0, "the head of a filter is not one")
    lines, bits = u32_at(raw, 4), raw[_HEAD_BYTES:]
    if len(bits) != lines * _LINE_BYTES:
        raise FormatError(4, f"{len(bits)} bytes are not {lines} lines")
    share = int.from_bytes(bits, "little").bit_count() / (8 * len(bits)) if bits else 0.0
    return Filter(raw[1], lines, share, bits)
