"""Runs a script file and says where it first differs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from kvarts_sim.etcd_scripts.confchange_scripts import ConfchangeScript
from kvarts_sim.etcd_scripts.datadriven import Case, ScriptError, read_script
from kvarts_sim.etcd_scripts.interaction_scripts import COMMANDS, InteractionScript
from kvarts_sim.etcd_scripts.quorum_scripts import QuorumScript

LOG_LEVELS = ("DEBUG", "INFO", "WARN", "ERROR", "FATAL", "PANIC")


class Script(Protocol):
    """Runs the commands of one file, in order."""

    def run(self, case: Case) -> str:
        """Return what the command prints."""


KINDS: tuple[tuple[tuple[str, ...], Callable[[], Script]], ...] = (
    (QuorumScript.COMMANDS, QuorumScript),
    (ConfchangeScript.COMMANDS, ConfchangeScript),
    (tuple(COMMANDS), InteractionScript),
)


@dataclass(frozen=True)
class Difference:
    """The first line that is not as expected."""

    path: Path
    case: Case
    expected: str | None
    printed: str | None

    def __str__(self) -> str:
        def shown(line: str | None) -> str:
            return "(nothing more)" if line is None else line

        where = f"{self.path}:{self.case.line}: {self.case.raw}"
        return f"{where}\n  expected: {shown(self.expected)}\n  printed:  {shown(self.printed)}"


def run_file(path: Path) -> tuple[int, Difference | None]:
    """Run a script; return how many commands were as expected, and the first difference if there is one."""
    cases = read_script(path)
    if not cases:
        raise ScriptError(f"{path}: no commands")
    script = _script_for(path, cases[0].command)
    for number, case in enumerate(cases):
        difference = _compare(path, case, script.run(case))
        if difference is not None:
            return number, difference
    return len(cases), None


def structural_lines(text: str) -> list[str]:
    """The lines that tell what happened: no log lines of the implementation, no `ok` that stands for silence."""
    lines = [line.rstrip() for line in text.splitlines()]
    return [line for line in lines if line and line not in {"ok", "ok (quiet)"} and not _is_log_line(line)]


def _is_log_line(line: str) -> bool:
    return line.lstrip().startswith(tuple(level + " " for level in LOG_LEVELS))


def _script_for(path: Path, command: str) -> Script:
    for commands, kind in KINDS:
        if command in commands:
            return kind()
    raise ScriptError(f"{path}: unknown command {command}")


def _compare(path: Path, case: Case, output: str) -> Difference | None:
    printed, expected = structural_lines(output), structural_lines("\n".join(case.expected))
    for at in range(max(len(printed), len(expected))):
        ours = printed[at] if at < len(printed) else None
        theirs = expected[at] if at < len(expected) else None
        if ours != theirs:
            return Difference(path, case, theirs, ours)
    return None
