"""Rows that follow from their number and a seed, so that ten million of them need no memory."""

import random
import string
from hashlib import shake_128

POOL_BYTES = 16 << 20
ALPHANUMERIC = (string.ascii_letters + string.digits).encode()
_LETTERS = bytes(ALPHANUMERIC[byte % len(ALPHANUMERIC)] for byte in range(256))


class Numbered:
    """Keys of random letters and digits, values of random bytes. Numbers follow each other, their keys do not."""

    def __init__(self, key_bytes: int, value_bytes: int, seed: int) -> None:
        """Draw the bytes that values are cut from."""
        self._key_bytes = key_bytes
        self._value_bytes = value_bytes
        self._head = b"%d " % seed
        self._seed = seed
        self._pool = random.Random(seed).randbytes(POOL_BYTES + value_bytes)  # noqa: S311  # data, no secret

    def key(self, number: int) -> bytes:
        """Return the key of a row."""
        return shake_128(self._head + number.to_bytes(8, "little")).digest(self._key_bytes).translate(_LETTERS)

    def value(self, number: int) -> bytes:
        """Return the value of a row."""
        # The stride is odd and the pool a power of two: no start comes again before all have been.
        start = number * 7919 % POOL_BYTES
        return self._pool[start : start + self._value_bytes]

    def pairs(self, start: int, stop: int) -> list[tuple[bytes, bytes]]:
        """Return the rows of a range of numbers."""
        return [(self.key(number), self.value(number)) for number in range(start, stop)]

    def draw(self, rows: int, count: int, salt: int = 0) -> list[int]:
        """Return numbers of rows below `rows`, drawn at random with repetitions; `salt` gives other ones."""
        rng = random.Random(f"{self._seed} {salt}")  # noqa: S311
        return rng.choices(range(rows), k=count)
