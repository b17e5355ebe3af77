"""What a node makes of the shard map, and of what clients ask new keyspaces to be like."""

from typing import Any

import pytest

from kvarts.base.errors import InvalidArgument
from kvarts.node.codec import decode_membership
from kvarts.node.shards import FEATURES, features_text, first_membership, lines_of, parse_features
from kvarts.node.spaces import options_of
from kvarts.placement.leaders import first_leader
from kvarts.raft.ids import NodeId
from kvarts.raft.membership import Membership
from kvarts.shardmap.map import MapVersion, ShardMap, initial
from kvarts.shardmap.shard import KeyspaceId, ShardId, begin_move, promote, raise_epoch
from kvarts.shardmap.space import Space

NODES = [NodeId(1), NodeId(2), NodeId(3)]
NEWCOMER = NodeId(4)


def _map(shards: int = 4) -> ShardMap:
    space = Space()
    made = initial(KeyspaceId(7), space, space.even_bounds(shards), [NODES] * shards, ShardId(2))
    return ShardMap(MapVersion(3), {KeyspaceId(7): space}, made)


def test_voters_of_a_new_shard_found_it_alike() -> None:
    shard = _map().shards[0]
    told = {first_membership(shard, node) for node in NODES}
    assert [decode_membership(each) for each in told] == [Membership.of(1, 2, 3)]


def test_whoever_comes_later_waits_to_be_told() -> None:
    shard = _map().shards[0]
    moving = begin_move(shard, NodeId(1), NEWCOMER, shard.epoch)
    assert first_membership(moving, NEWCOMER) == b""
    assert first_membership(moving, NodeId(2)) != b""
    assert first_membership(promote(moving, NEWCOMER, moving.epoch), NodeId(2)) == b""
    assert first_membership(raise_epoch(shard, shard.epoch), NodeId(2)) == b""


def test_first_leaders_take_turns() -> None:
    leaders = [first_leader(each) for each in _map(9).shards]
    assert sorted(leaders) == sorted(NODES * 3)


def test_the_muscle_is_told_where_each_shard_begins() -> None:
    shard_map = _map(2)
    ((keyspace, ordered, partition, version, shards),) = lines_of(shard_map)
    assert (keyspace, ordered, partition, version) == (7, False, "whole", 1)
    assert [(number, start.hex(), epoch) for number, start, epoch, _ in shards] == [
        (2, "", 1),
        (3, "8000000000000000", 1),
    ]


def test_features_are_read_as_they_are_told() -> None:
    assert parse_features(features_text()) == FEATURES
    assert parse_features("") == {}
    assert parse_features("shards=2,x,=3,locks=one") == {"shards": 2}


@pytest.mark.parametrize(
    ("given", "options"),
    [
        (None, {}),
        ({"shards": 8}, {"shards": 8, "hash": 1, "partition": "whole"}),
        ({"shards": 2, "partition": "until:2f"}, {"shards": 2, "hash": 1, "partition": "until:2f"}),
        ({"partition": "first-item"}, {"shards": 1, "hash": 1, "partition": "first-item"}),
        ({"ordered": True, "bounds": ["6d", "7a"]}, {"shards": 3, "ordered": True, "bounds": "6d,7a"}),
    ],
    ids=str,
)
def test_what_a_keyspace_is_to_be_like(given: dict[str, Any] | None, options: dict[str, Any]) -> None:
    assert options_of(given) == options


@pytest.mark.parametrize(
    "given",
    [
        {"shards": 4097},
        {"shards": -1},
        {"shards": 2, "ordered": True},
        {"shards": 2, "bounds": ["6d"]},
        {"shards": 3, "ordered": True, "bounds": ["6d"]},
        {"ordered": True, "bounds": ["7a", "6d"]},
        {"ordered": True, "bounds": [""]},
        {"ordered": True, "partition": "prefix:2"},
        {"partition": "sometimes"},
    ],
    ids=str,
)
def test_what_no_keyspace_can_be_like(given: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgument):
        options_of(given)
