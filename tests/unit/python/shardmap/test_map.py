"""The map: every token has one owner at every version, epochs only grow, and routing refuses what is not owned."""

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvarts.base.errors import CrossShard, InvalidArgument, WrongShard
from kvarts.shardmap.coding import UnreadableMap, decode, encode
from kvarts.shardmap.map import EMPTY, MapBroken, MapVersion, ShardMap, UnknownKeyspace
from kvarts.shardmap.partition import Until
from kvarts.shardmap.routing import admit, one_shard, one_shard_of_range
from kvarts.shardmap.shard import (
    Epoch,
    KeyspaceId,
    Refusal,
    Shard,
    ShardId,
    ShardRefused,
    begin_move,
    begin_split,
    cancel_move,
    cancel_split,
    finish_move,
    finish_split,
    promote,
    raise_epoch,
)
from kvarts.shardmap.space import Space
from tests.unit.python.shardmap.maps import K1, KEYS, N, hashed, ordered, walks, with_shards

GOLDEN_MAP = (
    b'\x01{"shards":{"2":{"epoch":1,"keyspace":1,"start":"","stop":"8000000000000000","voters":[1,2,3]},'
    b'"3":{"epoch":1,"keyspace":1,"start":"8000000000000000","stop":"","voters":[1,2,3]}},'
    b'"spaces":{"1":{"hash":1,"partition":"until:2f"}},"version":1}'
)


@given(walks(), KEYS)
def test_every_key_has_one_owner_at_every_version_and_its_epoch_only_grows(walk: list[ShardMap], key: bytes) -> None:
    epoch = Epoch(0)
    for shard_map in walk:
        token = shard_map.spaces[K1].token(key)
        owners = [each for each in shard_map.shards if each.owns(token)]
        assert owners == [shard_map.lookup(K1, key)]
        assert owners[0].epoch >= epoch
        epoch = owners[0].epoch


@given(walks(), KEYS)
def test_an_owner_that_changed_has_a_higher_epoch(walk: list[ShardMap], key: bytes) -> None:
    owners = [shard_map.lookup(K1, key) for shard_map in walk]
    for before, after in pairwise(owners):
        same = (before.id, before.start, before.stop, before.voters) == (
            after.id,
            after.start,
            after.stop,
            after.voters,
        )
        assert (before.epoch == after.epoch) is same


@given(walks(), KEYS, KEYS | st.just(b""))
def test_scan_asks_every_shard_that_may_have_a_key(walk: list[ShardMap], start: bytes, stop: bytes) -> None:
    shard_map = walk[-1]
    asked = shard_map.shards_of(K1, start, stop)
    if stop and start >= stop:
        assert asked == ()
        return
    for key in (start, start + b"\x00", stop[:-1] + b"\x00" if stop[-1:] > b"\x00" else start):
        if start <= key and (not stop or key < stop):
            assert shard_map.lookup(K1, key) in asked
    if shard_map.spaces[K1].ordered:
        assert all((not stop or each.start < stop) and (not each.stop or each.stop > start) for each in asked)


@given(walks())
def test_map_is_read_as_it_was_written_and_patched_from_any_version(walk: list[ShardMap]) -> None:
    for older in walk:
        assert decode(encode(older)) == older
        assert older.patched(older.difference(walk[-1])) == walk[-1]


def test_encoding_of_a_map_is_pinned() -> None:
    assert encode(hashed(2, Until(b"/"))) == GOLDEN_MAP
    assert encode(EMPTY) == b'\x01{"shards":{},"spaces":{},"version":0}'


@pytest.mark.parametrize(
    "encoded",
    [
        b"",
        b"\x02{}",
        b"\x01{}",
        b"\x01[]",
        b"\x01[",
        b"\x01\xff",
        GOLDEN_MAP + b" ",
        GOLDEN_MAP.replace(b'"version":1', b'"version":1.0'),
        GOLDEN_MAP.replace(b'"version":1', b'"version":true'),
        GOLDEN_MAP.replace(b'"epoch":1', b'"epoch":0'),
        GOLDEN_MAP.replace(b'"epoch":1', b'"epoch":1.0'),
        GOLDEN_MAP.replace(b"[1,2,3]", b"[1,3,2]"),
        GOLDEN_MAP.replace(b"[1,2,3]", b"[]"),
        GOLDEN_MAP.replace(b'"start":"8000000000000000"', b'"start":"9000000000000000"'),
        GOLDEN_MAP.replace(b"8000000000000000", b"80"),
        GOLDEN_MAP.replace(b'"hash":1', b'"hash":2'),
        GOLDEN_MAP.replace(b'"voters"', b'"more":1,"voters"'),
        GOLDEN_MAP.replace(b'"1":{"hash"', b'"2":{"hash"'),
    ],
)
def test_bytes_that_are_no_map_are_refused(encoded: bytes) -> None:
    with pytest.raises(UnreadableMap):
        decode(encoded)


@given(st.binary(max_size=40).map(lambda tail: b"\x01" + tail))
def test_any_other_bytes_are_refused(encoded: bytes) -> None:
    with pytest.raises(UnreadableMap):
        decode(encoded)


def _broken(**changes: object) -> list[Shard]:
    first, *rest = hashed(4).shards
    return [replace(first, **changes), *rest]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("shards", "rule"),
    [
        (hashed(4).shards[1:], "ends of the space"),
        (hashed(4).shards[:-1], "ends of the space"),
        (hashed(4).shards[:1] + hashed(4).shards[2:], "do not meet"),
        (_broken(stop=bytes.fromhex("5000000000000000")), "do not meet"),
        (_broken(stop=b"@"), "do not meet"),
        (_broken(id=ShardId(3)), "one id"),
        (_broken(voters=()), "voters"),
        (_broken(voters=(N[2], N[1])), "voters"),
        (_broken(keyspace=KeyspaceId(2)), "keyspaces"),
        (_broken(epoch=Epoch(0)), "count from one"),
    ],
)
def test_shards_that_do_not_cover_the_space_once_make_no_map(shards: list[Shard], rule: str) -> None:
    with pytest.raises(MapBroken, match=rule):
        ShardMap(MapVersion(1), {K1: Space()}, shards)


def test_difference_to_another_version_is_refused() -> None:
    old = hashed(2)
    new = with_shards(old, raise_epoch(old.shards[0], Epoch(1)))
    with pytest.raises(MapBroken, match="does not fit"):
        new.patched(old.difference(new))


def test_keys_are_looked_up_in_the_order_of_their_bytes_where_the_keyspace_is_ordered() -> None:
    shard_map = ordered(b"g", b"p")
    assert [shard_map.lookup(K1, key).id for key in (b"a", b"fz", b"g", b"o", b"p", b"\xff")] == [2, 2, 3, 3, 4, 4]
    assert [each.id for each in shard_map.shards_of(K1, b"f", b"g")] == [2]
    assert [each.id for each in shard_map.shards_of(K1, b"f", b"g\x00")] == [2, 3]
    assert [each.id for each in shard_map.shards_of(K1)] == [2, 3, 4]
    with pytest.raises(UnknownKeyspace):
        shard_map.lookup(KeyspaceId(9), b"a")


def test_keys_of_one_part_lie_together() -> None:
    shard_map = hashed(64, Until(b"/"))
    owners = {shard_map.lookup(K1, b"user7/%d" % number).id for number in range(50)}
    assert len(owners) == 1
    assert {each.id for each in shard_map.shards_of(K1, b"user7/", b"user70")} == owners
    assert len(shard_map.shards_of(K1, b"user7/", b"user8/")) == 64


def test_keys_are_grouped_by_their_shards_in_order() -> None:
    shard_map = ordered(b"m")
    assert shard_map.by_shard(K1, [b"z", b"a", b"y", b"b"]) == {3: [0, 2], 2: [1, 3]}


def test_split_goes_through_its_steps() -> None:
    shard = ordered().shards[0]
    under_way = begin_split(shard, b"m", ShardId(9), Epoch(1))
    assert cancel_split(under_way, ShardId(9)) == shard
    lower, upper = finish_split(under_way, ShardId(9))
    assert (lower.id, lower.start, lower.stop, lower.epoch) == (2, b"", b"m", 2)
    assert (upper.id, upper.start, upper.stop, upper.epoch) == (9, b"m", b"", 2)
    assert lower.voters == upper.voters == shard.voters


def test_move_goes_through_its_steps() -> None:
    shard = ordered().shards[0]
    under_way = begin_move(shard, N[3], N[4], Epoch(1))
    assert (under_way.voters, under_way.learner, under_way.epoch) == ((1, 2, 3), 4, 1)
    assert cancel_move(under_way, N[3], N[4], Epoch(1)) == replace(shard, epoch=Epoch(2))
    promoted = promote(under_way, N[4], Epoch(1))
    assert (promoted.voters, promoted.learner, promoted.epoch) == ((1, 2, 3, 4), 0, 2)
    assert cancel_move(promoted, N[3], N[4], Epoch(2)) == replace(shard, epoch=Epoch(3))
    moved = finish_move(promoted, N[3], N[4], Epoch(2))
    assert (moved.voters, moved.move, moved.epoch) == ((1, 2, 4), None, 3)


def test_replica_is_added_and_taken_away_by_moves_with_one_end() -> None:
    shard = ordered().shards[0]
    grown = finish_move(promote(begin_move(shard, N[0], N[5], Epoch(1)), N[5], Epoch(1)), N[0], N[5], Epoch(2))
    assert (grown.voters, grown.epoch) == ((1, 2, 3, 5), 3)
    shrunk = finish_move(begin_move(grown, N[1], N[0], Epoch(3)), N[1], N[0], Epoch(3))
    assert (shrunk.voters, shrunk.epoch) == ((2, 3, 5), 4)


SHARD = ordered(b"m").shards[0]
SPLITTING = begin_split(SHARD, b"g", ShardId(9), Epoch(1))
MOVING = begin_move(SHARD, N[3], N[4], Epoch(1))


@pytest.mark.parametrize(
    ("step", "refusal"),
    [
        (lambda: begin_split(SHARD, b"g", ShardId(9), Epoch(2)), Refusal.EPOCH_MOVED),
        (lambda: begin_split(SPLITTING, b"g", ShardId(10), Epoch(1)), Refusal.BUSY),
        (lambda: begin_split(MOVING, b"g", ShardId(9), Epoch(1)), Refusal.BUSY),
        (lambda: begin_split(SHARD, b"m", ShardId(9), Epoch(1)), Refusal.NOT_INSIDE),
        (lambda: begin_split(SHARD, b"", ShardId(9), Epoch(1)), Refusal.NOT_INSIDE),
        (lambda: finish_split(SHARD, ShardId(9)), Refusal.NO_SPLIT),
        (lambda: finish_split(SPLITTING, ShardId(8)), Refusal.NO_SPLIT),
        (lambda: begin_move(SHARD, N[4], N[5], Epoch(1)), Refusal.NOT_REPLICA),
        (lambda: begin_move(SHARD, N[1], N[2], Epoch(1)), Refusal.ALREADY_REPLICA),
        (lambda: begin_move(SPLITTING, N[1], N[4], Epoch(1)), Refusal.BUSY),
        (lambda: begin_move(SHARD, N[0], N[0], Epoch(1)), Refusal.NO_MOVE),
        (lambda: begin_move(replace(SHARD, voters=(N[1],)), N[1], N[0], Epoch(1)), Refusal.LAST_REPLICA),
        (lambda: finish_move(MOVING, N[3], N[4], Epoch(1)), Refusal.NOT_PROMOTED),
        (lambda: finish_move(promote(MOVING, N[4], Epoch(1)), N[2], N[4], Epoch(2)), Refusal.NO_MOVE),
        (lambda: promote(promote(MOVING, N[4], Epoch(1)), N[4], Epoch(2)), Refusal.PROMOTED),
        (lambda: promote(promote(MOVING, N[4], Epoch(1)), N[4], Epoch(1)), Refusal.EPOCH_MOVED),
        (lambda: promote(MOVING, N[5], Epoch(1)), Refusal.NO_MOVE),
        (lambda: cancel_move(SHARD, N[3], N[4], Epoch(1)), Refusal.NO_MOVE),
        (lambda: raise_epoch(SHARD, Epoch(2)), Refusal.EPOCH_MOVED),
    ],
)
def test_step_that_does_not_fit_is_refused(step: object, refusal: Refusal) -> None:
    with pytest.raises(ShardRefused) as refused:
        step()  # type: ignore[operator]
    assert refused.value.refusal is refusal


def test_request_for_a_key_that_moved_on_is_refused_with_the_newer_owner() -> None:
    old = ordered()
    lower, upper = finish_split(begin_split(old.shards[0], b"m", ShardId(9), Epoch(1)), ShardId(9))
    new = with_shards(old, lower, upper)
    asked = old.lookup(K1, b"z")
    with pytest.raises(WrongShard, match="lies in shard 9, epoch 2") as wrong:
        admit(new, K1, asked.id, asked.epoch, [b"a", b"z"])
    assert (wrong.value.shard, wrong.value.epoch, wrong.value.retryable) == (9, 2, True)
    assert admit(new, K1, asked.id, asked.epoch, [b"a"]) == lower


def test_request_that_knows_a_newer_epoch_is_refused_until_the_change_comes() -> None:
    with pytest.raises(WrongShard, match="older epoch only") as wrong:
        admit(ordered(), K1, ShardId(2), Epoch(2), [b"a"])
    assert (wrong.value.shard, wrong.value.epoch) == (2, 1)
    with pytest.raises(WrongShard, match="not one of keyspace"):
        admit(ordered(), K1, ShardId(77), Epoch(1), [])


def test_batch_over_two_shards_is_refused_with_a_hint() -> None:
    with pytest.raises(CrossShard, match=r"batch\(\) spans 2 shards \(2, 3\)") as cross:
        one_shard(ordered(b"m"), K1, [b"a", b"b", b"z"], "batch()")
    assert cross.value.shards == (2, 3)
    assert "shards=1" in (cross.value.hint or "")
    with pytest.raises(CrossShard, match="partition=") as cross:
        one_shard_of_range(hashed(8), K1, b"a", b"b", "snapshot()")
    assert len(cross.value.shards) == 8
    together = hashed(8, Until(b"/"))
    assert one_shard(together, K1, [b"u/1", b"u/2"], "batch()") == one_shard_of_range(
        together, K1, b"u/", b"u0", "scan"
    )
    assert one_shard(together, K1, [], "batch()") is None


def test_ordered_keyspace_begins_with_one_shard_unless_bounds_are_given() -> None:
    assert Space(ordered=True).even_bounds(1) == ()
    with pytest.raises(InvalidArgument, match="one shard"):
        Space(ordered=True).even_bounds(2)


def test_shard_is_one_line_for_people() -> None:
    assert repr(SPLITTING) == "<Shard s2 of k1 …..6d epoch=1 voters=1,2,3 Split(at=b'g', child=9)>"
    assert repr(hashed(8)) == "<ShardMap v1 1 keyspaces 8 shards>"
