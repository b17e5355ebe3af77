"""The three standard streams, which a caller may have closed, or given a full disk."""

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import BinaryIO

STDIN, STDOUT, STDERR = 0, 1, 2


def hold_descriptors() -> bool:
    """Put something on descriptors 0 to 2 where the caller closed them, and return whether stdout was open.

    Else a file of the store would get such a number, and what is printed would go into it. Reading what stands in for
    stdin fails as reading a closed one does; what stands in for the others swallows.
    """
    is_stdout_open = sys.stdout is not None
    if sys.stdin is None:
        _hold(STDIN, os.O_WRONLY)
        sys.stdin = os.fdopen(STDIN, encoding="utf-8", closefd=False)
    if sys.stdout is None:
        _hold(STDOUT, os.O_WRONLY)
        sys.stdout = os.fdopen(STDOUT, "w", encoding="utf-8", closefd=False)
    if sys.stderr is None:
        _hold(STDERR, os.O_WRONLY)
        sys.stderr = os.fdopen(STDERR, "w", encoding="utf-8", closefd=False)
    return is_stdout_open


def _hold(number: int, flags: int) -> None:
    opened = os.open(os.devnull, flags)
    if opened != number:
        os.dup2(opened, number)
        os.close(opened)


@contextmanager
def reading(stream: BinaryIO) -> Iterator[None]:
    """Name the stream in an OSError of reading it."""
    try:
        yield
    except OSError as error:
        error.filename = "stdin" if stream.name in (STDIN, "<stdin>") else stream.name
        raise


def finish_output() -> None:
    """Flush stdout, or let what it cannot take go nowhere: else the interpreter fails on that at its end."""
    try:
        sys.stdout.flush()
    except OSError:
        _hold(sys.stdout.fileno(), os.O_WRONLY)
        with suppress(OSError):
            sys.stdout.flush()


def sentence(error: OSError) -> str:
    """Return what is wrong; an error that names no file was met writing to stdout, the others name theirs."""
    name = error.filename or "stdout"
    if error.errno == errno.EBADF and name == "stdin":
        return "stdin is closed"
    return f"{error.strerror or error}: {name}"
