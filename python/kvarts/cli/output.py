"""What goes to stdout: lines for people, objects for programs."""

import json
import os
import sys
from collections.abc import Sequence
from contextlib import suppress

import click


def print_json(value: object) -> None:
    """Print one object on one line."""
    click.echo(json.dumps(value, ensure_ascii=False))


def print_table(rows: Sequence[tuple[str, ...]], *, header: bool = False) -> None:
    """Print columns that line up: the first to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for number, (first, *others) in enumerate(rows):
        cells = [f"{first:<{widths[0]}}"]
        cells += [f"{cell:>{width}}" for cell, width in zip(others, widths[1:], strict=True)]
        line = "  ".join(cells).rstrip()
        click.secho(line, bold=True) if header and number == 0 else click.echo(line)


def print_aside(text: str) -> None:
    """Print a line on stderr; where that takes nothing the command goes on, and its exit code tells."""
    with suppress(OSError):
        click.echo(text, err=True)


def columns() -> int | None:
    """Return the width of the terminal, or None where stdout is none: then nothing is cut."""
    if not sys.stdout.isatty():
        return None
    try:
        return os.get_terminal_size(sys.stdout.fileno()).columns
    except OSError:
        return 100
