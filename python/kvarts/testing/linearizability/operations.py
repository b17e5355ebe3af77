"""What a client asked, when, and what it was told."""

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
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
    """Return the operations as a list. Raises ValueError where one returns before it is invoked."""
    listed = list(operations)
    for operation in listed:
        # Written so that a moment that is no number (NaN) is refused too.
        if operation.returned is not None and not operation.invoked <= operation.returned:
            raise ValueError(f"{operation!r} returns before it is invoked")
        if operation.invoked != operation.invoked:
            raise ValueError(f"{operation!r} was invoked at no moment")
    return listed


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
