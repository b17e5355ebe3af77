"""Commands on users' keys and their results in few words."""

import shlex

from kvarts.base.types import ABSENT, ANY, PRESENT, AtRevision, Condition, Equals
from kvarts.statemachine.commands import (
    AnyCommand,
    Command,
    Counter,
    Delete,
    DeleteRange,
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


def command_of(line: str) -> AnyCommand:
    """Understands: open, drop N, lock NAME, and `[session=S/Q] [answered=A] [fence=LOCK/T] OP ; OP`.

    OP: put K V [ttl MS] [if …], delete K [if …], range FROM TO (`-`: no bound), incr K N, incr64 K N.
    A word that begins with 0x is bytes in hexadecimal digits.
    """
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
    rest = shlex.join(word for word in words if word.split("=")[0] not in named).replace("';'", ";")
    return Command(
        tuple(_operation(shlex.split(part)) for part in rest.split(";")),
        SessionId(int(session)),
        int(sequence),
        int(named.get("answered", "0")),
        Fence(lock.encode(), int(token)) if lock else None,
    )


def _operation(words: list[str]) -> Operation:
    match words:
        case ["put", key, value, "ttl", ttl_ms, *rest]:
            return Put(_bytes(key), _bytes(value), _condition(rest), int(ttl_ms))
        case ["put", key, value, "keep", *rest]:
            return Put(_bytes(key), _bytes(value), _condition(rest), keep_ttl=True)
        case ["put", key, value, *rest]:
            return Put(_bytes(key), _bytes(value), _condition(rest))
        case ["delete", key, *rest]:
            return Delete(_bytes(key), _condition(rest))
        case ["range", start, stop]:
            return DeleteRange(*(b"" if bound == "-" else _bytes(bound) for bound in (start, stop)))
        case ["incr", key, by]:
            return Incr(_bytes(key), int(by))
        case ["incr64", key, by]:
            return Incr(_bytes(key), int(by), Counter.U64)
    raise ValueError(f"no operation: {words}")


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
    return Equals(_bytes(words[2]))


def _bytes(word: str) -> bytes:
    return bytes.fromhex(word[2:]) if word.startswith("0x") else word.encode()


def bytes_words(data: bytes) -> str:
    """Return bytes as a word that stands for them."""
    return data.decode() if data.isascii() and data.decode().isprintable() else f"0x{data.hex()}"


def result_words(result: Result) -> str:
    """Return what became of a command."""
    failed = f" at operation {result.failed}" if result.failed else ""
    found = f" found {bytes_words(result.found[0])}@{result.found[1]}" if result.found else ""
    values = "".join(f" {value}" for value in result.values if value is not None)
    return f"@{result.revision} {result.outcome.value}{values}{failed}{found}"
