"""The files say what the engine says: the same rows, the same verdicts, from bytes alone."""

import os
import random
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

import kvarts
from kvarts.base.options import OpenOptions
from kvarts.inspect import inspect_store, inspect_table
from kvarts.inspect.format.checksum import TAG_BYTES, tag
from tests.unit.python.inspect.stores import SHAPES, TINY, make, rows_on_disk

SEED = int(os.environ.get("KVARTS_SEED", "11"))
FORGERIES = int(os.environ.get("KVARTS_INSPECT_FLIPS", "250")) // 2


@pytest.mark.parametrize("shape", SHAPES)
def test_rows_of_tables_and_logs_are_those_of_the_engine(shape: str, tmp_path: Path) -> None:
    running, closed, rows = make(shape, tmp_path)
    assert rows_on_disk(running) == rows
    assert rows_on_disk(closed) == rows


@pytest.mark.parametrize("shape", SHAPES)
def test_store_of_each_shape_is_whole(shape: str, tmp_path: Path) -> None:
    for path in make(shape, tmp_path)[:2]:
        report = inspect_store(path)
        assert (report.verdict, report.damage) == ("ok", ()), path
        assert {file.role for file in report.files} <= {"manifest", "table", "log", "lock", "unused"}


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of one table, whose blocks are raw, so that a byte of them can be changed without any length changing."""
    path = tmp_path_factory.mktemp("agreement") / "plain"
    options: OpenOptions = {
        **TINY,
        "compression": "none",
        "block_bytes": 512,
        "table_bytes": 1 << 20,
        "memtable_bytes": 1 << 20,
    }
    with kvarts.open(path, **options) as db:
        for number in range(120):
            db.put(b"key/%03d" % number, b"v" * (number % 7), ttl=1e8 if number % 3 == 0 else None)
        db.delete_many(b"key/%03d" % number for number in range(0, 120, 11))
        db.flush()
    return path


def _places(table: Path) -> list[tuple[int, int]]:
    """Offset and length of all that has a tag of its own."""
    report = inspect_table(table)
    size = report.file_bytes
    blocks = [(block.offset, block.stored_bytes) for block in report.blocks]
    return [(0, 128), (size - 128, 128), *((part.offset, part.stored_bytes) for part in report.parts), *blocks]


def _forgeries(table: Path) -> Iterator[tuple[str, bytes]]:
    """Copies of a table with a byte changed and the tag over it made anew: only what the bytes say is wrong."""
    random_ = random.Random(SEED)
    original = table.read_bytes()
    places = _places(table)
    for number in range(FORGERIES):
        offset, size = places[number % len(places)]
        at = offset + random_.randrange(min(size - TAG_BYTES, 60 if number % 2 else 1 << 20))
        forged = bytearray(original)
        forged[at] = random_.choice((0, 1, 2, 5, 0x7F, 0x80, 0xFF, forged[at] ^ 1, forged[at] ^ 0x80))
        if forged == original:
            continue
        file = int.from_bytes(forged[16:24], "little") if offset == 0 else int(table.stem)
        end = offset + size
        forged[end - TAG_BYTES : end] = tag(file, offset, bytes(forged[offset : end - TAG_BYTES]))
        yield f"byte {at - offset} of what lies at {offset} is {forged[at]}", bytes(forged)


def _engine_finds(path: Path) -> bool:
    try:
        with kvarts.open(path, **TINY) as db:
            return not db.verify().ok
    except (kvarts.CorruptionError, kvarts.NewerFormat):
        return True


def test_engine_and_inspect_judge_forged_tables_alike(plain: Path, tmp_path: Path) -> None:
    """Both refuse, or both take, what has a right checksum: so the rules of docs/formats are the engine's."""
    (table,) = plain.glob("*.table")
    verdicts = set()
    for number, (what, forged) in enumerate(_forgeries(table)):
        copy = tmp_path / str(number)
        shutil.copytree(plain, copy)
        (copy / table.name).write_bytes(forged)
        found = bool(inspect_store(copy).damage)
        assert found == _engine_finds(copy), f"{what}: inspect says {found} (KVARTS_SEED={SEED})"
        verdicts.add(found)
        shutil.rmtree(copy)
    assert verdicts == {True, False}, "some forgeries change a value only, which nobody can know"
