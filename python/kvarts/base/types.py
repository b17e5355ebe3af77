"""Small types that calls take and return."""

from dataclasses import dataclass
from typing import Any, Final, Generic, NamedTuple, NewType, TypeVar

Revision = NewType("Revision", int)
"""The number of a commit. Strictly increases; 0 is before the first."""

V_co = TypeVar("V_co", covariant=True)


class Entry(NamedTuple, Generic[V_co]):
    """A value with the revision that wrote it."""

    value: V_co
    revision: Revision


@dataclass(frozen=True, slots=True)
class Condition:
    """What `put(if_=...)` asks of the key before it writes: ANY, ABSENT, PRESENT, AtRevision(n) or Equals(value)."""

    kind: int
    argument: Any = None

    def __repr__(self) -> str:
        name = _CONDITION_NAMES[self.kind]
        return name if self.argument is None else f"{name}({self.argument!r})"


_CONDITION_NAMES = ("ANY", "ABSENT", "PRESENT", "AtRevision", "Equals")

ANY: Final = Condition(0)
"""Write whatever is there: the default."""
ABSENT: Final = Condition(1)
"""Write only if the key is absent, or has expired."""
PRESENT: Final = Condition(2)
"""Write only if the key is there."""


def AtRevision(revision: int) -> Condition:  # noqa: N802  # reads as the name of a condition
    """Write only if the key's newest value was written by this revision: compare and set."""
    return Condition(3, revision)


def Equals(value: object) -> Condition:  # noqa: N802
    """Write only if the key's value is this one: its encoded bytes are compared."""
    return Condition(4, value)


@dataclass(frozen=True, slots=True)
class KeyspaceInfo:
    """A keyspace with the names of the codecs it was made with, and how it is compressed.

    `compression` has a name for each level, of which the last counts for all deeper; None: as the store says.
    """

    name: str
    key: str
    value: str
    compression: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyspaceStats:
    """Numbers about one keyspace. `levels` has (tables, bytes) per level."""

    name: str
    table_rows: int
    memtable_rows: int
    levels: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stats:
    """Numbers about a store since it was opened; sizes in bytes."""

    revision: int
    table_bytes: int
    log_bytes: int
    memtable_bytes: int
    cache_bytes: int
    index_bytes: int
    memory_bytes: int
    cache_hits: int
    cache_misses: int
    user_bytes: int
    flush_bytes: int
    compaction_bytes: int
    flushes: int
    compactions: int
    syncs: int
    stall_ns: int
    snapshots: int
    keyspaces: tuple[KeyspaceStats, ...]
    scrubbed_bytes: int = 0
    scrub_rounds: int = 0
    damage: "tuple[Damage, ...]" = ()
    """What scrubbing has found in files that are still live (see the option scrub_bytes_per_s)."""

    @property
    def disk_bytes(self) -> int:
        """Bytes of tables and logs."""
        return self.table_bytes + self.log_bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Damage:
    """One damaged place: file, offset, what is wrong, and the keys (as stored) between which the file's rows lie."""

    file: str
    offset: int
    what: str
    smallest: bytes
    largest: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What verify() read and found. Damage is listed, not raised."""

    files: int
    blocks: int
    bytes: int
    damage: tuple[Damage, ...]

    @property
    def ok(self) -> bool:
        """True where nothing is damaged."""
        return not self.damage


@dataclass(frozen=True, slots=True, kw_only=True)
class Gone(Damage):
    """What a repair could not save: a damaged place, and the keyspace it is of ("": it may be any).

    Where smallest and largest are empty, any key may be concerned. `rows_gone` is False where every row was found
    all the same.
    """

    keyspace: str
    rows_gone: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class RepairReport:
    """What a repair has saved, and what is gone. `keyspaces` are those of the new store, with their rows."""

    tables: int
    blocks: int
    batches: int
    bytes: int
    revision: int
    keyspaces: dict[str, int]
    gone: tuple[Gone, ...]

    @property
    def ok(self) -> bool:
        """True where no row is gone."""
        return not any(one.rows_gone for one in self.gone)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rotation:
    """What rotate_key() wrote anew: tables and their bytes. `key_id` names the key that the store has now."""

    tables: int
    bytes: int
    key_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenReport:
    """What opening found.

    Batches replayed from logs. After an unclean stop, where the log ends (file, offset) and the newest revision
    found: what was written later and was not on stable storage is gone; and a torn tail (file, offset, bytes) that was
    dropped.
    """

    replayed: int
    unclean: tuple[str, int, int] | None
    torn: tuple[str, int, int] | None
    created: bool
