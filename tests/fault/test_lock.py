"""One process holds a store; another is told which one, and gets it as soon as that one is gone, however it went."""

import json
import os
import signal
import subprocess
from pathlib import Path

import pytest

import kvarts
from tests.processes import python, surroundings

HOLDER = """
import sys, kvarts
db = kvarts.open(sys.argv[1])
db[b"a"] = b"1"
print("open", flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM, None], ids=["kill", "term", "exit"])
def test_second_process_is_told_the_holder(tmp_path: Path, end: signal.Signals | None) -> None:
    path = tmp_path / "s"
    command = python("-c", HOLDER, str(path), "an argument")
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, **surroundings()) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"open\n"
        with pytest.raises(kvarts.LockedError) as caught:
            kvarts.open(path)
        assert caught.value.pid == holder.pid
        assert "an argument" in caught.value.argv
        assert str(holder.pid) in str(caught.value)
        if end is not None:
            holder.send_signal(end)
    with kvarts.open(path) as db:
        assert db[b"a"] == b"1"


def test_lock_is_not_inherited_by_a_program_that_we_start(tmp_path: Path) -> None:
    """A child that outlives us must not keep the store locked: the lock's file is closed by exec."""
    path = tmp_path / "s"
    db = kvarts.open(path)
    with subprocess.Popen(python("-c", "input()"), stdin=subprocess.PIPE, close_fds=False) as child:
        db.close()
        kvarts.open(path).close()
        assert child.poll() is None
        child.kill()


FORKING_HOLDER = """
import os, sys, kvarts
db = kvarts.open(sys.argv[1])
if os.fork() == 0:
    sys.stdin.read()
    print("child ends", flush=True)
    os._exit(0)
if sys.argv[2] == "close":
    db.close()
print("forked", flush=True)
while True:
    os.waitpid(-1, 0)
"""


@pytest.mark.parametrize("how", ["kill", "close"])
def test_forked_child_keeps_the_lock_of_a_killed_parent_but_not_of_one_that_closed(tmp_path: Path, how: str) -> None:
    path = tmp_path / "s"
    command = python("-W", "ignore", "-c", FORKING_HOLDER, str(path), how)
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, **surroundings()) as parent:
        assert parent.stdin is not None
        assert parent.stdout is not None
        assert parent.stdout.readline() == b"forked\n"
        if how == "close":
            kvarts.open(path).close()
        parent.kill()
        parent.wait()
        if how == "kill":
            with pytest.raises(kvarts.LockedError) as caught:
                kvarts.open(path)
            assert caught.value.pid == parent.pid, "the lock file still names the parent"
        parent.stdin.close()
        assert parent.stdout.readline() == b"child ends\n"
        assert parent.stdout.read() == b"", "the child has gone"
    kvarts.open(path).close()


def test_stale_lock_file_does_not_lock(tmp_path: Path) -> None:
    path = tmp_path / "s"
    kvarts.open(path).close()
    for file in path.iterdir():
        if file.name.upper().startswith("LOCK"):
            file.write_text(json.dumps({"pid": os.getpid(), "argv": ["gone"]}))
    kvarts.open(path).close()
