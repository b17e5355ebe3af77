"""What older builds wrote is read by the engine of now, and by kvarts.inspect: every row, every revision."""

import base64
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

import kvarts
from kvarts.inspect import inspect_log, inspect_manifest, inspect_store, inspect_table
from kvarts.inspect.format.seal import Keys
from tests.compat.make import COMPRESSION_OF_USERS, Raw, key_of, make, rows_of, sums_of, written
from tests.unit.python.inspect.stores import keys_of, newest_on_disk

FIXTURES = sorted(path.parent for path in Path(__file__).parent.glob("*/SHA256SUMS"))
Rows = dict[bytes, tuple[str, int]]


@pytest.fixture(params=FIXTURES, ids=lambda path: path.name)
def fixture(request: pytest.FixtureRequest) -> Path:
    """Each fixture, as it is committed."""
    path = request.param
    assert isinstance(path, Path)
    return path


@pytest.fixture
def expected(fixture: Path) -> dict[str, Any]:
    """What was written down when it was made."""
    found: dict[str, Any] = json.loads((fixture / "expected.json").read_text(encoding="utf-8"))
    return found


@pytest.fixture
def copy(fixture: Path, tmp_path: Path) -> Path:
    """A copy of its store with the rights that a store has."""
    shutil.copytree(fixture / "store", tmp_path / "store")
    (tmp_path / "store").chmod(0o700)
    for file in (tmp_path / "store").iterdir():
        file.chmod(0o600)
    return tmp_path / "store"


@pytest.fixture
def key(fixture: Path) -> bytes | None:
    """Its key, where it is encrypted."""
    return key_of(fixture)


@pytest.fixture
def keys(key: bytes | None) -> Keys:
    """The same, for readers of its files."""
    return keys_of(*([key] if key else []))


def _rows(space: dict[str, Any]) -> Rows:
    return {base64.b64decode(key): (value, revision) for key, value, revision, _ in space["rows"]}


def test_there_are_fixtures_of_every_format() -> None:
    assert {"format-1", "format-1-encrypted", "format-2"} <= {path.name for path in FIXTURES}


def test_fixtures_are_never_changed(fixture: Path) -> None:
    assert sums_of(fixture) == (fixture / "SHA256SUMS").read_text()


def test_fixture_is_never_made_anew(fixture: Path) -> None:
    with pytest.raises(FileExistsError):
        make(fixture)


def test_engine_of_now_reads_every_row_and_revision(copy: Path, key: bytes | None, expected: dict[str, Any]) -> None:
    with kvarts.open(copy, create=False, encryption_key=key) as db:
        assert db.open_report.replayed > 0
        assert db.open_report.torn is None
        assert db.revision == expected["revision"]
        codecs = {name: (info.key, info.value) for name, info in db.keyspaces().items()}
        assert codecs == {
            name: (space["key_codec"], space["value_codec"]) for name, space in expected["keyspaces"].items()
        }
        for info in db.keyspaces().values():
            rows = _rows(expected["keyspaces"][info.name])
            assert {key: (written(value), revision) for key, value, revision in rows_of(db, info)} == rows
            with db.keyspace(info.name, key=Raw(info.key), value=Raw(info.value)) as view:
                scanned = [(key, written(value)) for key, value in view.scan(reverse=True)]
            assert scanned == [(key, rows[key][0]) for key in sorted(rows, reverse=True)]
        assert db.verify().ok


def test_store_that_was_read_is_written_compacted_and_read_again(
    copy: Path, key: bytes | None, keys: Keys, expected: dict[str, Any]
) -> None:
    rows = {key: value for key, (value, _) in _rows(expected["keyspaces"]["default"]).items()}
    rows[b"new"] = written(b"row")
    with kvarts.open(copy, create=False, encryption_key=key) as db:
        assert db.put(b"new", b"row") > expected["revision"]
        db.compact()
    with kvarts.open(copy, create=False, encryption_key=key) as db:
        assert {key: written(value) for key, value in db.items()} == rows
        assert db.verify().ok
    assert inspect_store(copy, keys=keys).verdict == "ok"


def test_inspect_reads_every_row_revision_and_expiry(fixture: Path, keys: Keys, expected: dict[str, Any]) -> None:
    """From the committed files themselves: nothing is written."""
    store = fixture / "store"
    assert inspect_store(store, keys=keys).verdict == "ok"
    newest = newest_on_disk(store, keys)
    assert newest.keys() == expected["keyspaces"].keys()
    for name, space in expected["keyspaces"].items():
        expiries = {base64.b64decode(key): expires_ms for key, _, _, expires_ms in space["rows"]}
        assert {key: (written(row.value), row.revision) for key, row in newest[name].items()} == _rows(space)
        assert {key: row.expires_ms for key, row in newest[name].items()} == expiries


def test_fixture_of_format_1_has_all_that_the_format_has() -> None:
    """Else it would prove little: several levels and keyspaces, both codecs of blocks, old rows, logs that go on."""
    store = Path(__file__).parent / "format-1" / "store"
    report = inspect_manifest(store / "MANIFEST")
    assert report.manifest is not None
    assert report.header is not None
    assert report.header.version == 1
    tables = [inspect_table(path) for path in sorted(store.glob("*.table"))]
    assert {block.codec for table in tables for block in table.blocks} == {"none", "lz4"}
    assert any(len(table.blocks) > 3 for table in tables)
    assert any(sum(bool(level) for level in tree.levels) > 1 for tree in report.manifest.trees)
    known = [table.properties for table in tables if table.properties is not None]
    assert all(table.filter for table in tables)
    assert any(each.rows > each.keys for each in known), "old rows beside new ones"
    assert any(each.expiring for each in known)
    assert any(each.tombstones for each in known)
    logs = [inspect_log(path) for path in sorted(store.glob("*.log"))]
    assert [log.continues_in is not None for log in logs] == [True] * (len(logs) - 1) + [False]
    assert len(logs) > 1
    assert any(record.synced for log in logs for record in log.records)
    assert any(record.says.get("operations", 0) > 3 for log in logs for record in log.records)


def test_fixture_of_format_2_has_what_format_1_has_not() -> None:
    store = Path(__file__).parent / "format-2" / "store"
    report = inspect_manifest(store / "MANIFEST")
    assert report.manifest is not None
    assert report.header is not None
    assert report.header.version == 2
    assert {tree.name: tree.compression for tree in report.manifest.trees} == {
        "default": None,
        "empty": None,
        "numbers": None,
        "users": list(COMPRESSION_OF_USERS),
    }
    tables = [inspect_table(path) for path in sorted(store.glob("*.table"))]
    assert {block.codec for table in tables for block in table.blocks} == {"none", "lz4", "zstd"}
    versions = {(table.header.version, "zstd" in {b.codec for b in table.blocks}) for table in tables if table.header}
    assert {(1, False), (2, True)} <= versions, "what may have no zstd stays in format 1"
    assert (1, True) not in versions


def test_older_builds_refuse_format_2_by_number(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a build does that knows format 1 only: kvarts.inspect, told that it is one."""
    monkeypatch.setattr("kvarts.inspect.format.header.FORMAT_VERSION", 1)
    report = inspect_manifest(Path(__file__).parent / "format-2" / "store" / "MANIFEST")
    assert any("format 2 is newer than 1" in str(damage) for damage in report.damage)
