"""What a process that is going to be killed writes: step `i` of a thread from a seed, and the state after `n` steps."""

import random
from collections.abc import Iterator

from kvarts.base.compression import Compression
from kvarts.base.options import Durability, OpenOptions

Write = tuple[bytes, bytes | None]

LONG_BYTES_MIN = 16 << 10
"""A mapped log copies shorter records and writes those of so many bytes: docs/adr/0004-mapped-log.md."""
_LONG_BYTES_MAX = 24 << 10

TINY: OpenOptions = {
    "memory": "4MiB",
    "memtable_bytes": 32 << 10,
    "table_bytes": 32 << 10,
    "level_base_bytes": 64 << 10,
    "level0_tables": 2,
    "log_bytes": 128 << 10,
}


def options(durability: Durability, compression: Compression = "lz4") -> OpenOptions:
    """The tiny options at a durability."""
    return {**TINY, "durability": durability, "compression": compression}


def step(seed: int, thread: int, number: int) -> list[Write]:
    """The writes of one step: always a marker that names it; each tenth is a batch that overwrites and deletes.

    One marker in forty is long until a later batch shortens it, so that a store of many steps stays small. One batch in
    six has a long value.
    """
    random_ = random.Random(f"{seed} {thread} {number}")
    bytes_ = random_.randrange(LONG_BYTES_MIN, _LONG_BYTES_MAX) if number % 40 == 5 else random_.randrange(300)
    writes: list[Write] = [(_marker(thread, number), random_.randbytes(bytes_))]
    if number % 10 == 0:
        for _ in range(random_.randrange(1, 8)):
            key = b"%d/key/%02d" % (thread, random_.randrange(60))
            writes.append((key, None if random_.random() < 0.3 else random_.randbytes(random_.randrange(900))))
        if number % 60 == 0:
            writes.append((b"%d/long/%d" % (thread, number % 7), random_.randbytes(LONG_BYTES_MIN)))
        if number % 40 == 20:
            writes.append((_marker(thread, number - 15), b"shortened"))
    return writes


def _marker(thread: int, number: int) -> bytes:
    return b"%d/step/%08d" % (thread, number)


def state(seed: int, thread: int, steps: int) -> dict[bytes, bytes]:
    """Rows of a thread after its first `steps` steps."""
    rows: dict[bytes, bytes] = {}
    for number in range(steps):
        for key, value in step(seed, thread, number):
            if value is None:
                rows.pop(key, None)
            else:
                rows[key] = value
    return rows


def steps_found(rows: dict[bytes, bytes], thread: int) -> int:
    """How many steps of a thread are there. Raises AssertionError where one is missing before another: a hole."""
    markers = list(_markers(rows, thread))
    assert markers == list(range(len(markers))), f"thread {thread}: steps with a hole: {_first_hole(markers)}"
    return len(markers)


def _markers(rows: dict[bytes, bytes], thread: int) -> Iterator[int]:
    prefix = b"%d/step/" % thread
    return (int(key.removeprefix(prefix)) for key in sorted(rows) if key.startswith(prefix))


def _first_hole(markers: list[int]) -> str:
    missing = next(number for number, found in enumerate(markers) if number != found)
    return f"{missing} is absent, {markers[-1]} is there"
