"""Scans as streams of Arrow record batches, read by those who read them. Embedded stores only."""

import gc
import os
import random
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import kvarts
from tests.conformance.kinds import in_memory, on_disk, prefixed, tiny

WHY = "this reader of Arrow is not installed: it has no wheel for this Python, or only kvarts itself was installed"
Db = kvarts.Store[Any, Any]


KINDS: dict[str, Any] = {"disk": on_disk, "tiny": tiny, "memory": in_memory, "prefixed": prefixed}


@pytest.fixture(params=list(KINDS))
def db(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Db]:
    with KINDS[request.param](tmp_path) as store:
        yield store


@pytest.fixture
def rows(db: Db) -> dict[bytes, bytes]:
    """Rows written at several times, some twice, with deleted and expired ones between; sorted."""
    rng = random.Random(5)
    rows: dict[bytes, bytes] = {}
    for part in range(4):
        fresh = {b"%06d" % rng.randrange(20_000): rng.randbytes(rng.randrange(40)) for _ in range(4_000)}
        db.put_many(fresh)
        rows.update(fresh)
        gone = rng.sample(sorted(rows), 300)
        db.delete_many(gone)
        for key in gone:
            del rows[key]
        if part < 3:
            db.flush()
        if part == 1:
            db.compact()
    db.put(b"000000x", b"lasts", ttl=1000)
    return dict(sorted((rows | {b"000000x": b"lasts"}).items()))


def _pyarrow() -> Any:
    return pytest.importorskip("pyarrow", reason=WHY)


@pytest.mark.parametrize("parallel", [None, 1, 2, 5])
@pytest.mark.parametrize("batch_rows", [1, 100, 65_536])
def test_pyarrow_reads_what_a_scan_yields(
    db: Db, rows: dict[bytes, bytes], parallel: int | None, batch_rows: int
) -> None:
    pyarrow = _pyarrow()
    scan: Any = db.scan()
    table = pyarrow.table(scan.arrow(revisions=True, batch_rows=batch_rows, parallel=parallel))
    table.validate(full=True)
    assert table.schema.names == ["key", "value", "revision"]
    assert [str(field.type) for field in table.schema] == ["binary", "binary", "uint64"]
    assert not any(field.nullable for field in table.schema)
    assert table["key"].to_pylist() == list(rows)
    assert table["value"].to_pylist() == list(rows.values())
    for at in random.Random(1).sample(range(len(rows)), 20):
        entry = db.entry(table["key"][at].as_py())
        assert entry is not None
        assert entry.revision == table["revision"][at].as_py()
    assert max(map(len, table["key"].chunks)) <= batch_rows


def test_bounds_limit_reverse_keys_and_values(db: Db, rows: dict[bytes, bytes]) -> None:
    _pyarrow()

    def keys(**options: Any) -> Any:
        scan: Any = db.scan(**options)
        return scan.keys().to_arrow()["key"].to_pylist()

    inside = [key for key in rows if b"005" <= key < b"01"]
    assert keys(start=b"005", stop=b"01") == inside
    assert keys(start=b"005", stop=b"01", reverse=True) == inside[::-1]
    assert keys(start=b"005", limit=10) == inside[:10]
    assert keys(prefix=b"0000") == [key for key in rows if key.startswith(b"0000")]
    assert keys(start=b"9") == []
    values: Any = db.scan(b"005", b"01").values()
    assert values.to_arrow().column_names == ["value"]
    view: Any = db.prefixed(b"00").scan()
    assert view.to_arrow(parallel=2)["key"].to_pylist() == [key[2:] for key in rows if key.startswith(b"00")]


def test_polars_pandas_and_duckdb_read_a_scan(db: Db, rows: dict[bytes, bytes]) -> None:
    polars = pytest.importorskip("polars", reason=WHY)
    assert polars.DataFrame(db.scan()).rows() == list(rows.items())
    pandas = pytest.importorskip("pandas", reason=WHY)
    _pyarrow()
    assert list(pandas.DataFrame.from_arrow(db.scan())["key"]) == list(rows)
    duckdb = pytest.importorskip("duckdb", reason=WHY)
    scan: Any = db.scan()
    rows_of_duckdb = scan.to_arrow()
    with duckdb.connect() as base:
        base.register("rows_of_duckdb", rows_of_duckdb)
        found = base.execute("select count(*), min(key), max(value) from rows_of_duckdb").fetchall()
    assert found == [(len(rows), next(iter(rows)), max(rows.values()))]


def test_a_scan_is_given_once(db: Db, rows: dict[bytes, bytes]) -> None:
    pyarrow = _pyarrow()
    scan: Any = db.scan()
    given = scan.arrow()
    assert pyarrow.schema(given).names == ["key", "value"]
    assert list(scan) == []
    with pytest.raises(kvarts.InvalidArgument):
        scan.arrow()
    assert pyarrow.table(given).num_rows == len(rows)
    with pytest.raises(kvarts.InvalidArgument, match="read once"):
        pyarrow.table(given)
    begun: Any = db.scan()
    next(begun)
    for use in (begun.arrow, begun.to_arrow, begun.__arrow_c_stream__, db.scan().chunks(3).arrow):  # type: ignore[attr-defined]
        with pytest.raises(kvarts.InvalidArgument):
            use()
    fresh: Any = db.scan()
    for options in ({"batch_rows": 0}, {"parallel": 0}, {"parallel": 257}):
        with pytest.raises(kvarts.InvalidArgument):
            fresh.arrow(**options)
    assert len(list(fresh)) == len(rows), "what was refused has not used it up"


def test_text_is_text(make_text: Db) -> None:
    pyarrow = _pyarrow()
    make_text.put_many({"é": "ß", "z": ""})
    table = pyarrow.table(make_text.scan())
    assert [str(field.type) for field in table.schema] == ["string", "string"]
    assert table.to_pylist() == [{"key": "z", "value": ""}, {"key": "é", "value": "ß"}]


@pytest.fixture
def make_text(tmp_path: Path) -> Iterator[Db]:
    with on_disk(tmp_path, key=kvarts.Str, value=kvarts.Str) as store:
        yield store


@pytest.mark.parametrize("parallel", [1, 2])
def test_a_stream_sees_its_creation_and_outlives_the_store(
    tmp_path: Path, rows_many: dict[bytes, bytes], parallel: int
) -> None:
    pyarrow = _pyarrow()
    store = kvarts.open(tmp_path / "store")
    store.put_many(rows_many)
    store.compact()
    scan: Any = store.scan()
    reader = pyarrow.RecordBatchReader.from_stream(scan.arrow(batch_rows=1000, parallel=parallel))
    store.put_many(dict.fromkeys(rows_many, b"new"))
    store.close()
    read: list[Any] = []
    thread = threading.Thread(target=lambda: read.extend(reader.read_all()["value"].to_pylist()))
    thread.start()
    thread.join()
    assert read == list(rows_many.values())


@pytest.fixture
def rows_many() -> dict[bytes, bytes]:
    return {b"%08d" % number: b"%d" % number for number in range(30_000)}


def test_threads_end_with_their_reader(tmp_path: Path, rows_many: dict[bytes, bytes]) -> None:
    pyarrow = _pyarrow()
    with kvarts.open(tmp_path / "store") as store:
        store.put_many(rows_many)
        store.compact()
        scan: Any = store.scan()
        reader = pyarrow.RecordBatchReader.from_stream(scan.arrow(batch_rows=100, parallel=3))
        reader.read_next_batch()
        del reader, scan
        gc.collect()
        while store.stats().snapshots > 0:
            os.sched_yield()


def test_damage_names_its_file(tmp_path: Path, rows_many: dict[bytes, bytes]) -> None:
    pyarrow = _pyarrow()
    folder = tmp_path / "store"
    with kvarts.open(folder) as store:
        store.put_many(rows_many)
        store.compact()
    for table in folder.glob("*.table"):
        data = bytearray(table.read_bytes())
        data[len(data) // 2] ^= 1
        table.write_bytes(data)
    with kvarts.open(folder) as store:
        for parallel in (1, 2):
            scan: Any = store.scan()
            with pytest.raises(Exception, match=r"\.table"):
                pyarrow.table(scan.arrow(parallel=parallel, batch_rows=1000))
