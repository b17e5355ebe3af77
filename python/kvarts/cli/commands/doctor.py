"""`doctor`: is this a good place for a store, and if not, what to do."""

import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import click

from kvarts.base.errors import InvalidArgument
from kvarts.base.options import MEMORY_BYTES_MIN, Options, parse_bytes
from kvarts.cli.commands.options import json_option
from kvarts.cli.doctor.gather import SYNCS, gather
from kvarts.cli.doctor.judge import Check, Verdict, judge, worst
from kvarts.cli.exits import NEGATIVE, OK
from kvarts.cli.help import Command
from kvarts.cli.output import columns, print_json
from kvarts.cli.progress import Progress

_COLORS: dict[Verdict, str] = {"ok": "green", "warn": "yellow", "fail": "red"}


class Memory(click.ParamType[int]):
    """Bytes, as memory= takes them."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return bytes."""
        try:
            found = parse_bytes("--memory", value)
        except InvalidArgument as error:
            self.fail(error.message, param, ctx)
        if found < MEMORY_BYTES_MIN:
            self.fail(f"{value} is less than 1MiB", param, ctx)
        return found


@click.command(
    cls=Command,
    negative="something failed its check",
    examples=[
        ("kvarts doctor ./demo", "disk, sync cost, limits, permissions, memory"),
        ("kvarts doctor ./demo --fix-permissions", "take from others what they may not have"),
        ("kvarts doctor /var/lib/app --memory 4GiB", "before a store is made there"),
        ("kvarts doctor ./demo --json | jq .checks", "for a program"),
    ],
)
@click.argument("path", type=click.Path(), default=".")
@click.option("--memory", type=Memory(), default=Options().memory, help="Judge for this memory=. [default: 256MiB]")
@click.option("--fix-permissions", is_flag=True, help="Set modes by which others write, or all read, the store.")
@json_option
@click.pass_context
def doctor(ctx: click.Context, path: str, memory: int, fix_permissions: bool, as_json: bool) -> None:
    """Judge a store, a node's directory, or a place where one is to be made. Each check says what cures it.

    Syncs are measured in a file of the place, which goes again. Nothing of a store is opened or changed,
    but modes with --fix-permissions.
    """
    with Progress("measuring syncs", SYNCS, unit="syncs") as progress:
        facts = gather(path, memory, mends=fix_permissions, progress=progress.to, unix_s=time.time)
    checks = judge(facts)
    verdict = worst(checks)
    if as_json:
        rows = [asdict(check) for check in checks]
        print_json({"ok": verdict != "fail", "verdict": verdict, "checks": rows, "facts": asdict(facts)})
    else:
        _print_checks(checks)
        count = sum(check.verdict != "ok" for check in checks)
        click.secho("all well" if not count else f"{count} to look at", fg=_COLORS[verdict], bold=True)
    ctx.exit(NEGATIVE if verdict == "fail" else OK)


def _print_checks(checks: Sequence[Check]) -> None:
    """Print a row for each check, and under it what cures it."""
    width = columns() or 10_000
    name_width = max(len(check.name) for check in checks)
    margin = " " * (6 + name_width + 2)
    for check in checks:
        mark = click.style(f"{check.verdict:<4}", fg=_COLORS[check.verdict], bold=check.verdict != "ok")
        first = f"{check.name:<{name_width}}  "
        text = click.wrap_text(check.what, width, " " * 6 + first, margin)
        click.echo(f"{mark}  {text[6:]}")
        if check.cure:
            click.echo(click.wrap_text(f"-> {check.cure}", width, margin, margin + "   "))
