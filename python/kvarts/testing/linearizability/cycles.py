"""Cycles among transactions, by what they are made of. Components after Tarjan 1972."""

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple

from kvarts.testing.linearizability.operations import Operation
from kvarts.testing.linearizability.verdict import Anomaly, AnomalyKind

STARTS_MAX = 200
"""Edges of a component from which a short cycle is sought; there is one through some of them if there is any."""


class Link(NamedTuple):
    """Why one transaction comes after another: ww, wr, rw, session or realtime, and in words."""

    kind: str
    text: str


@dataclass(slots=True)
class Graph:
    """Transactions by number, and for each the ones that must follow it."""

    count: int
    after: list[dict[int, list[Link]]] = field(init=False)

    def __post_init__(self) -> None:
        """Begin without edges."""
        self.after = [{} for _ in range(self.count)]

    def add(self, before: int, after: int, link: Link) -> None:
        """Add an edge; the first of a kind between two transactions is kept."""
        links = self.after[before].setdefault(after, [])
        if all(known.kind != link.kind for known in links):
            links.append(link)

    def only(self, kinds: set[str]) -> "Graph":
        """Return the graph of the edges of these kinds."""
        part = Graph(self.count)
        for before, followers in enumerate(self.after):
            for after, links in followers.items():
                kept = [link for link in links if link.kind in kinds]
                if kept:
                    part.after[before][after] = kept
        return part


Cycle = list[tuple[int, Link]]
"""Transactions in order, each with the link that leads from it to the next; the last leads to the first."""


def find_cycles(graph: Graph, operations: Sequence[Operation]) -> list[Anomaly]:
    """Return a shortest cycle found of each kind: those of the data if there are any, else with session, realtime."""
    if next(components(graph.after), None) is None:
        return []
    orders: tuple[tuple[str, set[str]], ...] = (
        ("", set()),
        ("session", {"session"}),
        ("realtime", {"session", "realtime"}),
    )
    for through, extra in orders:
        cycles = _by_kind(graph, extra)
        if cycles:
            return [_anomaly(kind, cycle, operations, through) for kind, cycle in cycles.items()]
    return []


def _by_kind(graph: Graph, extra: set[str]) -> dict[AnomalyKind, Cycle]:
    writes, flow = graph.only({"ww"} | extra), graph.only({"ww", "wr"} | extra)
    whole = graph.only({"ww", "wr", "rw"} | extra)
    searches: tuple[tuple[AnomalyKind, Graph, str, Graph], ...] = (
        (AnomalyKind.G0, writes, "ww", writes),
        (AnomalyKind.G1C, flow, "wr", flow),
        (AnomalyKind.G_SINGLE, whole, "rw", flow),
        (AnomalyKind.G2, whole, "rw", whole),
    )
    found: dict[AnomalyKind, Cycle] = {}
    for component in components(whole.after):
        for kind, outward, first, back in searches:
            cycle = _shortest(component, outward, first, back)
            if cycle is None or (kind is AnomalyKind.G2 and sum(link.kind == "rw" for _, link in cycle) < 2):
                continue
            if kind not in found or len(cycle) < len(found[kind]):
                found[kind] = cycle
    return found


def _shortest(component: set[int], outward: Graph, first: str, back: Graph) -> Cycle | None:
    """Return a short cycle whose first edge, of that kind, is in `outward` and whose others are in `back`."""
    best: Cycle | None = None
    tried = 0
    for before in sorted(component):
        for after, links in outward.after[before].items():
            link = next((link for link in links if link.kind == first), None)
            if link is None or after not in component:
                continue
            path = _path(after, before, back, component)
            tried += 1
            if path is not None and (best is None or len(path) + 1 < len(best)):
                best = [(before, link), *path]
            if best is not None and (len(best) == 2 or tried >= STARTS_MAX):
                return best
    return best


def _path(start: int, goal: int, graph: Graph, inside: set[int]) -> Cycle | None:
    """Breadth-first search; each step but the last with the link that leaves it."""
    came: dict[int, int] = {start: start}
    queue = deque([start])
    while queue and goal not in came:
        here = queue.popleft()
        for after in graph.after[here]:
            if after in inside and after not in came:
                came[after] = here
                queue.append(after)
    if goal not in came:
        return None
    steps = [goal]
    while steps[-1] != start:
        steps.append(came[steps[-1]])
    steps.reverse()
    return [(here, graph.after[here][there][0]) for here, there in pairwise(steps)]


def components(after: Sequence[dict[int, list[Link]]]) -> Iterator[set[int]]:
    """Yield the strongly connected components of more than one vertex. Source: Tarjan 1972, without recursion."""
    index: dict[int, int] = {}
    low: dict[int, int] = {}
    path: list[int] = []
    on_path: set[int] = set()

    def enter(vertex: int) -> tuple[int, Iterator[int]]:
        index[vertex] = low[vertex] = len(index)
        path.append(vertex)
        on_path.add(vertex)
        return vertex, iter(after[vertex])

    for root in range(len(after)):
        work = [enter(root)] if root not in index else []
        while work:
            vertex, followers = work[-1]
            follower = next((other for other in followers if other not in index or other in on_path), None)
            if follower is not None:
                if follower not in index:
                    work.append(enter(follower))
                else:
                    low[vertex] = min(low[vertex], index[follower])
                continue
            work.pop()
            if work:
                low[work[-1][0]] = min(low[work[-1][0]], low[vertex])
            if low[vertex] == index[vertex]:
                component = _pop_until(path, vertex, on_path)
                if len(component) > 1:
                    yield component


def _pop_until(path: list[int], vertex: int, on_path: set[int]) -> set[int]:
    component: set[int] = set()
    while vertex not in component:
        component.add(path.pop())
    on_path -= component
    return component


def _anomaly(kind: AnomalyKind, cycle: Cycle, operations: Sequence[Operation], through: str) -> Anomaly:
    numbers = [number for number, _ in cycle]
    lines = ["each comes after the one before it, and the first after the last:"]
    lines += [f"  T{number} {operations[number]!r}" for number in numbers]
    for (here, link), there in zip(cycle, [*numbers[1:], numbers[0]], strict=True):
        lines.append(f"  T{here} -{link.kind}-> T{there}: {link.text}")
    return Anomaly(kind, "\n".join(lines), tuple(operations[number] for number in numbers), through)
