"""The state machine of the model test: every verb, on every kind of view, against the model."""

import os
import shutil
import tempfile
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

import kvarts
from tests.conformance.manual import ManualStore
from tests.conformance.model import Model, Row, within

KEYS = st.lists(st.sampled_from([b"\0", b"a", b"b", b"\xff"]), min_size=1, max_size=4).map(b"".join)
SMALL = st.binary(max_size=12) | st.sampled_from([b"1", b"41", b"-7"])
VALUES = SMALL | st.integers(0, 6000).map(lambda size: b"v" * size)
TARGETS = st.sampled_from([("default", b""), ("other", b""), ("default", b"a"), ("other", b"b\xff")])
OPTIONS = st.fixed_dictionaries(
    {
        "durability": st.sampled_from(["none", "batch", "batch", "sync"]),
        "memory": st.sampled_from(["1MiB", "8MiB"]),
        "memtable_bytes": st.sampled_from([4 << 10, 16 << 10, 0]),
        "block_bytes": st.sampled_from([256, 1024, 8192, 64 << 10]),
        "table_bytes": st.sampled_from([4 << 10, 64 << 10]),
        "level_base_bytes": st.sampled_from([4 << 10, 64 << 10]),
        "level_growth": st.sampled_from([2, 10]),
        "level0_tables": st.sampled_from([1, 2, 4]),
        "filter_bits": st.sampled_from([0, 2, 10]),
        "compression": st.sampled_from(["none", "lz4", "zstd:1", ("none", "lz4", "zstd"), ("zstd:19", "none")]),
        "log_bytes": st.sampled_from([64 << 10, 1 << 20]),
        "background": st.booleans(),
    }
)
# What a sync costs is not what is tested here: where there is a file system in memory, the stores lie in it.
IN_MEMORY = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
BOUNDS = st.fixed_dictionaries(
    {"start": st.none() | KEYS, "stop": st.none() | KEYS},
    optional={"prefix": KEYS, "include_start": st.booleans(), "include_stop": st.booleans()},
)
WRITES = st.lists(st.tuples(TARGETS, KEYS, st.none() | VALUES), max_size=12)
Target = tuple[str, bytes]


@dataclass(eq=False)
class Frozen:
    """A snapshot or scan held open, with what it must answer."""

    view: Any
    wanted: Any


class StoreMachine(RuleBasedStateMachine):
    """One store on disk with random options; `operations` counts calls over all examples."""

    operations = 0
    model_type = Model

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="kvarts-model-", dir=IN_MEMORY))
        self.checkpoints = 0
        self.snapshots: list[Frozen] = []
        self.scans: list[Frozen] = []

    @initialize(options=OPTIONS)
    def open(self, options: dict[str, Any]) -> None:
        self.model = self.model_type(now_ms=1_000_000)
        self.manual = ManualStore(self.folder / "store", now_ms=self.model.now_ms, **options)

    def view(self, target: Target, store: Any = None) -> Any:
        """The view of a target; one call of the store counted."""
        StoreMachine.operations += 1
        space, prefix = target
        view = self.manual.db if store is None else store
        view = view if space == "default" else view.keyspace(space)
        return view.prefixed(prefix) if prefix else view

    def rows(self, target: Target) -> dict[bytes, Row]:
        """What the model holds for a target."""
        return self.model.live(*target)

    # Writing

    @rule(target_=TARGETS, key=KEYS, value=VALUES, ttl=st.none() | st.integers(1, 5000))
    def put(self, target_: Target, key: bytes, value: bytes, ttl: int | None) -> None:
        view = self.view(target_)
        revision = view.put(key, value, ttl=None if ttl is None else timedelta(milliseconds=ttl))
        self.model.wrote(revision)
        self.model.put(target_[0], target_[1] + key, value, revision, ttl)

    @rule(target_=TARGETS, key=KEYS, value=VALUES, kind=st.sampled_from(["absent", "present", "at", "equals", "stale"]))
    def put_if(self, target_: Target, key: bytes, value: bytes, kind: str) -> None:
        found = self.rows(target_).get(key)
        condition, holds = {
            "absent": (kvarts.ABSENT, found is None),
            "present": (kvarts.PRESENT, found is not None),
            "at": (kvarts.AtRevision(found.revision if found else 1), found is not None),
            "equals": (kvarts.Equals(found.value if found else b""), found is not None),
            "stale": (kvarts.AtRevision(self.model.revision + 1), False),
        }[kind]
        if not holds:
            with pytest.raises(kvarts.ConditionFailed) as caught:
                self.view(target_).put(key, value, if_=condition)
            assert caught.value.entry == (found and (found.value, found.revision))
            return
        revision = self.view(target_).put(key, value, if_=condition)
        self.model.wrote(revision)
        self.model.put(target_[0], target_[1] + key, value, revision)

    @rule(target_=TARGETS, key=KEYS, by=st.integers(-(2**40), 2**40))
    def incr(self, target_: Target, key: bytes, by: int) -> None:
        found = self.rows(target_).get(key)
        try:
            total = self.view(target_).incr(key, by)
        except kvarts.CodecError:
            assert found is not None
            assert found.value not in (b"1", b"41", b"-7")
            return
        assert total == by + (int(found.value) if found else 0)
        self.model.wrote(self.manual.db.revision)
        self.model.keep_expiry(target_[0], target_[1] + key, b"%d" % total, self.model.revision)

    @rule(target_=TARGETS, key=KEYS)
    def delete(self, target_: Target, key: bytes) -> None:
        self.model.wrote(self.view(target_).delete(key))
        self.model.delete(target_[0], target_[1] + key)

    @rule(writes=WRITES)
    def batch(self, writes: list[tuple[Target, bytes, bytes | None]]) -> None:
        with self.view(("default", b"")).batch() as batch:
            for (space, prefix), key, value in writes:
                face = batch if space == "default" else batch.keyspace(space)
                if value is None:
                    face.delete(prefix + key)
                else:
                    face.put(prefix + key, value)
        StoreMachine.operations += len(writes)
        assert (batch.revision is None) == (not writes)
        if batch.revision is not None:
            self.model.wrote(batch.revision)
        for (space, prefix), key, value in writes:
            if value is None:
                self.model.delete(space, prefix + key)
            else:
                self.model.put(space, prefix + key, value, self.model.revision)

    @rule(
        target_=TARGETS, rows=st.lists(st.tuples(KEYS, VALUES), max_size=12), verb=st.sampled_from(["many", "update"])
    )
    def put_many(self, target_: Target, rows: list[tuple[bytes, bytes]], verb: str) -> None:
        view = self.view(target_)
        if verb == "many":
            assert view.put_many(rows) == self.manual.db.revision
        else:
            view.update(rows)
        StoreMachine.operations += len(rows)
        if rows:
            self.model.wrote(self.manual.db.revision)
        for key, value in rows:
            self.model.put(target_[0], target_[1] + key, value, self.model.revision)

    @rule(target_=TARGETS, keys=st.lists(KEYS, max_size=8))
    def delete_many(self, target_: Target, keys: list[bytes]) -> None:
        revision = self.view(target_).delete_many(keys)
        if keys:
            self.model.wrote(revision)
        for key in keys:
            self.model.delete(target_[0], target_[1] + key)

    @rule(target_=TARGETS, key=KEYS, verb=st.sampled_from(["del", "pop", "popitem", "setdefault"]))
    def change(self, target_: Target, key: bytes, verb: str) -> None:
        rows, view = self.rows(target_), self.view(target_)
        if verb == "popitem":
            key = min(rows, default=b"")
        if verb == "setdefault":
            assert view.setdefault(key, b"0") == (rows[key].value if key in rows else b"0")
            if key not in rows:
                self.model.wrote(self.manual.db.revision)
                self.model.put(target_[0], target_[1] + key, b"0", self.model.revision)
            return
        calls: dict[str, Any] = {
            "del": lambda: view.__delitem__(key),
            "pop": lambda: view.pop(key),
            "popitem": view.popitem,
        }
        try:
            answer = calls[verb]()
        except kvarts.KeyNotFound:
            assert key not in rows
            return
        value = rows[key].value
        assert answer == {"del": None, "pop": value, "popitem": (key, value)}[verb]
        self.model.wrote(self.manual.db.revision)
        self.model.delete(target_[0], target_[1] + key)

    @rule(target_=TARGETS, start=st.none() | KEYS, stop=st.none() | KEYS, everything=st.booleans())
    def delete_range(self, target_: Target, start: bytes | None, stop: bytes | None, everything: bool) -> None:
        view = self.view(target_)
        if everything and stop is None:
            view.clear()
            start = None
        else:
            del view[start:stop]
        self.model.revision = max(self.model.revision, self.manual.db.revision)
        for key in self.rows(target_):
            if (start is None or key >= start) and (stop is None or key < stop):
                self.model.delete(target_[0], target_[1] + key)

    # Reading

    @rule(target_=TARGETS, keys=st.lists(KEYS, min_size=1, max_size=6))
    def get(self, target_: Target, keys: list[bytes]) -> None:
        rows, view = self.rows(target_), self.view(target_)
        StoreMachine.operations += 3 * len(keys)
        found = [rows.get(key) for key in keys]
        assert view.get_many(keys) == [row and row.value for row in found]
        for key, row in zip(keys, found, strict=True):
            assert view.get(key) == (row and row.value)
            assert view.entry(key) == (row and (row.value, row.revision))
            assert (key in view) == (row is not None)

    @rule(
        target_=TARGETS, bounds=BOUNDS, reverse=st.booleans(), limit=st.none() | st.integers(0, 9), flush=st.booleans()
    )
    def scan(self, target_: Target, bounds: dict[str, Any], reverse: bool, limit: int | None, flush: bool) -> None:
        wanted = within(self.rows(target_), **bounds)
        wanted = (wanted[::-1] if reverse else wanted)[:limit]
        scan = self.view(target_).scan(**bounds, reverse=reverse, limit=limit)
        if flush:
            self.manual.db.flush()
        assert list(scan) == wanted

    @rule(target_=TARGETS, bounds=BOUNDS, step=st.sampled_from([None, -1]))
    def slice_and_whole(self, target_: Target, bounds: dict[str, Any], step: int | None) -> None:
        rows, view = self.rows(target_), self.view(target_)
        wanted = within(rows, bounds["start"], bounds["stop"])
        assert list(view[bounds["start"] : bounds["stop"] : step]) == (wanted[::-1] if step else wanted)
        assert list(view) == list(rows)
        assert list(reversed(view)) == list(rows)[::-1]
        assert bool(view) == bool(rows)
        assert len(view) == len(rows)
        StoreMachine.operations += 4

    # What is held open while the store moves on

    @precondition(lambda self: len(self.snapshots) < 4)
    @rule()
    def take_snapshot(self) -> None:
        StoreMachine.operations += 1
        frozen = {target: self.rows(target) for target in (("default", b""), ("other", b""), ("default", b"a"))}
        self.view(("other", b""))  # the keyspace is there before the snapshot is
        self.snapshots.append(Frozen(self.manual.db.snapshot(), frozen))

    @precondition(lambda self: self.snapshots)
    @rule(data=st.data(), key=KEYS, let_go=st.booleans())
    def read_snapshot(self, data: st.DataObject, key: bytes, let_go: bool) -> None:
        taken = data.draw(st.sampled_from(self.snapshots))
        for target, rows in taken.wanted.items():
            view = self.view(target, taken.view)
            assert list(view.items()) == [(name, row.value) for name, row in rows.items()]
            assert view.get(key) == (rows[key].value if key in rows else None)
        if let_go:
            taken.view.close()
            self.snapshots.remove(taken)

    @precondition(lambda self: len(self.scans) < 4)
    @rule(target_=TARGETS, reverse=st.booleans())
    def start_scan(self, target_: Target, reverse: bool) -> None:
        wanted = within(self.rows(target_), None, None)
        self.scans.append(Frozen(self.view(target_).scan(reverse=reverse), wanted[::-1] if reverse else wanted))

    @precondition(lambda self: self.scans)
    @rule(data=st.data(), steps=st.integers(1, 20))
    def step_scan(self, data: st.DataObject, steps: int) -> None:
        scan = data.draw(st.sampled_from(self.scans))
        for _ in range(steps):
            StoreMachine.operations += 1
            row = next(scan.view, None)
            assert row == (scan.wanted.pop(0) if scan.wanted else None)
            if row is None:
                self.scans.remove(scan)
                return

    # The store's life

    @rule(by_ms=st.sampled_from([1, 100, 2500, 10_000]))
    def advance_clock(self, by_ms: int) -> None:
        self.manual.advance(by_ms)
        self.model.now_ms = self.manual.now_ms

    @rule(target_=TARGETS, verb=st.sampled_from(["flush", "compact", "compact", "verify"]))
    def care(self, target_: Target, verb: str) -> None:
        answer = getattr(self.view(target_), verb)()
        if verb == "verify":
            assert answer.ok, answer

    @rule(options=OPTIONS)
    def reopen(self, options: dict[str, Any]) -> None:
        self.snapshots.clear()
        self.scans.clear()
        self.manual.reopen(**options)
        StoreMachine.operations += 2

    @rule()
    def checkpoint(self) -> None:
        path = self.folder / f"copy{self.checkpoints}"
        self.checkpoints += 1
        assert self.manual.db.checkpoint(path) == self.manual.db.revision
        with ManualStore(path, now_ms=self.model.now_ms, log_bytes=64 << 10) as copy:
            for target in (("default", b""), ("other", b"")):
                assert dict(self.view(target, copy.db)) == {key: row.value for key, row in self.rows(target).items()}
        shutil.rmtree(path)

    @invariant()
    def revision_stands(self) -> None:
        if hasattr(self, "manual"):
            assert self.manual.db.revision >= self.model.revision

    def teardown(self) -> None:
        if hasattr(self, "manual"):
            for target in (("default", b""), ("other", b"")):
                assert dict(self.view(target)) == {key: row.value for key, row in self.rows(target).items()}
            self.manual.db.close()
        shutil.rmtree(self.folder)
