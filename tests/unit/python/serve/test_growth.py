"""Shards that split by themselves on three nodes, once they are larger than was said."""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import kvarts
from kvarts.node import growth
from kvarts.node.words import Word, encode
from kvarts.remote.admin import call
from kvarts.statemachine.python_commands import CommandKind, pack_command
from tests.unit.python.serve.nodes import Cluster, cluster, until

MIB = 1 << 20
ROW_BYTES = 1000


@pytest.fixture
def nodes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    monkeypatch.setattr(growth, "MEASURE_MS", 200)
    monkeypatch.setattr(growth, "DECIDE_MS", 50)
    with cluster(tmp_path) as running:
        yield running


def _rows(prefix: bytes, count: int) -> dict[bytes, bytes]:
    drawn = random.Random(prefix)
    return {prefix + b"%05d" % at: drawn.randbytes(ROW_BYTES) for at in range(count)}


def _open(nodes: Cluster, name: str, **layout: Any) -> Any:
    return kvarts.open(f"{nodes.uri}/{name}?timeout=30", **layout)


def _limit(nodes: Cluster, name: str, *size: str) -> str:
    typed = [sys.executable, "-m", "kvarts", "cluster", "limit-shards", nodes.uri, name, *size]
    done = subprocess.run(typed, capture_output=True, text=True, check=False)
    return done.stdout if done.returncode == 0 else done.stderr


def _shards(nodes: Cluster, name: str) -> list[dict[str, Any]]:
    return [each for each in call(nodes.uri, "shards")["shards"] if each["keyspace"] == name]


def _flush(nodes: Cluster) -> None:
    """Put all into tables, which alone are measured."""
    for node in nodes.nodes.values():
        for group in node.muscle.groups():
            node.muscle.flush(group)


def _are_small(nodes: Cluster, name: str, limit: int) -> bool:
    """Return whether every shard's leader has measured it since it is what it is, and none is too large or splits."""
    _flush(nodes)
    told = _shards(nodes, name)
    measured = {
        (shard, measure.epoch): measure.size
        for node in nodes.nodes.values()
        for shard, measure in node.loop._growth._measures.copy().items()
    }
    sizes = [measured.get((each["id"], each["epoch"])) for each in told]
    return not any(each["splitting"] for each in told) and all(size is not None and size <= limit for size in sizes)


@pytest.mark.parametrize("layout", [{"shards": 1}, {"ordered": True}, {"shards": 2, "partition": kvarts.Until(b"/")}])
def test_shards_are_split_until_none_is_larger_than_was_said(nodes: Cluster, layout: dict[str, Any]) -> None:
    rows = {key: row for part in range(40) for key, row in _rows(b"part%02d/" % part, 100).items()}
    with _open(nodes, "grown", **layout) as db:
        db.put_many(rows)
        _flush(nodes)
        assert "not split" in _limit(nodes, "grown")
        first = len(_shards(nodes, "grown"))
        assert _limit(nodes, "grown", "1MiB") == "shards of grown are split beyond 1,048,576 bytes\n"
        until(lambda: _are_small(nodes, "grown", MIB), "shards stay too large")
        count = len(_shards(nodes, "grown"))
        # Each holds half of the limit, about, at least: 4 MB of rows.
        assert first + 2 <= count <= 12
        assert {each["limit"] for each in _shards(nodes, "grown")} == {MIB}
        assert dict(db) == rows
        # Once nothing more is to be split, shards grow.
        assert "not split" in _limit(nodes, "grown", "off")
        db.put_many(_rows(b"more/", 3000))
        _flush(nodes)
        assert len(_shards(nodes, "grown")) == count
        assert len(db) == len(rows) + 3000


def test_what_belongs_together_is_never_cut(nodes: Cluster) -> None:
    with _open(nodes, "one", shards=1, partition=kvarts.Until(b"/")) as db:
        db.put_many(_rows(b"all/", 3000))
        _flush(nodes)
        _limit(nodes, "one", "1MiB")
        until(lambda: any(node.loop._growth._told for node in nodes.nodes.values()), "nobody says so")
        assert len(_shards(nodes, "one")) == 1
        with db.batch() as batch:
            batch.put(b"all/00001", b"x")
            batch.put(b"all/02999", b"x")


@pytest.mark.parametrize(
    "step", [b"\x02\x01garbage", pack_command(CommandKind.SHARD_MAP, {"do": "of a later version"})]
)
def test_a_step_that_the_leader_cannot_read_is_left_alone(nodes: Cluster, step: bytes) -> None:
    leader = nodes.leader()
    for node in nodes.nodes.values():
        node.muscle.tell(leader.number, encode(Word((step,))))
    assert leader.loop.conductor.take(encode(Word((step,)))) == []
    with _open(nodes, "goes-on", shards=1) as db:
        db.put(b"a", b"1")


def test_bad_limits_are_refused(nodes: Cluster) -> None:
    with _open(nodes, "some", shards=1), _open(nodes, "none"):
        assert "at least 1,048,576 bytes" in _limit(nodes, "some", "1000")
        assert "at least 1,048,576 bytes" in _limit(nodes, "some", "0.5")
        assert "is not a size" in _limit(nodes, "some", "much")
        assert "no shards of its own" in _limit(nodes, "none", "1GiB")
        assert "no keyspace 'absent'" in _limit(nodes, "absent", "1GiB")
        assert "not split by themselves" in _limit(nodes, "some")
