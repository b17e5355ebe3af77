"""The doctor's judgement: facts in, findings out. Pure, so that a test gives each fact that a machine may have."""

from dataclasses import dataclass
from typing import Literal

from kvarts.cli.doctor.facts import Disk, Facts, Limits, Memory, SyncCost
from kvarts.cli.text import size

Verdict = Literal["ok", "warn", "fail"]

LOG_BYTES = 64 << 20
FREE_BYTES_WARN = 1 << 30
FREE_FILES_WARN = 1000
SYNC_NS_SLOW = 20_000_000
SYNC_P99_NS_SLOW = 200_000_000
SYNC_NS_FREE = 5_000
"""No device answers faster: below this the sync reaches none."""
EXPOSURES_SHOWN = 5
DESCRIPTORS_SPARE = 64
OPEN_FILES_WARN = 1024
CLOCK_SOURCE = "/sys/devices/system/clocksource/clocksource0/current_clocksource"
YEAR_2024_S = 1_704_067_200.0
SWAPPED_SHARE_WARN = 0.25
MEMORY_SHARE_MAX = 0.75
"""What of the memory there is a store may be given; the rest is for Python's objects and the page cache."""

_IN_MEMORY = frozenset({"tmpfs", "ramfs", "devtmpfs"})
_DOUBTFUL = (
    (_IN_MEMORY, "lies in memory: a reboot empties it", "give a path on a disk"),
    (
        frozenset({"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "ceph", "glusterfs", "lustre", "virtiofs", "fuse"}),
        "is reached over a network, or by a program",
        "give a path on a local disk: locks, syncs and mappings may not hold there",
    ),
    (
        frozenset({"vfat", "exfat", "msdos", "ntfs", "ntfs3", "fuseblk"}),
        "keeps no modes or links",
        "give a path on ext4, xfs, btrfs, zfs or apfs: checkpoints are links",
    ),
    (
        frozenset({"overlay", "aufs"}),
        "is a container's own layer",
        "mount a volume: what a container writes into its layer goes with the container",
    ),
)
_UNSAFE_OPTIONS = frozenset({"nobarrier", "barrier=0", "sync=disabled"})
_SLOW_CLOCKS = frozenset({"hpet", "acpi_pm", "jiffies", "refined-jiffies"})


@dataclass(frozen=True, slots=True)
class Check:
    """One judgement; `cure` is empty where all is well."""

    name: str
    verdict: Verdict
    what: str
    cure: str = ""


def judge(facts: Facts) -> tuple[Check, ...]:
    """Return a judgement of each thing looked at, in the order in which a reader wants them."""
    return (
        _versions(facts),
        _place(facts),
        *_permissions(facts),
        *_disk(facts.disk),
        _sync(facts.sync, facts.disk),
        *_limits(facts.limits, facts.place.tables, facts.memory_option_bytes),
        *_memory(facts.memory, facts.memory_option_bytes),
        _clock(facts),
    )


def worst(checks: tuple[Check, ...]) -> Verdict:
    """Return the worst verdict."""
    found = {check.verdict for check in checks}
    return "fail" if "fail" in found else "warn" if "warn" in found else "ok"


def _versions(facts: Facts) -> Check:
    found = facts.versions
    what = f"kvarts {found.kvarts}, extension {found.native or 'missing'}, Python {found.python}"
    if not found.native:
        return Check("versions", "fail", f"{what}: {found.error}", "pip install --force-reinstall kvarts")
    if found.native != found.kvarts:
        return Check("versions", "fail", what, "they are of two releases: pip install --force-reinstall kvarts")
    if found.threads_free:
        return Check("versions", "warn", f"{what}, without the GIL", "the extension is tested with the GIL only")
    return Check("versions", "ok", what)


def _place(facts: Facts) -> Check:
    place = facts.place
    if place.kind == "directory":
        cure = "give the path of a store, of an empty directory, or one that does not exist yet"
        return Check("place", "warn", f"{place.path} is a directory with other things in it", cure)
    what = {
        "store": f"{place.path} is a store of {place.tables:,} tables",
        "node": f"{place.path} is the directory of a node",
        "empty": f"{place.path} is empty: a store can be made there",
    }.get(place.kind, f"{place.path} does not exist: looked at {place.measured}")
    return Check("place", "ok", what if place.held_by is None else f"{what}, open in process {place.held_by}")


def _permissions(facts: Facts) -> tuple[Check, ...]:
    if not facts.exposures:
        yours = "nobody but its owner can write it" if facts.place.kind in ("store", "node") else "nothing to judge yet"
        return (Check("permissions", "ok", yours),)
    shown = tuple(
        Check("permissions", "fail" if each.refused else "warn", f"{each.path} {each.what}", each.cure)
        for each in facts.exposures[:EXPOSURES_SHOWN]
    )
    more = facts.exposures[EXPOSURES_SHOWN:]
    if not more:
        return shown
    verdict: Verdict = "fail" if any(each.refused for each in more) else "warn"
    cure = f"`kvarts doctor {facts.place.path} --fix-permissions` mends what modes can"
    return (*shown, Check("permissions", verdict, f"{len(more):,} more files like these", cure))


def _disk(disk: Disk) -> tuple[Check, ...]:
    return (_file_system(disk), _space(disk))


def _file_system(disk: Disk) -> Check:
    what = f"{disk.kind or 'unknown'} at {disk.mount}"
    if "ro" in disk.options:
        return Check("file system", "fail", f"{what} is mounted read-only", f"mount -o remount,rw {disk.mount}")
    unsafe = sorted(_UNSAFE_OPTIONS.intersection(disk.options))
    if unsafe:
        cure = "mount it without: a power loss may take what was synced"
        return Check("file system", "warn", f"{what} is mounted with {', '.join(unsafe)}", cure)
    kind = "fuse" if disk.kind.startswith("fuse.") else disk.kind
    for kinds, is_what, cure in _DOUBTFUL:
        if kind in kinds:
            return Check("file system", "warn", f"{what} {is_what}", cure)
    return Check("file system", "ok", what)


def _space(disk: Disk) -> Check:
    what = f"{size(disk.free_bytes)} of {size(disk.total_bytes)} are free"
    if disk.free_bytes < LOG_BYTES:
        return Check("space", "fail", f"{what}: no room for a log of {size(LOG_BYTES)}", "free some space")
    if disk.free_files is not None and disk.free_files < FREE_FILES_WARN:
        return Check("space", "warn", f"{disk.free_files:,} more files can be made", "remove files that nobody needs")
    if disk.free_bytes < FREE_BYTES_WARN:
        return Check("space", "warn", what, "free some space: a compaction needs room for what it rewrites")
    return Check("space", "ok", what)


def _sync(sync: SyncCost, disk: Disk) -> Check:
    if not sync.count:
        return Check("sync", "fail", f"nothing could be written: {sync.error}", "check the directory's owner and mode")
    what = f"a write and its sync take {_ms(sync.median_ns)}, one in a hundred {_ms(sync.p99_ns)} or more"
    if sync.median_ns < SYNC_NS_FREE and disk.kind not in _IN_MEMORY:
        cure = "look for eatmydata or a virtual disk with an unsafe cache: a power loss would take what was synced"
        return Check("sync", "warn", f"{what}: no disk is that fast", cure)
    if sync.median_ns > SYNC_NS_SLOW or sync.p99_ns > SYNC_P99_NS_SLOW:
        cure = 'with durability="sync" each write waits so long: gather writes in batches, or find a faster disk'
        return Check("sync", "warn", what, cure)
    return Check("sync", "ok", what)


def _limits(limits: Limits, tables: int, memory_bytes: int) -> tuple[Check, ...]:
    return (_open_files(limits.open_files, tables), _sizes(limits, memory_bytes))


def _open_files(most: int | None, tables: int) -> Check:
    if most is None:
        return Check("open files", "ok", "no limit")
    what = f"at most {most:,}"
    needed = tables + DESCRIPTORS_SPARE
    if most < needed:
        return Check("open files", "fail", f"{what}, and the store needs {needed:,}", f"ulimit -n {2 * needed}")
    if most < OPEN_FILES_WARN:
        return Check("open files", "warn", what, f"ulimit -n {OPEN_FILES_WARN}: each table keeps a file open")
    return Check("open files", "ok", what)


def _sizes(limits: Limits, memory_bytes: int) -> Check:
    needed = memory_bytes + 2 * LOG_BYTES
    if limits.file_bytes is not None and limits.file_bytes < LOG_BYTES:
        what = f"a file may have {size(limits.file_bytes)}, and a log has {size(LOG_BYTES)}"
        return Check("sizes", "fail", what, "ulimit -f unlimited, or a smaller log_bytes=")
    if limits.address_bytes is not None and limits.address_bytes < needed:
        what = (
            f"the process may have {size(limits.address_bytes)} of addresses; memory= and two logs take {size(needed)}"
        )
        return Check("sizes", "fail", what, "ulimit -v unlimited, or a smaller memory=")
    return Check("sizes", "ok", "no limit that a store meets")


def _memory(memory: Memory, asked: int) -> tuple[Check, ...]:
    return (_budget(memory, asked), _swap(memory), _overcommit(memory, asked))


def _budget(memory: Memory, asked: int) -> Check:
    bounds = [bound for bound in (memory.total_bytes, memory.group_bytes) if bound is not None]
    if not bounds:
        return Check("memory", "ok", "unknown")
    most = min(bounds)
    of = "the control group (a container's limit)" if most == memory.group_bytes else "the machine"
    what = f"memory={size(asked)} of {size(most)} that {of} has"
    if asked > most:
        return Check("memory", "fail", what, f'memory="{max(1, most // 2 >> 20)}MiB", or a higher limit')
    if asked > MEMORY_SHARE_MAX * most:
        cure = f'memory="{max(1, most // 2 >> 20)}MiB": Python and the page cache need some too'
        return Check("memory", "warn", what, cure)
    return Check("memory", "ok", what)


def _swap(memory: Memory) -> Check:
    total, free = memory.swap_total_bytes, memory.swap_free_bytes
    if not total or free is None:
        return Check("swap", "ok", "none")
    used = total - free
    what = f"{size(used)} of {size(total)} are used"
    if used > SWAPPED_SHARE_WARN * total:
        return Check(
            "swap", "warn", what, "a cache that is swapped out is slower than none: give less memory=, or add some"
        )
    return Check("swap", "ok", what)


def _overcommit(memory: Memory, asked: int) -> Check:
    strict = 2
    if memory.overcommit != strict:
        return Check("overcommit", "ok", "the kernel gives memory when it is used")
    available = memory.available_bytes or 0
    what = "the kernel promises no more memory than there is (vm.overcommit_memory=2)"
    if available < asked:
        return Check("overcommit", "warn", what, "give less memory=: an allocation may be refused and end the process")
    return Check("overcommit", "ok", what)


def _clock(facts: Facts) -> Check:
    clock = facts.clock
    if clock.unix_s < YEAR_2024_S:
        return Check("clock", "fail", "it is before 2024, says the clock", "set it: rows with ttl= expire by it")
    if clock.source in _SLOW_CLOCKS:
        cure = f"each look at the time is a slow read: echo tsc > {CLOCK_SOURCE}"
        return Check("clock", "warn", f"source {clock.source}", cure)
    return Check("clock", "ok", f"source {clock.source}" if clock.source else "set")


def _ms(ns: int) -> str:
    return f"{ns / 1e6:.3g} ms"
