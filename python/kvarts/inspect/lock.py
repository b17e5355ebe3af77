"""Who holds a store. Looks without touching the lock: taking it for a moment could refuse the store to its owner."""

import fcntl
import json
import os
import stat
from contextlib import suppress
from dataclasses import dataclass

LOCK = "LOCK"
_LOCKS_OF_LINUX = "/proc/locks"


@dataclass(frozen=True, slots=True, kw_only=True)
class LockReport:
    """Whether the lock is held, as far as can be seen, and what its last holder wrote about itself."""

    held: bool
    pid: int | None
    argv: tuple[str, ...]


def look_at_lock(folder: str) -> LockReport | None:
    """Return what can be seen of a store's lock; None where it has none.

    On Linux a holder in another PID namespace, a container's, is not seen.
    """
    path = os.path.join(folder, LOCK)
    try:
        # Nonblocking: a pipe in its place would hold us for ever.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW)
    except OSError:
        return None
    with open(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return None
        try:
            pid, argv = _told(file.read(1 << 16))
            held = _is_held(descriptor)
        except OSError:
            return None
    return LockReport(held=held, pid=pid, argv=argv)


def _told(text: bytes) -> tuple[int | None, tuple[str, ...]]:
    with suppress(ValueError, KeyError, TypeError):
        told = json.loads(text)
        return int(told["pid"]), tuple(str(word) for word in told["argv"])
    return None, ()


def _is_held(descriptor: int) -> bool:
    try:
        with open(_LOCKS_OF_LINUX, encoding="ascii") as file:
            lines = [line.split() for line in file]
    except OSError:
        return _is_refused(descriptor)
    found = os.fstat(descriptor)
    place = f"{os.major(found.st_dev):02x}:{os.minor(found.st_dev):02x}:{found.st_ino}"
    return any(words[1:2] == ["FLOCK"] and place in words for words in lines)


def _is_refused(descriptor: int) -> bool:
    """Try it, where nothing lists the locks."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    fcntl.flock(descriptor, fcntl.LOCK_UN)
    return False
