"""Kills a child process in the middle of writing and looks at what it had been told was written."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from kvarts.base.api import Store
from kvarts.cli.tour.writer import PREFIX, key_of, value_of


@dataclass(frozen=True, slots=True)
class Crash:
    """What the child had acknowledged when it was killed, and how it ended."""

    acknowledged: int
    exit_code: int

    @property
    def killed(self) -> bool:
        """True if it was our signal that ended it."""
        return self.exit_code == -signal.SIGKILL


def crash(path: Path, kill_after: int, progress: Callable[[int], object]) -> Crash:
    """Let a child write to the store, kill it after that many acknowledged writes, and count all that it got told."""
    command = [sys.executable, "-m", "kvarts.cli.tour.writer", str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as child:  # noqa: S603  # our own module
        assert child.stdout is not None
        acknowledged = 0
        try:
            while acknowledged < kill_after and (report := os.read(child.stdout.fileno(), 4096)):
                acknowledged += len(report)
                progress(acknowledged)
        finally:  # On Ctrl-C too: the child goes on for ever otherwise.
            child.kill()
        # The pipe outlives the child: what it had reported before the kill is still in there.
        acknowledged += len(child.stdout.read())
        return Crash(acknowledged, child.wait())


def count_intact(store: Store[str, bytes], acknowledged: int) -> tuple[int, int]:
    """Return how many of the acknowledged writes are there as written, and how many rows are there in all."""
    # As a list first: dict() takes what has keys() for a mapping, and a scan has it.
    rows = dict(list(store.scan(prefix=PREFIX)))
    intact = sum(rows.get(key_of(number)) == value_of(number) for number in range(acknowledged))
    return intact, len(rows)
