"""Exit codes: documented, and never changed."""

from typing import Final

OK: Final = 0
NEGATIVE: Final = 1
USAGE: Final = 2
STORE_ERROR: Final = 3
INTERRUPTED: Final = 130
PIPE_CLOSED: Final = 141

EXIT_CODES: Final = (
    (OK, "done"),
    (NEGATIVE, "the answer is no: key not found, damage found, a check failed"),
    (USAGE, "the command or its input cannot be understood"),
    (STORE_ERROR, "the store or the system refused; see the code on stderr"),
    (INTERRUPTED, "interrupted by Ctrl-C"),
    (PIPE_CLOSED, "the reader of the output went away"),
)
