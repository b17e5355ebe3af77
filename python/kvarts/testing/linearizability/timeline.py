"""A history of one part as a row of events, prepared for the search: who is pending when, and what each can do."""

from collections.abc import Sequence, Set
from dataclasses import dataclass, field

from kvarts.testing.linearizability.models import SequentialModel
from kvarts.testing.linearizability.operations import Operation, predecessors


@dataclass(frozen=True, slots=True)
class Event:
    """An operation begins, or ends."""

    index: int
    is_return: bool


def events_of(operations: Sequence[Operation]) -> list[Event]:
    """Return the events in order of time; of equal moments invocations come first, so that nothing is presumed."""
    stamped = [(operation.invoked, False, index) for index, operation in enumerate(operations)]
    stamped += [
        (operation.returned, True, index)
        for index, operation in enumerate(operations)
        if operation.returned is not None
    ]
    return [Event(index, is_return) for _, is_return, index in sorted(stamped)]


@dataclass(slots=True)
class Timeline:
    """Events, and per operation a bit of its own while it is pending. Bits are used again after a return."""

    model: SequentialModel
    operations: Sequence[Operation]
    events: Sequence[Event]
    optional: Set[int]
    """Operations that need not take effect: their return, if it is among the events, only ends their chance."""

    bits: list[int] = field(init=False)
    tie: list[int | None] = field(init=False)
    """For an operation, the index of its client's former one that returned in the same moment: it goes first."""
    return_position: list[int] = field(init=False)
    invoked_position: list[int] = field(init=False)
    pending: dict[int, tuple[int, ...]] = field(init=False)
    """By position of a return: operations with a return of their own that are pending there."""
    overwriting: dict[int, int] = field(init=False)
    """By position of a return: bits of pending overwrites without a tie."""
    lingering: list[int] = field(init=False)
    """Operations without a return, in order of invocation."""
    lingering_count: dict[int, int] = field(init=False)
    """By position of a return: how many of `lingering` have been invoked."""
    alike: list[int] = field(init=False)
    """Equal numbers for operations with equal requests and answers."""
    reads: list[bool] = field(init=False)
    overwrites: list[bool] = field(init=False)

    def __post_init__(self) -> None:
        """Fill the tables."""
        never = len(self.events)
        count = len(self.operations)
        self.return_position, self.invoked_position = [never] * count, [never] * count
        for position, event in enumerate(self.events):
            where = self.return_position if event.is_return else self.invoked_position
            where[event.index] = position
        self.reads = [self.model.reads_only(operation) for operation in self.operations]
        self.overwrites = [self.model.overwrites(operation) for operation in self.operations]
        numbers: dict[tuple[object, ...], int] = {}
        self.alike = [
            numbers.setdefault((operation.input, None if operation.returned is None else (operation.output,)), index)
            for index, operation in enumerate(self.operations)
        ]
        self.tie = [None] * count
        for index, before in enumerate(predecessors(self.operations)):
            if before is None or self.invoked_position[before] == never:
                continue
            if self.operations[before].returned == self.operations[index].invoked:
                self.tie[index] = before
        self._sweep(never)

    def _sweep(self, never: int) -> None:
        self.bits = [0] * len(self.operations)
        self.pending, self.overwriting, self.lingering_count = {}, {}, {}
        self.lingering = []
        free: list[int] = []
        used = 0
        here: dict[int, None] = {}
        for position, event in enumerate(self.events):
            index = event.index
            if event.is_return:
                self.pending[position] = tuple(here)
                untied = (other for other in here if self.overwrites[other] and self.tie[other] is None)
                self.overwriting[position] = sum(self.bits[other] for other in untied)
                self.lingering_count[position] = len(self.lingering)
                del here[index]
                free.append(self.bits[index])
                continue
            if not free:
                free.append(1 << used)
                used += 1
            self.bits[index] = free.pop()
            if self.return_position[index] == never:
                self.lingering.append(index)
            else:
                here[index] = None
