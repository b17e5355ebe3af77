"""The child of the full-disk test: `python -m tests.fault.filler FOLDER DURABILITY`, FOLDER on a tiny file system.

Fills it, frees some, goes on; each step checked here. Prints one line of figures at the end.
"""

import sys
from pathlib import Path
from typing import Any

import kvarts
from tests.fault.workload import options

VALUE_BYTES = 5000
BALLAST_BYTES = 3 << 20


def main(folder: Path, durability: Any) -> None:
    """Runs the whole course."""
    ballast = folder / "ballast"
    ballast.write_bytes(bytes(BALLAST_BYTES))
    path = folder / "store"
    with _open(path, durability) as db:
        acknowledged = _fill(db, 0)
        assert acknowledged > 100, f"only {acknowledged} rows fitted"
        _check(db, acknowledged, "after StorageFull")
        ballast.unlink()
        more = _go_on(db, acknowledged)
        _check(db, acknowledged + more, "after room was made")
        _close(db)
    with _open(path, durability) as db:
        _check(db, acknowledged + more, "after reopening")
        assert db.verify().ok
        db.put(b"last", b"1")
        assert db[b"last"] == b"1"
    print(f"{acknowledged} rows until full, {more} more in the same handle once {BALLAST_BYTES >> 20} MiB were freed")


def _open(path: Path, durability: Any) -> Any:
    return kvarts.open(path, **options(durability, compression="none"))


def _value(number: int) -> bytes:
    return b"%08d" % number + bytes(VALUE_BYTES)


def _fill(db: Any, start: int) -> int:
    """Writes rows until the disk is full; returns how many were acknowledged."""
    number = start
    while True:
        try:
            db.put(b"%08d" % number, _value(number))
        except kvarts.StorageFull as error:
            assert error.errno == 28
            assert error.hint
            return number - start
        number += 1
        assert number < 100_000, "the disk never filled"


def _go_on(db: Any, start: int) -> int:
    """Writes twenty more rows in the handle that met the full disk. A store that failed meanwhile says so."""
    for number in range(start, start + 20):
        try:
            db.put(b"%08d" % number, _value(number))
        except (kvarts.StorageFull, kvarts.StoreFailed):
            return number - start
    return 20


def _check(db: Any, rows: int, when: str) -> None:
    found = 0
    for key, value in db.scan():
        assert key == b"%08d" % found, f"{when}: {key!r} instead of row {found}"
        assert value == _value(found), f"{when}: wrong value of {key!r}"
        found += 1
    assert found == rows, f"{when}: {found} rows of {rows} acknowledged"


def _close(db: Any) -> None:
    """Closing flushes, which a nearly full disk may refuse; the log keeps everything then."""
    try:
        db.close()
    except (kvarts.StorageFull, kvarts.StoreFailed):
        assert db.closed


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
