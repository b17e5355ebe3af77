"""What the benches of the command line share: their options, how a plan is run, shown, written and recorded."""

import json
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import click

from kvarts.bench import machine, plot, report
from kvarts.bench.board import Outcome, Verdict, verdicts
from kvarts.bench.peers import OURS, Peer
from kvarts.bench.runner import Bench, Plan, RepetitionFailedError, run
from kvarts.bench.runner import Progress as Show
from kvarts.cli.commands.options import json_option
from kvarts.cli.help import Command
from kvarts.cli.output import print_json, print_table
from kvarts.cli.progress import Progress

HISTORY = Path("benchmarks/history.jsonl")
NOW = partial(datetime.now, UTC)
QUICK_SHARE = 5
QUICK_REPETITIONS = 3
VERDICT_COLOURS = {"stretch": "green", "holds": "green", "missed": "red", "touched": "yellow"}
Tables = Callable[[Outcome, str], report.Table]
T = TypeVar("T")
Examples = Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Given:
    """Where a bench works and where its results go."""

    out: Path | None
    scratch: Path | None
    record: bool
    as_json: bool


scratch_option = click.option(
    "--scratch", type=click.Path(path_type=Path), metavar="DIR", help="Stores go here: the disk to measure."
)
out_option = click.option(
    "--out", type=click.Path(path_type=Path, file_okay=False), metavar="DIR", help="Write JSON, a table and plots here."
)
record_option = click.option("--record", is_flag=True, help=f"Append the medians to {HISTORY}.")


def measured(
    make: Callable[[], Bench], *, name: str, short: str, text: str, examples: Examples, stages: Tables | None = None
) -> click.Command:
    """Return the command of a bench whose repetitions are processes. `stages` gives a table more per setting."""

    def command(
        *, quick: bool, rows: int | None, repetitions: int | None, peers: str | None, seed: int, **given: Any
    ) -> None:
        bench = make()
        count = rows or bench.counts["rows"] // (QUICK_SHARE if quick else 1)
        plan = Plan(
            bench=bench,
            counts=bench.counts_for(count),
            repetitions=repetitions or (QUICK_REPETITIONS if quick else bench.repetitions),
            peers=chosen(bench.peers, peers),
            seed=seed,
        )
        _conduct(plan, Given(**given), stages)

    options = (
        click.option("--quick", is_flag=True, help=f"A fifth of the data, {QUICK_REPETITIONS} repetitions."),
        click.option("--rows", type=click.IntRange(min=100), metavar="N", help="Rows; the rest goes with them."),
        click.option("--repetitions", type=click.IntRange(min=1), metavar="N", help="Processes per peer and setting."),
        click.option("--peers", metavar="NAMES", help="These peers only, with commas between them."),
        click.option("--seed", type=int, default=1, show_default=True, help="Fixes the data and the order."),
        out_option,
        scratch_option,
        record_option,
        json_option,
    )
    for option in reversed(options):
        command = option(command)
    made = click.command(name, cls=Command, short_help=short, help=text, negative=None, examples=examples)
    return made(command)


def chosen(known: tuple[Peer, ...], names: str | None) -> tuple[Peer, ...]:
    """Return ours and the peers of some names ("rocksdict" is all of its variants); all without names."""
    if names is None:
        return known
    wanted = {name.strip() for name in names.split(",")}
    families = {peer.name.split(" ")[0] for peer in known}
    for name in sorted(wanted - families - {peer.name for peer in known}):
        there = sorted(families - {OURS.name})
        raise click.UsageError(f"no peer {name!r}; there are {', '.join(there) or 'none'}")
    wanted.add(OURS.name)
    return tuple(peer for peer in known if wanted & {peer.name, peer.name.split(" ")[0]})


@contextmanager
def scratch_folder(given: Given) -> Iterator[Path]:
    """Give a folder to measure in, and tell where it is on a file system that says nothing about disks."""
    with tempfile.TemporaryDirectory(prefix="kvarts-bench-", dir=given.scratch) as folder:
        place = Path(folder)
        if machine.file_system(place) == "tmpfs" and not given.as_json:
            click.echo("the scratch folder is on tmpfs, where a sync costs nothing: use --scratch DIR", err=True)
        yield place


def shown_while(job: Callable[[Show], T], unit: str = "repetitions") -> T:
    """Do what runs repetitions, telling how far it is. One that fails ends the command with what it said."""
    with Progress("measuring", unit=unit) as progress:

        def show(done: int, total: int, what: str) -> None:
            progress.what = f"measuring {what}"
            progress.to(done, total)

        try:
            return job(show)
        except RepetitionFailedError as error:
            raise click.ClickException(str(error)) from None


def context(place: Path, packages: list[str], now: Callable[[], datetime] = NOW) -> dict[str, Any]:
    """Return when, on what and with which versions is measured."""
    return {
        "when": now().isoformat(timespec="seconds"),
        "commit": machine.commit(),
        "machine": machine.describe_machine(place),
        "versions": machine.describe_versions(packages),
    }


def _conduct(plan: Plan, given: Given, stages: Tables | None) -> None:
    for peer in plan.missing:
        click.echo(f"left out: {peer.name} is not installed ({peer.package})", err=True)
    for lack in plan.bench.lacks():
        click.echo(f"left out: {lack}", err=True)
    with scratch_folder(given) as place:
        around = context(place, [peer.package for peer in plan.runnable])
        outcome = shown_while(lambda show: run(plan, place, show))
    whole = report.document(plan, outcome, around)
    staged = {setting: stages(outcome, setting) for setting in outcome.samples} if stages else {}
    if staged:
        whole["stages"] = staged
    if not given.as_json:
        _print(plan, outcome, staged)
    title = f"kvarts bench {plan.bench.name}, {title_of(whole)}"
    page = report.markdown(plan, outcome, whole)
    page += "".join(f"\n{report.as_markdown(table)}\n" for table in staged.values())
    draw = partial(plot.draw_stages, staged, title) if staged else partial(plot.draw, plan, outcome, title)
    finish(whole, report.history_line(whole), page, draw, given)


def _print(plan: Plan, outcome: Outcome, staged: dict[str, report.Table]) -> None:
    for setting in outcome.samples:
        found = [report.figure_table(plan, outcome, setting), report.ratio_table(plan, outcome, setting)]
        found += [staged[setting]] if staged else []
        for table in filter(None, found):
            print_table(table, header=True)
            click.echo()
    print_verdicts(list(verdicts(plan.bench.bars, plan.bench.rows, outcome)))


def print_verdicts(found: Sequence[Verdict]) -> None:
    """Print how each bar was met, a line each."""
    for verdict in found:
        click.secho(f"{verdict.verdict:<12}  {verdict.text}", fg=VERDICT_COLOURS.get(verdict.verdict))


def title_of(whole: dict[str, Any]) -> str:
    """Return what a plot says of a run: commit or version, and processor."""
    return f"{whole['commit'] or whole['versions']['kvarts']} on {whole['machine']['processor']}"


def finish(
    whole: dict[str, Any], line: dict[str, Any], page: str, draw: Callable[[Path], list[Path]], given: Given
) -> None:
    """Print JSON if asked for, write files, and record the line of history."""
    if given.as_json:
        print_json(whole)
    if given.out is not None:
        _write(whole, page, draw, given.out, quiet=given.as_json)
    if given.record:
        HISTORY.parent.mkdir(exist_ok=True)
        with HISTORY.open("a", encoding="utf-8") as history:
            history.write(json.dumps(line) + "\n")


def _write(whole: dict[str, Any], page: str, draw: Callable[[Path], list[Path]], out: Path, *, quiet: bool) -> None:
    out.mkdir(parents=True, exist_ok=True)
    written = [out / f"{whole['kind']}.json", out / f"{whole['kind']}.md"]
    written[0].write_text(json.dumps(whole, indent=1) + "\n", encoding="utf-8")
    written[1].write_text(page, encoding="utf-8")
    if plot.is_possible():
        written += draw(out)
    elif not quiet:
        click.echo("no plot: matplotlib is not installed", err=True)
    if not quiet:
        click.echo(f"wrote {', '.join(map(str, written))}")
