"""Progress of long work, on stderr: a bar on a terminal, else a line every few seconds; nothing for what is quick."""

import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Self, TextIO

from kvarts.cli.text import size

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress
    from rich.progress import TaskID

BAR_AFTER_S = 1.0
LINE_EVERY_S = 5.0


class Progress:
    """Counts what is done. Nothing shows within the first second; `total` None means that nobody knows."""

    def __init__(
        self,
        what: str,
        total: int | None = None,
        *,
        unit: str = "rows",
        stream: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Name the work; `unit` "B" shows sizes."""
        self.what = what
        self.total = total
        self.unit = unit
        self.done = 0
        self._stream = sys.stderr if stream is None else stream
        self._clock = clock
        self._started = clock()
        self._is_terminal = self._stream.isatty()
        self._next = self._started + (BAR_AFTER_S if self._is_terminal else LINE_EVERY_S)
        self._bar: RichProgress | None = None
        self._task: TaskID | None = None

    def advance(self, count: int = 1) -> None:
        """Add to what is done."""
        self.to(self.done + count)

    def to(self, done: int, total: int | None = None) -> None:
        """Set what is done, and how much there is where that has become known."""
        self.done = done
        if total is not None:
            self.total = total
        now = self._clock()
        if now >= self._next:
            self._show(now)

    def _show(self, now: float) -> None:
        if not self._is_terminal:
            self._next = now + LINE_EVERY_S
            print(self.line(now - self._started), file=self._stream, flush=True)
            return
        self._next = now + 0.05
        if self._bar is None:
            self._bar, self._task = _start_bar(self.what, self.total, self.unit, self._stream)
        assert self._task is not None
        self._bar.update(self._task, completed=self.done, total=self.total, amount=self.amount())

    def amount(self) -> str:
        """Return what is done, in words."""
        done = size(self.done) if self.unit == "B" else f"{self.done:,}"
        if self.total is None:
            return done if self.unit == "B" else f"{done} {self.unit}"
        total = size(self.total) if self.unit == "B" else f"{self.total:,} {self.unit}"
        return f"{done} of {total}"

    def line(self, seconds: float) -> str:
        """Return the line that is printed where there is no terminal."""
        share = f" ({100 * self.done / self.total:.0f} %)" if self.total else ""
        return f"{self.what}: {self.amount()}{share}, {seconds:.0f} s"

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.stop()


def _start_bar(what: str, total: int | None, unit: str, stream: TextIO) -> "tuple[RichProgress, TaskID]":
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as RichProgress

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[amount]}"),
        TimeRemainingColumn(),
    )
    bar = RichProgress(*columns, console=Console(file=stream), transient=True)
    task = bar.add_task(what, total=total, amount="", unit=unit)
    bar.start()
    return bar, task
