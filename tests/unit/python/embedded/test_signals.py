"""Ctrl-C ends the long loops that run no line of Python: a signal's handler is called between two chunks."""

import gc
import signal
from collections.abc import Callable, Iterator

import pytest

import kvarts

Db = kvarts.Store[bytes, bytes]
ROWS = [(b"%08d" % number, b"v") for number in range(400_000)]


class Stop(Exception):
    """What the handler raises."""


@pytest.fixture
def stop_soon() -> Iterator[Callable[[], object]]:
    """A call after which a signal comes in a millisecond, whose handler raises.

    The collector rests: hypothesis gives it a callback in Python, and what a handler raises in there is swallowed.
    """

    def stop(_number: int, _frame: object) -> None:
        raise Stop

    before = signal.signal(signal.SIGALRM, stop)
    gc.disable()
    yield lambda: signal.setitimer(signal.ITIMER_REAL, 0.001)
    signal.setitimer(signal.ITIMER_REAL, 0)
    gc.enable()
    signal.signal(signal.SIGALRM, before)


@pytest.fixture(scope="module")
def db() -> Iterator[Db]:
    with kvarts.open() as db:
        db.put_many(ROWS)
        yield db


def test_reads_stop(db: Db, stop_soon: Callable[[], object]) -> None:
    rows: list[tuple[bytes, bytes]] = []
    found: dict[bytes, bytes] = {}
    keys: list[bytes] = []
    reads: list[Callable[[], None]] = [
        lambda: rows.extend(db.scan()),
        lambda: keys.extend(db),
        lambda: found.update(db),
    ]
    for read in reads:
        with pytest.raises(Stop):
            stop_soon()
            read()
    assert max(len(rows), len(keys), len(found)) < len(ROWS)


def test_dict_of_a_scan_stops(db: Db, stop_soon: Callable[[], object]) -> None:
    found: dict[bytes, bytes] = {}
    scan = db.scan()
    with pytest.raises(Stop):
        stop_soon()
        found.update(scan)
    assert len(found) < len(ROWS)


def test_writes_stop_between_chunks(stop_soon: Callable[[], object]) -> None:
    with kvarts.open() as db:
        writes: list[Callable[[], object]] = [lambda: db.put_many(ROWS), lambda: db.update(ROWS)]
        for write in writes:
            with pytest.raises(Stop):
                stop_soon()
                write()
            assert len(db) < len(ROWS)
