"""A write whose answer is lost takes place once, also where the shard was split before it is sent again."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import kvarts
from kvarts.remote.admin import call
from tests.unit.python.serve.nodes import Cluster, cluster, until
from tests.unit.python.serve.relay import Relay

LOW, HIGH = b"a" * 1000, b"x" * 1000
"""So long that the relay sees a write of them go by: nothing else that a client sends is as long."""


class Scene:
    """A cluster of one node, and a store that reaches it by a relay."""

    def __init__(self, nodes: Cluster, relay: Relay, pool: ThreadPoolExecutor) -> None:
        self._nodes, self.relay, self.pool = nodes, relay, pool
        self.relayed_uri = f"kvarts://{relay.address}/halved?timeout=20"
        self.direct: Any = kvarts.open(f"{nodes.uri}/halved?timeout=20", ordered=True, value=kvarts.U64)
        self.relayed: Any = kvarts.open(self.relayed_uri, value=kvarts.U64)

    def split(self) -> None:
        """Let the keyspace end at "m", and another shard begin there."""
        call(self._nodes.uri, "split", {"keyspace": "halved", "at": b"m".hex()})

        def done() -> bool:
            told = call(self._nodes.uri, "split", {"keyspace": "halved", "into": 2, "watch": True})
            return bool(told["shards"] == 2 and not told["splitting"])

        until(done, "the split does not end")

    def lose_answer_of(self, write: Callable[[], object]) -> Future[object]:
        """Send a write of which the client hears nothing; `break_link` lets it send it again."""
        self.relay.lose()
        before = self.relay.sent
        asked = self.pool.submit(write)
        until(lambda: self.relay.sent - before > 900, "the write is not sent")
        return asked

    def break_link(self) -> None:
        """Break the connection: the client learns that there will be no answer."""
        self.relay.cut()


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    with cluster(tmp_path, 1) as nodes, Relay(nodes.leader().address) as relay, ThreadPoolExecutor(2) as pool:
        scene = Scene(nodes, relay, pool)
        with scene.direct, scene.relayed:
            yield scene


def _old_map_new_session(scene: Scene) -> None:
    """Let the store have the map of before the split, and a session that the lower half opened after it."""
    scene.split()
    scene.relayed[b"a"] = 1


def test_a_write_is_sent_again_to_the_half_that_never_knew_its_session(scene: Scene) -> None:
    _old_map_new_session(scene)
    asked = scene.lose_answer_of(lambda: scene.relayed.incr(HIGH))
    scene.break_link()
    assert asked.result(30) == 1
    assert scene.relayed.incr(HIGH) == 2
    assert scene.direct[HIGH] == 2


def test_a_write_of_both_halves_is_sent_again_to_each(scene: Scene) -> None:
    _old_map_new_session(scene)
    asked = scene.lose_answer_of(lambda: scene.relayed.put_many({LOW: 1, HIGH: 2}))
    scene.break_link()
    asked.result(30)
    assert dict(scene.direct) == {b"a": 1, LOW: 1, HIGH: 2}


def test_a_write_that_was_done_before_the_split_is_not_done_again(scene: Scene) -> None:
    scene.relayed[b"a"] = 1
    asked = scene.lose_answer_of(lambda: scene.relayed.incr(HIGH))
    until(lambda: scene.direct.get(HIGH) == 1, "the write does not take place")
    scene.split()
    scene.direct.incr(HIGH, 10)
    scene.break_link()
    assert asked.result(30) == 1
    assert scene.direct[HIGH] == 11


def test_a_batch_that_was_done_before_its_shard_was_split_is_known_to_be_done(scene: Scene) -> None:
    def write() -> None:
        with scene.relayed.batch() as batch:
            batch[LOW] = 1
            batch[HIGH] = 2

    scene.relayed[b"a"] = 1
    asked = scene.lose_answer_of(write)
    until(lambda: scene.direct.get(HIGH) == 2, "the batch does not take place")
    scene.split()
    scene.break_link()
    asked.result(30)
    with pytest.raises(kvarts.CrossShard):
        write()


def test_a_batch_that_came_too_late_for_its_shard_did_not_take_place(scene: Scene) -> None:
    def write() -> None:
        with scene.relayed.batch() as batch:
            batch[LOW] = 1
            batch[HIGH] = 2

    _old_map_new_session(scene)
    asked = scene.lose_answer_of(write)
    scene.break_link()
    with pytest.raises(kvarts.CrossShard) as refused:
        asked.result(30)
    assert not refused.value.maybe_applied
    assert dict(scene.direct) == {b"a": 1}


def test_a_range_that_was_cleared_before_the_split_is_not_cleared_again(scene: Scene) -> None:
    scene.relayed.put_many({LOW: 1, HIGH: 2})
    # The first of the range is as long as a key.
    asked = scene.lose_answer_of(lambda: scene.relayed.__delitem__(slice(LOW, None)))
    until(lambda: not scene.direct, "the range is not cleared")
    scene.split()
    scene.direct.put_many({LOW: 3, HIGH: 4})
    scene.break_link()
    asked.result(30)
    assert dict(scene.direct) == {LOW: 3, HIGH: 4}


def test_a_range_that_a_split_cuts_is_cleared_in_both_halves(scene: Scene) -> None:
    _old_map_new_session(scene)
    scene.direct.put_many({LOW: 3, HIGH: 4})
    asked = scene.lose_answer_of(lambda: scene.relayed.__delitem__(slice(LOW, None)))
    scene.break_link()
    asked.result(30)
    assert dict(scene.direct) == {b"a": 1}


def test_more_writes_than_a_session_holds_find_the_half_that_is_theirs(scene: Scene) -> None:
    rows = {b"x%04d" % number: number for number in range(2_500)}
    opened, go = threading.Event(), threading.Event()

    async def write() -> None:
        async with await kvarts.open_async(scene.relayed_uri, value=kvarts.U64) as db:
            await db.put(b"a", 1)
            opened.set()
            await asyncio.to_thread(go.wait)
            await asyncio.gather(*(db.put(key, value) for key, value in rows.items()))

    asked = scene.pool.submit(lambda: asyncio.run(write()))
    opened.wait()
    scene.split()
    # What the session of the lower half lets through is refused after the rest has begun to wait for it.
    scene.relay.hold()
    before = scene.relay.sent
    go.set()
    until(lambda: scene.relay.sent - before > 20_000, "the writes are not sent")
    scene.relay.release()
    asked.result(60)
    assert dict(scene.direct) == {b"a": 1, **rows}
