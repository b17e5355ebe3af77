"""Options of open(): data only. One default, unit and advice each, checked in one place."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import timedelta
from difflib import get_close_matches
from typing import Any, Literal, TypeAlias, TypedDict, cast, get_args

from kvarts.base.compression import Compression, check_compression
from kvarts.base.encryption import EncryptionKey
from kvarts.base.errors import InvalidArgument, WrongType

Durability: TypeAlias = Literal["sync", "batch", "none"]
Mode: TypeAlias = Literal["rw", "r"]
Consistency: TypeAlias = Literal["linearizable", "stale"]

MEMORY_BYTES_MIN = 1 << 20


class OpenOptions(TypedDict, total=False):
    """What open() takes besides target, key and value: see Options for units and advice, and open() for the key."""

    mode: Mode
    create: bool
    fix_permissions: bool
    durability: Durability
    memory: int | str
    block_bytes: int | str
    memtable_bytes: int | str
    table_bytes: int | str
    level_base_bytes: int | str
    level_growth: int
    level0_tables: int
    filter_bits: int
    compression: Compression
    log_bytes: int | str
    sync_interval_ms: int
    scrub_bytes_per_s: int | str
    background: bool
    encryption_key: EncryptionKey | None


class AnyOptions(OpenOptions, total=False):
    """What open() takes besides target, key and value: seven more are for kvarts:// targets only."""

    dns: str
    timeout: float | timedelta | str
    consistency: Consistency
    max_staleness: float | timedelta | str
    shards: int
    partition: object
    ordered: bool | Sequence[Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Checked options of an embedded store. Sizes are bytes: an int, or text such as "64MiB" when given to open()."""

    create: bool = True
    """Make the store if there is none. With False a missing store is StoreNotFound."""
    mode: Mode = "rw"
    """ "rw" reads and writes, alone. "r" only reads, beside other readers: nothing on disk changes, logs are replayed
    in memory, and a damaged table fails only the reads that need it."""
    fix_permissions: bool = False
    """Take from others what they may not have of the store's files. With False a store that they can write is
    UnsafeStore."""
    durability: Durability = "batch"
    """When a write returns: "sync" = on stable storage; "batch" = survives a killed process, synced at most
    `sync_interval_ms` later; "none" = synced by flush and close only."""
    memory: int = 256 << 20
    """Bytes for memtables, block cache, indexes and filters together.

    The more of the data it covers, the fewer reads.
    """
    memtable_bytes: int = 0
    """Bytes gathered in memory before they become a table; 0 = a sixteenth of memory, at most 64 MiB."""
    block_bytes: int = 8 << 10
    """Bytes of a data block before compression: 4 KiB for random gets, 16 to 32 KiB for scans."""
    table_bytes: int = 32 << 20
    """Bytes of a table made by compaction."""
    level_base_bytes: int = 1 << 30
    """Bytes of level 1; each deeper level is `level_growth` times larger, level 0 at most half of it."""
    level_growth: int = 10
    """Growth from level to level, at least 2. Less writes slower and takes less room."""
    level0_tables: int = 4
    """Fresh runs of tables from which they are merged with level 1, at least 1."""
    filter_bits: int = 10
    """Filter bits per key, 0 to 32. 10 lets one absent key in a hundred cost a read; 0 for stores only scanned."""
    compression: tuple[str, ...] = ("lz4",)
    """How blocks are compressed: "none", "lz4", "zstd" (or "zstd:1" to "zstd:19"), or one for each level, of which the
    last counts for all deeper. "zstd" halves what compresses well once more, for slower gets from disk. A block that
    would save less than a tenth is stored as it is. A keyspace may have its own: see Store.keyspace."""
    log_bytes: int = 64 << 20
    """Bytes of one log file, allocated when it is made; at most 4 GiB."""
    sync_interval_ms: int = 100
    """Longest time in milliseconds between syncs with durability="batch"."""
    scrub_bytes_per_s: int = 0
    """Bytes a second that the store's own thread reads, past the cache, to find damage in tables; stats() tells what it
    found. 0 = none: embedded, the program says what reads its disk. "8MiB" is gentle on a server's own disk."""
    background: bool = True
    """Flush and compact on the store's own threads. False only in tests that need the same steps each time."""


_KEY = "encryption_key"
"""An option of open() that is in no Options: nothing that is shown or kept holds a key."""
_SIZES = frozenset(
    {"memory", "memtable_bytes", "block_bytes", "table_bytes", "level_base_bytes", "log_bytes", "scrub_bytes_per_s"}
)
_RANGES: Mapping[str, tuple[int, int]] = {
    "memory": (MEMORY_BYTES_MIN, 1 << 50),
    "memtable_bytes": (0, 1 << 40),
    "block_bytes": (256, 1 << 20),
    "table_bytes": (4 << 10, 1 << 40),
    "level_base_bytes": (4 << 10, 1 << 50),
    "level_growth": (2, 1000),
    "level0_tables": (1, 1000),
    "filter_bits": (0, 32),
    "log_bytes": (64 << 10, 4 << 30),
    "scrub_bytes_per_s": (0, 1 << 40),
    "sync_interval_ms": (1, 3_600_000),
}
_CHOICES: Mapping[str, tuple[str, ...]] = {
    "mode": get_args(Mode),
    "durability": get_args(Durability),
}
_NAMES = (*(field.name for field in fields(Options)), _KEY)


def validate(given: Mapping[str, Any]) -> Options:
    """Return checked options.

    Raises InvalidArgument naming the option and what it may be, with a near name if unknown.
    """
    checked = {name: _check(name, value) for name, value in given.items()}
    return Options(**cast("dict[str, Any]", checked))


def parse_bytes(name: str, value: object) -> int:
    """Return a size in bytes from an int or text: "64MB" is 64 000 000, "64MiB" is 64 * 2**20, "512" is 512."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if not isinstance(value, str):
        raise WrongType(f"{name}={_shown(value)} is not a size", hint='an int of bytes, or text such as "256MiB"')
    match = _SIZE.fullmatch(value.strip())
    if match is None:
        raise InvalidArgument(f"{name}={_shown(value)} is not a size", hint='an int of bytes, or text such as "256MiB"')
    number, unit = match.groups()
    return int(float(number) * _UNITS[unit.lower()])


_SIZE = re.compile(r"(\d{1,20}(?:\.\d{1,20})?)\s*([kmgt]i?b|b|)", re.IGNORECASE)
_UNITS = {"": 1, "b": 1} | {
    f"{letter}{i}b": base**power
    for power, letter in enumerate("kmgt", start=1)
    for i, base in (("", 1000), ("i", 1024))
}


def _check(name: str, value: object) -> object:
    if name not in _NAMES:
        near = get_close_matches(name, _NAMES, n=1)
        hint = f"did you mean {near[0]}=?" if near else f"options are {', '.join(_NAMES)}"
        raise InvalidArgument(f"no option {name}=", hint=hint)
    if name in _CHOICES:
        return _check_choice(name, value)
    if name == "compression":
        return check_compression(value)
    if name in _RANGES:
        return _check_number(name, value)
    if not isinstance(value, bool):
        raise WrongType(f"{name}={_shown(value)} is not a bool", hint="True or False")
    return value


def _check_choice(name: str, value: object) -> object:
    choices = _CHOICES[name]
    if value in choices:
        return value
    raise InvalidArgument(f"{name}={_shown(value)} is not one of them", hint=" | ".join(map(repr, choices)))


def _check_number(name: str, value: object) -> int:
    if name in _SIZES:
        number = parse_bytes(name, value)
    elif isinstance(value, int) and not isinstance(value, bool):
        number = value
    else:
        low, high = _RANGES[name]
        raise WrongType(f"{name}={_shown(value)} is not an int", hint=f"{low} to {high}")
    low, high = _RANGES[name]
    if low <= number <= high:
        return number
    raise InvalidArgument(f"{name}={_shown(value)} is out of range", hint=f"{low} to {high}")


def _shown(value: object) -> str:
    """Return the repr of what a user gave, cut short; Python gives none for ints of thousands of digits."""
    try:
        text = repr(value)
    except ValueError:
        return f"<{type(value).__name__}>"
    return text if len(text) <= _SHOWN_CHARS_MAX else f"{text[:_SHOWN_CHARS_MAX]}..."


_SHOWN_CHARS_MAX = 80
