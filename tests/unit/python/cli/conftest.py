"""Runs the command line as a user does: in a process of its own."""

import fcntl
import json
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

PYTHON_FOLDER = Path(__file__).resolve().parents[4] / "python"


@dataclass(frozen=True)
class Result:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The one object on stdout."""
        return json.loads(self.out)

    @property
    def lines(self) -> list[Any]:
        """The objects on stdout, one a line."""
        return [json.loads(line) for line in self.out.splitlines()]

    @property
    def error(self) -> dict[str, Any]:
        """The error object on stderr."""
        found: dict[str, Any] = json.loads(self.err)["error"]
        return found


Kvarts = Callable[..., Result]


def environment() -> dict[str, str]:
    """The environment in which a child finds this tree's package."""
    return {**os.environ, "PYTHONPATH": str(PYTHON_FOLDER), "PYTHONWARNINGS": "error", "COLUMNS": "100"}


@pytest.fixture
def kvarts(tmp_path: Path) -> Kvarts:
    """Run `python -m kvarts ARGUMENTS` in an empty folder; `piped` is its stdin."""

    def run(*arguments: str, piped: bytes = b"") -> Result:
        command = [sys.executable, "-m", "kvarts", *arguments]
        done = subprocess.run(command, input=piped, capture_output=True, cwd=tmp_path, env=environment(), check=False)
        return Result(done.returncode, done.stdout.decode(), done.stderr.decode())

    return run


def on_a_terminal(folder: Path, *arguments: str, columns: int = 80, code: int = 0) -> str:
    """What a command prints where stdout and stderr are a terminal of so many columns."""
    outer, inner = pty.openpty()
    fcntl.ioctl(inner, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    world = {name: value for name, value in environment().items() if name not in ("COLUMNS", "LINES")}
    command = [sys.executable, "-m", "kvarts", *arguments]
    with subprocess.Popen(command, cwd=folder, env={**world, "TERM": "dumb"}, stdout=inner, stderr=inner) as child:
        os.close(inner)
        shown = b""
        try:
            while piece := os.read(outer, 4096):
                shown += piece
        except OSError:
            pass  # Linux says EIO, not end of file, once the last writer has gone.
        assert child.wait() == code
    os.close(outer)
    return re.sub(r"\x1b\[[0-9;]*m", "", shown.decode().replace("\r\n", "\n"))
