"""A store is shared between threads, a scan is not; close waits for calls in flight."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import kvarts
from kvarts.base.options import Durability


def in_thread(call: Callable[[], object]) -> BaseException | object:
    """Returns what a call returns or raises in another thread."""

    def guarded() -> object:
        try:
            return call()
        except kvarts.KvartsError as error:
            return error

    with ThreadPoolExecutor(1) as pool:
        return pool.submit(guarded).result()


def test_scan_in_another_thread_is_refused() -> None:
    with kvarts.open() as db:
        db[b"a"] = b"1"
        scan = db.scan()
        for use in (lambda: next(scan), scan.keys, lambda: scan.chunks(2), scan.close):
            assert isinstance(in_thread(use), kvarts.WrongThread)
        assert next(scan) == (b"a", b"1")


def test_incr_from_many_threads_counts_each() -> None:
    with kvarts.open(value=kvarts.Json) as numbers, kvarts.open(value=kvarts.U64) as words:
        with ThreadPoolExecutor(4) as pool:
            for db in (numbers, words):
                list(pool.map(lambda _, db=db: db.incr(b"n"), range(200)))
        assert (numbers[b"n"], words[b"n"]) == (200, 200)


def test_popitem_from_many_threads_gives_each_item_once() -> None:
    with kvarts.open(key=kvarts.U64, value=kvarts.Str) as db:
        db.update({number: str(number) for number in range(200)})
        with ThreadPoolExecutor(4) as pool:
            popped = list(pool.map(lambda _: db.popitem(), range(200)))
        assert sorted(popped) == [(number, str(number)) for number in range(200)]
        assert not db


@pytest.mark.parametrize("durability", ["sync", "batch"])
def test_close_beside_writers_keeps_what_was_acknowledged(tmp_path: Path, durability: Durability) -> None:
    db = kvarts.open(tmp_path / "s", durability=durability)
    acknowledged: list[int] = [0, 0]
    started = threading.Barrier(3)

    def write(writer: int) -> None:
        started.wait()
        try:
            while True:
                db[b"%d.%d" % (writer, acknowledged[writer])] = b"x"
                acknowledged[writer] += 1
        except kvarts.ClosedError:
            pass

    threads = [threading.Thread(target=write, args=(writer,)) for writer in range(2)]
    for thread in threads:
        thread.start()
    started.wait()
    while min(acknowledged) < 10:
        pass
    db.close()
    for thread in threads:
        thread.join()
    with kvarts.open(tmp_path / "s") as again:
        assert len(again) >= sum(acknowledged)
        assert all(again.get(b"%d.%d" % (writer, acknowledged[writer] - 1)) for writer in range(2))
