"""Transactions that append to lists and read them: reads show the order of the appends, cycles show the anomalies.

After Adya 1999 ("Weak consistency: a generalized theory and optimistic implementations") and Kingsbury & Alvaro 2020
("Elle: inferring isolation anomalies from experimental observations").
"""

from collections.abc import Sequence
from dataclasses import dataclass

from kvarts.testing.linearizability.cycles import Graph, find_cycles
from kvarts.testing.linearizability.dependencies import data_edges, realtime_edges, session_edges
from kvarts.testing.linearizability.operations import Operation
from kvarts.testing.linearizability.transactions import collect
from kvarts.testing.linearizability.verdict import Anomaly, Outcome, Verdict
from kvarts.testing.linearizability.versions import infer


@dataclass(frozen=True)
class ListAppend:
    """Lists by key, changed by transactions.

    An operation's input is a tuple of `("append", key, value)` and `("read", key)`; its output a tuple as long, with
    the list for each read and None for each append; or ABORTED. No value is appended twice to one key.

    With `realtime` the verdict is on strict serializability; without it on strong session serializability; without
    `sessions` too, on serializability.
    """

    realtime: bool = True
    sessions: bool = True


def judge(operations: Sequence[Operation], model: ListAppend) -> Verdict:
    """Judge a history of transactions. Exact: the history has a serial order if and only if no anomaly is found."""
    history = collect(operations)
    orders, anomalies = infer(history)
    graph = Graph(len(history.transactions))
    data_edges(history, orders, graph)
    if model.sessions:
        session_edges(history, graph)
    if model.realtime:
        realtime_edges(history, graph)
    found: list[Anomaly] = [*anomalies, *find_cycles(graph, history.transactions)]
    outcome = Outcome.NOT_LINEARIZABLE if found else Outcome.LINEARIZABLE
    return Verdict(outcome, len(history.transactions), anomalies=tuple(found))
