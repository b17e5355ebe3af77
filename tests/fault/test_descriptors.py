"""Descriptors: a process that runs out of them gets errors that pass and loses nothing; a closed store holds none."""

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
resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir("/dev/fd")) + 8, hard))
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
