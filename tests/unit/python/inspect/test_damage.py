"""Damage anywhere is told by file and offset, and never raised."""

import os
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from kvarts.base.errors import InvalidArgument, NotAStore, StorageError
from kvarts.inspect import inspect_log, inspect_manifest, inspect_store, inspect_table
from kvarts.inspect.format.batch import read_batch
from kvarts.inspect.format.block import read_block
from kvarts.inspect.format.checksum import tag
from kvarts.inspect.format.fields import FormatError
from kvarts.inspect.format.filter import read_filter
from kvarts.inspect.format.lz4 import expand
from kvarts.inspect.format.node_record import read_node_record
from kvarts.inspect.format.record import KINDS, Record
from kvarts.inspect.format.seal import Seal
from kvarts.inspect.format.sealed import open_sealed
from kvarts.inspect.format.table import read_index, read_properties
from tests.unit.python.inspect.stores import make

SEED = int(os.environ.get("KVARTS_SEED", "3"))
FLIPS = int(os.environ.get("KVARTS_INSPECT_FLIPS", "250"))
LOOKS: dict[str, Callable[[Path], object]] = {".table": inspect_table, ".log": inspect_log}
REPLAY = f"KVARTS_SEED={SEED} python -m pytest {Path(__file__).name}"


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A copy of running stores, by shape."""
    shapes = ("log only", "flushed", "keyspaces", "log synced", "many logs", "small blocks")
    return {shape: make(shape, tmp_path_factory.mktemp("damage"))[0] for shape in shapes}


def _flipped(original: Path, copy: Path, offset: int, xor: int) -> Path:
    data = bytearray(original.read_bytes())
    data[offset] ^= xor
    path = copy / original.name
    path.write_bytes(data)
    return path


def _only(folder: Path, suffix: str) -> Path:
    return sorted(folder.glob(f"*{suffix}"))[0]


def test_each_byte_of_a_small_table_counts(stores: dict[str, Path], tmp_path: Path) -> None:
    original = min(stores["keyspaces"].glob("*.table"), key=lambda file: file.stat().st_size)
    for offset in range(original.stat().st_size):
        report = inspect_table(_flipped(original, tmp_path, offset, 1 << offset % 8))
        assert report.damage, f"byte {offset}"
        assert all(0 <= place.offset <= report.file_bytes and place.what for place in report.damage)


def test_each_byte_of_a_manifest_counts(stores: dict[str, Path], tmp_path: Path) -> None:
    original = stores["flushed"] / "MANIFEST"
    for offset in range(original.stat().st_size):
        report = inspect_manifest(_flipped(original, tmp_path, offset, 1 << offset % 8))
        assert report.damage, f"byte {offset}"
        assert report.manifest is None


def test_flip_in_a_table_names_the_block_it_lies_in(stores: dict[str, Path], tmp_path: Path) -> None:
    original = _only(stores["small blocks"], ".table")
    sound = inspect_table(original)
    assert sound.footer is not None
    assert len(sound.blocks) > 20
    ends = [block.first_key or b"" for block in sound.blocks[1:]] + [b"\xff"]
    for block, end in list(zip(sound.blocks, ends, strict=True))[::7]:
        report = inspect_table(_flipped(original, tmp_path, block.offset + block.stored_bytes // 2, 4))
        (place,) = report.damage
        assert place.offset == block.offset
        # The index tells no more of its keys than where it ends: before the next block.
        assert place.smallest <= (block.first_key or b"") <= block.last_key <= place.largest < end
        assert [each.number for each in report.blocks if each.problem] == [block.number]
    for part in sound.parts:
        report = inspect_table(_flipped(original, tmp_path, part.offset + 9, 4))
        assert [place.offset for place in report.damage] == [part.offset]
        assert [each.name for each in report.parts if each.problem] == [part.name]


@pytest.mark.parametrize("shape", ["flushed", "small blocks"])
def test_flip_anywhere_in_a_table_is_reported(shape: str, stores: dict[str, Path], tmp_path: Path) -> None:
    random_ = random.Random(f"{SEED} {shape}")
    original = max(stores[shape].glob("*.table"), key=lambda file: file.stat().st_size)
    for _ in range(FLIPS // 5):
        offset, xor = random_.randrange(original.stat().st_size), 1 << random_.randrange(8)
        report = inspect_table(_flipped(original, tmp_path, offset, xor))
        assert report.damage, f"byte {offset} ^ {xor}: {REPLAY}"


@pytest.mark.parametrize("shape", ["log only", "log synced", "many logs"])
def test_flip_in_a_log_is_reported_and_later_ones_that_were_synced_make_it_damage(
    shape: str, stores: dict[str, Path], tmp_path: Path
) -> None:
    random_ = random.Random(f"{SEED} {shape}")
    # The next log may have been made in advance, and is empty.
    logs = [log for log in sorted(stores[shape].glob("*.log")) if inspect_log(log).records]
    for original in logs:
        sound = inspect_log(original)
        assert sound.verdict == "clean"
        for number in range(FLIPS // 5 // len(logs)):
            # Up to the end, and a little into the zeros behind.
            offset = random_.randrange(min(sound.end + 64, sound.file_bytes) if number else 128)
            report = inspect_log(_flipped(original, tmp_path, offset, 1 << random_.randrange(8)))
            said = f"byte {offset}: {REPLAY}"
            assert report.verdict != "clean", said
            if offset < 128:
                assert report.damage[0].offset < 128, said
                continue
            bad = max(record.offset for record in sound.records if record.offset <= offset)
            expected = bad if offset < sound.end else sound.end
            assert report.end == expected, said
            proven = any(record.synced > bad for record in sound.records if record.offset > bad)
            assert (report.verdict == "damaged") == (offset < sound.end and proven), said


def test_each_byte_of_a_short_log_counts(stores: dict[str, Path], tmp_path: Path) -> None:
    original = _only(stores["log only"], ".log")
    for offset in range(inspect_log(original).records[3].offset):
        assert inspect_log(_flipped(original, tmp_path, offset, 1 << offset % 8)).verdict != "clean", f"byte {offset}"


@pytest.mark.parametrize("shape", ["flushed", "keyspaces", "log synced"])
def test_truncated_file_is_reported_at_its_end(shape: str, stores: dict[str, Path], tmp_path: Path) -> None:
    for original in stores[shape].iterdir():
        data = original.read_bytes()
        if original.name == "LOCK":
            continue
        looks = LOOKS.get(original.suffix, inspect_manifest)
        written = len(data.rstrip(b"\0"))
        for size in {0, 1, 127, 128, 129, written // 2, written - 1}:
            copy = tmp_path / original.name
            copy.write_bytes(data[: min(size, written - 1)])
            report = looks(copy)
            is_whole_log = original.suffix == ".log" and size in (128, 129)
            assert is_whole_log or getattr(report, "damage", None) or getattr(report, "verdict", "") == "torn"


def test_garbage_is_no_file_of_ours(tmp_path: Path) -> None:
    random_ = random.Random(SEED)
    for size in (0, 1, 7, 128, 256, 5000):
        path = tmp_path / "garbage"
        path.write_bytes(random_.randbytes(size))
        assert inspect_table(path).damage
        assert inspect_log(path).damage
        assert inspect_manifest(path).damage


def test_file_of_another_kind_or_number_is_told(stores: dict[str, Path], tmp_path: Path) -> None:
    table, log = _only(stores["flushed"], ".table"), _only(stores["flushed"], ".log")
    assert "it is a log, not a table" in inspect_table(log).damage[0].what
    assert "it is a table, not a manifest" in inspect_manifest(table).damage[0].what
    other = tmp_path / "000777.table"
    shutil.copyfile(table, other)
    assert "under another's name" in inspect_table(other).damage[0].what


def test_newer_format_and_cipher_are_named(stores: dict[str, Path], tmp_path: Path) -> None:
    original = _only(stores["flushed"], ".table")
    newer = _flipped(original, tmp_path, 8, 8)
    assert "format 9 is newer than 2" in inspect_table(newer).damage[0].what
    data = bytearray(original.read_bytes())
    data[13] = 2
    data[112:128] = tag(int(original.stem), 0, bytes(data[:112]))
    newer.write_bytes(data)
    assert "unknown cipher 2" in inspect_table(newer).damage[0].what


def test_what_is_no_file_is_refused_with_an_error_of_ours(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="No such file"):
        inspect_table(tmp_path / "absent")
    with pytest.raises(InvalidArgument, match="is not a file"):
        inspect_log(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InvalidArgument, match="is not a file"):
        inspect_manifest(tmp_path / "pipe")
    with pytest.raises(NotAStore, match="is not a directory"):
        inspect_store(tmp_path / "pipe")
    with pytest.raises(InvalidArgument, match="path"):
        inspect_table("a\0b")
    with pytest.raises(NotAStore, match="no store"):
        inspect_store(tmp_path)


def _mutations(original: bytes, count: int, random_: random.Random) -> Iterator[bytes]:
    for _ in range(count):
        data = bytearray(original)
        for _ in range(random_.randrange(1, 4)):
            if data:
                data[random_.randrange(len(data))] = random_.choice((0, 1, 0x7F, 0x80, 0xFF, random_.randrange(256)))
        if random_.random() < 0.3:
            del data[random_.randrange(len(data) + 1) :]
        yield bytes(data)


def _node_reader(kind: str) -> Callable[[bytes], object]:
    return lambda payload: read_node_record(Record(0, 0, kind, 0, 0, payload))


def test_decoders_take_any_bytes(stores: dict[str, Path]) -> None:
    """Below the checksums too: what is not a block, an index, a batch is a FormatError, and nothing else."""
    random_ = random.Random(f"{SEED} decoders")
    table = _only(stores["small blocks"], ".table")
    report, data, number = inspect_table(table), table.read_bytes(), int(table.stem)
    parts = {part.name: part for part in report.parts}
    raws: list[tuple[Callable[[bytes], object], bytes]] = []
    readers: dict[str, Callable[[bytes], object]] = {"filter": read_filter, "properties": read_properties}
    for name, part in parts.items():
        sealed = data[part.offset : part.offset + part.stored_bytes]
        reader = readers.get(name, lambda raw: read_index(raw, 0))
        raws.append((reader, open_sealed(Seal(number), part.offset, sealed).raw))
    for block in report.blocks[:3]:
        sealed = data[block.offset : block.offset + block.stored_bytes]
        raws.append((read_block, open_sealed(Seal(number), block.offset, sealed).raw))
        raws.append((lambda stored: expand(stored, 300), sealed[8:-16]))
    log = _only(stores["log only"], ".log")
    records = inspect_log(log).records
    for record in records[:3]:
        raws.append((read_batch, log.read_bytes()[record.offset + 24 : record.offset + 24 + record.payload_bytes]))
    raws += [(_node_reader(kind), bytes(80)) for kind in KINDS.values()]
    refused = 0
    for read, raw in raws:
        for mutated in _mutations(raw, FLIPS, random_):
            try:
                read(mutated)
            except FormatError:
                refused += 1
    assert refused > FLIPS, REPLAY
