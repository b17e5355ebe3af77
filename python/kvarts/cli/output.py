"""What goes to stdout: lines for people, objects for programs."""

import json
import shutil
import sys
from collections.abc import Collection, Sequence
from contextlib import suppress

import click


def print_json(value: object) -> None:
    """Print one object on one line."""
    click.echo(json.dumps(value, ensure_ascii=False))


def print_table(rows: Sequence[tuple[str, ...]], *, header: bool = False, left: Collection[int] = ()) -> None:
    """Print columns that line up: the first, and those of `left`, to the left, the others to the right.

    On a terminal too narrow for that a table with a header becomes a list.
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    if header and sum(widths) + 2 * len(widths) - 2 > (columns() or sys.maxsize):
        _print_list(rows)
        return
    for number, row in enumerate(rows):
        sides = ["<" if column in {0, *left} else ">" for column in range(len(row))]
        cells = [f"{cell:{side}{width}}" for cell, side, width in zip(row, sides, widths, strict=True)]
        line = "  ".join(cells).rstrip()
        click.secho(line, bold=True) if header and number == 0 else click.echo(line)


def _print_list(rows: Sequence[tuple[str, ...]]) -> None:
    (title, *names), *others = rows
    width = max(map(len, names))
    for first, *cells in others:
        click.secho(f"{title} {first}", bold=True)
        for name, cell in zip(names, cells, strict=True):
            click.echo(f"  {name:<{width}}  {cell}")


def print_aside(text: str) -> None:
    """Print a line on stderr; where that takes nothing the command goes on, and its exit code tells."""
    with suppress(OSError):
        click.echo(text, err=True)


def columns() -> int | None:
    """Return the width of the terminal, or None where stdout is none: then nothing is cut."""
    return screen_columns() if sys.stdout.isatty() else None


def screen_columns() -> int:
    """Return the width that text for people is wrapped to: COLUMNS, the terminal's, or 80."""
    return shutil.get_terminal_size().columns
