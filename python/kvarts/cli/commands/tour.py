"""`tour`: runs the steps and shows what each found."""

import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

import click

from kvarts.cli.commands.options import json_option
from kvarts.cli.exits import NEGATIVE, OK
from kvarts.cli.help import Command
from kvarts.cli.output import print_json
from kvarts.cli.tour.corpus import standard_library
from kvarts.cli.tour.steps import STEPS, Step, World, close, open_world, python_and_machine


@click.command(
    cls=Command,
    negative="a check failed",
    examples=[
        ("kvarts tour", "in a temporary folder that is removed afterwards"),
        ("kvarts tour --keep ./demo", "keep the store, to look into it"),
        ("kvarts tour --json", "every figure as one object"),
    ],
)
@click.option("--keep", type=click.Path(path_type=Path), metavar="DIR", help="Make the store here, and keep it.")
@json_option
@click.pass_context
def tour(ctx: click.Context, keep: Path | None, as_json: bool) -> None:
    """See it work on real files, and survive a kill, in a minute.

    Loads every file of this Python's standard library into a store, reads and scans it, holds a snapshot against
    changes, kills a process in the middle of writing, and checks every answer.
    """
    if keep is not None and keep.exists():
        raise click.UsageError(f"{keep} exists already; --keep wants a new folder")
    began = time.perf_counter()
    with ExitStack() as stack:
        folder = keep or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="kvarts-tour-"))) / "store"
        if not as_json:
            click.echo(f"A store in {folder}\n")
        world = open_world(folder, standard_library())
        stack.callback(close, world)
        steps = _walk(world, as_json)
    seconds = time.perf_counter() - began
    ok = all(step.ok for step in steps)
    if as_json:
        figures = {step.name: {"ok": step.ok, **step.figures} for step in steps}
        kept = None if keep is None else str(keep)
        print_json({"ok": ok, "seconds": seconds, "store": kept, **python_and_machine(), "steps": figures})
    else:
        _say_goodbye(ok, seconds, keep)
    ctx.exit(OK if ok else NEGATIVE)


def _walk(world: World, as_json: bool) -> list[Step]:
    steps = []
    for action in STEPS:
        step = action(world)
        steps.append(step)
        if not as_json:
            click.secho("  ✔ " if step.ok else "  ✘ ", fg="green" if step.ok else "red", bold=True, nl=False)
            click.echo(_wrapped(step.sentence))
    return steps


def _wrapped(sentence: str) -> str:
    import shutil
    import textwrap

    width = min(110, shutil.get_terminal_size((110, 24)).columns if sys.stdout.isatty() else 110)
    return textwrap.fill(sentence, width, initial_indent="    ", subsequent_indent="    ").lstrip()


def _say_goodbye(ok: bool, seconds: float, keep: Path | None) -> None:
    verdict = "Every check held" if ok else "A CHECK FAILED: please report this"
    click.secho(f"\n{verdict} ({seconds:.0f} s).", fg="green" if ok else "red", bold=True)
    place = str(keep) if keep else "./demo"
    click.echo("\nNext:")
    if keep:
        commands = [(f"kvarts scan {place} --prefix json/ --keys", "look into what the tour left")]
    else:
        commands = [("kvarts tour --keep ./demo", "the same, and keep the store")]
    commands += [
        (f"kvarts stats {place}", "sizes and counts"),
        ("kvarts bench embedded --quick", "beside the peers, on this machine"),
        (f"""python -c "import kvarts; print(kvarts.open('{place}', key=kvarts.Str))\"""", "from Python"),
    ]
    for command, why in commands:
        click.echo(f"  {command}\n      {why}")
