"""Machines that do one thing at a time: what the operations of a history are compared with."""

from abc import ABC, abstractmethod
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

from kvarts.testing.linearizability.operations import ABORTED, Operation


class _Mark(Enum):
    ILLEGAL = "illegal"


ILLEGAL: Final = _Mark.ILLEGAL
"""Returned by `step` where the machine could not have given this answer in this state."""


@dataclass(frozen=True, slots=True)
class Anything:
    """A state of which nothing is known but what it is not; only in a model that sets `knows_anything`."""

    excluded: frozenset[Any] = frozenset()

    def allows(self, value: object) -> bool:
        """Tell whether it may be this value."""
        return value not in self.excluded

    def but(self, value: object) -> "Anything":
        """Return what is known when it is not this value either."""
        return Anything(self.excluded | {value})


class SequentialModel(ABC):
    """A deterministic machine. States, keys, inputs and outputs are hashable; equal states behave alike.

    Write a subclass for a machine of your own: `step` and `shape` are enough, the rest makes the search faster or its
    explanation shorter.
    """

    initial: Any = None
    knows_anything: bool = False
    """True if `step` understands a state of the class Anything: it must allow whatever some state allows."""

    @abstractmethod
    def step(self, state: Any, operation: Operation) -> Any:
        """Return the state after the operation, or ILLEGAL if it cannot have given its output in this state.

        An operation whose `returned` is None may have given any output; where it would change nothing, ILLEGAL says
        that it need not be tried.
        """

    @abstractmethod
    def shape(self, operation: Operation) -> str | None:
        """Return what is wrong with the form of the operation's input and output, or None."""

    def key(self, operation: Operation) -> Hashable:
        """Return the part of the machine that the operation touches; parts are independent and judged apart."""
        return None

    def reads_only(self, operation: Operation) -> bool:
        """Tell whether the operation leaves every state as it is, given its output."""
        return False

    def overwrites(self, operation: Operation) -> bool:
        """Tell whether the operation is legal in every state and leaves the same state after each."""
        return False

    def needs(self, operation: Operation) -> tuple[Any, ...]:
        """Return the one state in which alone the operation is legal, given its output; nothing if there are more.

        A model that answers must let `leaves` answer for every operation that can change the state.
        """
        return ()

    def leaves(self, operation: Operation) -> tuple[Any, ...]:
        """Return the states to which the operation can change another state."""
        return ()


class _Cell(SequentialModel):
    """One value that is read, written and compared. Subclasses say how requests are named."""

    knows_anything = True

    @abstractmethod
    def _action(self, request: tuple[Any, ...]) -> tuple[Any, ...]:
        """Return ("read",), ("write", value) or ("cas", old, new)."""

    def step(self, state: Any, operation: Operation) -> Any:
        """Return the value after the operation, or ILLEGAL."""
        action = self._action(operation.input)
        if action[0] == "write":
            return action[1]
        if action[0] == "read" and operation.returned is None:
            return state
        took_place = operation.returned is None or action[0] == "read" or operation.output
        compared = operation.output if action[0] == "read" else action[1]
        after = compared if action[0] == "read" else action[2]
        if isinstance(state, Anything):
            if not took_place:
                return state.but(compared)
            return after if state.allows(compared) else ILLEGAL
        if took_place:
            return after if state == compared else ILLEGAL
        return state if state != compared else ILLEGAL

    def reads_only(self, operation: Operation) -> bool:
        """Tell whether it is a read or a comparison that failed."""
        action = self._action(operation.input)[0]
        return action == "read" or (action == "cas" and operation.returned is not None and not operation.output)

    def overwrites(self, operation: Operation) -> bool:
        """Tell whether it is a write."""
        return bool(self._action(operation.input)[0] == "write")

    def needs(self, operation: Operation) -> tuple[Any, ...]:
        """Return what a read saw, what a comparison found."""
        action = self._action(operation.input)
        if operation.returned is None or action[0] == "write" or (action[0] == "cas" and not operation.output):
            return ()
        return (operation.output if action[0] == "read" else action[1],)

    def leaves(self, operation: Operation) -> tuple[Any, ...]:
        """Return what it writes."""
        return () if self.reads_only(operation) else self._action(operation.input)[-1:]

    def _shape(self, operation: Operation, lengths: dict[str, int]) -> str | None:
        request = operation.input
        if not isinstance(request, Sequence) or not request or request[0] not in lengths:
            return f"input must begin with one of {', '.join(lengths)}"
        if len(request) != lengths[request[0]]:
            return f"{request[0]} takes {lengths[request[0]] - 1} arguments"
        if request[0] == "cas" and operation.returned is not None and not isinstance(operation.output, bool):
            return "the output of cas is True or False"
        try:
            hash((request, operation.output))
        except TypeError:
            return "input is a tuple, keys and values are hashable"
        return None


class Register(_Cell):
    """One value. `("read",)` returns it, `("write", value)`, `("cas", old, new)` returns whether it took place."""

    def __init__(self, initial: Hashable = None) -> None:
        self.initial = initial

    def _action(self, request: tuple[Any, ...]) -> tuple[Any, ...]:
        return request

    def shape(self, operation: Operation) -> str | None:
        """Return what is wrong with its form."""
        return self._shape(operation, {"read": 1, "write": 2, "cas": 3})


class Map(_Cell):
    """Values by key, None where there is none; each key is judged apart (Horn & Kroening 2015).

    `("get", key)` returns the value, `("put", key, value)`, `("delete", key)`, `("cas", key, old, new)` returns
    whether it took place; None as old means absent, None as new deletes.
    """

    def key(self, operation: Operation) -> Hashable:
        """Return the key it names."""
        key: Hashable = operation.input[1]
        return key

    def _action(self, request: tuple[Any, ...]) -> tuple[Any, ...]:
        match request[0]:
            case "get":
                return ("read",)
            case "put":
                return ("write", request[2])
            case "delete":
                return ("write", None)
            case _:
                return ("cas", request[2], request[3])

    def shape(self, operation: Operation) -> str | None:
        """Return what is wrong with its form."""
        return self._shape(operation, {"get": 2, "put": 3, "delete": 2, "cas": 4})


def of_interest(model: SequentialModel, operations: Sequence[Operation]) -> list[Operation]:
    """Return the operations that can tell or change anything. Raises ValueError for one of the wrong form.

    Left out: those that surely never happened, and reads whose answer never came.
    """
    kept = []
    for operation in operations:
        aborted = operation.output is ABORTED and operation.returned is not None
        wrong = None if aborted else model.shape(operation)
        if wrong:
            raise ValueError(f"{operation!r}: {wrong}")
        if not aborted and not (operation.returned is None and model.reads_only(operation)):
            kept.append(operation)
    return kept
