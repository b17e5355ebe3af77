"""`import` and `export`: rows as JSON lines, for any program to read and write."""

import json
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

import click

from kvarts.base.errors import InvalidArgument
from kvarts.base.types import Revision
from kvarts.cli.commands.options import (
    codec_options,
    compression_option,
    durability_option,
    json_option,
    keyspace_option,
    range_options,
    store_argument,
)
from kvarts.cli.commands.rows import row_json, start_scan
from kvarts.cli.exits import USAGE
from kvarts.cli.help import Command
from kvarts.cli.output import print_aside, print_json
from kvarts.cli.progress import Progress
from kvarts.cli.sink import STDOUT, check_sink, open_sink
from kvarts.cli.stores import CODECS, DEFAULT_KEYSPACE, Target, opened
from kvarts.cli.streams import reading
from kvarts.cli.text import counted, from_fields, from_ttl, parse_row

ROWS_PER_WRITE = 512
GROUP_BYTES = 1 << 20
NAMES_MAX = 5


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
        ("""echo '{"key": "a", "value": "1", "ttl": 60}' | kvarts import ./demo -""", "gone after a minute"),
        ("""echo '{"key_base64": "AP8=", "value": "x"}' | kvarts import ./demo -""", "a binary key"),
    ],
)
@store_argument
@click.argument("source", metavar="FILE|-", type=click.File("rb"))
@keyspace_option
@codec_options
@durability_option
@compression_option
@json_option
def import_(
    *,
    store: str,
    source: BinaryIO,
    keyspace: str | None,
    key_codec: str | None,
    value_codec: str | None,
    durability: str,
    compression: dict[str, Any],
    as_json: bool,
) -> None:
    """Write rows from JSON lines; the store is made where there is none.

    A line is {"key": "...", "value": "..."}; "ttl": seconds makes the key expire that long after the import; key_base64
    and value_base64 hold bytes that are no text. Any other field is refused: it would be lost.

    Rows go in by groups of 1 MiB, each all or nothing. A line that is no row ends the import with its number; the
    groups before it stay. Importing the same file again is harmless. Codecs are not in the file: without --key-codec
    and --value-codec a new keyspace has bytes.
    """
    codecs = (key_codec, value_codec)
    with (
        opened(store, keyspace=keyspace, create=True, codecs=codecs, durability=durability, **compression) as target,
        Progress("importing", _size(source), unit="B") as progress,
    ):
        rows, revision = 0, target.store.revision
        for group in _groups(_rows(source, target, progress)):
            revision = _write(group, target)
            rows += len(group)
    if as_json:
        print_json({"rows": rows, "bytes": progress.done, "revision": revision})
    else:
        click.echo(f"imported {counted(rows, 'row')}")


@dataclass(frozen=True, slots=True)
class Row:
    """A line of the input, read."""

    line: int
    key: bytes
    value: bytes
    ttl_s: float | None


def _rows(source: BinaryIO, target: Target, progress: Progress) -> Iterator[Row]:
    for number, line in enumerate(_lines(source), start=1):
        progress.advance(len(line))
        if not line.strip():
            continue
        try:
            fields = parse_row(line)
            key, value = from_fields("key", fields, target.key_codec), from_fields("value", fields, target.value_codec)
            yield Row(number, key, value, from_ttl(fields))
        except (ValueError, RecursionError) as error:
            raise InputError(f"line {number}: {error}") from None


def _lines(source: BinaryIO) -> Iterator[bytes]:
    with reading(source):
        yield from source


def _groups(rows: Iterator[Row]) -> Iterator[list[Row]]:
    """Gather rows into groups of about GROUP_BYTES; rows with and without ttl are never in one."""
    group: list[Row] = []
    used = 0
    for row in rows:
        row_bytes = len(row.key) + len(row.value)
        if group and (used + row_bytes > GROUP_BYTES or (row.ttl_s is None) != (group[0].ttl_s is None)):
            yield group
            group, used = [], 0
        group.append(row)
        used += row_bytes
    if group:
        yield group


def _write(group: list[Row], target: Target) -> Revision:
    if group[0].ttl_s is None:
        return target.store.put_many((row.key, row.value) for row in group)
    with target.store.batch() as batch:
        for row in group:
            try:
                batch.put(row.key, row.value, ttl=row.ttl_s)
            except (InvalidArgument, OverflowError) as error:
                raise InputError(f"line {row.line}: {error}") from None
    assert batch.revision is not None
    return batch.revision


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

    What an export does not hold: other keyspaces (one is exported, "default" unless --keyspace says otherwise); the
    time when a row expires (rows that do are written with their value alone, and last for ever once imported); the
    codecs (options of the import choose them again). `Store.checkpoint` copies all of it.
    """
    rows = bytes_written = 0
    place = check_sink(file, force=force)
    source = opened(store, keyspace=keyspace, read_only=True)
    with source as target, open_sink(place) as sink, Progress("exporting") as progress:
        for chunk in start_scan(target, prefix=prefix, start=start, stop=stop, reverse=reverse, limit=limit).chunks(
            ROWS_PER_WRITE
        ):
            text = "".join(f"{row_json(key, value, target)}\n" for key, value in chunk)
            sink.write(text)
            rows += len(chunk)
            bytes_written += len(text.encode())
            progress.advance(len(chunk))
        notes = _left_out(target, keyspace or DEFAULT_KEYSPACE)
    if place != STDOUT and as_json:
        print_json({"rows": rows, "bytes": bytes_written, "file": file, "notes": notes})
        return
    for note in notes:
        print_aside(json.dumps({"note": note}, ensure_ascii=False) if as_json else f"note: {note}")
    if place != STDOUT or sys.stderr.isatty():
        click.echo(f"exported {counted(rows, 'row')}", err=place == STDOUT)


def _left_out(target: Target, keyspace: str) -> list[str]:
    """Return sentences on what the store has and the export has not."""
    notes = []
    spaces = target.store.stats().keyspaces
    others = sorted(space.name for space in spaces if space.table_rows + space.memtable_rows and space.name != keyspace)
    if others:
        more = f" and {len(others) - NAMES_MAX:,} more" if len(others) > NAMES_MAX else ""
        names = ", ".join(others[:NAMES_MAX]) + more
        notes.append(f"only keyspace {keyspace} is exported; --keyspace NAME exports another: {names}")
    codecs = (target.key_codec, target.value_codec)
    own = [name for name in codecs if name not in CODECS]
    if own:
        notes.append(f"codecs are not kept; {' and '.join(own)} are of the program that made the store: import with it")
    elif codecs != ("bytes", "bytes"):
        options = " ".join(f"--{what}-codec {name}" for what, name in zip(("key", "value"), codecs, strict=True))
        notes.append(f"codecs are not kept: import with {options}")
    return notes
