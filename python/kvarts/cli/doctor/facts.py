"""What the doctor knows of a machine and a place on it. Data only: gathering and judging are elsewhere."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Disk:
    """The file system under a place. Bytes and counts are those that we may use; options as mount(8) has them."""

    kind: str
    mount: str
    options: tuple[str, ...]
    free_bytes: int
    total_bytes: int
    free_files: int | None
    """None where the file system has no fixed number of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncCost:
    """What a write of one record and its sync cost; `count` 0 where none could be done, and `error` says why."""

    count: int
    median_ns: int = 0
    p99_ns: int = 0
    error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Limits of this process; None where there is none."""

    open_files: int | None
    address_bytes: int | None
    file_bytes: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """Memory of the machine and what bounds it for us; None where the machine does not say."""

    total_bytes: int | None
    available_bytes: int | None
    swap_total_bytes: int | None
    swap_free_bytes: int | None
    swappiness: int | None
    overcommit: int | None
    group_bytes: int | None
    """The limit of the control group, a container's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Clock:
    """Where the machine takes the time from, and what it says."""

    source: str
    unix_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Versions:
    """What runs here. `native` is empty where the extension module cannot be loaded, and `error` says why."""

    kvarts: str
    native: str
    python: str
    threads_free: bool
    error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Exposure:
    """What others than the owner may do to a file or directory of the store."""

    path: str
    what: str
    cure: str
    refused: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """What lies at the path: "store", "node", "empty", "directory" or "nothing"; in `measured` syncs are tried."""

    path: str
    kind: str
    measured: str
    tables: int = 0
    held_by: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """All of it."""

    place: Place
    disk: Disk
    sync: SyncCost
    limits: Limits
    memory: Memory
    clock: Clock
    versions: Versions
    exposures: tuple[Exposure, ...] = field(default=())
    memory_option_bytes: int = 256 << 20
    """What the store is to be opened with as memory=."""
