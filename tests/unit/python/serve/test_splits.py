"""Shards that split on three nodes while clients read and write: nothing is lost, nothing takes place twice."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

import kvarts
from kvarts.remote.admin import call
from tests.unit.python.serve.nodes import Cluster, cluster, until

ROWS = {b"user%03d" % number: b"%d" % number for number in range(500)}


@pytest.fixture
def nodes(tmp_path: Path) -> Iterator[Cluster]:
    with cluster(tmp_path) as running:
        yield running


def _open(nodes: Cluster, name: str, **layout: Any) -> Any:
    return kvarts.open(f"{nodes.uri}/{name}?timeout=30", **layout)


def _split(nodes: Cluster, name: str, **wish: Any) -> list[dict[str, Any]]:
    """Split until the keyspace has as many shards as are wished for; return them."""
    count = wish.get("into") or len(_shards(nodes, name)) + 1

    def done() -> bool:
        told = call(nodes.uri, "split", {"keyspace": name, **wish})
        return bool(told["shards"] >= count and not told["splitting"])

    if "at" in wish:
        call(nodes.uri, "split", {"keyspace": name, **wish})
        until(lambda: len(_shards(nodes, name)) == count, "the split does not end")
    else:
        until(done, "the splits do not end")
    return _shards(nodes, name)


def _shards(nodes: Cluster, name: str) -> list[dict[str, Any]]:
    return [each for each in call(nodes.uri, "shards")["shards"] if each["keyspace"] == name]


@contextmanager
def _beside(*works: Callable[[], None]) -> Iterator[None]:
    """Do work again and again on threads of its own, until the block ends. What it raises is raised there."""
    done, failed = threading.Event(), []

    def again(work: Callable[[], None]) -> None:
        try:
            while not done.is_set():
                work()
        except Exception as error:  # whatever it is, the test tells
            failed.append(error)

    threads = [threading.Thread(target=again, args=(work,)) for work in works]
    for each in threads:
        each.start()
    try:
        yield
    finally:
        done.set()
        for each in threads:
            each.join()
    assert not failed, failed


def test_both_halves_have_what_is_theirs_and_nothing_else(nodes: Cluster) -> None:
    with _open(nodes, "halves", shards=1) as db:
        db.put_many(ROWS)
        assert [each["start"] for each in _split(nodes, "halves", into=2)] == ["", "8000000000000000"]
        assert dict(db) == ROWS
        assert list(reversed(db)) == sorted(ROWS, reverse=True)
        assert len(db) == len(ROWS)
        db.put_many(dict.fromkeys(ROWS, b"new"))
        assert set(db.values()) == {b"new"}
    with _open(nodes, "halves") as again:
        assert again.get_many(sorted(ROWS)) == [b"new"] * len(ROWS)
        del again[b"user100":b"user400"]
        assert len(again) == 200
        again.clear()
        assert not again


def test_an_ordered_keyspace_is_split_at_a_key(nodes: Cluster) -> None:
    with _open(nodes, "ordered", ordered=True) as db:
        db.put_many(ROWS)
        scan = db.scan(b"user050", b"user450")
        before = [key for key, _ in zip(scan.keys(), range(10), strict=False)]
        for at in (b"user200", b"user100", b"user300"):
            _split(nodes, "ordered", at=at.hex())
        assert before == sorted(ROWS)[50:60]
        assert list(db.scan(b"user050", b"user450").keys()) == sorted(ROWS)[50:450]
        assert list(db.scan(None, b"user350", limit=300, reverse=True).keys()) == sorted(ROWS)[349:49:-1]
        with pytest.raises(kvarts.InvalidArgument, match="begins there already"):
            call(nodes.uri, "split", {"keyspace": "ordered", "at": b"user100".hex()})


def test_an_ordered_keyspace_is_split_where_half_of_its_bytes_are(nodes: Cluster) -> None:
    # The upper third of the keys has nearly all of the bytes.
    drawn = random.Random(1)
    rows = {b"k%05d" % at: drawn.randbytes(5 if at < 2_000 else 500) for at in range(3_000)}
    with _open(nodes, "lopsided", ordered=True) as db:
        db.put_many(rows)
        typed = [sys.executable, "-m", "kvarts", "cluster", "split", nodes.uri, "lopsided", "--json"]
        for count in (2, 4):
            done = subprocess.run([*typed, "--into", str(count)], capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stderr
            told = json.loads(done.stdout)["shards"]
            starts = [bytes.fromhex(each["start"]) for each in told] + [b"l"]
            sizes = [sum(len(rows[key]) for key in rows if low <= key < high) for low, high in pairwise(starts)]
            assert len(sizes) == count
            assert max(sizes) < 0.75 * sum(sizes) if count == 2 else max(sizes) < 0.5 * sum(sizes), (starts, sizes)
            assert dict(db) == rows


def test_an_ordered_keyspace_of_few_rows_has_no_middle(nodes: Cluster) -> None:
    with _open(nodes, "few", ordered=True) as db:
        db[b"a"] = b"1"
        typed = [sys.executable, "-m", "kvarts", "cluster", "split", nodes.uri, "few"]
        done = subprocess.run(typed, capture_output=True, text=True, check=False)
        assert done.returncode != 0
        assert "too few rows" in done.stderr
        assert "--at KEY" in done.stderr


def test_clients_notice_nothing_while_shards_become_twice_as_many(nodes: Cluster) -> None:
    counters = [b"counter%02d" % each for each in range(24)]
    added, written = [0] * 3, [0] * 2
    with _open(nodes, "busy", shards=8, value=kvarts.U64) as db:
        with _open(nodes, "rows", shards=8) as rows:
            rows.put_many(ROWS)

            def count(worker: int) -> None:
                db.incr(counters[(7 * worker + added[worker]) % len(counters)])
                added[worker] += 1

            def write(worker: int) -> None:
                number = written[worker]
                rows[b"w%d-%d" % (worker, number)] = b"%d" % number
                assert rows[b"w%d-%d" % (worker, number)] == b"%d" % number
                rows.put_many({b"m%d-%d-%d" % (worker, number, each): b"many" for each in range(20)})
                written[worker] = number + 1

            def scan() -> None:
                found = dict(rows.scan(b"user", b"usez"))
                assert found == ROWS, sorted(ROWS.keys() - found.keys())[:5]

            works = [lambda each=each: count(each) for each in range(3)]
            works += [lambda each=each: write(each) for each in range(2)]
            with _beside(*works, scan):
                assert len(_split(nodes, "busy", into=16)) == 16
                assert len(_split(nodes, "rows", into=16)) == 16
            kept = set(rows)
            for worker, count_ in enumerate(written):
                wanted = {b"w%d-%d" % (worker, number) for number in range(count_)}
                wanted |= {b"m%d-%d-%d" % (worker, number, each) for number in range(count_) for each in range(20)}
                assert wanted <= kept, sorted(wanted - kept)[:5]
        assert sum(db.values()) == sum(added)


def test_a_shard_that_has_just_begun_can_be_led_by_another(nodes: Cluster) -> None:
    with _open(nodes, "passed", shards=1) as db:
        db.put_many(ROWS)
        for shards in (4, 8):
            made = _split(nodes, "passed", into=shards)
            for each in made:
                # The leader has heard from nobody yet; who asks does not have to know.
                assert call(nodes.uri, "move-leader", {"shard": each["id"]})["leader"] in (1, 2, 3)
        assert dict(db) == ROWS


def test_a_snapshot_outlives_the_split_of_its_shard(nodes: Cluster) -> None:
    with _open(nodes, "pinned", shards=1) as db:
        db.put_many(ROWS)
        with db.snapshot() as snapshot:
            _split(nodes, "pinned", into=2)
            db.put_many(dict.fromkeys(ROWS, b"new"))
            assert dict(snapshot) == ROWS
            assert snapshot.get_many([b"user007", b"user499"]) == [b"7", b"499"]


def test_a_node_that_was_away_takes_its_halves_from_the_log(nodes: Cluster) -> None:
    with _open(nodes, "away", shards=2) as db:
        db.put_many(ROWS)
        away = nodes.nodes[2]
        away.drop()
        assert len(_split(nodes, "away", into=4)) == 4
        db.put_many(dict.fromkeys(ROWS, b"newer"))
        nodes.restart(away)
        others = nodes.nodes[1].muscle
        until(lambda: set(away.muscle.groups()) == set(others.groups()), "halves are missing")
        until(
            lambda: all(away.muscle.position(each)[0] >= others.position(each)[0] for each in others.groups()),
            "the node that was away does not catch up",
        )
        for number in (1, 3):
            nodes.nodes[number].drop()
            nodes.restart(nodes.nodes[number])
        assert set(db.values()) == {b"newer"}
        assert len(db) == len(ROWS)


@pytest.mark.parametrize(
    ("wish", "message"),
    [
        ({"keyspace": "nowhere", "into": 2}, "no keyspace"),
        ({"keyspace": "default", "into": 2}, "no shards of its own"),
        ({"keyspace": "ordered", "into": 2}, "split at keys"),
    ],
    ids=str,
)
def test_what_cannot_be_split_is_refused_with_a_hint(nodes: Cluster, wish: dict[str, Any], message: str) -> None:
    with _open(nodes, "default"), _open(nodes, "ordered", ordered=True):
        pass
    with pytest.raises(kvarts.InvalidArgument, match=message) as refused:
        call(nodes.uri, "split", wish)
    assert refused.value.hint
