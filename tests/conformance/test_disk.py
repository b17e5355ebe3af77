"""What lies on disk: reopening, checkpoints, rights, space that returns, expiry under a manual clock."""

import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest

import kvarts
from tests.conformance.kinds import TINY
from tests.conformance.manual import ManualStore
from tests.processes import python, surroundings


@pytest.mark.parametrize("durability", ["sync", "batch", "none"])
@pytest.mark.parametrize("options", [{}, TINY], ids=["default", "tiny"])
def test_reopen_finds_everything(tmp_path: Path, durability: Any, options: Any) -> None:
    rows = {b"%04d" % number: b"v%d" % number for number in range(700)}
    with kvarts.open(tmp_path / "s", durability=durability, **options) as db:
        db.update(rows)
        words = db.keyspace("words", key=kvarts.Str, value=kvarts.Json)
        words["a"] = [1, "b"]
        db.delete(b"0007")
        revision = db.revision
    with kvarts.open(tmp_path / "s", **options) as db:
        assert dict(db) == {key: value for key, value in rows.items() if key != b"0007"}
        assert db.keyspace("words", key=kvarts.Str, value=kvarts.Json)["a"] == [1, "b"]
        assert db.revision >= revision
        assert db.put(b"a", b"1") > revision


@pytest.mark.parametrize("options", [{}, TINY], ids=["default", "tiny"])
def test_get_many_finds_the_same_on_any_number_of_threads(tmp_path: Path, options: Any) -> None:
    rows = {f"{number * 7919 % 10007:05d}": number for number in range(4000)}
    with kvarts.open(tmp_path / "s", **options) as db:
        numbers = db.keyspace("numbers", key=kvarts.Str, value=kvarts.Json)
        numbers.update(rows)
        db.compact()
    keys = [f"{number:05d}" for number in range(10007)]
    expected = [rows.get(key) for key in keys]
    for parallel in (None, 1, 2, 5):
        with kvarts.open(tmp_path / "s", **options) as db:
            numbers = db.keyspace("numbers", key=kvarts.Str, value=kvarts.Json)
            for state in ("cold", "warm"):
                assert numbers.get_many(keys, parallel=parallel) == expected, (parallel, state)
            snapshot = numbers.snapshot()
            numbers.delete(keys[0])
            assert snapshot.get_many(keys[:1], parallel=parallel) == expected[:1]
            numbers[keys[0]] = 0


@pytest.mark.parametrize("parallel", [0, -1, 257, 2**70])
def test_parallel_out_of_range_is_refused(tmp_path: Path, parallel: int) -> None:
    with kvarts.open(tmp_path / "s") as db, pytest.raises(kvarts.InvalidArgument, match="parallel="):
        db.get_many([b"a"], parallel=parallel)


def test_many_reopens_each_with_a_write(tmp_path: Path) -> None:
    revisions = []
    for number in range(30):
        with kvarts.open(tmp_path / "s", **TINY) as db:
            assert len(db) == number
            revisions.append(db.put(b"%d" % number, b"x" * 1000))
    assert revisions == sorted(set(revisions))


def test_rights_are_the_owners_only(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with kvarts.open(path) as db:
        db[b"a"] = b"1"
        db.flush()
        assert stat.S_IMODE(path.stat().st_mode) == 0o700
        for file in path.rglob("*"):
            wanted = 0o700 if file.is_dir() else 0o600
            assert stat.S_IMODE(file.stat().st_mode) == wanted, file


def test_directory_that_was_there_keeps_its_mode(tmp_path: Path) -> None:
    path = tmp_path / "s"
    path.mkdir()
    path.chmod(0o755)
    with kvarts.open(path) as db:
        db[b"a"] = b"1"
        db.flush()
        assert stat.S_IMODE(path.stat().st_mode) == 0o755
        assert {stat.S_IMODE(file.stat().st_mode) for file in path.iterdir()} == {0o600}


def test_checkpoint_opens_as_a_store_of_its_own(tmp_path: Path) -> None:
    with kvarts.open(tmp_path / "s", **TINY) as db:
        db.update({b"%04d" % number: b"x" * 50 for number in range(500)})
        db.keyspace("other")[b"k"] = b"v"
        revision = db.checkpoint(tmp_path / "copy")
        assert revision == db.revision
        db.clear()
        db.compact()
        with kvarts.open(tmp_path / "copy") as copy:
            assert len(copy) == 500
            assert copy.keyspace("other")[b"k"] == b"v"
            assert copy.revision == revision
            copy[b"only here"] = b"1"
            assert copy.verify().ok
        assert list(db) == []
    with kvarts.open(tmp_path / "copy") as copy:
        assert len(copy) == 501


def test_checkpoint_onto_something_is_refused(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "notes").write_text("x")
    with kvarts.open(tmp_path / "s") as db, pytest.raises(kvarts.InvalidArgument):
        db.checkpoint(tmp_path / "there")
    assert [file.name for file in (tmp_path / "there").iterdir()] == ["notes"]


def test_compaction_returns_the_space_of_deleted_rows(tmp_path: Path) -> None:
    with kvarts.open(tmp_path / "s", memtable_bytes=64 << 10, compression="none") as db:
        db.put_many((b"%06d" % number, b"v" * 100) for number in range(20_000))
        db.compact()
        full = db.stats().table_bytes
        assert full > 2_000_000
        del db[b"000100":]
        db.compact()
        assert db.stats().table_bytes < full // 20
        assert len(db) == 100


def test_overwrites_do_not_pile_up(tmp_path: Path) -> None:
    with kvarts.open(tmp_path / "s", memtable_bytes=64 << 10, compression="none") as db:
        for round_ in range(20):
            db.put_many((b"%04d" % number, b"%d" % round_ * 50) for number in range(1000))
        db.compact()
        assert db.stats().table_bytes < 300_000


def test_expired_key_is_absent_to_every_read(tmp_path: Path) -> None:
    with ManualStore(tmp_path / "s", now_ms=1_000_000) as manual:
        db = manual.db
        db.put(b"short", b"1", ttl=0.5)
        db.put(b"long", b"2", ttl=100)
        db.put(b"ever", b"3")
        manual.advance(499)
        assert list(db) == [b"ever", b"long", b"short"]
        snapshot = db.snapshot()
        manual.advance(1)
        assert list(db) == [b"ever", b"long"]
        assert db.get(b"short") is None
        assert db.entry(b"short") is None
        assert b"short" not in db
        assert db.get_many([b"short", b"long"]) == [None, b"2"]
        assert list(db.scan(reverse=True).keys()) == [b"long", b"ever"]
        assert len(db) == 2
        assert snapshot[b"short"] == b"1", "a snapshot judges expiry as of its creation"
        db.put(b"short", b"again", if_=kvarts.ABSENT)
        manual.advance(10_000_000)
        assert list(db) == [b"ever", b"short"]


def test_later_put_without_ttl_lasts_and_incr_keeps_the_ttl(tmp_path: Path) -> None:
    with ManualStore(tmp_path / "s", now_ms=5_000) as manual:
        db = manual.db
        db.put(b"a", b"1", ttl=1)
        db.put(b"a", b"2")
        db.put(b"n", b"1", ttl=1)
        assert db.incr(b"n") == 2
        manual.advance(2_000)
        assert db[b"a"] == b"2"
        assert db.incr(b"n") == 1, "an expired number counts from 0"


def test_expiry_survives_flush_reopen_and_compaction_returns_its_space(tmp_path: Path) -> None:
    with ManualStore(tmp_path / "s", now_ms=5_000, **TINY) as manual:
        for number in range(1000):
            manual.db.put(b"%04d" % number, b"x" * 100, ttl=10)
        manual.db.flush()
        manual.reopen()
        assert len(manual.db) == 1000
        manual.advance(10_000)
        assert not manual.db
        assert manual.db.stats().table_bytes > 0
        manual.db.compact()
        assert manual.db.stats().table_bytes < 4096


def test_closed_at_exit_when_the_program_forgets(tmp_path: Path) -> None:
    code = f"import kvarts; db = kvarts.open({str(tmp_path / 's')!r}, durability='none'); db[b'a'] = b'1'"
    subprocess.run(python("-c", code), check=True, **surroundings())
    with kvarts.open(tmp_path / "s") as db:
        assert db[b"a"] == b"1"
