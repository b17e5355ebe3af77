"""A damaged log after an unclean stop: an error where it shows that the place was synced, else a torn tail."""

import signal
import subprocess
from pathlib import Path

import pytest

import kvarts
from tests.processes import python, surroundings

ROWS = 20
WRITER = f"""
import sys, kvarts
db = kvarts.open(sys.argv[1], durability=sys.argv[2], sync_interval_ms=3_600_000)
for number in range({ROWS}):
    db[b"%04d" % number] = b"value" * 9
print("written", flush=True)
sys.stdin.read()
"""


def _killed_then_damaged(path: Path, durability: str, key: bytes) -> None:
    """Write ROWS rows in a process, kill it, and flip a bit of the first place in a log that holds `key`."""
    command = python("-c", WRITER, str(path), durability)
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, **surroundings()) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"written\n"
        child.send_signal(signal.SIGKILL)
    [log] = [file for file in path.glob("*.log") if key in file.read_bytes()]
    content = bytearray(log.read_bytes())
    content[content.index(key)] ^= 1
    log.write_bytes(content)


def test_damage_in_what_the_log_shows_synced_is_an_error(tmp_path: Path) -> None:
    _killed_then_damaged(tmp_path / "s", "sync", b"0004")
    with pytest.raises(kvarts.CorruptionError):
        kvarts.open(tmp_path / "s")


@pytest.mark.parametrize(
    ("durability", "key", "left"),
    [("batch", b"0004", 4), ("none", b"0004", 4), ("none", b"0000", 0), ("sync", b"%04d" % (ROWS - 1), ROWS - 1)],
)
def test_damage_in_what_no_later_record_shows_synced_is_a_torn_tail(
    tmp_path: Path, durability: str, key: bytes, left: int
) -> None:
    _killed_then_damaged(tmp_path / "s", durability, key)
    with kvarts.open(tmp_path / "s") as db:
        assert list(db) == [b"%04d" % number for number in range(left)]
        torn = db.open_report.torn
        assert torn is not None
        assert torn[0].endswith(".log")
        assert torn[2] > 0
