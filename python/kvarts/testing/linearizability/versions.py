"""The order of the appends to each key, as the reads show it, and the anomalies that need no cycle."""

from collections.abc import Hashable, Iterator

from kvarts.testing.linearizability.operations import Operation
from kvarts.testing.linearizability.transactions import History
from kvarts.testing.linearizability.verdict import Anomaly, AnomalyKind

Orders = dict[Hashable, tuple[Hashable, ...]]


def infer(history: History) -> tuple[Orders, list[Anomaly]]:
    """Return the longest list seen per key, of which all others must be prefixes, and what contradicts that."""
    longest: dict[Hashable, tuple[tuple[Hashable, ...], Operation]] = {}
    for transaction in history.parsed:
        for key, seen in transaction.whole_reads:
            if key not in longest or len(seen) > len(longest[key][0]):
                longest[key] = (seen, transaction.operation)
    orders = {key: seen for key, (seen, _) in longest.items()}
    found = [Anomaly(AnomalyKind.INTERNAL, text, (operation,)) for operation, text in history.internal]
    found += _bad_reads(history, longest)
    found += _turned_round(history, orders)
    found += _lost_updates(history)
    return orders, list({(anomaly.kind, anomaly.text): anomaly for anomaly in found}.values())


def _bad_reads(history: History, longest: dict[Hashable, tuple[tuple[Hashable, ...], Operation]]) -> Iterator[Anomaly]:
    for number, transaction in enumerate(history.parsed):
        reader = transaction.operation
        for key, seen in transaction.whole_reads:
            order, witness = longest[key]
            if seen != order[: len(seen)]:
                text = f"{key!r} was read as {list(order)!r} and as {list(seen)!r}: neither begins the other"
                yield Anomaly(AnomalyKind.INCOMPATIBLE_ORDER, text, (witness, reader))
            if len(set(seen)) < len(seen):
                text = f"{key!r} was read as {list(seen)!r}, with a value twice"
                yield Anomaly(AnomalyKind.DUPLICATE_ELEMENT, text, (reader,))
            for value in seen:
                if (key, value) in history.aborted:
                    writer = history.aborted[key, value]
                    text = f"{reader!r} read {value!r} of {key!r}, whose writer aborted: {writer!r}"
                    yield Anomaly(AnomalyKind.G1A, text, (writer, reader))
                elif (key, value) not in history.writers:
                    text = f"{reader!r} read {value!r} of {key!r}, which nobody appended"
                    yield Anomaly(AnomalyKind.GARBAGE_READ, text, (reader,))
        yield from _intermediate(history, number)


def _turned_round(history: History, orders: Orders) -> Iterator[Anomaly]:
    """Values of one transaction that were read in another order than it appended them in."""
    for transaction in history.parsed:
        for key, values in transaction.appends.items():
            order = orders.get(key, ())
            places = [order.index(value) for value in values if value in order] if len(values) > 1 else []
            if places != sorted(places):
                text = f"{key!r} was read as {list(order)!r}, in another order than {transaction.operation!r} appended"
                yield Anomaly(AnomalyKind.INCOMPATIBLE_ORDER, text, (transaction.operation,))


def _intermediate(history: History, number: int) -> Iterator[Anomaly]:
    """G1b: the last value seen of another transaction is not the last that it appended to the key."""
    transaction = history.parsed[number]
    for key, reads in transaction.reads.items():
        for seen in filter(None, reads):
            writer = history.writers.get((key, seen[-1]))
            if writer is None or writer == number or history.parsed[writer].appends[key][-1] == seen[-1]:
                continue
            other = history.transactions[writer]
            text = f"{transaction.operation!r} saw {key!r} in the middle of {other!r}"
            yield Anomaly(AnomalyKind.G1B, text, (other, transaction.operation))


def _lost_updates(history: History) -> Iterator[Anomaly]:
    """Two transactions read one version of a key and both appended to it: one did not see the other."""
    first: dict[tuple[Hashable, tuple[Hashable, ...]], int] = {}
    for number, transaction in enumerate(history.parsed):
        for key in transaction.appends.keys() & transaction.reads.keys():
            version = transaction.reads[key][0]
            other = history.transactions[first.setdefault((key, version), number)]
            if other is not transaction.operation:
                text = (
                    f"{other!r} and {transaction.operation!r} both read {key!r} as {list(version)!r} and append to it"
                )
                yield Anomaly(AnomalyKind.LOST_UPDATE, text, (other, transaction.operation))
