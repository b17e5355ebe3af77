"""Reads histories of a register as Jepsen's log shows them: `INFO  jepsen.util - 3 :invoke :cas [1 2]`."""

from collections.abc import Iterable
from typing import Any

from kvarts.testing.linearizability.operations import ABORTED, Operation

KINDS = ("read", "write", "cas")

_Asked = tuple[int, str, tuple[Any, ...]]


def parse(lines: Iterable[str]) -> list[Operation]:
    """Return the operations of a log; a moment is a line's number. Lines of no process (a nemesis) are skipped.

    `:ok` and `:fail` are answers: a failed cas found another value, any other failed operation did not happen.
    `:info`, or no answer at all, leaves the outcome unknown. Raises ValueError, with the
    line's number, where a line makes no sense, and where there is no operation at all.
    """
    waiting: dict[int, _Asked] = {}
    found: list[Operation] = []
    for number, line in enumerate(lines, 1):
        words = line.replace("[", " ").replace("]", " ").split()
        words = words[words.index("-") + 1 :] if "-" in words else words
        if not words or not words[0].isdigit() or (len(words) > 1 and not words[1].startswith(":")):
            continue
        try:
            _take(number, words, waiting, found)
        except (ValueError, IndexError, KeyError):
            raise ValueError(f"line {number} is not understood: {line.strip()}") from None
    if not found and not waiting:
        raise ValueError("no operation of a register found")
    found += [Operation(process, invoked, None, request) for process, (invoked, _, request) in waiting.items()]
    return sorted(found, key=lambda operation: operation.invoked)


def _take(number: int, words: list[str], waiting: dict[int, _Asked], found: list[Operation]) -> None:
    process, event, kind = int(words[0]), words[1], words[2].removeprefix(":")
    if kind not in KINDS:
        raise ValueError(kind)
    if event == ":invoke":
        if process in waiting:
            raise ValueError("the process waits for another answer")
        waiting[process] = (number, kind, _input(kind, [_value(word) for word in words[3:]]))
        return
    invoked, asked, request = waiting.pop(process)
    if asked != kind:
        raise ValueError(kind)
    returned: int | None = number
    output: Any = None
    if event == ":info":
        returned = None
    elif event == ":fail":
        is_answer = kind == "cas" and len(words) == 5
        output = False if is_answer else ABORTED
    elif event == ":ok":
        output = _value(words[3]) if kind == "read" else True if kind == "cas" else None
    else:
        raise ValueError(event)
    found.append(Operation(process, invoked, returned, request, output))


def _input(kind: str, argument: list[int | None]) -> tuple[Any, ...]:
    if kind == "read":
        return ("read",)
    if kind == "write":
        return ("write", argument[0])
    return ("cas", argument[0], argument[1])


def _value(word: str) -> int | None:
    return None if word == "nil" else int(word)
