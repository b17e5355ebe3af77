"""`inspect table|log|manifest|store`: what is on disk, shown without the engine."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import click

from kvarts.base.encryption import Keyring
from kvarts.base.hkdf import key_id
from kvarts.base.types import Damage
from kvarts.cli.commands.options import F, form_options, json_option, key_file_option
from kvarts.cli.damage import print_damage
from kvarts.cli.exits import NEGATIVE, OK
from kvarts.cli.help import Command, Group
from kvarts.cli.inspected import (
    print_log_report,
    print_manifest_report,
    print_store_report,
    print_table_report,
    row_line,
    row_object,
    to_object,
)
from kvarts.cli.output import print_json
from kvarts.cli.progress import Progress
from kvarts.cli.stores import given_keys
from kvarts.cli.text import Form
from kvarts.inspect import BlockReport, Keys, RecordReport, inspect_log, inspect_manifest, inspect_store, inspect_table
from kvarts.inspect.format.batch import Operation
from kvarts.inspect.format.rows import Row

LIMIT = 50
DAMAGED = "damage was found"


def path_argument(function: F) -> F:
    """Add the argument PATH, and --key-file."""
    return click.argument("path", type=click.Path())(key_file_option(function))


def _keys() -> Keys:
    """Return the keys that --key-file names, to read with; wiping is left to the end of the process."""
    given = given_keys()
    if given is None:
        return Keys()
    from kvarts.embedded.cipher import aead_open

    with Keyring(given) as ring:
        return Keys({key_id(key): bytes(key) for key in ring.keys}, aead_open)


def limit_option(noun: str) -> Callable[[Any], Any]:
    """Return --limit."""
    text = f"At most N {noun}; 0 shows all. [default: {LIMIT}; all with --json]"
    return click.option("--limit", type=click.IntRange(min=0), metavar="N", help=text)


@click.group(cls=Group)
def inspect() -> None:
    """Show what is in a store's files, damaged ones too. Reads without the engine, writes nothing, takes no lock."""


@inspect.command(
    cls=Command,
    negative=DAMAGED,
    examples=[
        ("kvarts inspect table ./demo/000005.table", "what it says of itself, parts, blocks"),
        ("kvarts inspect table ./demo/000005.table --rows --limit 10", "its first rows"),
        ("kvarts inspect table ./demo/000005.table --json | jq .properties", "for a program"),
    ],
)
@path_argument
@click.option("--rows", is_flag=True, help="List rows: key, revision, kind, value; old ones and deletes too.")
@limit_option("blocks or rows")
@form_options
@json_option
@click.pass_context
def table(ctx: click.Context, *, path: str, rows: bool, limit: int | None, form: Form, as_json: bool) -> None:
    """Show a table: header, properties, filter, index, every block. All of it is checked.

    With --rows, reading ends at the limit. With --rows --json each line is an object: a row, or damage.
    """
    most = _limit(limit, as_json)
    lister = _Lister(form, most, as_json=as_json)

    def take(block: BlockReport, content: Sequence[Row]) -> bool:
        return lister.take(content, {"block": block.offset}) if rows else True

    with Progress("inspecting", unit="B") as progress:
        report = inspect_table(path, keys=_keys(), rows=take, progress=progress.to)
    if rows:
        _end_listing(ctx, report.damage, lister, whole=report.is_whole_read, as_json=as_json)
    if as_json:
        print_json({"ok": not report.damage, **to_object(report)})
    else:
        print_table_report(report, form, most)
    _finish(ctx, report.damage, as_json=as_json)


@inspect.command(
    cls=Command,
    negative=DAMAGED,
    examples=[
        ("kvarts inspect log ./demo/000003.log", "its records, and how it ends"),
        ("kvarts inspect log ./demo/000003.log --rows", "what its batches write"),
        ("kvarts inspect log ./node1/log/000001.log", "the log of a node of a cluster"),
        ("kvarts inspect log ./demo/000003.log --json | jq .verdict", "clean, torn or damaged"),
    ],
)
@path_argument
@click.option("--rows", is_flag=True, help="List operations of an engine's log: key, revision, kind, value.")
@limit_option("records or operations")
@form_options
@json_option
@click.pass_context
def log(ctx: click.Context, *, path: str, rows: bool, limit: int | None, form: Form, as_json: bool) -> None:
    """Show a log, of a store or of a node: every record, and whether its end is clean, torn or damaged.

    Torn is what an unclean stop leaves, and no damage. With --rows --json each line is an object:
    an operation, or damage.
    """
    most = _limit(limit, as_json)
    lister = _Lister(form, most, as_json=as_json)

    def take(record: RecordReport, operations: Sequence[Operation]) -> bool:
        return all(lister.take([each.row], {"record": record.offset, "tree": each.tree}) for each in operations)

    with Progress("inspecting", unit="B") as progress:
        every = take if rows else lambda _record, _operations: True
        report = inspect_log(path, keys=_keys(), operations=every, progress=progress.to)
    if rows:
        _end_listing(ctx, report.damage, lister, whole=True, as_json=as_json)
    if as_json:
        print_json({"ok": not report.damage, **to_object(report)})
    else:
        print_log_report(report, most)
    _finish(ctx, report.damage, as_json=as_json)


@inspect.command(
    cls=Command,
    negative=DAMAGED,
    examples=[
        ("kvarts inspect manifest ./demo/MANIFEST", "keyspaces, levels, tables, logs"),
        ("kvarts inspect manifest ./demo/MANIFEST --json | jq .manifest.logs", "for a program"),
    ],
)
@path_argument
@form_options
@json_option
@click.pass_context
def manifest(ctx: click.Context, *, path: str, form: Form, as_json: bool) -> None:
    """Show a manifest: which files make up a store, keyspace by keyspace, level by level."""
    report = inspect_manifest(path, keys=_keys())
    if as_json:
        print_json({"ok": not report.damage, **to_object(report)})
    else:
        print_manifest_report(report, form)
    _finish(ctx, report.damage, as_json=as_json)


@inspect.command(
    cls=Command,
    negative=DAMAGED,
    examples=[
        ("kvarts inspect store ./demo", "every file: what it is for, whether it is whole"),
        ("kvarts inspect store ./demo --json | jq '.files[] | select(.role == \"unused\")'", "what can go"),
    ],
)
@path_argument
@json_option
@click.pass_context
def store(ctx: click.Context, *, path: str, as_json: bool) -> None:
    """Show a store's directory: who has it open, each file's role and verdict. Every byte is checked.

    Of a store that is open the answer is that of a moment.
    """
    with Progress("inspecting", unit="B") as progress:
        report = inspect_store(path, keys=_keys(), progress=progress.to)
    if as_json:
        totals = {"ok": not report.damage, "verdict": report.verdict, "unused_bytes": report.unused_bytes}
        print_json({**totals, **to_object(report), "damage": to_object(report.damage)})
    else:
        print_store_report(report)
    _finish(ctx, report.damage, as_json=as_json)


class _Lister:
    """Prints rows as they come, up to a number of them."""

    def __init__(self, form: Form, limit: int, *, as_json: bool) -> None:
        self.count = 0
        self._form = form
        self._limit = limit
        self._as_json = as_json

    def take(self, rows: Iterable[Row], place: dict[str, int]) -> bool:
        """Print rows; return whether more may come."""
        for row in rows:
            if self._limit and self.count == self._limit:
                return False
            self.count += 1
            if self._as_json:
                print_json(row_object(row) | place)
            else:
                click.echo(row_line(row, self._form))
        return not self._limit or self.count < self._limit

    @property
    def is_full(self) -> bool:
        """Tell whether the limit was reached."""
        return bool(self._limit) and self.count == self._limit


def _limit(given: int | None, as_json: bool) -> int:
    return given if given is not None else (0 if as_json else LIMIT)


def _end_listing(ctx: click.Context, damage: Sequence[Damage], lister: _Lister, *, whole: bool, as_json: bool) -> None:
    """End the command after rows were listed."""
    if as_json:
        for place in damage:
            print_json({"damage": to_object(place)})
    elif lister.is_full or not whole:
        click.echo(f"… {lister.count:,} shown: --limit 0 shows all")
    _finish(ctx, damage, as_json=as_json)


def _finish(ctx: click.Context, damage: Sequence[Damage], *, as_json: bool) -> None:
    """Print damage, and end with the exit code that tells of it."""
    if damage and not as_json:
        click.echo()
        print_damage(damage)
        click.secho(f"{len(damage)} damaged", fg="red")
    ctx.exit(NEGATIVE if damage else OK)
