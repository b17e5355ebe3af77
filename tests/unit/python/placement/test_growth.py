"""Which shards are cut because they have grown, and where."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from kvarts.base.ids import NodeId
from kvarts.placement.growth import Cut, Measure, cuts, full, whole
from kvarts.shardmap.map import MapVersion, ShardMap, initial
from kvarts.shardmap.shard import Epoch, KeyspaceId, ShardId, begin_split
from kvarts.shardmap.space import SHARDS_MAX, Space

HASHED, ORDERED = KeyspaceId(1), KeyspaceId(2)
VOTERS = (NodeId(1), NodeId(2), NodeId(3))
SPACES = {HASHED: Space(), ORDERED: Space(ordered=True)}
FIRST = Epoch(1)


def token(part: float) -> bytes:
    return int(part * 2**64).to_bytes(8, "big")


def map_of(hashed: int = 4) -> ShardMap:
    """Shards 2, 3, … of a hashed keyspace, then 1002 to 1004 of an ordered one."""
    first = initial(HASHED, SPACES[HASHED], list(SPACES[HASHED].even_bounds(hashed)), (VOTERS,) * hashed, ShardId(2))
    second = initial(ORDERED, SPACES[ORDERED], [b"g", b"p"], (VOTERS,) * 3, ShardId(10_002))
    return ShardMap(MapVersion(1), SPACES, [*first, *second])


def test_the_fullest_are_cut_first_and_no_more_than_there_is_room_for() -> None:
    limits = {HASHED: 1_000, ORDERED: 10}
    measures = {
        ShardId(2): Measure(FIRST, 1_000, token(0.1)),
        ShardId(3): Measure(FIRST, 1_500, token(0.3)),
        ShardId(4): Measure(FIRST, 9_000, token(0.6)),
        ShardId(10_003): Measure(FIRST, 50, b"kilo"),
    }
    in_order = [
        Cut(ShardId(4), FIRST, token(0.6)),
        Cut(ShardId(10_003), FIRST, b"kilo"),
        Cut(ShardId(3), FIRST, token(0.3)),
    ]
    for room in range(-1, 5):
        assert cuts(map_of(), limits, measures, room) == in_order[: max(0, room)]
    assert cuts(map_of(), {}, measures, 4) == []


def test_nothing_is_cut_that_was_another_when_it_was_measured_or_is_busy() -> None:
    known, limits = map_of(), {HASHED: 10, ORDERED: 10}
    measure = {ShardId(3): Measure(FIRST, 50, token(0.3))}
    assert cuts(known, limits, {ShardId(3): replace(measure[ShardId(3)], epoch=Epoch(2))}, 4) == []
    assert cuts(known, limits, {ShardId(77): measure[ShardId(3)]}, 4) == []
    begun = [begin_split(each, token(0.3), ShardId(99), FIRST) if each.id == 3 else each for each in known.shards]
    assert cuts(ShardMap(MapVersion(2), SPACES, begun), limits, measure, 4) == []
    assert cuts(known, limits, measure, 4) != []


def test_a_shard_whose_keys_belong_together_is_left_whole_and_told_of() -> None:
    limits = {HASHED: 10, ORDERED: 10}
    middles = [None, token(0.25), token(0.6), token(0.5), b"", b"short"]
    for middle in middles:
        measures = {ShardId(3): Measure(FIRST, 50, middle)}
        assert cuts(map_of(), limits, measures, 4) == []
        assert whole(map_of(), limits, measures) == {ShardId(3): 50}
    assert whole(map_of(), limits, {ShardId(3): Measure(FIRST, 9, None)}) == {}
    assert whole(map_of(), limits, {ShardId(3): Measure(FIRST, 50, token(0.3))}) == {}


def test_a_keyspace_has_shards_enough_at_some_time() -> None:
    measures = {ShardId(2): Measure(FIRST, 50, (1).to_bytes(8, "big"))}
    limits = {HASHED: 10, ORDERED: 10}
    last, more = map_of(SHARDS_MAX - 1), map_of(SHARDS_MAX)
    assert (len(cuts(last, limits, measures, 1)), full(last, limits, measures)) == (1, set())
    assert (cuts(more, limits, measures, 1), full(more, limits, measures)) == ([], {HASHED})
    # Only where one would be cut.
    assert full(more, {HASHED: 100, ORDERED: 10}, measures) == set()


@given(
    st.dictionaries(
        st.integers(1, 6).map(ShardId),
        st.builds(Measure, st.integers(1, 2).map(Epoch), st.integers(0, 100), st.none() | st.binary(max_size=8)),
    ),
    st.integers(0, 6),
)
def test_each_cut_is_one_that_the_map_takes(measures: dict[ShardId, Measure], room: int) -> None:
    known, limits = map_of(), {HASHED: 20}
    found = cuts(known, limits, measures, room)
    assert len(found) <= room
    for cut in found:
        shard = known.get(cut.shard)
        assert shard is not None
        assert measures[cut.shard].size > 20
        assert begin_split(shard, cut.at, ShardId(99), cut.epoch).split is not None
        assert SPACES[HASHED].is_bound(cut.at)
    assert not {cut.shard for cut in found} & whole(known, limits, measures).keys()
