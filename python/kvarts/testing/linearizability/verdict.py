"""What a check found, in a form that a person can read."""

from collections.abc import Hashable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from kvarts.testing.linearizability.operations import Operation

WINDOW_SHOWN_MAX = 24


class Outcome(StrEnum):
    """The three answers. UNKNOWN: the budget ended before the search did."""

    LINEARIZABLE = "linearizable"
    NOT_LINEARIZABLE = "not-linearizable"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Counterexample:
    """Where the search for an order ended. `str()` shows it.

    The history up to, not including, the return of `stuck` has an order; with it none was found. `window` is the
    shortest tail that shows it: no order of these operations explains `stuck`, whatever the state was before them
    (or, if `from_start`, from the initial state on). Those of them that were already pending when the window opens
    may have taken effect before it.
    """

    key: Hashable
    stuck: Operation
    prefix: tuple[Operation, ...]
    """Operations that returned before `stuck` did: the longest prefix that has an order."""
    window: tuple[Operation, ...]
    states: tuple[Any, ...]
    """Every state in which the system can have been just before `stuck` returned."""
    from_start: bool

    def __str__(self) -> str:
        where = "" if self.key is None else f"key {self.key!r}: "
        before = "the initial state" if self.from_start else "any state"
        hidden = max(0, len(self.window) - WINDOW_SHOWN_MAX)
        lines = [f"{where}{self.stuck!r} has no place; {len(self.prefix)} operations before it have one"]
        lines += [f"from {before}, these cannot be ordered:"]
        lines += [f"  ({hidden} more)"] if hidden else []
        for operation in self.window[hidden:]:
            lines.append(f"  {operation!r}{'   <- no place' if operation is self.stuck else ''}")
        lines.append(f"possible states at its return: {', '.join(map(repr, self.states))}")
        return "\n".join(lines)


class AnomalyKind(StrEnum):
    """What went wrong among transactions. G0 to G2 are Adya's names, the others Elle's."""

    INTERNAL = "internal"
    GARBAGE_READ = "garbage-read"
    DUPLICATE_ELEMENT = "duplicate-element"
    INCOMPATIBLE_ORDER = "incompatible-order"
    G1A = "G1a"
    G1B = "G1b"
    LOST_UPDATE = "lost-update"
    G0 = "G0"
    G1C = "G1c"
    G_SINGLE = "G-single"
    G2 = "G2"


@dataclass(frozen=True)
class Anomaly:
    """One thing that went wrong; `text` explains it. Cycles list their operations in the cycle's order.

    `through` is empty where the data alone show it; "session" or "realtime" where it takes that order to close the
    cycle (such a history may still be serializable).
    """

    kind: AnomalyKind
    text: str
    operations: tuple[Operation, ...]
    through: str = ""

    def __str__(self) -> str:
        name = f"{self.kind}-{self.through}" if self.through else str(self.kind)
        return f"{name}: {self.text}"


@dataclass(frozen=True)
class Verdict:
    """Outcome of a check and the reasons for it. True only if LINEARIZABLE; `steps` is the work done."""

    outcome: Outcome
    steps: int = 0
    counterexample: Counterexample | None = None
    anomalies: tuple[Anomaly, ...] = ()

    def __bool__(self) -> bool:
        return self.outcome is Outcome.LINEARIZABLE

    def __str__(self) -> str:
        reasons = [str(anomaly) for anomaly in self.anomalies]
        reasons += [str(self.counterexample)] if self.counterexample else []
        return "\n".join([str(self.outcome), *reasons])
