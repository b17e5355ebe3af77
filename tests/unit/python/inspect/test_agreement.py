"""The files say what the engine says: the same rows, the same verdicts, from bytes alone."""

import os
import random
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

import kvarts
from kvarts.base.options import OpenOptions
from kvarts.embedded.opening import open_as_made
from kvarts.inspect import inspect_log, inspect_store, inspect_table
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
        assert {file.role for file in report.files} <= {"manifest", "table", "log", "lock", "floor", "unused"}


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
        stop = offset + min(size - TAG_BYTES, 60 if number % 2 else 1 << 20)
        forged = _one_byte_changed(original, offset, stop, random_)
        file = int.from_bytes(forged[16:24], "little") if offset == 0 else int(table.stem)
        end = offset + size
        forged[end - TAG_BYTES : end] = tag(file, offset, bytes(forged[offset : end - TAG_BYTES]))
        yield f"forgery {number}, in what lies at {offset}", bytes(forged)


def _one_byte_changed(data: bytes, start: int, stop: int, random_: random.Random) -> bytearray:
    forged = bytearray(data)
    at = random_.randrange(start, stop)
    forged[at] = random_.choice((0, 1, 2, 5, 0x7F, 0x80, 0xFF, forged[at] ^ 1, forged[at] ^ 0x80))
    return forged


def _engine_finds(path: Path) -> bool:
    try:
        # As made: the name of a codec may be what was forged, and any is a good one.
        with open_as_made(path, **TINY) as db:
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


def test_engine_and_inspect_judge_forged_logs_alike(tmp_path: Path) -> None:
    """A byte of a record changed and its tag made anew: heads that are not one, batches that cannot be."""
    random_ = random.Random(SEED)
    running = make("keyspaces", tmp_path)[0]
    (log,) = running.glob("*.log")
    original, number = log.read_bytes(), int(log.stem)
    records = inspect_log(log).records
    verdicts = set()
    for count in range(FORGERIES):
        record = records[count % len(records)]
        end = record.offset + record.record_bytes - TAG_BYTES
        forged = _one_byte_changed(original, record.offset, min(end, record.offset + 80), random_)
        forged[end : end + TAG_BYTES] = tag(number, record.offset, bytes(forged[record.offset : end]))
        copy = tmp_path / str(count)
        shutil.copytree(running, copy)
        (copy / log.name).write_bytes(forged)
        verdict = inspect_store(copy).verdict
        try:
            with kvarts.open(copy, **TINY) as db:
                found = "torn" if db.open_report.torn else "ok"
        except kvarts.CorruptionError:
            found = "damaged"
        changed = [at for at, (new, old) in enumerate(zip(forged, original, strict=True)) if new != old]
        assert verdict == found, f"bytes {changed} (KVARTS_SEED={SEED})"
        verdicts.add(verdict)
        shutil.rmtree(copy)
    assert verdicts == {"ok", "torn", "damaged"}


def test_inspect_refuses_each_forged_manifest_that_the_engine_refuses(plain: Path, tmp_path: Path) -> None:
    """Not the other way round: inspect holds every number of a table's record against the table, the engine some."""
    random_ = random.Random(SEED)
    original = (plain / "MANIFEST").read_bytes()
    number = int.from_bytes(original[16:24], "little")
    verdicts = set()
    for count in range(FORGERIES):
        forged = _one_byte_changed(original, 128, len(original) - TAG_BYTES, random_)
        forged[-TAG_BYTES:] = tag(number, 128, bytes(forged[128:-TAG_BYTES]))
        copy = tmp_path / str(count)
        shutil.copytree(plain, copy)
        (copy / "MANIFEST").write_bytes(forged)
        found, refused = bool(inspect_store(copy).damage), _engine_finds(copy)
        assert found or not refused, f"KVARTS_SEED={SEED}, turn {count}"
        verdicts.add((found, refused))
        shutil.rmtree(copy)
    assert {(True, True), (False, False)} <= verdicts
