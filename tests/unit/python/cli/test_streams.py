"""Streams that the caller closed, or that take nothing: one line on stderr and a documented exit code."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.python.cli.conftest import Kvarts, environment


def shell(folder: Path, line: str) -> tuple[int, str, str]:
    """Run a line in which $K is the command; return the exit code, stdout and stderr."""
    world = {**environment(), "K": f"{sys.executable} -m kvarts"}
    done = subprocess.run(["sh", "-c", line], cwd=folder, env=world, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout, done.stderr


@pytest.fixture
def folder(kvarts: Kvarts, tmp_path: Path) -> Path:
    """A folder with a store `demo` that holds k: v."""
    assert kvarts("put", "demo", "k", "v").code == 0
    return tmp_path


@pytest.mark.parametrize("command", ["get demo k", "scan demo", "export demo", "--help", "verify demo"])
def test_closed_stdout_is_said(folder: Path, command: str) -> None:
    code, _, err = shell(folder, f"$K {command} >&-")
    assert (code, err) == (3, "error stdout is closed (>/dev/null would throw the output away)\n")


def test_closed_stdout_is_said_before_anything_is_written(folder: Path) -> None:
    code, _, err = shell(folder, "$K put demo k other --json >&-")
    assert code == 3
    assert json.loads(err)["error"]["what"].startswith("stdout is closed")
    assert shell(folder, "$K get demo k") == (0, "v", "")


@pytest.mark.parametrize("command", ["put demo k -", "import demo -"])
def test_closed_stdin_is_said(folder: Path, command: str) -> None:
    assert shell(folder, f"$K {command} <&-") == (3, "", "error stdin is closed\n")
    assert shell(folder, "$K get demo k") == (0, "v", "")


def test_stdin_that_nobody_reads_may_be_closed(folder: Path) -> None:
    assert shell(folder, "$K get demo k <&-") == (0, "v", "")


@pytest.mark.parametrize("command", ["get demo k", "scan demo", "export demo", "--help", "stats demo", "explain"])
def test_full_disk_under_stdout_is_said(folder: Path, command: str) -> None:
    assert shell(folder, f"$K {command} >/dev/full") == (3, "", "error No space left on device: stdout\n")


def test_export_of_more_than_a_buffer_to_a_full_disk_is_said(folder: Path, kvarts: Kvarts) -> None:
    rows = "".join(f'{{"key": "{number}", "value": "{"x" * 9999}"}}\n' for number in range(99))
    kvarts("import", "demo", "-", piped=rows.encode())
    assert shell(folder, "$K export demo >/dev/full") == (3, "", "error No space left on device: stdout\n")


@pytest.mark.parametrize("stderr", ["2>&-", "2>/dev/full"])
@pytest.mark.parametrize(("command", "code"), [("get nowhere k", 3), ("get demo x", 1), ("nonsense", 2)])
def test_exit_code_stands_where_stderr_takes_nothing(folder: Path, stderr: str, command: str, code: int) -> None:
    assert shell(folder, f"$K {command} {stderr}") == (code, "", "")


def test_store_survives_a_command_without_any_stream(folder: Path) -> None:
    assert shell(folder, "$K put demo k2 v2 <&- 2>&- && $K verify demo | tail -n 1 | grep -c 'all as written'")[0] == 0
    assert shell(folder, "$K get demo k2") == (0, "v2", "")
