"""`stats`, `verify`, `explain`: looking after a store."""

from dataclasses import asdict
from difflib import get_close_matches

import click

from kvarts.base.error_table import ErrorInfo
from kvarts.base.errors import ERRORS, CorruptionError, InvalidArgument
from kvarts.base.errors import explain as explain_code
from kvarts.base.types import Damage, Stats
from kvarts.cli.commands.options import json_option, store_argument
from kvarts.cli.damage import damage_object, print_damage
from kvarts.cli.exits import NEGATIVE, OK
from kvarts.cli.help import Command
from kvarts.cli.output import columns, print_json, print_table
from kvarts.cli.progress import Progress
from kvarts.cli.stores import opened
from kvarts.cli.text import size


@click.command(
    cls=Command,
    negative=None,
    examples=[
        ("kvarts stats ./demo", "sizes, counts, keyspaces"),
        ("kvarts stats ./demo --json | jq .table_bytes", "one figure for a program"),
    ],
)
@store_argument
@json_option
def stats(store: str, as_json: bool) -> None:
    """Print sizes and counts of a store."""
    with opened(store) as target:
        found = target.store.stats()
        keyspaces = target.store.keyspaces()
    if as_json:
        codecs = {name: {"key": info.key, "value": info.value} for name, info in keyspaces.items()}
        print_json({**asdict(found), "disk_bytes": found.disk_bytes, "codecs": codecs})
        return
    _print_stats(store, found)
    rows = [("keyspace", "keys", "values", "rows in tables", "tables", "bytes")]
    for space in found.keyspaces:
        info = keyspaces.get(space.name)
        codec = (info.key, info.value) if info else ("?", "?")
        tables, used = (sum(level[part] for level in space.levels) for part in (0, 1))
        rows.append((space.name, *codec, f"{space.table_rows:,}", f"{tables:,}", size(used)))
    click.echo()
    print_table(rows, header=True)


def _print_stats(store: str, found: Stats) -> None:
    print_table(
        [
            (store, f"revision {found.revision:,}"),
            ("on disk", size(found.disk_bytes)),
            ("  tables", size(found.table_bytes)),
            ("  logs", size(found.log_bytes)),
            ("memory budget", size(found.memory_bytes)),
        ]
    )


@click.command(
    cls=Command,
    negative="damage was found",
    examples=[
        ("kvarts verify ./demo", "read every block and check it"),
        ("kvarts verify ./demo --json | jq .damage", "what is damaged, for a program"),
    ],
)
@store_argument
@json_option
@click.pass_context
def verify(ctx: click.Context, store: str, as_json: bool) -> None:
    """Read all of a store from disk and check every byte. Damage is listed: file, offset, keys concerned."""
    files = blocks = bytes_read = 0
    try:
        with opened(store, read_only=True) as target, Progress("verifying", unit="B") as progress:
            report = target.store.verify(progress=progress.to)
        damage, files, blocks, bytes_read = report.damage, report.files, report.blocks, report.bytes
    except CorruptionError as error:
        # So damaged that it does not open: that is a finding of this command, not a failure of it.
        damage = (Damage(file=error.file, offset=error.offset, what=error.message, smallest=b"", largest=b""),)
    if as_json:
        print_json(
            {
                "ok": not damage,
                "files": files,
                "blocks": blocks,
                "bytes": bytes_read,
                "damage": list(map(damage_object, damage)),
            }
        )
    else:
        print_damage(damage)
        read = f"{files:,} files, {blocks:,} blocks, {size(bytes_read)}"
        verdict = f"{len(damage)} damaged" if damage else "all as written"
        click.secho(f"{read}: {verdict}", fg="red" if damage else "green")
    ctx.exit(NEGATIVE if damage else OK)


@click.command(
    cls=Command,
    negative=None,
    examples=[
        ("kvarts explain KV-2003", "cause and cure"),
        ("kvarts explain LockedError", "the name works too"),
        ("kvarts explain", "list all codes"),
    ],
)
@click.argument("code", required=False)
@json_option
def explain(code: str | None, as_json: bool) -> None:
    """Tell cause and cure of an error code. Without one, list them all."""
    if code is None:
        infos = [ERRORS[known] for known in sorted(ERRORS)]
        if as_json:
            print_json([asdict(info) for info in infos])
        for info in () if as_json else infos:
            first = f"{info.code}  {info.name:<16} "
            width = columns()
            indent = " " * (len(first) if width is None or width >= 60 else 4)
            click.echo(first + info.cause if width is None else click.wrap_text(info.cause, width, first, indent))
        return
    try:
        info = explain_code(code)
    except InvalidArgument:
        raise click.UsageError(f"no error code {code!r}; {_near(code)}") from None
    if as_json:
        print_json(asdict(info))
    else:
        _print_info(info)


def _near(code: str) -> str:
    """Return which codes may have been meant: names by their letters, numbers by their beginning."""
    asked = code.strip().lower()
    names = {
        name.lower(): f"{name} ({number})" for number, name in ((info.code, info.name) for info in ERRORS.values())
    }
    near = [name for name in names if len(asked) > 3 and asked in name] or get_close_matches(asked, names, n=3)
    if near:
        return f"did you mean {' or '.join(names[name] for name in near[:3])}?"
    return f"codes run from {min(ERRORS)} to {max(ERRORS)}, and `kvarts explain` lists them"


def _print_info(info: ErrorInfo) -> None:
    click.secho(f"{info.code} {info.name}", bold=True)
    width = columns() or 100
    again = "may succeed when tried again" if info.retryable else "will fail again until its cause is gone"
    applied = "the write may have taken effect" if info.maybe_applied else "nothing of the failed call was written"
    for title, text in (("cause", info.cause), ("cure", info.cure), ("note", f"the same call {again}; {applied}")):
        click.echo(click.wrap_text(text, width, initial_indent=f"  {title:<5}  ", subsequent_indent=" " * 9))
