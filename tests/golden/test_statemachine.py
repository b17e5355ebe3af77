"""The model of the state machine against its scripts; the native one is to be run against the same."""

import shlex
from pathlib import Path

import pytest

from kvarts.base.types import ABSENT, ANY, PRESENT, AtRevision, Condition, Equals, Revision
from kvarts.statemachine.commands import (
    AnyCommand,
    Command,
    Delete,
    DropSessions,
    Fence,
    Incr,
    MoveLock,
    OpenSession,
    Operation,
    Put,
    Result,
    SessionId,
)
from kvarts.statemachine.user_keys import UserKeys
from tests.golden.scripts import GOLDEN, run_script


class Machine:
    """Understands: open, drop N, lock NAME, rows, and `[session=S/Q] [answered=A] [fence=LOCK/T] OP ; OP`."""

    def __init__(self) -> None:
        self.keys = UserKeys()
        self.revision = 0

    def do(self, line: str) -> list[str]:
        if line == "rows":
            return [f"{k.decode()}={v.decode()}@{r}" for k, (v, r) in sorted(self.keys.rows.items())]
        self.revision += 1
        return [_show(self.keys.apply(_parse(line), Revision(self.revision)))]


def _parse(line: str) -> AnyCommand:
    words = shlex.split(line)
    match words:
        case ["open"]:
            return OpenSession()
        case ["drop", keep]:
            return DropSessions(int(keep))
        case ["lock", name]:
            return MoveLock(name.encode())
    named = dict(word.split("=", 1) for word in words if word.startswith(("session=", "answered=", "fence=")))
    session, sequence = named.get("session", "0/0").split("/")
    lock, _, token = named.get("fence", "").partition("/")
    rest = " ".join(word for word in words if word.split("=")[0] not in named)
    return Command(
        tuple(_operation(part.split()) for part in rest.split(";")),
        SessionId(int(session)),
        int(sequence),
        int(named.get("answered", "0")),
        Fence(lock.encode(), int(token)) if lock else None,
    )


def _operation(words: list[str]) -> Operation:
    key = words[1].encode()
    match words[0]:
        case "put":
            return Put(key, words[2].encode(), _condition(words[3:]))
        case "delete":
            return Delete(key, _condition(words[2:]))
        case _:
            return Incr(key, int(words[2]))


def _condition(words: list[str]) -> Condition:
    match words:
        case []:
            return ANY
        case ["if", "absent"]:
            return ABSENT
        case ["if", "present"]:
            return PRESENT
        case ["if", "at", revision]:
            return AtRevision(int(revision))
    return Equals(words[2].encode())


def _show(result: Result) -> str:
    found = f" found {result.found[0].decode()}@{result.found[1]}" if result.found else ""
    values = "".join(f" {value}" for value in result.values if value is not None)
    return f"@{result.revision} {result.outcome.value}{values}{found}"


CONFIG = GOLDEN / "statemachine" / "config.txt"


@pytest.mark.parametrize(
    "path", sorted(set((GOLDEN / "statemachine").glob("*.txt")) - {CONFIG}), ids=lambda path: path.stem
)
def test_model_behaves_as_its_script_says(path: Path) -> None:
    run_script(path, Machine().do)


def test_the_same_commands_give_the_same_rows_in_a_copy() -> None:
    one = Machine()
    one.do("put a 1")
    copied = one.keys.copy()
    one.do("put a 2")
    assert copied.rows == {b"a": (b"1", Revision(1))}
