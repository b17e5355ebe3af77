"""A plan for people and for programs: what would move, why, and what each node keeps before and after."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from kvarts.base.ids import NODE_NONE, NodeId
from kvarts.placement.nodes import Duty, Node, by_id, shares
from kvarts.placement.plan import Move, Plan, settled
from kvarts.shardmap.map import ShardMap

ROWS_MAX = 40


def plan_json(plan: Plan, shard_map: ShardMap, nodes: Iterable[Node], replication: int) -> dict[str, Any]:
    """Return a plan as an object of JSON. Nodes are by their ids; 0 is nobody."""
    known = by_id(nodes)
    before, after = _loads(plan, shard_map)
    keeping = [each for each in known.values() if each.keeps]
    share = shares(keeping, len(shard_map.shards), replication)
    return {
        "map": shard_map.version,
        "moves": [_fields(each) for each in plan.moves],
        "blocked": [{**_fields(each.move), "why": each.why} for each in plan.blocked],
        "under_way": sum(each.busy for each in shard_map.shards),
        "nodes": [
            {
                "node": node,
                "duty": known[node].duty.value if node in known else Duty.GONE.value,
                "replicas": before[node],
                "replicas_after": after[node],
                "share": round(share.get(node, 0.0), 2),
            }
            for node in sorted(known.keys() | before.keys())
        ],
    }


def plan_text(
    plan: Plan, shard_map: ShardMap, nodes: Iterable[Node], replication: int, rows_max: int = ROWS_MAX
) -> list[str]:
    """Return a plan as lines for people; of many moves the first `rows_max`."""
    known = by_id(nodes)
    lines = [_headline(plan, shard_map)]
    if plan.moves:
        rows = [(f"s{each.shard}", _way(each), each.reason.name.lower()) for each in plan.moves[:rows_max]]
        lines += ["", *_table(("shard", "from -> to", "why"), rows)]
        if len(plan.moves) > rows_max:
            lines.append(f"  … and {len(plan.moves) - rows_max} more")
    if plan.blocked:
        lines += ["", "cannot be done:"]
        counts = Counter((each.why, each.move.source) for each in plan.blocked)
        lines += [f"  {_times(count)}{_leaving(source)}: {why}" for (why, source), count in counts.items()]
    lines += ["", *_node_rows(plan, shard_map, known, replication)]
    return lines


def _headline(plan: Plan, shard_map: ShardMap) -> str:
    busy = sum(each.busy for each in shard_map.shards)
    under_way = f"; {busy} under way" if busy else ""
    if not plan.moves:
        level = "nothing to move" if not plan.blocked else "nothing can be moved"
        return f"{level}: {len(shard_map.shards)} shards, map version {shard_map.version}{under_way}"
    return f"{_times(len(plan.moves))} of {len(shard_map.shards)} shards, map version {shard_map.version}{under_way}"


def _node_rows(plan: Plan, shard_map: ShardMap, known: Mapping[NodeId, Node], replication: int) -> list[str]:
    before, after = _loads(plan, shard_map)
    keeping = [each for each in known.values() if each.keeps]
    share = shares(keeping, len(shard_map.shards), replication)
    rows = []
    for node in sorted(known.keys() | before.keys()):
        duty = known[node].duty.value if node in known else Duty.GONE.value
        rows.append((f"n{node}", duty, str(before[node]), str(after[node]), f"{share.get(node, 0.0):.1f}"))
    return _table(("node", "duty", "replicas", "after", "share"), rows)


def _loads(plan: Plan, shard_map: ShardMap) -> tuple[Counter[NodeId], Counter[NodeId]]:
    """Return what every node keeps when moves under way are done, and when the plan is."""
    before = Counter(node for kept in settled(shard_map).values() for node in kept)
    after = before.copy()
    after.update(each.target for each in plan.moves if each.target)
    after.subtract(each.source for each in plan.moves if each.source)
    return before, after


def _fields(move: Move) -> dict[str, int | str]:
    return {"shard": move.shard, "from": move.source, "to": move.target, "reason": move.reason.name.lower()}


def _way(move: Move) -> str:
    return f"{_name(move.source)} -> {_name(move.target)}"


def _name(node: NodeId) -> str:
    return "-" if node == NODE_NONE else f"n{node}"


def _leaving(source: NodeId) -> str:
    return f" off n{source}" if source else ""


def _times(count: int) -> str:
    return "1 move" if count == 1 else f"{count} moves"


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> list[str]:
    """Return rows under a head, columns as wide as they must be, numbers to the right."""
    table = [head, *rows]
    widths = [max(len(row[column]) for row in table) for column in range(len(head))]
    numbers = [all(row[column].replace(".", "").isdigit() for row in rows) for column in range(len(head))]
    return [
        (
            "  " + "  ".join(_cell(text, width, right) for text, width, right in zip(row, widths, numbers, strict=True))
        ).rstrip()
        for row in table
    ]


def _cell(text: str, width: int, right: bool) -> str:
    return text.rjust(width) if right else text.ljust(width)
