"""The async face: what is awaited, what is iterated, and that it keeps up with the sync one."""

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

import kvarts
from kvarts.remote.store import RemoteBatch, RemoteScan, RemoteStore
from tests.tiny import Tiny

Adb = kvarts.AsyncStore[bytes, bytes]


@pytest.fixture
def play(three: Tiny) -> Callable[[Callable[[Adb], Awaitable[Any]]], Any]:
    """Runs a coroutine function on a store in a loop of its own."""

    async def run(scene: Callable[[Adb], Awaitable[Any]]) -> Any:
        async with kvarts.open_async(three.uri, timeout=20) as db:
            return await scene(db)

    return lambda scene: asyncio.run(run(scene))


Play = Callable[[Callable[[Adb], Awaitable[Any]]], Any]


def test_verbs_are_awaited(play: Play) -> None:
    async def scene(db: Adb) -> None:
        revision = await db.put(b"a", b"1")
        assert await db[b"a"] == await db.get(b"a") == b"1"
        assert await db.entry(b"a") == (b"1", revision)
        assert await db.revision == revision
        assert await db.contains(b"a")
        assert await db.incr(b"n", 2) == 2
        assert await db.get_many([b"n", b"x"]) == [b"2", None]
        await db.update({b"b": b"2"})
        assert await db.count() == 3
        assert await db.pop(b"b") == b"2"
        with pytest.raises(kvarts.KeyNotFound):
            await db[b"b"]
        await db.remove(b"n")
        with pytest.raises(kvarts.KeyNotFound):
            await db.remove(b"n")
        assert await db.popitem() == (b"a", b"1")
        assert not await db.any()

    play(scene)


def test_scans_are_iterated(play: Play) -> None:
    async def scene(db: Adb) -> None:
        keys = [b"%05d" % number for number in range(3000)]
        await db.put_many((key, b"v") for key in keys)
        assert [key async for key in db] == keys
        assert [key async for key, _ in db.scan(reverse=True)] == keys[::-1]
        assert [value async for value in db.scan(limit=2).values()] == [b"v"] * 2
        assert [len(rows) async for rows in db.scan().keys().chunks(2000)] == [2000, 1000]
        assert [key async for key, _ in db[b"00010":b"00012"]] == keys[10:12]
        scan = db.scan()
        assert await anext(scan) == (keys[0], b"v")
        await db.clear()
        assert len([row async for row in scan]) == 2999, "as of its first row"
        await db.put(b"a", b"1")
        assert await db.delete_range(b"a", b"b") == await db.revision
        async with db.scan() as scan:
            pass
        assert [row async for row in scan] == []

    play(scene)


def test_batch_and_snapshot_are_entered(play: Play) -> None:
    async def scene(db: Adb) -> None:
        async with db.batch() as batch:
            batch[b"a"] = b"1"
            (await batch.keyspace("other"))[b"b"] = b"2"
        async with db.snapshot() as at:
            await db.put(b"a", b"2")
            assert await at[b"a"] == b"1"
            assert await at.revision == batch.revision
            with pytest.raises(kvarts.ReadOnlyError):
                await at.put(b"a", b"3")
        assert at.closed
        assert not db.closed
        other = await db.keyspace("other")
        assert await other[b"b"] == b"2"
        with pytest.raises(ZeroDivisionError):
            async with db.batch() as batch:
                batch[b"z"] = b"1"
                raise ZeroDivisionError
        assert await db.get(b"z") is None
        assert await db.prefixed(b"a").get(b"") == b"2"

    play(scene)


def test_many_tasks_go_out_together_and_none_waits_for_another(play: Play) -> None:
    async def scene(db: Adb) -> None:
        sums = await asyncio.gather(*(db.incr(b"n") for _ in range(3000)))
        assert sorted(sums) == list(range(1, 3001)), "more than a session's window are under way"
        assert await db[b"n"] == b"3000"

    play(scene)


def test_tasks_see_no_error_while_leaders_come_and_go(three: Tiny, play: Play) -> None:
    async def scene(db: Adb) -> None:
        async def count(worker: int) -> int:
            return [await db.incr(b"%d" % worker) for _ in range(100)][-1]

        workers = [asyncio.create_task(count(worker)) for worker in range(16)]
        for turn in range(4):
            leader, next_one = turn % 3 + 1, (turn + 1) % 3 + 1
            for line in ("swallow 1", f"lead {next_one}", f"kill {leader}"):
                await asyncio.to_thread(three.tell, line)
            await db.incr(b"turns")
            await asyncio.to_thread(three.tell, f"start {leader}")
        assert await asyncio.gather(*workers) == [100] * 16

    play(scene)


def test_errors_are_raised_where_awaited(three: Tiny, play: Play) -> None:
    async def scene(db: Adb) -> None:
        await db.put(b"a", b"1")
        three.tell("lead 0")
        with pytest.raises(kvarts.Unavailable):
            await db.get(b"a", timeout=0.1)
        with pytest.raises(kvarts.WrongType):
            await db.get("text")  # type: ignore[arg-type]

    play(scene)


def test_a_task_that_is_cancelled_leaves_the_others_alone(three: Tiny, play: Play) -> None:
    async def scene(db: Adb) -> None:
        await db.put(b"a", b"1")
        three.tell("lead 0")
        gone, stays = (asyncio.create_task(db.get(b"a")) for _ in range(2))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(gone, 0.05)
        three.tell("lead 1")
        assert await stays == b"1"

    play(scene)


@pytest.mark.parametrize("face", ["store", "view"])
def test_closing_ends_the_calls_that_are_under_way(three: Tiny, face: str) -> None:
    async def scene() -> None:
        db = await kvarts.open_async(three.uri, timeout=60)
        asked = db if face == "store" else db.prefixed(b"a")
        three.tell("lead 0")
        calls = [asyncio.create_task(call) for call in (asked.get(b"a"), asked.put(b"a", b"1"), asked.count())]
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.shield(calls[0]), 0.05)
        await db.close()
        ended = await asyncio.wait_for(asyncio.gather(*calls, return_exceptions=True), 10)
        assert [type(each) for each in ended] == [kvarts.ClosedError] * 3

    asyncio.run(scene())


def test_a_write_that_was_sent_before_the_store_was_closed_may_have_taken_place(one: Tiny) -> None:
    async def scene() -> None:
        db = await kvarts.open_async(one.uri, timeout=60)
        await db.put(b"a", b"1")
        one.tell("hang 1")
        call = asyncio.create_task(db.put(b"a", b"2"))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.shield(call), 0.3)
        await db.close()
        with pytest.raises(kvarts.CommitUnknown) as unknown:
            await asyncio.wait_for(call, 10)
        assert unknown.value.maybe_applied

    asyncio.run(scene())


def test_a_view_of_a_closed_store_has_the_loop_watch_nothing(one: Tiny) -> None:
    async def scene() -> None:
        db = await kvarts.open_async(one.uri)
        view = db.prefixed(b"a")
        await db.close()
        watched: list[int] = []
        asyncio.get_running_loop().add_reader = lambda fd, *_: watched.append(fd)  # type: ignore[method-assign]
        with pytest.raises(kvarts.ClosedError):
            await view.put(b"a", b"1")
        assert not watched

    asyncio.run(scene())


def test_a_store_goes_on_in_another_loop(one: Tiny) -> None:
    db = asyncio.run(_opened(one.uri))
    assert asyncio.run(_count(db)) == 1
    assert asyncio.run(_count(db)) == 2
    asyncio.run(db.close())
    with pytest.raises(kvarts.ClosedError):
        asyncio.run(_count(db))


async def _opened(uri: str) -> Adb:
    return await kvarts.open_async(uri)


async def _count(db: Adb) -> int:
    return await db.incr(b"n")


def test_open_fails_with_the_reason() -> None:
    async def scene() -> None:
        with pytest.raises(kvarts.Unavailable, match="refused"):
            await kvarts.open_async("kvarts://127.0.0.1:1?timeout=100ms")

    asyncio.run(scene())


# Parity

# What waits at once in the sync face has another way to be said in the async one.
OPERATORS = {"contains", "count", "any", "remove", "delete_range"}


def _public(kind: type) -> set[str]:
    return {name for name in dir(kind) if not name.startswith("_")}


@pytest.mark.parametrize(
    ("sync", "other", "more"),
    [
        (RemoteStore, kvarts.AsyncStore, OPERATORS),
        (RemoteScan, kvarts.AsyncScan, set()),
        (RemoteBatch, kvarts.AsyncBatch, set()),
    ],
    ids=["store", "scan", "batch"],
)
def test_both_faces_have_the_same_verbs_with_the_same_arguments(sync: type, other: type, more: set[str]) -> None:
    assert _public(other) == _public(sync) | more
    for name in sorted(_public(sync)):
        ours, theirs = inspect.getattr_static(sync, name), inspect.getattr_static(other, name)
        assert isinstance(ours, property) == isinstance(theirs, property), name
        if not isinstance(ours, property):
            assert _shape(ours) == _shape(theirs), name


def _shape(verb: Any) -> list[tuple[str, Any, Any]]:
    parameters = list(inspect.signature(verb).parameters.values())
    return [(each.name, each.kind, each.default) for each in parameters]


def test_a_remote_store_takes_what_any_store_takes() -> None:
    for name in sorted(_public(kvarts.Store)):
        wanted, given = inspect.getattr_static(kvarts.Store, name), inspect.getattr_static(RemoteStore, name)
        if isinstance(wanted, property) or not callable(wanted):
            continue
        names = [each.name for each in inspect.signature(wanted).parameters.values()]
        assert [name for name in inspect.signature(given).parameters if name in names] == names, name
