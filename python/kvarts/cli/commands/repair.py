"""`repair`: what is whole of a damaged store, in a new one."""

from dataclasses import asdict

import click

from kvarts.base.types import Gone, RepairReport
from kvarts.cli.commands.options import json_option, store_argument
from kvarts.cli.damage import damage_object, print_damage
from kvarts.cli.exits import NEGATIVE, OK
from kvarts.cli.help import Command
from kvarts.cli.output import print_json, print_table
from kvarts.cli.progress import Progress
from kvarts.cli.text import size


@click.command(
    cls=Command,
    negative="rows may be gone",
    examples=[
        ("kvarts repair ./demo --to ./saved", "salvage what is whole, and list what is gone"),
        ("kvarts repair ./demo --to ./saved --one-keyspace default", "MANIFEST is lost, and there was one keyspace"),
        ("kvarts repair ./demo --to ./saved --json | jq .gone", "for a program"),
    ],
)
@store_argument
@click.option("--to", required=True, type=click.Path(), metavar="NEW", help="Path of the new store: must not exist.")
@click.option("--one-keyspace", metavar="NAME", help="Where nothing says which keyspace rows are of, it is this one.")
@json_option
@click.pass_context
def repair(ctx: click.Context, *, store: str, to: str, one_keyspace: str | None, as_json: bool) -> None:
    """Salvage every whole block and log record of a store into a new one. The old one stays as it is."""
    from kvarts.embedded.repairing import repair as run

    with Progress("repairing", unit="B") as progress:
        report = run(store, to, one_keyspace=one_keyspace, progress=progress.to)
    if as_json:
        print_json({**asdict(report), "ok": report.ok, "gone": [_gone_object(one) for one in report.gone]})
    else:
        _print(to, report)
    ctx.exit(OK if report.ok else NEGATIVE)


def _gone_object(gone: Gone) -> dict[str, object]:
    return {**damage_object(gone), "keyspace": gone.keyspace, "rows_gone": gone.rows_gone}


def _print(to: str, report: RepairReport) -> None:
    for one in report.gone:
        print_damage([one])
        if not one.rows_gone:
            click.echo("  no row is gone by this")
        elif not (one.smallest or one.largest):
            click.echo(f"  any key of {f'keyspace {one.keyspace}' if one.keyspace else 'the store'} may be concerned")
    print_table([("keyspace", "rows"), *((name, f"{rows:,}") for name, rows in report.keyspaces.items())], header=True)
    click.echo()
    read = f"{report.tables:,} tables, {report.blocks:,} blocks, {report.batches:,} batches, {size(report.bytes)}"
    verdict = "no row is gone" if report.ok else "rows may be gone"
    click.secho(f"{to}: {read}: {verdict}", fg="green" if report.ok else "red")
