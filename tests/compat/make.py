"""Makes a fixture with the build at hand: `python -m tests.compat.make tests/compat/NAME`. Never over an old one.

With `--encrypted` behind the name its store is encrypted, by a key that lies beside it; with `--zstd` it is compressed
by level and by keyspace, which makes it one of format 2.
"""

import base64
import hashlib
import json
import random
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import kvarts
from kvarts.base.api import Store
from kvarts.base.options import OpenOptions
from kvarts.base.types import KeyspaceInfo

OPTIONS: OpenOptions = {
    "memory": "8MiB",
    "memtable_bytes": 1 << 20,
    "block_bytes": 1024,
    "table_bytes": 8 << 10,
    "level_base_bytes": 16 << 10,
    "level0_tables": 2,
    "log_bytes": 64 << 10,
    "durability": "sync",
    "background": False,
}
FAR_S = 150 * 365 * 86400
"""Rows that expire do so long after whoever reads this."""
NOT_KEPT = ("LOCK",)
KEY = "key.hex"
KNOWN_KEY = bytes(range(32))
"""No secret."""
VALUE_BYTES_MAX = 64
Db = Store[Any, Any]


class Raw:
    """Passes bytes through under the name of a codec."""

    def __init__(self, name: str) -> None:
        self.name = name

    def encode(self, value: bytes, /) -> bytes:
        """Return it."""
        return value

    def decode(self, data: bytes, /) -> bytes:
        """Return it."""
        return data


COMPRESSION = ("none", "lz4", "zstd")
COMPRESSION_OF_USERS = ("zstd:9",)


def fill(db: Db) -> None:
    """Write rows of all kinds: to deep levels, to level 0, and last to the log alone."""
    random_ = random.Random(1)
    users = db.keyspace("users", key=kvarts.Str, value=kvarts.Json)
    numbers = db.keyspace("numbers", key=kvarts.U64, value=kvarts.U64)
    db.keyspace("empty", key=kvarts.Json, value=kvarts.Str)
    db.put_many((b"row/%04d" % number, b"value %d, " % number * (number % 5)) for number in range(300))
    users.update({f"user/{number:03}": {"name": "Zoë", "number": number, "tags": ["a"] * 3} for number in range(100)})
    numbers.update({number * number: number for number in range(200)})
    db.flush()
    db.compact()
    db.put_many((b"random/%02d" % number, random_.randbytes(700)) for number in range(12))
    for number in range(0, 300, 9):
        db.put(b"row/%04d" % number, b"until far", ttl=FAR_S + number)
    db.delete_many(b"row/%04d" % number for number in range(5, 300, 40))
    with db.snapshot():
        # A snapshot keeps the old rows beside the new ones in the table that is flushed while it is there.
        db.put_many((b"row/%04d" % number, b"newer") for number in range(100, 130))
        del users["user/007"]
        db.flush()
    db[b"\x00"] = b""
    db[b"\xff" * 300] = b"a long key"
    db[b"large"] = bytes(5000) + random_.randbytes(1500)
    with db.batch() as batch:
        batch[b"in a batch"] = b"1"
        batch.delete(b"row/0001")
        batch.keyspace("users", key=kvarts.Str, value=kvarts.Json)["user/new"] = None
        batch.put(b"in a batch, expiring", b"2", ttl=FAR_S)
    for number in range(20):
        db[b"log/%02d" % number] = b"%d " % number * 1200
    numbers[7] = 2**64 - 1


def rows_of(db: Db, info: KeyspaceInfo) -> list[tuple[bytes, bytes, int]]:
    """Return key, value and revision of each row of a keyspace, as stored."""
    with db.keyspace(info.name, key=Raw(info.key), value=Raw(info.value)) as view:
        entries = [(key, view.entry(key)) for key in view]
        return [(key, entry.value, entry.revision) for key, entry in entries if entry is not None]


def written(value: bytes) -> str:
    """Return a value as it is written down: base64, or of a long one its checksum."""
    if len(value) <= VALUE_BYTES_MAX:
        return base64.b64encode(value).decode()
    return f"sha256 {hashlib.sha256(value).hexdigest()}"


def expected_of(db: Db, expiries: dict[tuple[str, bytes], int]) -> dict[str, Any]:
    """Return what is written down of a store; a row is key, value, revision, expiry in Unix milliseconds."""
    spaces = {}
    for info in db.keyspaces().values():
        rows = [
            [base64.b64encode(key).decode(), written(value), revision, expiries.get((info.name, key))]
            for key, value, revision in rows_of(db, info)
        ]
        spaces[info.name] = {"key_codec": info.key, "value_codec": info.value, "rows": rows}
    return {"kvarts": kvarts.__version__, "revision": db.revision, "keyspaces": spaces}


def key_of(fixture: Path) -> bytes | None:
    """Return the key of an encrypted fixture."""
    path = fixture / KEY
    return bytes.fromhex(path.read_text()) if path.exists() else None


def make(target: Path, key: bytes | None = None, *, zstd: bool = False) -> None:
    """Make the fixture. Raises FileExistsError."""
    # The tests' reader of files: this script runs with the tests beside it, never without.
    from tests.unit.python.inspect.stores import keys_of, newest_on_disk

    target.mkdir()
    if key is not None:
        (target / KEY).write_text(key.hex() + "\n")
    options: OpenOptions = {**OPTIONS, "encryption_key": key}
    if zstd:
        options["compression"] = COMPRESSION
    with tempfile.TemporaryDirectory() as folder, kvarts.open(Path(folder) / "store", **options) as db:
        if zstd:
            db.keyspace("users", key=kvarts.Str, value=kvarts.Json, compression=COMPRESSION_OF_USERS)
        fill(db)
        shutil.copytree(Path(folder) / "store", target / "store", ignore=shutil.ignore_patterns(*NOT_KEPT))
        newest = newest_on_disk(target / "store", keys_of(*([key] if key else [])))
        expiries = {
            (name, key): row.expires_ms
            for name, rows in newest.items()
            for key, row in rows.items()
            if row.expires_ms is not None
        }
        text = json.dumps(expected_of(db, expiries), ensure_ascii=False)
    # A row a line.
    (target / "expected.json").write_text(text.replace("], [", "],\n[") + "\n", encoding="utf-8")
    (target / "SHA256SUMS").write_text(sums_of(target))


def sums_of(folder: Path) -> str:
    """Return the checksums of all files of a fixture but of their list itself, as sha256sum prints them."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != "SHA256SUMS")
    lines = [f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.relative_to(folder)}\n" for path in files]
    return "".join(lines)


if __name__ == "__main__":
    make(Path(sys.argv[1]), KNOWN_KEY if "--encrypted" in sys.argv[2:] else None, zstd="--zstd" in sys.argv[2:])
