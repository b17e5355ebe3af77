"""`import` and `export`: rows as JSON lines, for any program to read and write."""

import json
import os
import sys
from collections.abc import Iterator
from typing import BinaryIO

import click

from kvarts.cli.commands.options import (
    codec_options,
    durability_option,
    json_option,
    keyspace_option,
    range_options,
    store_argument,
)
from kvarts.cli.commands.rows import row_json, start_scan
from kvarts.cli.exits import USAGE
from kvarts.cli.help import Command
from kvarts.cli.output import print_json
from kvarts.cli.progress import Progress
from kvarts.cli.sink import STDOUT, check_sink, open_sink
from kvarts.cli.stores import Target, opened
from kvarts.cli.text import from_fields

ROWS_PER_WRITE = 512


class InputError(click.ClickException):
    """A line of the input is not a row."""

    exit_code = USAGE


@click.command(
    "import",
    cls=Command,
    negative=None,
    examples=[
        ("kvarts import ./demo rows.jsonl", 'write rows: {"key": "a", "value": "1"} on each line'),
        ("kvarts export ./old | kvarts import ./new -", "copy a store"),
        ("""echo '{"key_base64": "AP8=", "value": "x"}' | kvarts import ./demo -""", "a binary key"),
    ],
)
@store_argument
@click.argument("source", metavar="FILE|-", type=click.File("rb"))
@keyspace_option
@codec_options
@durability_option
@json_option
def import_(
    *,
    store: str,
    source: BinaryIO,
    keyspace: str | None,
    key_codec: str | None,
    value_codec: str | None,
    durability: str,
    as_json: bool,
) -> None:
    """Write rows from JSON lines; the store is made where there is none.

    Rows go in by groups of 1 MiB, each all or nothing. A line that is no row ends the import with its number; the
    groups before it stay. Importing the same file again is harmless.
    """
    codecs = (key_codec, value_codec)
    with (
        opened(store, keyspace=keyspace, create=True, codecs=codecs, durability=durability) as target,
        Progress("importing", _size(source), unit="B") as progress,
    ):
        counter = Counter()
        revision = target.store.put_many(_rows(source, target, progress, counter))
    if as_json:
        print_json({"rows": counter.rows, "bytes": progress.done, "revision": revision})
    else:
        click.echo(f"imported {counter.rows:,} rows")


class Counter:
    """Counts rows as they pass."""

    rows = 0


def _rows(source: BinaryIO, target: Target, progress: Progress, counter: Counter) -> Iterator[tuple[bytes, bytes]]:
    for number, line in enumerate(source, start=1):
        progress.advance(len(line))
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            if not isinstance(row, dict):
                raise ValueError("not an object")
            pair = from_fields("key", row, target.key_codec), from_fields("value", row, target.value_codec)
        except ValueError as error:
            raise InputError(f"line {number}: {error}") from None
        counter.rows += 1
        yield pair


def _size(source: BinaryIO) -> int | None:
    try:
        status = os.fstat(source.fileno())
    except (OSError, AttributeError):
        return None
    return status.st_size or None


@click.command(
    cls=Command,
    negative=None,
    examples=[
        ("kvarts export ./demo rows.jsonl", "all rows, as of now, one JSON object a line"),
        ("kvarts export ./demo --prefix user/ | gzip > users.gz", "some, to a pipe"),
        ("kvarts export ./demo - | jq -r .key", "keys for a program"),
    ],
)
@store_argument
@click.argument("file", default="-", type=click.Path(dir_okay=False, allow_dash=True))
@click.option("--force", is_flag=True, help="Replace FILE where it exists.")
@range_options
@keyspace_option
@json_option
def export(
    *,
    store: str,
    file: str,
    force: bool,
    prefix: str | None,
    start: str | None,
    stop: str | None,
    reverse: bool,
    limit: int | None,
    keyspace: str | None,
    as_json: bool,
) -> None:
    """Write rows as JSON lines to FILE, or to stdout.

    {"key": "...", "value": "..."}; bytes that are no UTF-8 text stand as key_base64 or value_base64. FILE appears when
    it is whole; a device or a pipe is written as it is. The summary goes to stdout, or to stderr where the rows go to
    stdout.
    """
    rows = bytes_written = 0
    place = check_sink(file, force=force)
    with opened(store, keyspace=keyspace) as target, open_sink(place) as sink, Progress("exporting") as progress:
        for chunk in start_scan(target, prefix=prefix, start=start, stop=stop, reverse=reverse, limit=limit).chunks(
            ROWS_PER_WRITE
        ):
            text = "".join(f"{row_json(key, value, target)}\n" for key, value in chunk)
            sink.write(text)
            rows += len(chunk)
            bytes_written += len(text.encode())
            progress.advance(len(chunk))
    if place != STDOUT and as_json:
        print_json({"rows": rows, "bytes": bytes_written, "file": file})
    elif place != STDOUT or sys.stderr.isatty():
        click.echo(f"exported {rows:,} rows", err=place == STDOUT)
