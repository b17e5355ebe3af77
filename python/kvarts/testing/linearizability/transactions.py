"""Transactions of a history in the form the analysis needs."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any

from kvarts.testing.linearizability.operations import ABORTED, Operation

Element = tuple[Hashable, Hashable]
"""A key and a value appended to it."""


@dataclass(slots=True)
class Transaction:
    """A transaction that committed, or may have."""

    operation: Operation
    appends: dict[Hashable, list[Hashable]] = field(default_factory=dict)
    """By key, in order."""
    reads: dict[Hashable, list[tuple[Hashable, ...]]] = field(default_factory=dict)
    """By key: what it saw of others, each read without the transaction's own appends."""
    whole_reads: list[tuple[Hashable, tuple[Hashable, ...]]] = field(default_factory=list)
    """Every read as it was answered."""


@dataclass(slots=True)
class History:
    """What happened, and who wrote what."""

    transactions: list[Operation] = field(default_factory=list)
    parsed: list[Transaction] = field(default_factory=list)
    writers: dict[Element, int] = field(default_factory=dict)
    aborted: dict[Element, Operation] = field(default_factory=dict)
    internal: list[tuple[Operation, str]] = field(default_factory=list)
    """Transactions that contradict themselves, and how."""


def collect(operations: Sequence[Operation]) -> History:
    """Sort out who committed what. Raises ValueError for a wrong form or a value appended twice to a key.

    A transaction of unknown outcome counts as committed if a value of it was read, and not at all otherwise.
    """
    history = History()
    for operation in operations:
        _check_form(operation)
        for micro in operation.input:
            element = (micro[1], micro[2]) if micro[0] == "append" else None
            if element in history.aborted:
                raise ValueError(f"{operation!r} appends {micro[2]!r} to {micro[1]!r}, which another did before")
            if element is not None:
                history.aborted[element] = operation
    seen = {(key, value) for operation in operations for key, values in _answers(operation) for value in values}
    for operation in operations:
        appended = {(micro[1], micro[2]) for micro in operation.input if micro[0] == "append"}
        committed = operation.returned is not None and operation.output is not ABORTED
        if committed or (operation.returned is None and appended & seen):
            for element in appended:
                del history.aborted[element]
                history.writers[element] = len(history.transactions)
            history.transactions.append(operation)
            history.parsed.append(_parse(operation, history))
    return history


def _check_form(operation: Operation) -> None:
    if not isinstance(operation.input, Sequence):
        raise ValueError(f"{operation!r}: the input is no tuple")
    for micro in operation.input:
        if not isinstance(micro, tuple) or (micro[:1], len(micro)) not in ((("append",), 3), (("read",), 2)):
            raise ValueError(f"{operation!r}: {micro!r} is neither ('append', key, value) nor ('read', key)")
    if operation.returned is not None and operation.output is not ABORTED:
        _check_answers(operation)
    _check_hashable(operation)


def _check_answers(operation: Operation) -> None:
    if not isinstance(operation.output, Sequence) or len(operation.output) != len(operation.input):
        raise ValueError(f"{operation!r}: the output is not as long as the input")
    for micro, answer in zip(operation.input, operation.output, strict=True):
        if micro[0] == "read" and (not isinstance(answer, Sequence) or isinstance(answer, str | bytes)):
            raise ValueError(f"{operation!r}: a read returns a list")


def _check_hashable(operation: Operation) -> None:
    try:
        hash((operation.client, operation.input, tuple(_answers(operation))))
    except TypeError:
        raise ValueError(f"{operation!r}: clients, keys and values are hashable") from None


def _answers(operation: Operation) -> list[tuple[Hashable, tuple[Hashable, ...]]]:
    """Return each key read and the list that was seen; nothing if the transaction did not surely commit."""
    if operation.returned is None or operation.output is ABORTED:
        return []
    pairs: list[tuple[Any, Any]] = list(zip(operation.input, operation.output, strict=True))
    return [(micro[1], tuple(answer)) for micro, answer in pairs if micro[0] == "read"]


def _parse(operation: Operation, history: History) -> Transaction:
    parsed = Transaction(operation, whole_reads=_answers(operation))
    answers = iter(parsed.whole_reads)
    known = operation.returned is not None
    own_elements = {(micro[1], micro[2]) for micro in operation.input if micro[0] == "append"}
    for micro in operation.input:
        key: Hashable = micro[1]
        if micro[0] == "append":
            parsed.appends.setdefault(key, []).append(micro[2])
        elif known:
            _, seen = next(answers)
            own = tuple(parsed.appends.get(key, ()))
            others = seen[: len(seen) - len(own)] if own else seen
            before = parsed.reads.get(key)
            early = [value for value in others if (key, value) in own_elements]
            if early:
                history.internal.append((operation, f"read {early!r} of {key!r} before its own appends"))
            elif own and seen[-len(own) :] != own:
                history.internal.append((operation, f"read {key!r} without its own appends {list(own)!r}"))
            elif before and before[0] != others:
                text = f"read {key!r} as {list(before[0])!r} and later as {list(others)!r}"
                history.internal.append((operation, text))
            else:
                parsed.reads.setdefault(key, []).append(others)
    return parsed
