"""Progress shows nothing of quick work, and a line every few seconds where there is no terminal."""

import io

from kvarts.cli.progress import LINE_EVERY_S, Progress


class Clock:
    """A clock that the test sets."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_quick_work_prints_nothing() -> None:
    stream, clock = io.StringIO(), Clock()
    with Progress("loading", 10, stream=stream, clock=clock) as progress:
        progress.advance(10)
    assert stream.getvalue() == ""


def test_long_work_prints_a_line_every_few_seconds() -> None:
    stream, clock = io.StringIO(), Clock()
    with Progress("loading", 2000, unit="files", stream=stream, clock=clock) as progress:
        for _ in range(4):
            clock.now += LINE_EVERY_S / 2
            progress.advance(500)
    assert stream.getvalue().splitlines() == [
        "loading: 1,000 of 2,000 files (50 %), 5 s",
        "loading: 2,000 of 2,000 files (100 %), 10 s",
    ]


def test_unknown_total_and_sizes_are_said_so() -> None:
    assert Progress("exporting", stream=io.StringIO()).amount() == "0 rows"
    assert Progress("verifying", 2_000_000, unit="B", stream=io.StringIO()).amount() == "0 B of 2.0 MB"


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def test_terminal_shows_a_bar_after_a_second() -> None:
    stream, clock = Terminal(), Clock()
    with Progress("loading", 10, stream=stream, clock=clock) as progress:
        progress.advance()
        assert stream.getvalue() == ""
        clock.now += 2
        progress.advance()
    assert "loading" in stream.getvalue()
