"""Plans as people and programs read them."""

import json

from kvarts.base.ids import NodeId
from kvarts.placement.nodes import Duty
from kvarts.placement.plan import plan
from kvarts.placement.text import plan_json, plan_text
from kvarts.shardmap.map import MapVersion, ShardMap
from kvarts.shardmap.shard import begin_move
from tests.unit.python.placement.clusters import duty, placed, serving


def test_plan_of_a_node_that_joins_names_moves_and_loads() -> None:
    nodes = serving(4)
    shard_map = placed(4, serving(3), 3)
    assert "\n".join(plan_text(plan(shard_map, nodes, 3), shard_map, nodes, 3)) == JOIN.strip("\n")


def test_plan_that_is_blocked_says_what_is_missing_once() -> None:
    nodes = duty(serving(3), 2, Duty.DRAINING)
    shard_map = placed(8, serving(3), 3)
    assert "\n".join(plan_text(plan(shard_map, nodes, 3), shard_map, nodes, 3)) == BLOCKED.strip("\n")


def test_level_cluster_has_nothing_to_move() -> None:
    nodes = serving(3)
    shard_map = placed(8, nodes, 3)
    assert plan_text(plan(shard_map, nodes, 3), shard_map, nodes, 3)[0] == "nothing to move: 8 shards, map version 1"


def test_moves_under_way_are_told_and_counted_as_done() -> None:
    nodes = serving(4)
    shard_map = placed(4, serving(3), 3)
    first = shard_map.shards[0]
    moving = begin_move(first, NodeId(1), NodeId(4), first.epoch)
    now = ShardMap(MapVersion(2), shard_map.spaces, [moving, *shard_map.shards[1:]])
    text = plan_text(plan(now, nodes, 3), now, nodes, 3)
    assert text[0] == "2 moves of 4 shards, map version 2; 1 under way"
    assert text[-1].split() == ["n4", "serves", "1", "3", "3.0"]


def test_long_plan_is_cut_for_people_and_whole_for_programs() -> None:
    nodes = serving(6)
    shard_map = placed(64, serving(3), 3)
    made = plan(shard_map, nodes, 3)
    text = plan_text(made, shard_map, nodes, 3, rows_max=5)
    assert f"  … and {len(made.moves) - 5} more" in text
    told = plan_json(made, shard_map, nodes, 3)
    assert len(told["moves"]) == len(made.moves)
    assert json.loads(json.dumps(told)) == told


def test_plan_for_programs_has_the_same_facts() -> None:
    nodes = duty(serving(4), 3, Duty.GONE)
    shard_map = placed(1, serving(3), 3)
    assert plan_json(plan(shard_map, nodes, 3), shard_map, nodes, 3) == {
        "map": 1,
        "moves": [{"shard": 2, "from": 3, "to": 4, "reason": "lost"}],
        "blocked": [],
        "under_way": 0,
        "nodes": [
            {"node": 1, "duty": "serves", "replicas": 1, "replicas_after": 1, "share": 1.0},
            {"node": 2, "duty": "serves", "replicas": 1, "replicas_after": 1, "share": 1.0},
            {"node": 3, "duty": "gone", "replicas": 1, "replicas_after": 0, "share": 0.0},
            {"node": 4, "duty": "serves", "replicas": 0, "replicas_after": 1, "share": 1.0},
        ],
    }


JOIN = """
3 moves of 4 shards, map version 1

  shard  from -> to  why
  s2     n1 -> n4    balance
  s3     n2 -> n4    balance
  s5     n3 -> n4    balance

  node  duty    replicas  after  share
  n1    serves         4      3    3.0
  n2    serves         4      3    3.0
  n3    serves         4      3    3.0
  n4    serves         0      3    3.0
"""

BLOCKED = """
nothing can be moved: 8 shards, map version 1

cannot be done:
  8 moves off n2: 3 replicas need as many nodes, and 2 serve: add one first

  node  duty      replicas  after  share
  n1    serves           8      8    8.0
  n2    draining         8      8    0.0
  n3    serves           8      8    8.0
"""
