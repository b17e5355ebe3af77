"""Bytes that rot: an error that names file and offset, or a refusal to open; never a wrong value, never a lost key."""

import random
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import kvarts
from tests.fault.workload import TINY, state, steps_found
from tests.processes import python, surroundings

FLIPS_PER_FILE = 25
SEED = 7
ROWS = {b"%05d" % number: b"value %d " % number * (number % 40) for number in range(3000)}
REFUSALS = (kvarts.CorruptionError, kvarts.NewerFormat, kvarts.StoreNotFound, kvarts.NotAStore, kvarts.CodecMismatch)


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store that was closed well, with tables on several levels and two keyspaces."""
    path = tmp_path_factory.mktemp("damage") / "pristine"
    with kvarts.open(path, **TINY) as db:
        db.put_many(list(ROWS.items())[:2500])
        db.compact()
        db.put_many(list(ROWS.items())[2500:])
        db.keyspace("other")[b"k"] = b"v"
    return path


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store whose process was killed, so that its newest rows are in logs only."""
    path = tmp_path_factory.mktemp("damage") / "killed"
    command = python("-m", "tests.fault.writer", str(path), "batch", str(SEED), "0")
    with subprocess.Popen(command, stdout=subprocess.PIPE, **surroundings()) as child:
        assert child.stdout is not None
        for count, _ in enumerate(child.stdout):
            if count == 650:
                child.send_signal(signal.SIGKILL)
    return path


def _flips(path: Path, count: int) -> Iterator[tuple[str, int, int]]:
    """Seeded (file, offset, xor) over all files of a store, each file's first and last bytes among them."""
    for file in sorted(name for name in path.rglob("*") if name.is_file()):
        size = file.stat().st_size
        random_ = random.Random(f"{SEED} {size}")
        offsets = {0, 8, size // 2, size - 1} | {random_.randrange(size) for _ in range(count)} if size else set()
        for offset in sorted(offset for offset in offsets if offset < size):
            yield str(file.relative_to(path)), offset, 1 << random_.randrange(8)


def _read_all(path: Path) -> dict[bytes, bytes]:
    """Opens a store and reads it by scan, reverse scan and gets, which must agree."""
    with kvarts.open(path, **TINY) as db:
        rows = dict(db.items())
        assert dict(list(db.scan(reverse=True))) == rows
        keys = list(rows)
        assert db.get_many(keys) == list(rows.values())
        return rows


def _damaged_copy(original: Path, copy: Path, name: str, offset: int, xor: int) -> None:
    shutil.copytree(original, copy, dirs_exist_ok=False)
    with (copy / name).open("r+b") as file:
        file.seek(offset)
        byte = file.read(1)[0]
        file.seek(offset)
        file.write(bytes([byte ^ xor]))


def _names_its_place(error: Any, copy: Path) -> bool:
    if not isinstance(error, kvarts.CorruptionError):
        return str(copy.name) in str(error)
    return copy.name in error.file and error.offset >= 0


def test_flipped_byte_is_never_a_wrong_answer(pristine: Path, tmp_path: Path) -> None:
    assert _read_all(_fresh(pristine, tmp_path)) == ROWS
    noticed: dict[str, list[int]] = {}
    for number, (name, offset, xor) in enumerate(_flips(pristine, FLIPS_PER_FILE)):
        copy = tmp_path / f"copy{number}"
        _damaged_copy(pristine, copy, name, offset, xor)
        try:
            rows = _read_all(copy)
        except REFUSALS as error:
            assert _names_its_place(error, copy), error
            noticed.setdefault(name, []).append(1)
        else:
            assert rows == ROWS, f"byte {offset} of {name} ^ {xor}: a wrong answer without an error"
            noticed.setdefault(name, []).append(0)
        shutil.rmtree(copy)
    shares = {name: sum(flags) / len(flags) for name, flags in noticed.items()}
    tables = [name for name in shares if (pristine / name).stat().st_size > 8192 and "LOCK" not in name.upper()]
    assert tables
    assert sum(shares[name] for name in tables) / len(tables) > 0.5, f"too much damage went unnoticed: {shares}"


def _fresh(original: Path, folder: Path) -> Path:
    shutil.copytree(original, folder / "fresh")
    return folder / "fresh"


def test_verify_lists_the_damage_of_a_table(pristine: Path, tmp_path: Path) -> None:
    largest = max((file for file in pristine.rglob("*") if file.is_file()), key=_live_bytes)
    name = str(largest.relative_to(pristine))
    copy = tmp_path / "copy"
    _damaged_copy(pristine, copy, name, largest.stat().st_size // 3, 1)
    with kvarts.open(copy) as db:
        report = db.verify()
    assert not report.ok
    assert any(damage.file.endswith(name) and damage.offset >= 0 and damage.what for damage in report.damage)


def _live_bytes(file: Path) -> int:
    """Size without the zeros that were allocated ahead."""
    return len(file.read_bytes().rstrip(b"\0"))


@pytest.mark.parametrize("keep", [0, 0.3, 0.9])
def test_truncated_or_missing_file_is_never_a_wrong_answer(pristine: Path, tmp_path: Path, keep: float) -> None:
    for number, file in enumerate(sorted(path for path in pristine.rglob("*") if path.is_file())):
        copy = tmp_path / f"copy{number}"
        shutil.copytree(pristine, copy)
        victim = copy / file.relative_to(pristine)
        if keep:
            with victim.open("r+b") as handle:
                handle.truncate(int(victim.stat().st_size * keep))
        else:
            victim.unlink()
        try:
            rows = _read_all(copy)
        except (*REFUSALS, kvarts.StorageError):
            pass
        else:
            assert rows == ROWS, f"{file.name} cut to {keep}: a wrong answer without an error"
        shutil.rmtree(copy)


def test_damage_after_a_kill_is_an_error_or_a_shorter_prefix(killed: Path, tmp_path: Path) -> None:
    whole = steps_found(_read_all(_fresh(killed, tmp_path)), 0)
    assert whole >= 650
    for number, (name, offset, xor) in enumerate(_flips(killed, FLIPS_PER_FILE)):
        copy = tmp_path / f"copy{number}"
        _damaged_copy(killed, copy, name, offset, xor)
        try:
            rows = _read_all(copy)
        except REFUSALS:
            pass
        else:
            steps = steps_found(rows, 0)
            assert rows == state(SEED, 0, steps), f"byte {offset} of {name} ^ {xor}: not a prefix"
        shutil.rmtree(copy)


def test_newer_format_is_refused_by_name_and_version(pristine: Path, tmp_path: Path) -> None:
    """Some byte of each header is the version; raising it must say so rather than guess."""
    copy = tmp_path / "copy"
    shutil.copytree(pristine, copy)
    manifest = next(file for file in copy.iterdir() if "manifest" in file.name.lower())
    original = manifest.read_bytes()
    refusals = []
    for offset in range(16):
        changed = bytearray(original)
        changed[offset] = 99
        manifest.write_bytes(changed)
        try:
            kvarts.open(copy).close()
        except kvarts.NewerFormat as error:
            refusals.append((error.found, error.supported))
        except REFUSALS:
            continue
    assert any(found > supported for found, supported in refusals), "no header byte is the format's version"
