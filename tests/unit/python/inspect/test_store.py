"""A directory as a whole: who holds it, which files count, what is missing, what is left over."""

import os
import random
import shutil
from pathlib import Path

import pytest

import kvarts
from kvarts.base.options import OpenOptions
from kvarts.inspect import FileReport, StoreReport, inspect_log, inspect_store
from tests.unit.python.inspect.stores import TINY, make


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of a store with tables and several logs."""
    return make("many logs", tmp_path_factory.mktemp("store"))[0]


@pytest.fixture
def copy(running: Path, tmp_path: Path) -> Path:
    """A copy of it to spoil."""
    shutil.copytree(running, tmp_path / "copy")
    return tmp_path / "copy"


def _file(report: StoreReport, name: str) -> FileReport:
    return next(file for file in report.files if file.name == name)


def _logs(path: Path) -> list[Path]:
    """Return the logs with records. The next log may have been made in advance, and is empty."""
    return [log for log in sorted(path.glob("*.log")) if inspect_log(log).records]


def test_lock_of_an_open_store_is_held_by_us_and_of_a_closed_one_free(tmp_path: Path) -> None:
    with kvarts.open(tmp_path / "store", **TINY) as db:
        db[b"k"] = b"v"
        lock = inspect_store(tmp_path / "store").lock
        assert lock is not None
        assert (lock.held, lock.pid) == (True, os.getpid())
        db[b"k"] = b"still open, still ours"
    lock = inspect_store(tmp_path / "store").lock
    assert lock is not None
    assert not lock.held
    with kvarts.open(tmp_path / "store", **TINY) as db:
        assert db[b"k"] == b"still open, still ours"


def test_store_that_is_written_meanwhile_is_whole_at_every_look(tmp_path: Path) -> None:
    options: OpenOptions = {**TINY, "background": True}
    with kvarts.open(tmp_path / "store", **options) as db:
        for turn in range(12):
            db.put_many((b"%06d" % number, b"turn %d" % turn) for number in range(turn * 500, turn * 500 + 900))
            report = inspect_store(tmp_path / "store")
            assert not report.damage, report.damage


def test_logs_lead_from_one_to_the_next(copy: Path) -> None:
    report = inspect_store(copy)
    logs = _logs(copy)
    assert len(logs) > 2
    assert [_file(report, log.name).role for log in logs] == ["log"] * len(logs)
    assert [inspect_log(log).continues_in for log in logs[:-1]] == [int(log.stem) for log in logs[1:]]
    assert report.verdict == "ok"


def test_missing_log_is_damage(copy: Path) -> None:
    first, second, *_ = _logs(copy)
    second.unlink()
    report = inspect_store(copy)
    assert report.verdict == "damaged"
    assert any(f"log {int(second.stem)}, which is missing" in place.what for place in report.damage)
    first.unlink()
    assert _file(inspect_store(copy), first.name).role == "missing"


def test_missing_table_is_damage_of_its_name(tmp_path: Path) -> None:
    running = make("flushed", tmp_path)[0]
    (table,) = running.glob("*.table")
    table.unlink()
    report = inspect_store(running)
    assert [(place.file, place.what) for place in report.damage] == [(str(table), "the file is missing")]


def test_torn_tail_is_no_damage(copy: Path) -> None:
    last = _logs(copy)[-1]
    end = inspect_log(last).end
    with last.open("r+b") as file:
        file.seek(end)
        file.write(b"vK\1\0half a record")
    report = inspect_store(copy)
    assert (report.verdict, report.damage) == ("torn", ())
    assert _file(report, last.name).verdict == "torn"
    with kvarts.open(copy, **TINY) as db:
        assert db.open_report.torn is not None
        assert db.open_report.torn[1] == end


def test_log_cut_in_the_middle_is_judged_as_the_engine_does(copy: Path) -> None:
    """Damage in an older log: later logs that were synced prove it, others are dropped."""
    random_ = random.Random(5)
    logs = _logs(copy)
    for number, log in enumerate(logs):
        spoilt = copy.parent / f"spoilt{number}"
        shutil.copytree(copy, spoilt)
        end = inspect_log(log).end
        place = random_.randrange(128, end)
        with (spoilt / log.name).open("r+b") as file:
            file.seek(place)
            byte = file.read(1)[0]
            file.seek(place)
            file.write(bytes([byte ^ 1]))
        verdict = inspect_store(spoilt).verdict
        try:
            with kvarts.open(spoilt, **TINY) as db:
                found = "torn" if db.open_report.torn else "ok"
        except kvarts.CorruptionError:
            found = "damaged"
        assert verdict == found, f"{log.name} at {place}"


def test_leftovers_are_unused_and_what_is_wrong_with_them_counts_for_nothing(tmp_path: Path) -> None:
    closed = make("flushed", tmp_path)[1]
    (closed / "000900.table").write_bytes(b"cut short")
    (closed / "000901.log").write_bytes(b"")
    (closed / "MANIFEST.tmp").write_bytes(b"half")
    (closed / "notes.txt").write_text("mine")
    report = inspect_store(closed)
    assert report.verdict == "ok"
    roles = {name: _file(report, name).role for name in ("000900.table", "000901.log", "MANIFEST.tmp", "notes.txt")}
    assert roles == {
        "000900.table": "unused",
        "000901.log": "unused",
        "MANIFEST.tmp": "unused",
        "notes.txt": "foreign",
    }
    assert report.unused_bytes == len(b"cut shorthalf")


def test_table_of_another_store_is_told(tmp_path: Path) -> None:
    (tmp_path / "two").mkdir()
    stores = [make("flushed", folder)[1] for folder in (tmp_path, tmp_path / "two")]
    tables = [next(iter(sorted(store.glob("*.table")))) for store in stores]
    assert tables[0].name == tables[1].name
    shutil.copyfile(tables[0], tables[1])
    assert any("belongs to another store" in place.what for place in inspect_store(stores[1]).damage)


def test_stale_table_disagrees_with_the_manifest(tmp_path: Path) -> None:
    closed = make("flushed", tmp_path)[1]
    one, two = sorted(closed.glob("*.table"))
    one.write_bytes(one.read_bytes() + b"\0" * 8)
    report = inspect_store(closed)
    assert report.verdict == "damaged"
    assert any("bytes, the manifest says" in place.what for place in report.damage)
    assert _file(report, two.name).verdict == "ok"


def test_manifest_older_than_one_that_was_in_place_is_damage(tmp_path: Path) -> None:
    closed = make("flushed", tmp_path)[1]
    (floor,) = closed.glob("*.floor")
    floor.rename(closed / "000900-000000.floor")
    assert [place.what for place in inspect_store(closed).damage if "older" in place.what]
    with pytest.raises(kvarts.CorruptionError, match="an older one"):
        kvarts.open(closed)


def test_lost_manifest_is_damage_only_where_there_is_data(tmp_path: Path) -> None:
    running, closed, _ = make("log only", tmp_path)
    (running / "MANIFEST").unlink()
    assert "missing, although" in inspect_store(running).damage[0].what
    for table in closed.glob("*.table"):
        table.unlink()
    (closed / "MANIFEST").unlink()
    assert "missing, although" in inspect_store(closed).damage[0].what, "a floor tells of a manifest"
    for floor in closed.glob("*.floor"):
        floor.unlink()
    (closed / "000001.log").write_bytes(bytes(4096))
    assert _file(inspect_store(closed), "MANIFEST").detail == "a store that was being made"
