"""Text for people stays within the terminal; only commands to copy are never broken."""

from pathlib import Path

import pytest

from kvarts.cli.app import COMMANDS
from tests.unit.python.cli.conftest import Kvarts, on_a_terminal

TO_COPY = ("  kvarts ", "  echo ", "  --")


def too_wide(text: str, columns: int) -> list[str]:
    """Lines beyond the width, but for commands and options that have a line of their own."""
    wide = [line for line in text.splitlines() if len(line) > columns]
    return [line for line in wide if not line.startswith(TO_COPY) or "  " in line.strip()]


@pytest.mark.parametrize("columns", [40, 80])
@pytest.mark.parametrize("command", ["", "--help", *(f"{name} --help" for name in COMMANDS), "explain", "explain 2003"])
def test_help_stays_within_the_terminal(tmp_path: Path, command: str, columns: int) -> None:
    text = on_a_terminal(tmp_path, *command.split(), columns=columns)
    assert len(text.splitlines()) > 2
    assert too_wide(text, columns) == []


def test_narrow_terminal_gets_stats_as_a_list(kvarts: Kvarts, tmp_path: Path) -> None:
    kvarts("put", "demo", "k", "v", "--keyspace", "a-long-name")
    text = on_a_terminal(tmp_path, "stats", "demo", columns=40)
    assert too_wide(text, 40) == []
    assert "keyspace a-long-name\n  keys            bytes\n" in text


def test_errors_stay_within_the_terminal(kvarts: Kvarts, tmp_path: Path) -> None:
    kvarts("put", "demo", "k", "v")
    text = on_a_terminal(tmp_path, "scan", "demo", "--keyspace", "users", columns=40, code=3)
    assert too_wide(text, 40) == []
    assert "  what  no keyspace 'users' in demo\n  hint  `kvarts stats demo` lists them;\n        " in text
