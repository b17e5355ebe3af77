"""Readers beside a writer while flushes and compactions run: every read is of one moment, and time never goes back."""

import threading
from pathlib import Path
from typing import Any

import pytest

import kvarts
from tests.fault.workload import TINY, options

KEYS = [b"%03d" % number for number in range(50)]
ROUNDS = 600


class _Readers:
    """Threads that read until they are told to stop, and keep what went wrong."""

    def __init__(self, *reads: Any) -> None:
        self.stopping = threading.Event()
        self.errors: list[BaseException] = []
        self.passes = [0] * len(reads)
        self.threads = [threading.Thread(target=self._loop, args=(number, read)) for number, read in enumerate(reads)]
        for thread in self.threads:
            thread.start()

    def _loop(self, number: int, read: Any) -> None:
        try:
            while not self.stopping.is_set():
                read()
                self.passes[number] += 1
        except BaseException as error:
            self.errors.append(error)

    def stop(self) -> None:
        """Ends them and raises the first thing that went wrong."""
        self.stopping.set()
        for thread in self.threads:
            thread.join()
        if self.errors:
            raise self.errors[0]
        assert all(self.passes), "a reader never got to read"


def _number(value: bytes | None) -> int:
    assert value is not None
    return int(value[:8])


@pytest.mark.parametrize("durability", ["batch", "none"])
def test_two_readers_one_writer_and_compaction(tmp_path: Path, durability: Any) -> None:
    with kvarts.open(tmp_path / "s", **options(durability)) as db:
        db.update(dict.fromkeys(KEYS, b"%08d" % 0))
        newest = [0]

        def by_get_many() -> None:
            numbers = {_number(value) for value in db.get_many(KEYS)}
            assert len(numbers) == 1, f"get_many saw two moments: {numbers}"

        def by_scan_and_get() -> None:
            before = newest[0]
            assert _number(db.get(KEYS[7])) >= before, "a read went back in time"
            rows = list(db.scan(reverse=True))
            assert [key for key, _ in rows] == KEYS[::-1]
            assert len({_number(value) for _, value in rows}) == 1
            newest[0] = max(before, _number(rows[0][1]))

        readers = _Readers(by_get_many, by_scan_and_get)
        try:
            for number in range(1, ROUNDS):
                db.update({key: b"%08d" % number + bytes(100) for key in KEYS})
                if number % 100 == 0:
                    db.compact()
        finally:
            readers.stop()
        assert db.stats().compactions > 0
        assert db.stats().flushes > 0


def test_snapshots_stand_still_beside_a_writer(tmp_path: Path) -> None:
    with kvarts.open(tmp_path / "s", **TINY) as db:
        db.update(dict.fromkeys(KEYS, b"%08d" % 0))

        def by_snapshot() -> None:
            with db.snapshot() as snapshot:
                first = dict(snapshot)
                assert dict(snapshot) == first
                assert len({_number(value) for value in first.values()}) == 1

        readers = _Readers(by_snapshot, by_snapshot)
        try:
            for number in range(1, ROUNDS):
                db.update({key: b"%08d" % number + bytes(100) for key in KEYS})
        finally:
            readers.stop()
        assert db.stats().snapshots == 0


def test_writers_count_without_losing_one(tmp_path: Path) -> None:
    with kvarts.open(tmp_path / "s", **TINY) as db:
        threads = [threading.Thread(target=lambda: [db.incr(b"n") for _ in range(2000)]) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert db[b"n"] == b"8000"


def test_compare_and_set_lets_one_win(tmp_path: Path) -> None:
    with kvarts.open(tmp_path / "s") as db:
        wins: list[int] = []

        def claim(number: int) -> None:
            for slot in range(500):
                try:
                    db.put(b"%d" % slot, b"%d" % number, if_=kvarts.ABSENT)
                except kvarts.ConditionFailed:
                    continue
                wins.append(slot)

        threads = [threading.Thread(target=claim, args=(number,)) for number in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(wins) == list(range(500))


def test_close_beside_calls_on_other_threads(tmp_path: Path) -> None:
    """They finish, or are told that the store is closed; none crashes, and what was acknowledged is there."""
    db = kvarts.open(tmp_path / "s", **TINY)
    acknowledged: list[set[bytes]] = [set(), set()]
    started = threading.Barrier(3)

    def write(number: int) -> None:
        started.wait()
        for count in range(1_000_000):
            key = b"%d/%d" % (number, count)
            try:
                db.put(key, bytes(100))
            except kvarts.ClosedError:
                return
            acknowledged[number].add(key)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    started.wait()
    while min(map(len, acknowledged)) < 500:
        db.get(b"none")
    db.close()
    for thread in threads:
        thread.join()
    with kvarts.open(tmp_path / "s") as again:
        assert set(again) >= acknowledged[0] | acknowledged[1]
