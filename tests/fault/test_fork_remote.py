"""A remote store in a forked child makes connections of its own and leaves its parent's alone."""

import asyncio
import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import kvarts
from tests.tiny import Tiny

pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")

Db = kvarts.Store[bytes, bytes]


@pytest.fixture
def tiny() -> Iterator[Tiny]:
    """A cluster of one."""
    with Tiny() as one:
        yield one


def _in_child(action: Callable[[], object]) -> str:
    """Forks, runs `action` in the child, and returns what came of it."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            answer = repr(action())
        except BaseException as error:
            answer = repr(error)
        os.write(writing, answer.encode())
        os._exit(0)
    os.close(writing)
    with open(reading, "rb") as pipe:
        answer = pipe.read().decode()
    assert os.waitpid(child, 0)[1] == 0, "the child crashed"
    return answer


def test_child_reconnects_and_both_go_on(tiny: Tiny) -> None:
    with kvarts.open(tiny.uri) as db:
        assert db.incr(b"n") == 1
        assert _in_child(lambda: [db.incr(b"n"), db.get(b"n")]) == "[2, b'2']"
        assert db.incr(b"n") == 3, "the child's session was its own"


def test_views_scans_and_batches_go_on_in_the_child(tiny: Tiny) -> None:
    with kvarts.open(tiny.uri) as db:
        db.put_many((b"%05d" % number, b"v") for number in range(3000))
        scan, snapshot, batch = db.scan().keys(), db.snapshot(), db.batch()
        assert next(scan) == b"00000"
        db.clear()
        assert _in_child(lambda: len(list(scan))) == "2999"
        assert _in_child(lambda: len(snapshot)) == "3000"
        batch[b"a"] = b"1"
        with batch:
            pass
        assert db[b"a"] == b"1"


def test_close_and_drop_in_the_child_leave_the_parent_alone(tiny: Tiny) -> None:
    db = kvarts.open(tiny.uri)
    db[b"a"] = b"1"
    held = [db]
    assert _in_child(db.close) == "None"
    assert _in_child(held.clear) == "None"
    assert db[b"a"] == b"1"
    db.close()


def test_child_of_a_child(tiny: Tiny) -> None:
    with kvarts.open(tiny.uri) as db:
        db[b"a"] = b"1"
        assert "b'1'" in _in_child(lambda: (db[b"a"], _in_child(lambda: db[b"a"])))
        assert db[b"a"] == b"1"


def test_async_store_in_a_child(tiny: Tiny) -> None:
    async def opened() -> kvarts.AsyncStore[bytes, bytes]:
        db = await kvarts.open_async(tiny.uri)
        await db.put(b"a", b"1")
        return db

    async def read(db: kvarts.AsyncStore[bytes, bytes]) -> Any:
        return await db[b"a"]

    db = asyncio.run(opened())
    assert _in_child(lambda: asyncio.run(read(db))) == "b'1'"
    assert asyncio.run(read(db)) == b"1"
    asyncio.run(db.close())
