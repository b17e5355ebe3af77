"""`kvarts.repair`: what is whole of a damaged store, in a new one."""

from pathlib import Path

import pytest

import kvarts
from tests.fault.test_reading import TINY


@pytest.fixture
def store(tmp_path: Path) -> Path:
    path = tmp_path / "s"
    with kvarts.open(path, key=kvarts.Str, value=kvarts.Json, **TINY) as db:
        for half in (range(500), range(500, 1000)):
            db.put_many((f"{number:04}", {"number": number}) for number in half)
            db.flush()
        other = db.keyspace("other", key=kvarts.U64, value=kvarts.Bytes)
        other.put_many((number, b"x" * 30) for number in range(100))
    return path


def test_whole_store_comes_back_whole(store: Path, tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    report = kvarts.repair(store, tmp_path / "new", progress=lambda done, total: told.append((done, total)))
    assert report.ok
    assert report.keyspaces == {"default": 1000, "other": 100}
    assert told[-1][0] == told[-1][1] == report.bytes
    with kvarts.open(store, key=kvarts.Str, value=kvarts.Json, mode="r") as old:
        expected = list(old.items())
        entries = [old.entry(key) for key in ("0000", "0999")]
        newest = old.revision
    with kvarts.open(tmp_path / "new", key=kvarts.Str, value=kvarts.Json) as db:
        assert list(db.items()) == expected
        assert [db.entry(key) for key in ("0000", "0999")] == entries
        assert db.keyspace("other", key=kvarts.U64)[99] == b"x" * 30
        assert db.put("new", 1) > newest
        assert db.verify().ok


def test_lost_blocks_are_listed_and_the_rest_is_saved(store: Path, tmp_path: Path) -> None:
    table = min(store.glob("*.table"))
    content = bytearray(table.read_bytes())
    for at in range(600, len(content) - 1500, 2000):
        content[at] ^= 8
    table.write_bytes(content)
    with kvarts.open(store, key=kvarts.Str, value=kvarts.Json, mode="r") as db:
        places = db.verify().damage
    report = kvarts.repair(store, tmp_path / "new")
    assert not report.ok
    assert len(places) > 1
    assert [(one.file, one.offset) for one in report.gone] == [(one.file, one.offset) for one in places]
    with kvarts.open(tmp_path / "new", key=kvarts.Str, value=kvarts.Json) as db:
        rows = dict(db.items())
    assert 500 < len(rows) < 1000
    for number in range(1000):
        key = f"{number:04}"
        listed = any(one.smallest <= key.encode() <= one.largest for one in report.gone if one.keyspace == "default")
        assert rows.get(key) == {"number": number} or (key not in rows and listed)


def test_lost_manifest(store: Path, tmp_path: Path) -> None:
    (store / "MANIFEST").unlink()
    report = kvarts.repair(store, tmp_path / "new")
    assert all(name.startswith("recovered-") for name in report.keyspaces)
    assert sum(report.keyspaces.values()) == 1100
    one = kvarts.repair(store, tmp_path / "one", one_keyspace="default")
    assert one.keyspaces == {"default": 1100}


def test_refusals_leave_nothing(store: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "full").mkdir()
    for path, to, error in [
        (tmp_path / "none", tmp_path / "new", kvarts.StoreNotFound),
        (tmp_path / "empty", tmp_path / "new", kvarts.StoreNotFound),
        (store, tmp_path / "full", kvarts.InvalidArgument),
        (store, tmp_path / "no" / "new", kvarts.StoreNotFound),
    ]:
        with pytest.raises(error):
            kvarts.repair(path, to)
    with kvarts.open(store, key=kvarts.Str, value=kvarts.Json), pytest.raises(kvarts.LockedError):
        kvarts.repair(store, tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_store_repaired_without_manifest_opens_for_reading(store: Path, tmp_path: Path) -> None:
    (store / "MANIFEST").unlink()
    report = kvarts.repair(store, tmp_path / "new")
    with kvarts.open(tmp_path / "new", mode="r") as db:
        assert not list(db)
        assert sum(1 for name in report.keyspaces for _ in db.keyspace(name, create=False)) == sum(
            report.keyspaces.values()
        )


def test_repair_that_is_stopped_leaves_nothing(store: Path, tmp_path: Path) -> None:
    class Stop(Exception):
        pass

    def progress(_done: int, _total: int) -> None:
        raise Stop

    with pytest.raises(Stop):
        kvarts.repair(store, tmp_path / "new", progress=progress)
    assert not (tmp_path / "new").exists()


def test_repair_into_the_store_itself_or_into_no_keyspace_is_refused(store: Path, tmp_path: Path) -> None:
    with pytest.raises(kvarts.InvalidArgument, match="in the store itself"):
        kvarts.repair(store, store / "new")
    for name in ("", "n" * 300):
        with pytest.raises(kvarts.InvalidArgument, match="takes 1 to 255 bytes"):
            kvarts.repair(store, tmp_path / "new", one_keyspace=name)
    assert not (tmp_path / "new").exists()


def test_encrypted_store_is_refused(tmp_path: Path) -> None:
    kvarts.open(tmp_path / "store", encryption_key=b"k" * 32).close()
    with pytest.raises(kvarts.InvalidArgument, match="is encrypted"):
        kvarts.repair(tmp_path / "store", tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_store_that_others_can_write_is_refused(store: Path, tmp_path: Path) -> None:
    store.chmod(0o777)
    with pytest.raises(kvarts.UnsafeStore):
        kvarts.repair(store, tmp_path / "new")
    assert not (tmp_path / "new").exists()
