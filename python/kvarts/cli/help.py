"""Help pages with the examples first."""

from collections.abc import Sequence
from inspect import cleandoc
from typing import Any

import click

from kvarts.cli.exits import EXIT_CODES, NEGATIVE

Rows = Sequence[tuple[str, str]]

LEFT_COLUMNS_MAX = 48
RIGHT_COLUMNS_MIN = 26


class Formatter(click.HelpFormatter):
    """Click's, whose left column also leaves room on a narrow terminal."""

    def write_dl(self, rows: Any, col_max: int = 30, col_spacing: int = 2) -> None:
        """Write a list of two columns."""
        super().write_dl(rows, min(col_max, max(10, self.width - RIGHT_COLUMNS_MIN)), col_spacing)


class Context(click.Context):
    """Click's, with our formatter."""

    formatter_class = Formatter


class Command(click.Command):
    """A click command whose help opens with examples and ends with exit codes."""

    context_class = Context

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
    limit = min(LEFT_COLUMNS_MAX, formatter.width - RIGHT_COLUMNS_MIN)
    width = max((len(left) for left, _ in rows if len(left) <= limit), default=2)
    with formatter.section(title):
        margin = " " * formatter.current_indent
        for left, right in rows:
            lines = click.wrap_text(right, formatter.width - len(margin) - width - 2).splitlines()
            if len(left) > limit:
                lines.insert(0, "")
            for number, line in enumerate(lines):
                text = left if number == 0 else ""
                formatter.write(f"{margin}{text:<{width}}  {line}".rstrip() + "\n")


def write_exit_codes(formatter: click.HelpFormatter, negative: str | None = EXIT_CODES[1][1]) -> None:
    """Write the exit codes; `negative` says what 1 means for the command, None leaves it out."""
    rows = [(str(code), negative if code == NEGATIVE else what) for code, what in EXIT_CODES]
    write_rows(formatter, "Exit codes", [(code, what) for code, what in rows if what is not None])


class Group(click.Group):
    """A group of subcommands whose help lists them, without click's own wrapping."""

    context_class = Context

    def format_help(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write what it is for, then its subcommands and exit codes."""
        formatter.write_text(" ".join(cleandoc(self.help or "").split()))
        rows = [(name, command.get_short_help_str(200)) for name, command in sorted(self.commands.items())]
        write_rows(formatter, "Commands", rows)
        write_exit_codes(formatter)
        formatter.write_paragraph()
        formatter.write_text(f"{ctx.command_path} COMMAND --help shows examples of each.")
