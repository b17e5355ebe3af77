"""The steps of the tour. Each does one thing to the store, checks it, and says so in one sentence with figures."""

import os
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import kvarts
from kvarts.base.api import Store
from kvarts.cli.progress import Progress
from kvarts.cli.text import size
from kvarts.cli.tour.corpus import Corpus
from kvarts.cli.tour.crash import count_intact, crash
from kvarts.cli.tour.writer import PREFIX

KILL_AFTER = 20_000
RATE_OPERATIONS = 20_000
FOLDER_FILES_MAX = 200
MEMORY_BYTES_MIN = 256 << 20
MARK = b"overwritten by the tour\n"
Seconds = Callable[[], float]


@dataclass(frozen=True, slots=True)
class Step:
    """One step done: its name, what it says, whether every check in it held, and its figures."""

    name: str
    sentence: str
    ok: bool
    figures: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class World:
    """What the steps share. `expected` is what the store must hold of the corpus; None is the file's own content."""

    path: Path
    corpus: Corpus
    store: Store[str, bytes]
    overwritten: set[str] = field(default_factory=set)
    deleted: set[str] = field(default_factory=set)
    clock: Seconds = time.perf_counter

    def expected(self, path: str) -> bytes | None:
        """Return what the store must hold under a path now."""
        if path in self.deleted:
            return None
        return MARK if path in self.overwritten else self.corpus.read(path)


def open_world(path: Path, corpus: Corpus) -> World:
    """Make the store of the tour."""
    # A value may take a quarter of memory; some builds of Python carry a library of 60 MB and more among their files.
    memory = max(MEMORY_BYTES_MIN, 5 * max(corpus.sizes.values(), default=0))
    return World(path, corpus, kvarts.open(path, key=kvarts.Str, memory=memory))


def close(world: World) -> None:
    """Close whatever handle is open now."""
    world.store.close()


def load(world: World) -> Step:
    """Write every file."""
    corpus, clock = world.corpus, world.clock
    reading = 0.0

    def files(progress: Progress) -> Iterator[tuple[str, bytes]]:
        nonlocal reading
        for path in corpus.sizes:
            began = clock()
            content = corpus.read(path)
            reading += clock() - began
            yield path, content
            progress.advance(len(content))

    began = clock()
    with Progress("loading the standard library", corpus.total_bytes, unit="B") as progress:
        world.store.put_many(files(progress))
    seconds = clock() - began
    writing = max(seconds - reading, 1e-9)
    sentence = (
        f"Loaded {len(corpus.sizes):,} files of the standard library, {size(corpus.total_bytes)} in {seconds:.1f} s, "
        f"{writing:.1f} s of it in kvarts: {size(corpus.total_bytes / writing)}/s."
    )
    figures = {"files": len(corpus.sizes), "bytes": corpus.total_bytes, "seconds": seconds, "store_seconds": writing}
    return Step("load", sentence, len(world.store) == len(corpus.sizes), figures)


def read_back(world: World) -> Step:
    """Read every file back and compare it with the disk."""
    corpus, clock = world.corpus, world.clock
    same = 0
    getting = 0.0
    with Progress("comparing with the disk", len(corpus.sizes), unit="files") as progress:
        for path in corpus.sizes:
            began = clock()
            found = world.store.get(path)
            getting += clock() - began
            same += found == corpus.read(path)
            progress.advance()
    sentence = (
        f"Read them back: {same:,} of {len(corpus.sizes):,} are byte for byte what the disk has "
        f"({size(corpus.total_bytes / max(getting, 1e-9))}/s out of kvarts)."
    )
    return Step("read_back", sentence, same == len(corpus.sizes), {"same": same, "store_seconds": getting})


def rates(world: World) -> Step:
    """Time single puts and gets of small values, in a keyspace of their own."""
    clock, draw = world.clock, random.Random(1)  # noqa: S311  # data, not secrets
    pairs = [(draw.randbytes(16), draw.randbytes(100)) for _ in range(RATE_OPERATIONS)]
    with world.store.keyspace("rates") as small:
        put, get = small.put, small.get
        began = clock()
        for key, value in pairs:
            put(key, value)
        put_us = (clock() - began) / RATE_OPERATIONS * 1e6
        draw.shuffle(pairs)
        began = clock()
        answers = [get(key) for key, _ in pairs]
        get_us = (clock() - began) / RATE_OPERATIONS * 1e6
        ok = answers == [value for _, value in pairs]
        began = clock()
        rows = sum(1 for _ in small.scan())
        rows_per_s = rows / max(clock() - began, 1e-9)
    sentence = (
        f"Small values, one call each from Python: put {put_us:.1f} µs, get {get_us:.1f} µs, "
        f"scan {rows_per_s:,.0f} rows/s."
    )
    figures = {"put_us": put_us, "get_us": get_us, "scan_rows_per_s": rows_per_s, "operations": RATE_OPERATIONS}
    return Step("rates", sentence, ok and rows == len(dict(pairs)), figures)


def scan_both_ways(world: World) -> Step:
    """Scan a folder forward and in reverse."""
    folder = world.corpus.busiest_folder(FOLDER_FILES_MAX)
    wanted = world.corpus.under(folder)
    forward = [path for path, _ in world.store.scan(prefix=folder)]
    backward = list(world.store.scan(prefix=folder, reverse=True).keys())
    ok = forward == wanted and backward == wanted[::-1]
    sentence = (
        f"Scanned {folder} both ways: {len(forward)} keys in order, from {forward[0] if forward else '?'} "
        f"to {forward[-1] if forward else '?'}, and back."
    )
    return Step("scan", sentence, ok, {"prefix": folder, "forward": len(forward), "backward": len(backward)})


def hold_a_snapshot(world: World) -> Step:
    """Take a snapshot, overwrite and delete beside it, and look whether it moved."""
    folder = world.corpus.busiest_folder(FOLDER_FILES_MAX)
    paths = world.corpus.under(folder)
    overwritten, deleted = paths[::2], paths[1::2]
    with world.store.snapshot() as before:
        with world.store.batch() as batch:
            for path in overwritten:
                batch[path] = MARK
            for path in deleted:
                del batch[path]
        world.overwritten.update(overwritten)
        world.deleted.update(deleted)
        unmoved = sum(before.get(path) == world.corpus.read(path) for path in paths)
        changed = sum(world.store.get(path) == world.expected(path) for path in paths)
        revision = before.revision
    ok = unmoved == changed == len(paths)
    sentence = (
        f"Took a snapshot at revision {revision:,}, then overwrote {len(overwritten)} and deleted {len(deleted)} keys "
        f"in one batch: the store shows the change, the snapshot still has all {unmoved} files."
    )
    figures = {"revision": revision, "overwritten": len(overwritten), "deleted": len(deleted), "unmoved": unmoved}
    return Step("snapshot", sentence, ok, figures)


def survive_a_kill(world: World) -> Step:
    """Close, let a child write, kill it, reopen, and look for what it had been told was written."""
    world.store.close()
    with Progress("a child process writes", KILL_AFTER, unit="writes") as progress:
        end = crash(world.path, KILL_AFTER, lambda done: progress.to(min(done, KILL_AFTER)))
    began = world.clock()
    world.store = kvarts.open(world.path, key=kvarts.Str, create=False)
    reopen_ms = (world.clock() - began) * 1000
    intact, rows = count_intact(world.store, end.acknowledged)
    ok = end.killed and end.acknowledged >= KILL_AFTER and intact == end.acknowledged
    sentence = (
        f"Killed a child (kill -9) while it wrote: it had been told of {end.acknowledged:,} writes, reopened in "
        f"{reopen_ms:.0f} ms, {intact:,} of them are there, as written."
    )
    figures = {"acknowledged": end.acknowledged, "intact": intact, "rows": rows, "reopen_ms": reopen_ms}
    return Step("kill", sentence, ok, {**figures, "exit_code": end.exit_code})


def check_all_again(world: World) -> Step:
    """Compare everything with the disk once more, and let the store check itself."""
    with Progress("comparing again", len(world.corpus.sizes), unit="files") as progress:
        same = 0
        for path in world.corpus.sizes:
            same += world.store.get(path) == world.expected(path)
            progress.advance()
    world.store.flush()
    with Progress("verifying every byte", unit="B") as progress:
        report = world.store.verify(progress=progress.to)
    sentence = (
        f"Checked everything again: {same:,} of {len(world.corpus.sizes):,} keys are as they must be; verify read "
        f"{report.blocks:,} blocks, {size(report.bytes)}, and found {len(report.damage) or 'no'} damage."
    )
    figures = {"same": same, "blocks": report.blocks, "bytes": report.bytes, "damage": len(report.damage)}
    return Step("verify", sentence, same == len(world.corpus.sizes) and report.ok, figures)


def measure_disk(world: World) -> Step:
    """Drop the child's rows, compact, close, and see what is left on disk."""
    world.store.delete_many(list(world.store.scan(prefix=PREFIX).keys()))
    world.store.compact()
    live = sum(len(path.encode()) + len(world.expected(path) or b"") for path in world.corpus.sizes)
    world.store.close()
    allocated = sum(file.stat().st_blocks * 512 for file in world.path.rglob("*") if file.is_file())
    sentence = f"On disk: {size(allocated)} for {size(live)} of keys and values ({allocated / max(live, 1):.2f}×, LZ4)."
    return Step("disk", sentence, allocated > 0, {"disk_bytes": allocated, "live_bytes": live})


STEPS: tuple[Callable[[World], Step], ...] = (
    load,
    read_back,
    rates,
    scan_both_ways,
    hold_a_snapshot,
    survive_a_kill,
    check_all_again,
    measure_disk,
)


def python_and_machine() -> dict[str, object]:
    """Return what the figures depend on."""
    import platform

    from kvarts import __version__

    return {
        "kvarts": __version__,
        "python": platform.python_version(),
        "cores": os.cpu_count(),
        "system": platform.platform(),
    }
