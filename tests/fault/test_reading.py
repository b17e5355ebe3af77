"""mode="r": beside other readers, without a byte changed, as far as damage lets."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

import kvarts
from kvarts.base.options import OpenOptions

TINY: OpenOptions = {"block_bytes": 256, "table_bytes": "4KiB", "level_base_bytes": "16KiB", "level0_tables": 100}


def _contents(path: Path) -> dict[str, tuple[bytes, int]]:
    return {file.name: (file.read_bytes(), file.stat().st_mtime_ns) for file in path.iterdir()}


@pytest.fixture
def store(tmp_path: Path) -> Path:
    path = tmp_path / "s"
    with kvarts.open(path, **TINY) as db:
        for half in (range(500), range(500, 1000)):
            db.put_many((b"%04d" % number, b"value %d" % number) for number in half)
            db.flush()
    return path


def test_readers_share_and_change_nothing(store: Path) -> None:
    before = _contents(store)
    with kvarts.open(store, mode="r") as one, kvarts.open(store, mode="r") as two:
        assert list(one) == list(two)
        assert one[b"0042"] == b"value 42"
        with pytest.raises(kvarts.LockedError):
            kvarts.open(store)
    assert _contents(store) == before
    with kvarts.open(store), pytest.raises(kvarts.LockedError):
        kvarts.open(store, mode="r")


def test_directory_without_rights_to_write_can_be_read(store: Path) -> None:
    for file in store.iterdir():
        file.chmod(0o400)
    store.chmod(0o500)
    before = _contents(store)
    try:
        with kvarts.open(store, mode="r") as db:
            assert len(db) == 1000
            assert db.verify().ok
    finally:
        store.chmod(0o700)
    assert _contents(store) == before


def test_whatever_writes_is_read_only_error(store: Path) -> None:
    with kvarts.open(store, mode="r") as db:
        calls: list[Callable[[], object]] = [
            lambda: db.put(b"k", b"v"),
            lambda: db.delete(b"0001"),
            lambda: db.put_many([(b"k", b"v")]),
            lambda: db.delete_many([b"0001"]),
            db.clear,
            lambda: db.pop(b"0001"),
            db.flush,
            db.compact,
            lambda: db.checkpoint(store.parent / "copy"),
            lambda: db.keyspace("new"),
        ]
        for call in calls:
            with pytest.raises(kvarts.ReadOnlyError) as raised:
                call()
            assert raised.value.code == "KV-1008"
            assert 'mode="r"' in str(raised.value)
        assert len(db) == 1000


def test_damaged_table_fails_only_the_reads_that_need_it(store: Path) -> None:
    table = min(store.glob("*.table"))
    with table.open("r+b") as file:
        file.seek(-20, os.SEEK_END)
        file.write(b"\xff" * 8)
    for mode in ("r", "rw"):
        with kvarts.open(store, mode=mode) as db:
            with pytest.raises(kvarts.CorruptionError) as raised:
                db.get(b"0000")
            assert raised.value.file == str(table)
            assert db[b"0999"] == b"value 999"
            (place,) = db.verify().damage
            assert place.smallest == b"0000"


def test_table_that_is_cut_short_refuses_a_writer_at_once(store: Path) -> None:
    table = min(store.glob("*.table"))
    os.truncate(table, table.stat().st_size - 1)
    with pytest.raises(kvarts.CorruptionError) as raised:
        kvarts.open(store)
    assert raised.value.file == str(table)
    with kvarts.open(store, mode="r") as db:
        assert db[b"0999"] == b"value 999"


def test_no_store_is_made(tmp_path: Path) -> None:
    with pytest.raises(kvarts.StoreNotFound):
        kvarts.open(tmp_path / "none", mode="r")
    with pytest.raises(kvarts.InvalidArgument):
        kvarts.open(mode="r")
    assert not (tmp_path / "none").exists()


def test_lost_manifest_is_damage_and_no_missing_store(store: Path) -> None:
    (store / "MANIFEST").unlink()
    for options in (OpenOptions(mode="r"), OpenOptions(create=False)):
        with pytest.raises(kvarts.CorruptionError, match="it is missing, although"):
            kvarts.open(store, **options)


def test_reader_mends_no_modes(store: Path) -> None:
    with pytest.raises(kvarts.InvalidArgument, match="changes nothing on disk"):
        kvarts.open(store, mode="r", fix_permissions=True)
