"""A process that runs out of file descriptors gets errors that pass, and loses nothing."""

import json
import subprocess
import sys
from pathlib import Path

import kvarts

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
