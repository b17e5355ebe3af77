"""The child that the tour kills: writes until it dies and reports each write, once the store has acknowledged it.

`python -m kvarts.cli.tour.writer STORE`: one byte on stdout per acknowledged write.
"""

import os
import signal
import sys

PREFIX = "~write/"
WRITES_MAX = 2_000_000
VALUE_BYTES = 200


def key_of(number: int) -> str:
    """Return the key of a write."""
    return f"{PREFIX}{number:08d}"


def value_of(number: int) -> bytes:
    """Return the value of a write: no two alike."""
    return f"{number} ".encode().ljust(VALUE_BYTES, b"%d" % (number % 10))


def main() -> None:
    """Write until killed."""
    import kvarts

    # Ctrl-C reaches parent and child alike; the parent deals with it, by killing us.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    stdout = sys.stdout.fileno()
    with kvarts.open(sys.argv[1], key=kvarts.Str, create=False) as store:
        for number in range(WRITES_MAX):
            store.put(key_of(number), value_of(number))
            os.write(stdout, b".")


if __name__ == "__main__":
    main()
