"""Placement: level within bounds, few moves when nodes come and go, and never a quorum lost on the way."""

import math
import random
from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from kvarts.base.ids import NodeId
from kvarts.placement.leaders import spread
from kvarts.placement.level import level
from kvarts.placement.nodes import Duty, Node, score, shares
from kvarts.placement.plan import Reason, plan, settled
from kvarts.placement.safety import drain_refusal, loss_refusal, remove_refusal, replace_refusal
from kvarts.placement.steps import Limits, Seen, StepKind, next_steps
from kvarts.shardmap.map import MapVersion, ShardMap
from kvarts.shardmap.shard import ShardId, begin_move, begin_split, promote
from tests.unit.python.placement.clusters import K1, Rebalancing, duty, load, placed, serving, stepped

CLUSTERS = st.tuples(st.integers(1, 48), st.integers(1, 12), st.sampled_from([1, 3, 5]))


def within_a_quarter(shard_map: ShardMap, nodes: list[Node], replication: int) -> None:
    keeping = [each for each in nodes if each.keeps]
    counts = load(shard_map)
    for node, share in shares(keeping, len(shard_map.shards), replication).items():
        assert math.floor(0.75 * share) <= counts[node] <= math.ceil(1.25 * share), (node, share, counts)


@settings(deadline=None)
@given(CLUSTERS)
def test_new_keyspace_is_level_with_the_replicas_it_should_have(cluster: tuple[int, int, int]) -> None:
    shards, count, replication = cluster
    nodes = serving(count)
    shard_map = placed(shards, nodes, replication)
    within_a_quarter(shard_map, nodes, replication)
    assert {len(each.voters) for each in shard_map.shards} == {min(count, replication)}
    assert not plan(shard_map, nodes, min(count, replication)).moves


@settings(deadline=None)
@given(CLUSTERS)
def test_node_that_joins_is_moved_no_more_than_its_share(cluster: tuple[int, int, int]) -> None:
    shards, count, replication = cluster
    nodes = serving(max(count, replication))
    joined = [*nodes, *serving(1, first=100)]
    rebalancing = Rebalancing(placed(shards, nodes, replication), joined, replication)
    moves = plan(rebalancing.shard_map, joined, replication).moves
    share = shares(joined, shards, replication)[NodeId(100)]
    assert len(moves) <= math.ceil(1.1 * share)
    assert {each.target for each in moves} <= {100}
    assert rebalancing.run() == len(moves)
    within_a_quarter(rebalancing.shard_map, joined, replication)


@settings(deadline=None)
@given(CLUSTERS, st.sampled_from([Duty.DRAINING, Duty.GONE]))
def test_node_that_leaves_is_moved_no_more_than_it_kept(cluster: tuple[int, int, int], leaves: Duty) -> None:
    shards, count, replication = cluster
    nodes = serving(max(count, replication) + 1)
    shard_map = placed(shards, nodes, replication)
    kept = load(shard_map)[NodeId(1)]
    left = duty(nodes, 1, leaves)
    moves = plan(shard_map, left, replication).moves
    if replication == 1 and leaves is Duty.GONE:
        assert not moves, "a shard's only replica is lost: there is nothing to copy from"
        return
    assert kept <= len(moves) <= math.ceil(1.1 * kept)
    rebalancing = Rebalancing(shard_map, left, replication)
    assert rebalancing.run() == len(moves)
    assert load(rebalancing.shard_map)[NodeId(1)] == 0
    within_a_quarter(rebalancing.shard_map, left, replication)
    assert remove_refusal(rebalancing.shard_map, {each.id: each for each in left}, NodeId(1)) is None


@settings(max_examples=60, deadline=None)
@given(st.integers(8, 64), st.lists(st.integers(1, 8), min_size=3, max_size=10))
def test_load_follows_capacity(shards: int, capacities: list[int]) -> None:
    nodes = [Node(id=NodeId(place + 1), capacity=each) for place, each in enumerate(capacities)]
    shard_map = placed(shards, nodes, 3)
    within_a_quarter(shard_map, nodes, 3)
    assert not plan(shard_map, nodes, 3).moves


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 32), st.sampled_from([2, 1, 3, 2, 4, 5]))
def test_cluster_that_changes_without_pause_keeps_its_quorums_and_comes_to_rest(
    seed: int, shards: int, replication: int
) -> None:
    """Nodes join, drain, fall silent and come back while moves are under way; `Rebalancing` checks each step.

    Hypothesis prints the arguments of a failure, which replay it: all else follows from them.
    """
    rng = random.Random(seed)
    nodes = serving(replication + 2)
    world = Rebalancing(placed(shards, nodes, replication), nodes, replication, rng=rng)
    for _ in range(25):
        for _ in range(rng.randrange(4)):
            world.round()
        _disturb(world, rng)
    world.nodes = [Node(id=each.id) if each.duty is Duty.AWAY else each for each in world.nodes]
    world.run()
    within_a_quarter(world.shard_map, world.nodes, replication)
    assert {len(each.voters) for each in world.shard_map.shards} == {replication}
    assert not plan(world.shard_map, world.nodes, replication).moves


def _disturb(world: Rebalancing, rng: random.Random) -> None:
    """Let something happen to a node, as far as that alone costs no shard its quorum."""
    moving = [node for shard in world.shard_map.shards if shard.move for node in shard.voters]
    node = rng.choice(moving if moving and rng.random() < 0.7 else [each.id for each in world.nodes])
    becomes = rng.choice([Duty.SERVES, Duty.SERVES, Duty.AWAY, Duty.AWAY, Duty.AWAY, Duty.DRAINING, Duty.GONE])
    changed = duty(world.nodes, node, becomes)
    if rng.random() < 0.2:
        changed = [*world.nodes, *serving(1, first=len(world.nodes) + 1)]
    known = {each.id: each for each in changed}
    up = sum(each.duty is Duty.SERVES for each in changed)
    if up < world.replication:
        return
    if all(sum(known[each].answers for each in s.voters) * 2 > len(s.voters) for s in world.shard_map.shards):
        world.nodes = changed
        for shard in world.shard_map.shards:
            world._elect(shard)


@settings(deadline=None)
@given(CLUSTERS, st.randoms(use_true_random=False))
def test_plan_does_not_depend_on_the_order_of_what_it_is_told(
    cluster: tuple[int, int, int], rng: random.Random
) -> None:
    shards, count, replication = cluster
    nodes = [*serving(count), *serving(2, first=50)]
    shard_map = placed(shards, nodes[:count], replication)
    shuffled = rng.sample(nodes, len(nodes))
    again = ShardMap(shard_map.version, shard_map.spaces, rng.sample(shard_map.shards, shards))
    assert plan(again, shuffled, replication) == plan(shard_map, nodes, replication)


def test_scores_of_others_do_not_change_when_a_node_joins() -> None:
    """And each of equal nodes is preferred by about as many shards."""
    nodes = serving(5)
    first = Counter(max(nodes, key=lambda node: score(ShardId(shard), node)).id for shard in range(2, 5002))
    assert min(first.values()) > 900
    large = [*serving(4), Node(id=NodeId(5), capacity=4)]
    first = Counter(max(large, key=lambda node: score(ShardId(shard), node)).id for shard in range(2, 5002))
    assert 2350 < first[NodeId(5)] < 2650


def test_what_is_level_is_not_moved_to_where_it_would_be_preferred() -> None:
    nodes = serving(4)
    present = settled(placed(16, nodes, 3))
    assert level(present, nodes, 3) == present
    turned = {shard: frozenset(NodeId(each % 4 + 1) for each in kept) for shard, kept in present.items()}
    assert level(turned, nodes, 3) == turned


def test_moves_begin_a_few_at_a_time() -> None:
    nodes = [*serving(3), *serving(3, first=10)]
    shard_map = placed(16, nodes[:3], 3)
    limits = Limits(moves_max=5, per_node_max=2, begun_max=3)
    seen = Seen()
    begun = next_steps(shard_map, nodes, 3, seen, limits)
    assert [each.kind for each in begun] == [StepKind.BEGIN] * 3
    for step in begun:
        shard_map = stepped(shard_map, step)
    more = next_steps(shard_map, nodes, 3, seen, limits)
    for step in more:
        shard_map = stepped(shard_map, step)
    under_way = [each.move for each in shard_map.shards if each.move]
    assert len(under_way) <= 5
    ends = Counter(node for move in under_way for node in (move.source, move.target))
    assert max(ends.values()) <= 2


def test_move_goes_from_learner_to_voter_to_the_end_of_the_source() -> None:
    nodes = duty(serving(4), 3, Duty.DRAINING)
    world = Rebalancing(placed(1, serving(3), 3), nodes, 3)
    world.leaders[ShardId(2)] = NodeId(3)
    world.run()
    kinds = [StepKind.BEGIN, StepKind.PROMOTE, StepKind.HAND_OVER, StepKind.FINISH]
    assert [each.kind for each in world.steps] == kinds
    assert world.leaders[ShardId(2)] == 4
    assert world.shard_map.shards[0].voters == (1, 2, 4)


def test_learner_that_falls_silent_is_given_up() -> None:
    shard_map = placed(1, serving(3), 3)
    moving = begin_move(shard_map.shards[0], NodeId(3), NodeId(4), shard_map.shards[0].epoch)
    for shard, expected in [(moving, True), (promote(moving, NodeId(4), moving.epoch), True)]:
        now = ShardMap(MapVersion(2), shard_map.spaces, [shard])
        nodes = duty(serving(4), 4, Duty.AWAY)
        steps = next_steps(now, nodes, 3, Seen(), Limits())
        assert ([each.kind for each in steps] == [StepKind.CANCEL]) is expected


def test_new_voter_that_falls_silent_stays_where_the_old_one_is_lost() -> None:
    shard_map = placed(1, serving(5), 5)
    moving = promote(
        begin_move(shard_map.shards[0], NodeId(3), NodeId(6), shard_map.shards[0].epoch),
        NodeId(6),
        shard_map.shards[0].epoch,
    )
    nodes = duty(duty(serving(6), 3, Duty.GONE), 6, Duty.AWAY)
    now = ShardMap(MapVersion(2), shard_map.spaces, [moving])
    assert next_steps(now, nodes, 5, Seen(), Limits()) == ()
    lost = duty(nodes, 6, Duty.GONE)
    assert [each.kind for each in next_steps(now, lost, 5, Seen(), Limits())] == [StepKind.CANCEL]


def test_replica_is_not_promoted_where_that_would_lose_the_quorum() -> None:
    shard_map = placed(1, serving(2), 2)
    moving = begin_move(shard_map.shards[0], NodeId(2), NodeId(3), shard_map.shards[0].epoch)
    now = ShardMap(MapVersion(2), shard_map.spaces, [moving])
    nodes = duty(serving(3), 2, Duty.AWAY)
    seen = Seen(caught_up=frozenset({(ShardId(2), NodeId(3))}))
    assert [each.kind for each in next_steps(now, nodes, 2, seen, Limits())] == [StepKind.PROMOTE]
    both = duty(nodes, 1, Duty.AWAY)
    assert next_steps(now, both, 2, seen, Limits()) == ()


def test_replica_is_not_taken_away_where_that_would_lose_the_quorum() -> None:
    shard_map = placed(1, serving(2), 2)
    moving = promote(
        begin_move(shard_map.shards[0], NodeId(2), NodeId(3), shard_map.shards[0].epoch),
        NodeId(3),
        shard_map.shards[0].epoch,
    )
    now = ShardMap(MapVersion(2), shard_map.spaces, [moving])
    assert [each.kind for each in next_steps(now, serving(3), 2, Seen(), Limits())] == [StepKind.FINISH]
    assert next_steps(now, duty(serving(3), 1, Duty.AWAY), 2, Seen(), Limits()) == ()


def test_move_that_cannot_end_since_another_voter_is_gone_leaves_both() -> None:
    """Or the shard would be busy for ever: the lost voter could not be replaced, nor the source taken away."""
    shard_map = placed(1, serving(2), 2)
    moving = promote(
        begin_move(shard_map.shards[0], NodeId(2), NodeId(3), shard_map.shards[0].epoch),
        NodeId(3),
        shard_map.shards[0].epoch,
    )
    nodes = duty(duty(serving(4), 1, Duty.GONE), 2, Duty.DRAINING)
    world = Rebalancing(ShardMap(MapVersion(2), shard_map.spaces, [moving]), nodes, 2)
    assert [each.kind for each in world.round()] == [StepKind.SETTLE]
    world.run()
    assert world.shard_map.shards[0].voters == (3, 4)


def test_replica_is_not_taken_away_where_too_few_would_be_left() -> None:
    shard_map = placed(1, serving(3), 3)
    moving = begin_move(shard_map.shards[0], NodeId(3), NodeId(0), shard_map.shards[0].epoch)
    now = ShardMap(MapVersion(2), shard_map.spaces, [moving])
    assert [each.kind for each in next_steps(now, serving(3), 2, Seen(), Limits())] == [StepKind.FINISH]
    assert [each.kind for each in next_steps(now, serving(3), 3, Seen(), Limits())] == [StepKind.CANCEL]


def test_shard_without_a_quorum_is_not_planned_for() -> None:
    shard_map = placed(1, serving(3), 3)
    nodes = [*duty(duty(serving(3), 1, Duty.GONE), 2, Duty.AWAY), *serving(2, first=10)]
    made = plan(shard_map, nodes, 3)
    assert made.moves == ()
    assert [each.why for each in made.blocked] == ["shard 2: 1 of 3 voters would answer, so it would have no quorum"]


def test_drain_without_a_node_to_go_to_is_blocked_and_says_so() -> None:
    shard_map = placed(2, serving(3), 3)
    nodes = duty(serving(3), 2, Duty.DRAINING)
    made = plan(shard_map, nodes, 3)
    assert made.moves == ()
    assert {each.why for each in made.blocked} == {"3 replicas need as many nodes, and 2 serve: add one first"}


def test_lost_replicas_are_made_anew_before_others_are_moved() -> None:
    nodes = duty(serving(6), 1, Duty.GONE)
    shard_map = placed(12, serving(5), 3)
    reasons = [each.reason for each in plan(shard_map, nodes, 3).moves]
    assert reasons == sorted(reasons)
    assert reasons[0] is Reason.LOST


def test_more_replicas_are_added_and_fewer_taken_away() -> None:
    nodes = serving(5)
    three = Rebalancing(placed(8, nodes, 3), nodes, 5)
    assert {each.reason for each in plan(three.shard_map, nodes, 5).moves} == {Reason.LACKING}
    three.run()
    assert {len(each.voters) for each in three.shard_map.shards} == {5}
    back = Rebalancing(three.shard_map, nodes, 3)
    assert {each.reason for each in plan(back.shard_map, nodes, 3).moves} == {Reason.SURPLUS}
    back.run()
    assert {len(each.voters) for each in back.shard_map.shards} == {3}
    within_a_quarter(back.shard_map, nodes, 3)


def test_replacement_takes_what_the_replaced_node_kept() -> None:
    nodes = duty(serving(4), 2, Duty.GONE, successor=9) + serving(1, first=9)
    shard_map = placed(12, serving(4), 3)
    kept = {each.id for each in shard_map.held_by(NodeId(2))}
    moves = plan(shard_map, nodes, 3).moves
    assert {each.shard for each in moves if (each.source, each.target) == (2, 9)} == kept


def test_shard_that_splits_is_not_moved_meanwhile() -> None:
    shard_map = placed(1, serving(3), 3)
    shard = shard_map.shards[0]
    splitting = begin_split(shard, bytes.fromhex("8000000000000000"), ShardId(9), shard.epoch)
    now = ShardMap(MapVersion(2), shard_map.spaces, [splitting])
    nodes = duty(serving(4), 1, Duty.DRAINING)
    assert plan(now, nodes, 3).moves
    assert next_steps(now, nodes, 3, Seen(), Limits()) == ()


def test_verbs_of_operators_are_refused_with_the_reason() -> None:
    nodes = {each.id: each for each in serving(4)}
    shard_map = placed(12, serving(3), 3)
    one, nine = NodeId(1), NodeId(9)
    assert drain_refusal(shard_map, nodes, one, 3) is None
    assert "add one first" in (
        drain_refusal(shard_map, {each: nodes[each] for each in nodes if each != 4}, one, 3) or ""
    )
    assert "does not belong" in (drain_refusal(shard_map, nodes, nine, 3) or "")
    assert "shards 2, 3, 4, 5 and 8 more" in (remove_refusal(shard_map, nodes, one) or "")
    assert remove_refusal(shard_map, nodes, NodeId(4)) is None
    assert loss_refusal(shard_map, nodes, one) is None
    away = {each.id: each for each in duty(nodes.values(), 2, Duty.AWAY)}
    assert "would have no quorum" in (loss_refusal(shard_map, away, one) or "")
    assert replace_refusal(nodes, one, NodeId(4)) is None
    assert "is away" in (replace_refusal(away, one, NodeId(2)) or "")
    assert "itself" in (replace_refusal(nodes, one, one) or "")
    assert "node 9" in (replace_refusal(nodes, one, nine) or "")


@settings(deadline=None)
@given(CLUSTERS, st.randoms(use_true_random=False))
def test_leaders_are_spread_as_evenly_as_voters_allow(cluster: tuple[int, int, int], rng: random.Random) -> None:
    shards, count, replication = cluster
    nodes = serving(max(count, replication))
    shard_map = placed(shards, nodes, replication)
    leaders = {each.id: rng.choice(each.voters) for each in shard_map.shards}
    transfers = spread(shard_map, leaders, nodes, 10_000)
    for each in transfers:
        assert leaders[each.shard] == each.source
        leaders[each.shard] = each.target
    counts = Counter(leaders.values())
    assert all(leaders[each.id] in each.voters for each in shard_map.shards)
    assert spread(shard_map, leaders, nodes, 10_000) == ()
    if replication > 1:
        assert max(counts.values()) <= math.ceil(shards / len(nodes)) + (shards < 2 * len(nodes))


def test_node_that_drains_leads_nothing_and_transfers_are_few_at_a_time() -> None:
    nodes = duty(serving(3), 1, Duty.DRAINING)
    shard_map = placed(12, serving(3), 3)
    leaders = {each.id: NodeId(1) for each in shard_map.shards}
    assert len(spread(shard_map, leaders, nodes, 2)) == 2
    transfers = spread(shard_map, leaders, nodes, 100)
    assert Counter(each.target for each in transfers) == {2: 6, 3: 6}


def test_leader_of_a_shard_that_moves_or_is_unknown_is_left_alone() -> None:
    shard_map = placed(4, serving(3), 3)
    moving = begin_move(shard_map.shards[0], NodeId(3), NodeId(4), shard_map.shards[0].epoch)
    now = ShardMap(MapVersion(2), shard_map.spaces, [moving, *shard_map.shards[1:]])
    leaders = {each.id: NodeId(1) for each in now.shards[:3]}
    assert {each.shard for each in spread(now, leaders, serving(4), 9)} <= {each.id for each in now.shards[1:3]}
    assert now.lookup(K1, b"a") is not None
