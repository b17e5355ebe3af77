"""What a client asked, when, and what it was told."""

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from numbers import Real
from typing import Any, Final


class _Aborted(Enum):
    ABORTED = "aborted"

    def __repr__(self) -> str:
        return "ABORTED"


ABORTED: Final = _Aborted.ABORTED
"""Output of an operation that surely took no effect and never will."""


@dataclass(frozen=True, slots=True)
class Operation:
    """One call of one client. `invoked` and `returned` are moments of one clock, in any unit.

    `returned` is None where nobody knows the outcome (a timeout, a lost connection, a crash): such an operation may
    take effect at any moment after `invoked`, or never; its output counts for nothing. The shape of `input` and
    `output` is the model's. Of two operations the first precedes the second if it returned strictly before the
    second was invoked; between those of one client an equal moment is enough.
    """

    client: Hashable
    invoked: float
    returned: float | None
    input: tuple[Any, ...]
    output: Any = None

    def __repr__(self) -> str:
        until = "?" if self.returned is None else f"{self.returned:g}"
        answer = "?" if self.returned is None else repr(self.output)
        return f"<client {self.client} [{self.invoked:g}, {until}] {_words(self.input)} -> {answer}>"


def _words(request: object) -> str:
    """A request without its brackets: `write 2`; a transaction's parts are divided by semicolons."""
    if not isinstance(request, Sequence) or isinstance(request, str) or not request:
        return repr(request)
    if isinstance(request[0], str):
        return " ".join([request[0], *(repr(word) for word in request[1:])])
    return "; ".join(_words(part) for part in request)


def checked(operations: Iterable[Operation]) -> list[Operation]:
    """Return the operations as a list. Raises ValueError for what is none, or returns before it is invoked."""
    listed = list(operations)
    for operation in listed:
        if not isinstance(operation, Operation):
            raise ValueError(f"{operation!r} is no Operation")
        fault = _fault(operation)
        if fault:
            raise ValueError(f"{_plain(operation)} {fault}")
    return listed


def _fault(operation: Operation) -> str | None:
    """Return what is wrong with an operation whatever the model, or None."""
    moments = operation.invoked, operation.returned
    if not isinstance(moments[0], Real) or not isinstance(moments[1], Real | None):
        return "has a moment that is no number"
    try:
        hash(operation.client)
    except TypeError:
        return "has a client that is not hashable"
    # Written so that a moment that is no number (NaN) is refused too.
    if operation.returned is not None and not operation.invoked <= operation.returned:
        return "returns before it is invoked"
    return "was invoked at no moment" if operation.invoked != operation.invoked else None


def _plain(operation: Operation) -> str:
    """An operation as it was made: its repr needs moments that are numbers."""
    client, invoked, returned = operation.client, operation.invoked, operation.returned
    return f"<client {client!r} [{invoked!r}, {returned!r}] {_words(operation.input)}>"


def predecessors(operations: Sequence[Operation]) -> list[int | None]:
    """Return for each operation the index of its client's last one that had returned when it was invoked."""
    last: dict[Hashable, int] = {}
    found: list[int | None] = [None] * len(operations)
    for index in sorted(range(len(operations)), key=lambda index: (operations[index].invoked, index)):
        operation = operations[index]
        before = last.get(operation.client)
        if before is not None and (operations[before].returned or 0) <= operation.invoked:
            found[index] = before
        if operation.returned is not None:
            last[operation.client] = index
    return found
