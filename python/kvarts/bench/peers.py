"""Ours and the peers behind one set of bare callables, so that the timed loops call each library directly.

Each opener takes a folder and whether a put must be on stable storage when it returns; where not, a put survives
`kill -9`: it is in the kernel's hands. Caches get 256 MiB where a library has one, write buffers 64 MiB, unless the
tuning says otherwise; ours has one budget for both, the one of the cache.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import Any

MAP_BYTES = 16 << 30
RANGE_ROWS = 50
Pairs = list[tuple[bytes, bytes]]


def _nothing() -> None:
    pass


@dataclass(frozen=True, slots=True, kw_only=True)
class Tuning:
    """How an engine is opened. `compression` None is the library's own default, else "none", "lz4" or "zstd"."""

    cache_bytes: int = 256 << 20
    buffer_bytes: int = 64 << 20
    compression: str | None = None


DEFAULT = Tuning()


@dataclass(slots=True)
class Engine:
    """An open engine. What it cannot do is None. `settle` comes between writes and reads and is not timed.

    `reader` returns a `get` for a thread of its own, where threads cannot share one. `store` is ours, for what peers
    have no word for.
    """

    put: Callable[[bytes, bytes], object]
    put_batch: Callable[[Pairs], object]
    get: Callable[[bytes], object]
    get_many: Callable[[Sequence[bytes]], Sequence[object]] | None = None
    scan: Callable[[], Iterable[tuple[bytes, bytes]]] | None = None
    range_of: Callable[[bytes], object] | None = None
    settle: Callable[[], object] = _nothing
    close: Callable[[], object] = _nothing
    reader: Callable[[], Callable[[bytes], object]] | None = None
    store: Any = None


@dataclass(frozen=True, slots=True)
class Peer:
    """A library: the module it needs, the package to install, how it is opened, and what to know of its figures."""

    name: str
    module: str
    package: str
    open: Callable[[Path, bool, Tuning], Engine]
    note: str = ""

    @property
    def is_installed(self) -> bool:
        """True where the module can be imported."""
        return find_spec(self.module) is not None


def _open_kvarts(folder: Path, sync: bool, tuning: Tuning) -> Engine:
    import kvarts

    options: Any = {} if tuning.compression is None else {"compression": tuning.compression}
    durability: Any = "sync" if sync else "batch"
    store = kvarts.open(folder / "kvarts", durability=durability, memory=tuning.cache_bytes, **options)
    return Engine(
        put=store.put,
        put_batch=store.put_many,
        get=store.get,
        get_many=store.get_many,
        scan=store.scan,
        range_of=lambda start: list(store.scan(start, limit=RANGE_ROWS)),
        settle=store.compact,
        close=store.close,
        store=store,
    )


def _open_dict(folder: Path, sync: bool, tuning: Tuning) -> Engine:  # the openers share one shape
    rows: dict[bytes, bytes] = {}
    return Engine(
        put=rows.__setitem__,
        put_batch=rows.update,
        get=rows.get,
        get_many=lambda keys: [rows.get(key) for key in keys],
        scan=rows.items,
    )


def _open_plyvel(folder: Path, sync: bool, tuning: Tuning) -> Engine:
    plyvel: Any = import_module("plyvel")

    db = plyvel.DB(
        str(folder / "plyvel"), create_if_missing=True, lru_cache_size=tuning.cache_bytes,
        write_buffer_size=tuning.buffer_bytes, bloom_filter_bits=10,
    )  # fmt: skip

    def put_batch(pairs: Pairs) -> None:
        with db.write_batch(sync=sync) as batch:
            for key, value in pairs:
                batch.put(key, value)

    def range_of(start: bytes) -> Any:
        with db.iterator(start=start) as rows:
            return list(islice(rows, RANGE_ROWS))

    return Engine(
        put=(lambda key, value: db.put(key, value, sync=True)) if sync else db.put,
        put_batch=put_batch,
        get=db.get,
        get_many=lambda keys: [db.get(key) for key in keys],
        scan=db.iterator,
        range_of=range_of,
        # Without bounds plyvel's compact_range compacts nothing.
        settle=lambda: db.compact_range(start=b"\x00", stop=b"\xff" * 17),
        close=db.close,
    )


def _open_rocksdict(folder: Path, sync: bool, tuning: Tuning) -> Engine:
    rocks: Any = import_module("rocksdict")

    options = rocks.Options(raw_mode=True)
    options.create_if_missing(True)
    options.set_write_buffer_size(tuning.buffer_bytes)
    if tuning.compression is not None:
        options.set_compression_type(getattr(rocks.DBCompressionType, tuning.compression)())
    blocks = rocks.BlockBasedOptions()
    blocks.set_block_cache(rocks.Cache(tuning.cache_bytes))
    blocks.set_bloom_filter(10, False)
    options.set_block_based_table_factory(blocks)
    place = folder / "rocksdict"
    # Opened again it drops its options, unless they are given for the column family.
    again = {"column_families": {"default": options}} if place.exists() else {}
    db = rocks.Rdict(str(place), options, **again)
    write = rocks.WriteOptions()
    write.sync = sync
    db.set_write_options(write)

    def put_batch(pairs: Pairs) -> None:
        batch = rocks.WriteBatch(raw_mode=True)
        for key, value in pairs:
            batch.put(key, value)
        db.write(batch, write)

    return Engine(
        put=db.__setitem__,
        put_batch=put_batch,
        get=db.get,
        get_many=lambda keys: db.get(list(keys)),
        scan=db.items,
        range_of=lambda start: list(islice(db.items(from_key=start), RANGE_ROWS)),
        settle=lambda: (db.flush(), db.compact_range(None, None)),
        close=db.close,
    )


def _open_lmdb(folder: Path, sync: bool, tuning: Tuning) -> Engine:
    lmdb: Any = import_module("lmdb")

    env = lmdb.open(str(folder / "lmdb"), map_size=MAP_BYTES, sync=sync)

    def put(key: bytes, value: bytes) -> None:
        with env.begin(write=True) as transaction:
            transaction.put(key, value)

    def put_batch(pairs: Pairs) -> None:
        with env.begin(write=True) as transaction, transaction.cursor() as cursor:
            cursor.putmulti(pairs)

    engine = Engine(put=put, put_batch=put_batch, get=nothing_of, close=env.close)

    def begin_reads() -> None:
        # A read transaction that stays open is how lmdb reads fastest.
        reader = env.begin()
        cursor = reader.cursor()

        def range_of(start: bytes) -> Any:
            cursor.set_range(start)
            return list(islice(cursor.iternext(), RANGE_ROWS))

        def scan() -> Any:
            cursor.first()
            return cursor.iternext()

        engine.get = reader.get
        engine.get_many = cursor.getmulti
        engine.scan = scan
        engine.range_of = range_of

    engine.settle = begin_reads
    engine.reader = lambda: env.begin().get
    return engine


def nothing_of(key: bytes) -> None:
    """Stand in for `get` until lmdb's reads begin."""


def _open_sqlite(folder: Path, sync: bool, tuning: Tuning) -> Engine:
    import sqlite3

    db = sqlite3.connect(folder / "sqlite3.db", isolation_level=None)
    db.execute("PRAGMA journal_mode=WAL")
    # NORMAL: the log is written at commit but synced at checkpoints only. FULL: synced at commit.
    db.execute(f"PRAGMA synchronous={'FULL' if sync else 'NORMAL'}")
    db.execute(f"PRAGMA cache_size=-{tuning.cache_bytes >> 10}")
    db.execute("CREATE TABLE IF NOT EXISTS kv (k BLOB PRIMARY KEY, v BLOB NOT NULL) WITHOUT ROWID")
    insert = "INSERT OR REPLACE INTO kv VALUES (?, ?)"

    def put_batch(pairs: Pairs) -> None:
        db.execute("BEGIN")
        db.executemany(insert, pairs)
        db.execute("COMMIT")

    def get_many(keys: Sequence[bytes]) -> Any:
        marks = ",".join("?" * len(keys))
        found = dict(db.execute(f"SELECT k, v FROM kv WHERE k IN ({marks})", keys).fetchall())  # noqa: S608
        return [found.get(key) for key in keys]

    after = f"SELECT k, v FROM kv WHERE k >= ? ORDER BY k LIMIT {RANGE_ROWS}"  # noqa: S608  # a constant of ours
    return Engine(
        put=lambda key, value: db.execute(insert, (key, value)),
        put_batch=put_batch,
        get=lambda key: db.execute("SELECT v FROM kv WHERE k = ?", (key,)).fetchone(),
        get_many=get_many,
        scan=lambda: db.execute("SELECT k, v FROM kv ORDER BY k"),
        range_of=lambda start: db.execute(after, (start,)).fetchall(),
        settle=lambda: db.execute("PRAGMA wal_checkpoint(TRUNCATE)"),
        close=db.close,
    )


def _open_gnu(folder: Path, sync: bool, tuning: Tuning) -> Engine:
    from dbm import gnu

    db: Any = gnu.open(str(folder / "gnu.db"), "nf")  # noqa: SIM115  # the engine closes it

    # The flag "s" would sync where the directory of the file changes, which most puts leave as it is.
    def put_and_sync(key: bytes, value: bytes) -> None:
        db[key] = value
        db.sync()

    def put_batch(pairs: Pairs) -> None:
        for key, value in pairs:
            db[key] = value
        if sync:
            db.sync()

    return Engine(
        put=put_and_sync if sync else db.__setitem__,
        put_batch=put_batch,
        get=db.get,
        get_many=lambda keys: [db.get(key) for key in keys],
        close=db.close,
    )


OURS = Peer("kvarts", "kvarts", "kvarts", _open_kvarts)
PEERS = (
    OURS,
    Peer("plyvel", "plyvel", "plyvel", _open_plyvel, "LevelDB; no get_many of its own: a loop of gets"),
    Peer("rocksdict", "rocksdict", "rocksdict", _open_rocksdict, "RocksDB; raw mode"),
    Peer("lmdb", "lmdb", "lmdb", _open_lmdb, "reads in one open transaction; a transaction per put"),
    Peer("sqlite3", "sqlite3", "sqlite3", _open_sqlite, "WAL; a table WITHOUT ROWID"),
    Peer(
        "dbm.gnu",
        "_gdbm",
        "python with gdbm",
        _open_gnu,
        "no order, no batch, no recovery: a crash of the machine may damage the file",
    ),
    Peer("dict", "builtins", "python", _open_dict, "the limit: nothing is kept"),
)
BY_NAME = {peer.name: peer for peer in PEERS}
