"""The child of the SIGKILL loop: `python -m tests.fault.writer PATH DURABILITY SEED THREADS START…`; ends when killed.

Prints `thread step` after each step that the store acknowledged.
"""

import os
import sys
import threading
from typing import Any

import kvarts
from tests.fault.workload import options, step

FLUSH_EVERY = 700
COMPACT_EVERY = 1900


def main(path: str, durability: Any, seed: int, starts: list[int]) -> None:
    """Writes until it is killed, one thread per start."""
    db = kvarts.open(path, **options(durability))
    threads = [
        threading.Thread(target=_write, args=(db, seed, number, start), daemon=True)
        for number, start in enumerate(starts)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _write(db: Any, seed: int, thread: int, start: int) -> None:
    number = start
    while True:
        writes = step(seed, thread, number)
        if len(writes) == 1:
            db.put(*writes[0])
        else:
            with db.batch() as batch:
                for key, value in writes:
                    batch.delete(key) if value is None else batch.put(key, value)
        os.write(1, b"%d %d\n" % (thread, number))
        number += 1
        if number % FLUSH_EVERY == 0:
            db.flush()
        if number % COMPACT_EVERY == 0:
            db.compact()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), [int(start) for start in sys.argv[4:]])
