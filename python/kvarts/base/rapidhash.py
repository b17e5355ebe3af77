"""rapidhash v3 with the constants of its reference, in plain Python: the hash behind tokens, tags and filters.

The native side computes the same one; `proto/token-vectors.txt` holds both to it.
Source: rapidhash v3, Nicolas De Carli.
"""

from struct import Struct

MASK = 2**64 - 1
S0, S1, S2 = 0x2D358DCCAA6C78A5, 0x8BB84B93962EACC9, 0x4B33A62ED433D4A3
SECRETS = (S0, S1, S2, 0x4D5A2DA51DE1AA47, 0xA0761D6478BD642F, 0xE7037ED1A0B428DB, 0x90ED1765281C388C)
FINISH = 0xAAAAAAAAAAAAAAAA

LANES = 7
LANE_BYTES = 16
STRIPE_BYTES = LANES * LANE_BYTES
TAIL_SECRETS = (S2, S2, S1, S1, S2, S1)
"""Which secret the n-th 16 bytes of what is left behind the stripes meet."""

_pair = Struct("<QQ").unpack_from
_stripe = Struct("<14Q").unpack_from


def rapidhash(data: bytes, seed: int = 0) -> int:
    """Return the 64-bit hash of `data` under the seed that the reference would be given."""
    return rapidhash_prepared(data, prepare(seed))


def prepare(seed: int) -> int:
    """Return a seed in the form that `rapidhash_prepared` takes: mixed once, for all calls."""
    return seed ^ _mix(seed ^ S2, S1)


def rapidhash_prepared(data: bytes, seed: int) -> int:
    """Return the hash under a prepared seed."""
    size = len(data)
    rest = size
    if size <= LANE_BYTES:
        if size >= 8:
            seed ^= size
            first, last = int.from_bytes(data[:8], "little"), int.from_bytes(data[-8:], "little")
        elif size >= 4:
            seed ^= size
            first, last = int.from_bytes(data[:4], "little"), int.from_bytes(data[-4:], "little")
        elif size:
            first, last = data[0] << 45 | data[-1], data[size >> 1]
        else:
            first = last = 0
    else:
        at = 0
        if size > STRIPE_BYTES:
            seed, at = _stripes(data, seed)
        rest = size - at
        for secret in TAIL_SECRETS[: (rest - 1) // LANE_BYTES]:
            one, two = _pair(data, at)
            seed = _mix(one ^ secret, two ^ seed)
            at += LANE_BYTES
        first, last = _pair(data, size - LANE_BYTES)
        first ^= rest
    product = (first ^ S1) * (last ^ seed)
    product = (product & MASK ^ FINISH) * (product >> 64 ^ S1 ^ rest)
    return product & MASK ^ product >> 64


def _stripes(data: bytes, seed: int) -> tuple[int, int]:
    """Mix whole stripes of seven lanes; return the seed and how many bytes are done. At least one byte is left."""
    lanes = [seed] * LANES
    done = (len(data) - 1) // STRIPE_BYTES * STRIPE_BYTES
    for at in range(0, done, STRIPE_BYTES):
        words = _stripe(data, at)
        lanes = [_mix(words[2 * lane] ^ SECRETS[lane], words[2 * lane + 1] ^ each) for lane, each in enumerate(lanes)]
    mixed = 0
    for each in lanes:
        mixed ^= each
    return mixed, done


def _mix(one: int, two: int) -> int:
    product = one * two
    return product & MASK ^ product >> 64
