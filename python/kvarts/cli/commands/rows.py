"""`get`, `put`, `delete`, `scan`: one key, or a range of them."""

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from kvarts.base import tuples
from kvarts.base.errors import KeyNotFound
from kvarts.base.types import ABSENT, ANY, PRESENT, AtRevision, Condition
from kvarts.cli.commands.options import (
    Duration,
    codec_options,
    durability_option,
    form_options,
    json_option,
    keyspace_option,
    range_options,
    store_argument,
)
from kvarts.cli.exits import NEGATIVE, OK
from kvarts.cli.help import Command
from kvarts.cli.output import columns, print_aside, print_json
from kvarts.cli.stores import Target, opened
from kvarts.cli.streams import reading
from kvarts.cli.text import Form, plain, shown, to_fields

if TYPE_CHECKING:
    from kvarts.base.api import Scan

LINES_PER_WRITE = 512


@click.command(
    cls=Command,
    negative="there is no such key",
    examples=[
        ("kvarts get ./demo hello", "print a value, as it is"),
        ("kvarts get ./demo logo > logo.png", "binary values too"),
        ("kvarts get ./demo hello --json", "with its revision"),
        ("kvarts get ./demo --hex 00ff", "a binary key; prints the value as hexadecimal"),
    ],
)
@store_argument
@click.argument("key")
@keyspace_option
@form_options
@json_option
@click.pass_context
def get(ctx: click.Context, *, store: str, key: str, keyspace: str | None, form: Form, as_json: bool) -> None:
    """Print the value of a key.

    The value is written as it is, with a newline after it only on a terminal.
    """
    with opened(store, keyspace=keyspace, form=form, read_only=True) as target:
        wanted = target.key(key)
        entry = target.store.entry(wanted)
    if as_json:
        found = to_fields("value", entry.value, target.value_codec) if entry else {"value": None}
        revision = entry.revision if entry else None
        print_json(
            {**to_fields("key", wanted, target.key_codec), "found": entry is not None, **found} | {"revision": revision}
        )
    elif entry is None:
        print_aside(f"no key {shown(wanted, form, target.key_codec, 60)} in {store}")
    else:
        _print_value(entry.value, target)
    ctx.exit(NEGATIVE if entry is None else OK)


def _print_value(value: bytes, target: Target) -> None:
    decimal = target.value_codec == "u64"
    if sys.stdout.isatty():
        click.echo(shown(value, target.form, target.value_codec) if _is_binary(value) or decimal else value)
    elif target.form is not Form.TEXT or decimal:
        click.echo(plain(value, target.form, target.value_codec))
    else:
        click.echo(value, nl=False)


def _is_binary(value: bytes) -> bool:
    text = plain(value, Form.TEXT, "bytes")
    return text is None or not text.replace("\n", "").replace("\t", "").isprintable()


@click.command(
    cls=Command,
    negative=None,
    examples=[
        ("kvarts put ./demo hello world", "write a value; makes the store where there is none"),
        ("kvarts put ./demo logo - < logo.png", "value from stdin"),
        ("kvarts put ./demo session 42 --ttl 30m", "gone after half an hour"),
        ("kvarts put ./demo owner me --if-absent", "only if nobody else did; else error KV-1007"),
    ],
)
@store_argument
@click.argument("key")
@click.argument("value")
@click.option(
    "--ttl", type=Duration(), metavar="TIME", help="The key is absent after this: 90, 250ms, 10s, 5m, 2h, 7d."
)
@click.option("--if-absent", is_flag=True, help="Write only if the key is absent.")
@click.option("--if-present", is_flag=True, help="Write only if the key is there.")
@click.option("--if-revision", type=int, metavar="N", help="Write only if the value was written by revision N.")
@keyspace_option
@form_options
@codec_options
@durability_option
@json_option
def put(
    *,
    store: str,
    key: str,
    value: str,
    ttl: float | None,
    if_absent: bool,
    if_present: bool,
    if_revision: int | None,
    keyspace: str | None,
    form: Form,
    key_codec: str | None,
    value_codec: str | None,
    durability: str,
    as_json: bool,
) -> None:
    """Write a value. VALUE - is read from stdin, as it is."""
    condition = _condition(if_absent, if_present, if_revision)
    codecs = (key_codec, value_codec)
    # Read before the store is opened: a slow writer at the other end of the pipe must not hold the lock.
    piped = None
    if value == "-":
        with reading(sys.stdin.buffer):
            piped = sys.stdin.buffer.read()
    with opened(store, keyspace=keyspace, form=form, create=True, codecs=codecs, durability=durability) as target:
        name = target.key(key)
        data = target.value(value) if piped is None else _piped_value(piped, target)
        revision = target.store.put(name, data, ttl=ttl, if_=condition)
    if as_json:
        print_json({**to_fields("key", name, target.key_codec), "bytes": len(data), "revision": revision})
    else:
        click.echo(f"revision {revision}")


def _piped_value(piped: bytes, target: Target) -> bytes:
    if target.form is Form.TEXT and target.value_codec in ("bytes", "str"):
        return piped
    return target.value(piped.decode("utf-8", "surrogateescape").strip())


def _condition(if_absent: bool, if_present: bool, if_revision: int | None) -> Condition:
    chosen = [ABSENT] * if_absent + [PRESENT] * if_present
    chosen += [AtRevision(if_revision)] if if_revision is not None else []
    if len(chosen) > 1:
        raise click.UsageError("give one of --if-absent, --if-present, --if-revision")
    return chosen[0] if chosen else ANY


@click.command(
    cls=Command,
    negative="a key was absent (the others are deleted)",
    examples=[
        ("kvarts delete ./demo hello", "delete a key"),
        ("kvarts delete ./demo one two three", "delete some"),
    ],
)
@store_argument
@click.argument("keys", nargs=-1, required=True)
@keyspace_option
@form_options
@durability_option
@json_option
@click.pass_context
def delete(
    ctx: click.Context,
    *,
    store: str,
    keys: tuple[str, ...],
    keyspace: str | None,
    form: Form,
    durability: str,
    as_json: bool,
) -> None:
    """Delete keys."""
    absent: list[bytes] = []
    with opened(store, keyspace=keyspace, form=form, durability=durability) as target:
        for name in [target.key(key) for key in keys]:
            try:
                del target.store[name]
            except KeyNotFound:
                absent.append(name)
    deleted = len(keys) - len(absent)
    if as_json:
        missing = [to_fields("key", name, target.key_codec) for name in absent]
        print_json({"deleted": deleted, "absent": missing})
    else:
        for name in absent:
            print_aside(f"no key {shown(name, form, target.key_codec, 60)} in {store}")
        click.echo(f"deleted {deleted}")
    ctx.exit(NEGATIVE if absent else OK)


@click.command(
    cls=Command,
    negative=None,
    examples=[
        ("kvarts scan ./demo", "all rows in key order"),
        ("kvarts scan ./demo --prefix user/ --limit 10", "the first ten of a prefix"),
        ("kvarts scan ./demo --start b --stop d --reverse", "from d down to b; d itself is left out"),
        ("kvarts scan ./demo --keys --json | jq -r .key", "keys for a program"),
    ],
)
@store_argument
@range_options
@click.option("--keys", "keys_only", is_flag=True, help="Keys without values, which are then not read.")
@keyspace_option
@form_options
@json_option
def scan(
    *,
    store: str,
    prefix: str | None,
    start: str | None,
    stop: str | None,
    reverse: bool,
    limit: int | None,
    keys_only: bool,
    keyspace: str | None,
    form: Form,
    as_json: bool,
) -> None:
    """List rows in key order, either way: key, tab, value; with --json an object a line.

    What is no text is escaped; on a terminal long values are cut.
    """
    with opened(store, keyspace=keyspace, form=form, read_only=True) as target:
        rows = start_scan(target, prefix=prefix, start=start, stop=stop, reverse=reverse, limit=limit)
        width = columns()
        chunks: Iterator[list[Any]]
        chunks = rows.keys().chunks(LINES_PER_WRITE) if keys_only else rows.chunks(LINES_PER_WRITE)
        for chunk in chunks:
            pairs = _pairs(chunk, keys_only)
            if as_json:
                lines = [row_json(key, value, target) for key, value in pairs]
            else:
                lines = [_row_line(key, value, target, width) for key, value in pairs]
            click.echo("\n".join(lines))


def _pairs(chunk: list[Any], keys_only: bool) -> list[tuple[bytes, bytes | None]]:
    return [(key, None) for key in chunk] if keys_only else chunk


def start_scan(
    target: Target, *, prefix: str | None, start: str | None, stop: str | None, reverse: bool, limit: int | None
) -> "Scan[bytes, bytes, tuple[bytes, bytes]]":
    """Start the scan that `range_options` describe."""
    low, high = (None if bound is None else target.key(bound) for bound in (start, stop))
    if prefix is not None and target.key_codec in ("u64", "json"):
        raise click.UsageError(f"--prefix is for text and bytes; the keys here are {target.key_codec}")
    first = target.key(prefix) if prefix else b""
    if first:
        low, high = _within(first, low, high, target.key_codec)
    return target.store.scan(low, high, reverse=reverse, limit=limit)


def _within(prefix: bytes, start: bytes | None, stop: bytes | None, codec: str) -> tuple[bytes | None, bytes | None]:
    """Return the bounds narrowed to the keys that begin with `prefix`: with its items, where they are tuples."""
    if codec == "tuple":
        end: bytes | None = tuples.after(prefix)
    else:
        kept = prefix.rstrip(b"\xff")
        end = kept[:-1] + bytes((kept[-1] + 1,)) if kept else None
    ends = [bound for bound in (stop, end) if bound is not None]
    return prefix if start is None else max(start, prefix), min(ends, default=None)


def row_json(key: bytes, value: bytes | None, target: Target) -> str:
    """Return a row as a JSON line; a `value` of None is left out."""
    import json

    fields = to_fields("key", key, target.key_codec)
    if value is not None:
        fields |= to_fields("value", value, target.value_codec)
    return json.dumps(fields, ensure_ascii=False)


def _row_line(key: bytes, value: bytes | None, target: Target, width: int | None) -> str:
    left = shown(key, target.form, target.key_codec, None if width is None else max(20, width // 2))
    if value is None:
        return left
    # A tab goes up to the next of every eighth column.
    room = None if width is None else max(20, width - len(left) // 8 * 8 - 9)
    return f"{left}\t{shown(value, target.form, target.value_codec, room)}"
