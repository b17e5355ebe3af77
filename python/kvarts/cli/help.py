"""Help pages with the examples first."""

from collections.abc import Sequence
from inspect import cleandoc
from typing import Any

import click

from kvarts.cli.exits import EXIT_CODES, NEGATIVE

Rows = Sequence[tuple[str, str]]


class Command(click.Command):
    """A click command whose help opens with examples and ends with exit codes."""

    def __init__(self, *args: Any, examples: Rows = (), negative: str | None = None, **kwargs: Any) -> None:
        """Take examples as (command, what it does), and what exit code 1 means here, if anything."""
        super().__init__(*args, **kwargs)
        self.examples = examples
        self.negative = negative

    def format_help(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write what it does, examples, usage, options, exit codes."""
        for number, paragraph in enumerate(cleandoc(self.help or "").split("\n\n")):
            if number:
                formatter.write_paragraph()
            formatter.write_text(" ".join(paragraph.split()))
        write_rows(formatter, "Examples", self.examples)
        formatter.write_paragraph()
        self.format_usage(ctx, formatter)
        self.format_options(ctx, formatter)
        write_exit_codes(formatter, self.negative)


def write_rows(formatter: click.HelpFormatter, title: str, rows: Rows) -> None:
    """Write a section of two columns; a left column too wide for that has its right one below."""
    width = max((len(left) for left, _ in rows if len(left) <= 48), default=0)
    with formatter.section(title):
        for left, right in rows:
            if len(left) <= width:
                formatter.write(f"{'':{formatter.current_indent}}{left:<{width}}  {right}\n")
            else:
                formatter.write(f"{'':{formatter.current_indent}}{left}\n")
                formatter.write(f"{'':{formatter.current_indent}}{'':{width}}  {right}\n")


def write_exit_codes(formatter: click.HelpFormatter, negative: str | None = EXIT_CODES[1][1]) -> None:
    """Write the exit codes; `negative` says what 1 means for the command, None leaves it out."""
    rows = [(str(code), negative if code == NEGATIVE else what) for code, what in EXIT_CODES]
    write_rows(formatter, "Exit codes", [(code, what) for code, what in rows if what is not None])
