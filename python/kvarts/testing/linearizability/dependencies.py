"""Who must come before whom: by the data, by the order within a session, by the clock.

The edges are complete: whoever follows them all (a topological order) has a serial execution with the same answers.
"""

from collections import defaultdict
from collections.abc import Hashable

from kvarts.testing.linearizability.cycles import Graph, Link
from kvarts.testing.linearizability.operations import predecessors
from kvarts.testing.linearizability.transactions import History
from kvarts.testing.linearizability.versions import Orders


def data_edges(history: History, orders: Orders, graph: Graph) -> None:
    """Add write-write, write-read and read-write dependencies.

    Values that were committed but never read come after all that were read; their order among themselves is free.
    """
    unread = _unread(history, orders)
    for key, order in orders.items():
        writers = [history.writers.get((key, value)) for value in order]
        for value, before, after in zip(order, writers, writers[1:], strict=False):
            _link(graph, before, after, Link("ww", f"appended to {key!r} right after {value!r} of the former"))
        for after in unread[key]:
            if order:
                _link(graph, writers[-1], after, Link("ww", f"appended to {key!r} later than {order[-1]!r}"))
    for reader, transaction in enumerate(history.parsed):
        for key, reads in transaction.reads.items():
            for seen in reads:
                _reader_edges(history, graph, (key, seen), reader, (orders[key], unread[key]))


def _reader_edges(
    history: History,
    graph: Graph,
    read: tuple[Hashable, tuple[Hashable, ...]],
    reader: int,
    known: tuple[tuple[Hashable, ...], list[int]],
) -> None:
    key, seen = read
    order, unread = known
    if seen:
        writer = history.writers.get((key, seen[-1]))
        _link(graph, writer, reader, Link("wr", f"read {key!r} with {seen[-1]!r} of the former"))
    # The next of other transactions: the reader's own appends may follow at once.
    own = set(history.parsed[reader].appends.get(key, ()))
    for value in order[len(seen) :]:
        if value not in own:
            writer = history.writers.get((key, value))
            _link(graph, reader, writer, Link("rw", f"appended {value!r} to {key!r}, which the former did not see"))
            return
    for after in unread:
        _link(graph, reader, after, Link("rw", f"appended to {key!r} what the former did not see"))


def _unread(history: History, orders: Orders) -> dict[Hashable, list[int]]:
    found: dict[Hashable, list[int]] = defaultdict(list)
    read = {key: set(order) for key, order in orders.items()}
    for number, transaction in enumerate(history.parsed):
        for key, values in transaction.appends.items():
            if not read.get(key, set()).issuperset(values):
                found[key].append(number)
    return found


def session_edges(history: History, graph: Graph) -> None:
    """Add the order of each client's own transactions."""
    for index, before in enumerate(predecessors(history.transactions)):
        _link(graph, before, index, Link("session", "later in the same session"))


def realtime_edges(history: History, graph: Graph) -> None:
    """Add an edge where one returned before another was invoked, but for those that follow from others."""
    stamped = [(operation.invoked, False, index) for index, operation in enumerate(history.transactions)]
    stamped += [
        (operation.returned, True, index)
        for index, operation in enumerate(history.transactions)
        if operation.returned is not None
    ]
    # Invariant: of the transactions in `last` none precedes another; all others that returned precede one of them.
    last: list[int] = []
    for _, is_return, index in sorted(stamped):
        operation = history.transactions[index]
        if not is_return:
            for before in last:
                _link(graph, before, index, Link("realtime", "invoked after the former had returned"))
            continue
        last = [other for other in last if (history.transactions[other].returned or 0) >= operation.invoked]
        last.append(index)


def _link(graph: Graph, before: int | None, after: int | None, link: Link) -> None:
    if before is not None and after is not None and before != after:
        graph.add(before, after, link)
