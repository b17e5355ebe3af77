"""Descriptors: tables give theirs back when the process has none left; one that runs out all the same gets errors that
pass and loses nothing; a closed store holds none."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import kvarts
from kvarts.base.options import Durability

CHILD = """
import json, os, resource, sys, threading
import kvarts

path, mark = sys.argv[1], b"%06d"
db = kvarts.open(path, memory="1MiB", memtable_bytes=65536, table_bytes=4096, log_bytes=65536)
soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))  # what tables give back is above it
written, errors = 0, []
while not errors and written < 50_000:
    try:
        db[mark % written] = os.urandom(200)
        written += 1
    except kvarts.KvartsError as error:
        errors.append(type(error).__name__)
resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
for _ in range(600):  # until the background work has tried again: it does so every second
    try:
        db[b"after"] = b"1"
        db.flush()
        break
    except kvarts.StorageError as error:
        errors.append(type(error).__name__)
        threading.Event().wait(0.1)
there = sum(mark % number in db for number in range(written))
db.close()
print(json.dumps({"written": written, "there": there, "errors": errors[:1], "after": db.closed}))
"""


def test_running_out_of_descriptors_passes(tmp_path: Path) -> None:
    command = [sys.executable, "-c", CHILD, str(tmp_path / "s")]
    ended = subprocess.run(command, capture_output=True, text=True, check=True, timeout=200)
    answer = json.loads(ended.stdout)
    assert answer["errors"] == ["StorageError"], answer
    assert answer["there"] == answer["written"] > 0
    with kvarts.open(tmp_path / "s") as db:
        assert len(db) == answer["written"] + 1


LENDS = """
import os, resource, sys
import kvarts

path, rows = sys.argv[1], {b"%06d" % number: b"%d" % number * 8 for number in range(20_000)}
resource.setrlimit(resource.RLIMIT_NOFILE, (64, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
options = {"memory": "1MiB", "memtable_bytes": 16384, "table_bytes": 4096, "level_base_bytes": 65536}
db = kvarts.open(path, log_bytes=1 << 18, **options)
db.put_many(rows)
db.compact()
assert all(db[key] == value for key, value in rows.items())
hogs = []
try:
    while True:
        hogs.append(os.open("/dev/null", os.O_RDONLY))
except OSError:
    pass
rows |= {key: b"w" * 100 for key in list(rows)[:8000]}
for key in list(rows)[:8000]:  # fills the log several times, and the memtable
    db[key] = rows[key]
db.flush()
db.compact()
db.checkpoint(path + ".copy")
assert db.verify().ok
assert dict(db.scan()) == rows
with kvarts.open(path + ".copy") as copy:
    assert dict(copy.scan()) == rows
db.close()
print(len(hogs))
"""


def test_tables_give_descriptors_back_to_who_writes(tmp_path: Path) -> None:
    command = [sys.executable, "-c", LENDS, str(tmp_path / "s")]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=200)
    assert ended.returncode == 0, ended.stderr
    assert 0 < int(ended.stdout) < 40, "the tables held the rest"


def _held(folder: Path) -> list[str]:
    """Descriptors and mappings of this process that lie in `folder`."""
    descriptors = [Path("/proc/self/fd", name) for name in os.listdir("/proc/self/fd")]
    opened = [os.readlink(path) for path in descriptors if os.path.islink(path)]  # the one of listdir is gone again
    mapped = Path("/proc/self/maps").read_text().splitlines()
    return [line for line in opened + mapped if str(folder) in line]


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="no /proc to read what a process holds from")
@pytest.mark.parametrize("durability", ["batch", "sync"])
def test_closed_store_holds_no_file_while_its_object_lives(tmp_path: Path, durability: Durability) -> None:
    db = kvarts.open(tmp_path / "s", durability=durability)
    people, snapshot = db.keyspace("people"), db.snapshot()
    db[b"a"] = b"1"
    db.put(b"long", bytes(20_000))
    people[b"b"] = b"2"
    db.flush()
    db[b"c"] = b"3"
    assert any(".log" in line for line in _held(tmp_path))
    db.close()
    assert _held(tmp_path) == []
    assert db.closed
    assert snapshot.closed
    on_disk = sum(path.stat().st_blocks * 512 for path in (tmp_path / "s").iterdir())
    assert on_disk < 1 << 20, "nothing of the log's 64 MiB is left"
    with kvarts.open(tmp_path / "s") as again:
        assert list(again) == [b"a", b"c", b"long"]
