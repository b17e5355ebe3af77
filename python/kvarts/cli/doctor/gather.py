"""Gathers the facts: reads what the system says of itself, and tries the disk. Judges nothing."""

import os
import platform
import resource
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from kvarts.base.errors import KvartsError
from kvarts.cli.doctor.facts import (
    Clock,
    Disk,
    Exposure,
    Facts,
    Limits,
    Memory,
    Place,
    SyncCost,
    Versions,
)
from kvarts.cli.doctor.judge import CLOCK_SOURCE
from kvarts.inspect.lock import look_at_lock

SYNCS = 200
SYNC_SECONDS_MAX = 3.0
RECORD_BYTES = 512
_TRIED_BYTES = SYNCS * RECORD_BYTES
_DEPTH_MAX = 4
_PROC = Path("/proc")
_UNBOUNDED = 1 << 60
"""Version 1 of control groups writes a number near 2**63 where there is no limit."""


def gather(
    path: str, memory_bytes: int, *, mends: bool, progress: Callable[[int, int], object], unix_s: Callable[[], float]
) -> Facts:
    """Return the facts of a place, by the clock `unix_s`. With `mends`, sets the modes of a store's files first."""
    place = look_at_place(path)
    native = _versions()
    return Facts(
        place=place,
        disk=look_at_disk(place.measured),
        sync=try_syncs(place.measured, progress),
        limits=_limits(),
        memory=look_at_memory(_PROC),
        clock=Clock(source=_text(Path(CLOCK_SOURCE)).strip(), unix_s=unix_s()),
        versions=native,
        exposures=look_at_exposures(place, mends=mends) if native.native else (),
        memory_option_bytes=memory_bytes,
    )


def look_at_place(path: str) -> Place:
    """Return what lies at a path."""
    absolute = os.path.abspath(path)
    if not os.path.isdir(absolute):
        parent = absolute
        while not os.path.isdir(parent):
            parent = os.path.dirname(parent)
        return Place(path=absolute, kind="nothing", measured=parent)
    names = os.listdir(absolute)
    lock = look_at_lock(absolute)
    kind = "directory" if names else "empty"
    if "MANIFEST" in names:
        kind = "store"
    elif {"log", "shards"} <= set(names):
        kind = "node"
    return Place(
        path=absolute,
        kind=kind,
        measured=absolute,
        tables=sum(name.endswith(".table") for name in names),
        held_by=lock.pid if lock is not None and lock.held else None,
    )


def look_at_exposures(place: Place, *, mends: bool) -> tuple[Exposure, ...]:
    """Return what others may do to a store, or to each directory of a node; with `mends`, after setting modes."""
    from kvarts.embedded.care import exposures

    if place.kind == "store":
        folders = [place.path]
    elif place.kind == "node":
        folders = [folder for folder, _, _ in os.walk(place.path) if _depth(folder, place.path) <= _DEPTH_MAX]
    else:
        return ()
    found = [each for folder in folders for each in exposures(folder, mends=mends)]
    return tuple(Exposure(**each._asdict()) for each in found)


def _depth(folder: str, root: str) -> int:
    return len(Path(folder).relative_to(root).parts)


def look_at_disk(path: str) -> Disk:
    """Return what is known of the file system under a path."""
    numbers = os.statvfs(path)
    mount, kind, options = _mount_of(path, _text(_PROC / "self" / "mountinfo"))
    return Disk(
        kind=kind,
        mount=mount or path,
        options=options or (("ro",) if numbers.f_flag & os.ST_RDONLY else ()),
        free_bytes=numbers.f_bavail * numbers.f_frsize,
        total_bytes=numbers.f_blocks * numbers.f_frsize,
        free_files=numbers.f_favail if numbers.f_files else None,
    )


def _mount_of(path: str, mountinfo: str) -> tuple[str, str, tuple[str, ...]]:
    """Return mount point, kind and options of the last mount that covers a path: later ones lie over earlier ones."""
    real = os.path.realpath(path)
    best: tuple[str, str, tuple[str, ...]] = ("", "", ())
    for line in mountinfo.splitlines():
        left, _, right = line.partition(" - ")
        words, kinds = left.split(), right.split()
        mount = words[4].encode().decode("unicode_escape")
        covers = real == mount or real.startswith(mount.rstrip("/") + "/")
        if covers and len(mount) >= len(best[0]):
            best = (mount, kinds[0], tuple(sorted({*words[5].split(","), *kinds[2].split(",")})))
    return best


def try_syncs(folder: str, progress: Callable[[int, int], object]) -> SyncCost:
    """Write records one after the other into a file of its own, syncing each, as a log does. The file goes again."""
    try:
        descriptor, name = tempfile.mkstemp(prefix=".kvarts-doctor-", dir=folder)
    except OSError as error:
        return SyncCost(count=0, error=error.strerror or str(error))
    try:
        costs = _sync_costs(descriptor, progress)
    except OSError as error:
        return SyncCost(count=0, error=error.strerror or str(error))
    finally:
        os.close(descriptor)
        with suppress(OSError):
            os.unlink(name)
    costs.sort()
    return SyncCost(count=len(costs), median_ns=costs[len(costs) // 2], p99_ns=costs[int(len(costs) * 0.99)])


def _sync_costs(descriptor: int, progress: Callable[[int, int], object]) -> list[int]:
    sync = getattr(os, "fdatasync", os.fsync)
    os.pwrite(descriptor, bytes(_TRIED_BYTES), 0)
    os.fsync(descriptor)
    costs: list[int] = []
    record = b"\xa5" * RECORD_BYTES
    end = time.monotonic() + SYNC_SECONDS_MAX
    while len(costs) < SYNCS and (not costs or time.monotonic() < end):
        begun = time.perf_counter_ns()
        os.pwrite(descriptor, record, len(costs) * RECORD_BYTES)
        sync(descriptor)
        costs.append(time.perf_counter_ns() - begun)
        progress(len(costs), SYNCS)
    return costs


def _limits() -> Limits:
    def soft(which: int) -> int | None:
        limit = resource.getrlimit(which)[0]
        return None if limit == resource.RLIM_INFINITY else limit

    return Limits(
        open_files=soft(resource.RLIMIT_NOFILE),
        address_bytes=soft(resource.RLIMIT_AS),
        file_bytes=soft(resource.RLIMIT_FSIZE),
    )


def look_at_memory(proc: Path) -> Memory:
    """Return what the machine says of its memory; `proc` is where it says so."""
    lines = (line.split() for line in _text(proc / "meminfo").splitlines())
    kib = {words[0].rstrip(":"): int(words[1]) for words in lines if len(words) > 1}

    def bytes_of(name: str) -> int | None:
        return kib[name] << 10 if name in kib else None

    return Memory(
        total_bytes=bytes_of("MemTotal") or _sysconf_bytes(),
        available_bytes=bytes_of("MemAvailable"),
        swap_total_bytes=bytes_of("SwapTotal"),
        swap_free_bytes=bytes_of("SwapFree"),
        swappiness=_number(proc / "sys" / "vm" / "swappiness"),
        overcommit=_number(proc / "sys" / "vm" / "overcommit_memory"),
        group_bytes=group_limit(_text(proc / "self" / "cgroup"), Path("/sys/fs/cgroup")),
    )


def _sysconf_bytes() -> int | None:
    with suppress(ValueError, OSError):
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return None


def group_limit(membership: str, root: Path) -> int | None:
    """Return the lowest limit of memory of the control group that /proc/self/cgroup names, or of one above it."""
    limits = []
    for line in membership.splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers not in ("", "memory") and "memory" not in controllers.split(","):
            continue
        top, name = (root, "memory.max") if not controllers else (root / "memory", "memory.limit_in_bytes")
        group = top / path.lstrip("/")
        for folder in (group, *group.parents):
            limits.append(_number(folder / name))
            if folder == top:
                break
    bounds = [limit for limit in limits if limit is not None and limit < _UNBOUNDED]
    return min(bounds, default=None)


def _versions() -> Versions:
    from kvarts import __version__

    native = error = ""
    try:
        from kvarts.embedded.care import native_version

        native = native_version()
    except (ImportError, KvartsError) as failure:
        error = str(failure)
    return Versions(
        kvarts=__version__,
        native=native,
        python=f"{platform.python_version()} ({platform.python_implementation()}, {sys.platform})",
        threads_free=bool(sysconfig.get_config_var("Py_GIL_DISABLED")),
        error=error,
    )


def _number(path: Path) -> int | None:
    """Return the number that a file of the kernel's holds; None where there is none, as for "max"."""
    with suppress(ValueError):
        return int(_text(path))
    return None


def _text(path: Path) -> str:
    with suppress(OSError):
        return path.read_text()
    return ""
