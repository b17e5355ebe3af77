"""Stores of many shapes as the engine leaves them, and their rows as files alone tell them."""

import random
import shutil
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import kvarts
from kvarts.base.api import Store
from kvarts.base.hkdf import key_id
from kvarts.base.options import OpenOptions
from kvarts.embedded.cipher import aead_open
from kvarts.inspect import RecordReport, inspect_log, inspect_manifest, inspect_table
from kvarts.inspect.format.batch import Operation
from kvarts.inspect.format.manifest import Manifest
from kvarts.inspect.format.rows import DELETE, Row
from kvarts.inspect.format.seal import NO_KEYS, Keys

TINY: OpenOptions = {
    "memory": "4MiB",
    "memtable_bytes": 32 << 10,
    "table_bytes": 32 << 10,
    "level_base_bytes": 64 << 10,
    "level0_tables": 2,
    "log_bytes": 128 << 10,
    "background": False,
}
FAR_S = 1e8
Rows = dict[str, dict[bytes, tuple[bytes, int]]]
"""By keyspace and key: value and revision."""
Db = Store[Any, Any]


def _nothing(_db: Db) -> None:
    pass


def _log_only(db: Db) -> None:
    for number in range(40):
        db[b"%03d" % (number % 30)] = b"value %d" % number
    del db[b"003"]


def _flushed(db: Db) -> None:
    db.put_many((b"user/%05d" % number, b"value %d " % number * (number % 9)) for number in range(800))
    db.flush()
    db[b"later"] = b"in the log"


def _compacted(db: Db) -> None:
    for turn in range(4):
        db.put_many((b"%05d" % number, b"turn %d of %d" % (turn, number)) for number in range(turn * 300, 1500))
        db.flush()
    db.delete_many(b"%05d" % number for number in range(0, 900, 3))
    db.compact()
    db.delete_many(b"%05d" % number for number in range(901, 1000))
    db.flush()


def _history(db: Db) -> None:
    """A snapshot keeps old rows, so that tables hold several of a key."""
    snapshots = []
    for turn in range(5):
        db.put_many((b"k%02d" % number, b"%d" % turn) for number in range(50))
        snapshots.append(db.snapshot())
    db.delete(b"k07")
    db.flush()
    for snapshot in snapshots:
        snapshot.close()


def _keyspaces(db: Db) -> None:
    numbers = db.keyspace("numbers", key=kvarts.U64, value=kvarts.Json)
    texts = db.keyspace("täxte", key=kvarts.Str, value=kvarts.Str)
    with db.batch() as batch:
        batch[b"root"] = b"x"
        for number in range(300):
            batch.keyspace("numbers", key=kvarts.U64, value=kvarts.Json)[number] = {"n": number}
    texts["ä"] = "ö"
    db.flush()
    numbers[7] = None
    texts["ü"] = "ß"


def _expiring(db: Db) -> None:
    for number in range(200):
        db.put(b"%03d" % number, b"v%d" % number, ttl=FAR_S + number if number % 2 else None)
    db.flush()
    db.put(b"log", b"v", ttl=FAR_S)


def _large(db: Db) -> None:
    random_ = random.Random(1)
    db[b"raw"] = random_.randbytes(300_000)
    db[b"zeros"] = bytes(200_000)
    db[b"k" * 60_000] = b"a long key"
    db[b"k" * 60_000 + b"!"] = b"and one that shares it"
    db.flush()
    db[b"log"] = random_.randbytes(100_000)


def _own_compression(db: Db) -> None:
    own = db.keyspace("own", compression=("lz4", "zstd"))
    for number in range(900):
        own[b"%06d" % number] = b"v" * (number % 90)
        db[b"%06d" % number] = b"v" * (number % 50)
    db.flush()


HAS_ZSTD = sys.version_info >= (3, 14) or bool(find_spec("backports") and find_spec("backports.zstd"))
"""True where kvarts.inspect has a library to expand blocks of zstd: Python 3.14, or `pip install "kvarts[zstd]"`."""
SHAPES: dict[str, tuple[Callable[[Db], None], OpenOptions]] = {
    "empty": (_nothing, {}),
    "log only": (_log_only, {}),
    "log synced": (_log_only, {"durability": "sync"}),
    "flushed": (_flushed, {}),
    "compacted": (_compacted, {}),
    "history": (_history, {}),
    "keyspaces": (_keyspaces, {}),
    "expiring": (_expiring, {}),
    "large": (_large, {}),
    "raw without filter": (_flushed, {"compression": "none", "filter_bits": 0}),
    "small blocks": (_compacted, {"block_bytes": 256, "filter_bits": 32}),
    "many logs": (lambda db: _fill(db, 3000), {"log_bytes": 64 << 10, "memtable_bytes": 1 << 20}),
}

if HAS_ZSTD:
    SHAPES |= {
        "zstd": (_compacted, {"compression": "zstd:9"}),
        "compressed by level": (_history, {"compression": ("none", "lz4", "zstd")}),
        "compressed by keyspace": (_own_compression, {}),
    }


def _fill(db: Db, count: int) -> None:
    for number in range(count):
        db[b"%06d" % number] = b"v" * (number % 50)


def make(shape: str, folder: Path) -> tuple[Path, Path, Rows]:
    """Return a copy that was made while the store was open, the store after its close, and its rows."""
    write, options = SHAPES[shape]
    path, running = folder / "closed", folder / "running"
    tiny: OpenOptions = {**TINY, **options}
    with kvarts.open(path, **tiny) as db:
        write(db)
        shutil.copytree(path, running)
        rows = rows_of(db)
    return running, path, rows


def rows_of(db: Db) -> Rows:
    """Return the rows of an open store as the engine gives them, undecoded."""
    return {info.name: _raw_rows(db, info) for info in db.keyspaces().values()}


class _Raw:
    def __init__(self, name: str) -> None:
        self.name = name

    def encode(self, value: bytes, /) -> bytes:
        return value

    def decode(self, data: bytes, /) -> bytes:
        return data


def _raw_rows(db: Db, info: Any) -> dict[bytes, tuple[bytes, int]]:
    with db.keyspace(info.name, key=_Raw(info.key), value=_Raw(info.value)) as view:
        entries = {key: view.entry(key) for key in view}
        return {key: (entry.value, entry.revision) for key, entry in entries.items() if entry is not None}


def keys_of(*keys: bytes) -> Keys:
    """Return master keys to read files with."""
    return Keys({key_id(key): key for key in keys}, aead_open)


def rows_on_disk(path: Path) -> Rows:
    """Return the rows of a store that is not open, by its files alone."""
    newest = newest_on_disk(path)
    return {name: {key: (row.value, row.revision) for key, row in rows.items()} for name, rows in newest.items()}


def newest_on_disk(path: Path, keys: Keys = NO_KEYS) -> dict[str, dict[bytes, Row]]:
    """Return the newest row of each key, by keyspace: from tables, then logs. Deleted keys are left out."""
    manifest = inspect_manifest(path / "MANIFEST", keys=keys).manifest
    assert manifest is not None
    newest: dict[int, dict[bytes, Row]] = {tree.id: {} for tree in manifest.trees}
    for tree in manifest.trees:
        for table in tree.tables:
            report = inspect_table(path / f"{table.file:06}.table", keys=keys, rows=_into(newest[tree.id]))
            assert not report.damage
    for row, number in _logged(path, manifest, keys):
        _keep(newest[number], row)
    return {
        tree.name: {key: row for key, row in newest[tree.id].items() if row.kind != DELETE} for tree in manifest.trees
    }


def _into(rows: dict[bytes, Row]) -> Callable[[object, list[Row]], bool]:
    def take(_block: object, found: list[Row]) -> bool:
        for row in found:
            _keep(rows, row)
        return True

    return take


def _keep(rows: dict[bytes, Row], row: Row) -> None:
    if row.key not in rows or rows[row.key].revision <= row.revision:
        rows[row.key] = row


def _logged(path: Path, manifest: Manifest, keys: Keys) -> list[tuple[Row, int]]:
    found: list[tuple[Row, int]] = []
    flushed = {tree.id: tree.flushed for tree in manifest.trees}

    def take(_record: RecordReport, operations: Any) -> bool:
        each: Operation
        for each in operations:
            if each.row.revision > flushed.get(each.tree, each.row.revision):
                found.append((each.row, each.tree))
        return True

    following = min(manifest.logs, default=None)
    while following is not None:
        report = inspect_log(path / f"{following:06}.log", keys=keys, operations=take)
        assert not report.damage
        following = report.continues_in
    return found
