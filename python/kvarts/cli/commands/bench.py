"""`bench embedded`: runs the measurement and shows it. `bench cluster` and `bench ycsb` have files of their own."""

import json
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import click

from kvarts.bench import machine, plot, report, runner
from kvarts.bench.peers import BY_NAME, OURS, PEERS
from kvarts.bench.workloads import QUICK, Counts
from kvarts.cli.commands.bench_cluster import cluster
from kvarts.cli.commands.bench_ycsb import ycsb
from kvarts.cli.commands.options import json_option
from kvarts.cli.help import Command
from kvarts.cli.output import print_json, print_table
from kvarts.cli.progress import Progress

HISTORY = Path("benchmarks/history.jsonl")


@click.group()
def bench() -> None:
    """Measure kvarts beside its peers, on this machine."""


bench.add_command(cluster)
bench.add_command(ycsb)


@bench.command(
    cls=Command,
    short_help="The embedded store.",
    negative=None,
    examples=[
        ("kvarts bench embedded --quick", "a minute; shows the order of things"),
        ("kvarts bench embedded --out bench-results", "the whole; writes JSON, a table, PNG and SVG"),
        ("kvarts bench embedded --peers lmdb,rocksdict", "some peers only"),
    ],
)
@click.option("--quick", is_flag=True, help="A fifth of the data, three repetitions.")
@click.option(
    "--repetitions", type=click.IntRange(min=1), metavar="N", help="Processes per peer and size. [default: 5]"
)
@click.option("--peers", metavar="NAMES", help=f"Of {', '.join(peer.name for peer in PEERS[1:])}.")
@click.option(
    "--out", type=click.Path(path_type=Path, file_okay=False), metavar="DIR", help="Write JSON, a table and plots here."
)
@click.option("--scratch", type=click.Path(path_type=Path), metavar="DIR", help="Stores go here: the disk to measure.")
@click.option("--record", is_flag=True, help=f"Append the medians to {HISTORY}.")
@json_option
def embedded(
    *,
    quick: bool,
    repetitions: int | None,
    peers: str | None,
    out: Path | None,
    scratch: Path | None,
    record: bool,
    as_json: bool,
) -> None:
    """Ours against plyvel, rocksdict, lmdb, sqlite3 and dbm.gnu, with dict as the limit.

    Keys of 16 B, values of 1000 B and 100 B, equal durability, one process per repetition, peers in random order.
    Ratios are our time over the peer's, with 95 % bootstrap intervals: below 1 we are faster. Peers that are not
    installed are named and left out: pip install 'kvarts[bench]'.
    """
    counts = QUICK if quick else Counts()
    plan = runner.Plan(counts=counts, repetitions=repetitions or (3 if quick else 5), peers=_chosen(peers))
    for peer in plan.missing:
        click.echo(f"left out: {peer.name} is not installed ({peer.package})", err=True)
    with tempfile.TemporaryDirectory(prefix="kvarts-bench-", dir=scratch) as folder:
        place = Path(folder)
        if machine.file_system(place) == "tmpfs" and not as_json:
            click.echo("the scratch folder is on tmpfs, where a sync costs nothing: use --scratch DIR", err=True)
        context = _context(plan, place, partial(datetime.now, UTC))
        outcome = _run(plan, place)
    whole = report.document(plan, outcome, context)
    if as_json:
        print_json(whole)
    else:
        _print_tables(outcome)
    if out is not None:
        _write(out, whole, outcome, quiet=as_json)
    if record:
        HISTORY.parent.mkdir(exist_ok=True)
        with HISTORY.open("a", encoding="utf-8") as history:
            history.write(json.dumps(report.history_line(whole)) + "\n")


def _chosen(peers: str | None) -> tuple[Any, ...]:
    if peers is None:
        return PEERS
    names = [name.strip() for name in peers.split(",")]
    unknown = [name for name in names if name not in BY_NAME]
    if unknown:
        raise click.UsageError(f"no peer {unknown[0]!r}; there are {', '.join(peer.name for peer in PEERS[1:])}")
    return (OURS, *(BY_NAME[name] for name in names if name != OURS.name))


def _context(plan: runner.Plan, place: Path, now: Callable[[], datetime]) -> dict[str, Any]:
    return {
        "when": now().isoformat(timespec="seconds"),
        "commit": machine.commit(),
        "machine": machine.describe_machine(place),
        "versions": machine.describe_versions([peer.package for peer in plan.runnable]),
    }


def _run(plan: runner.Plan, place: Path) -> runner.Outcome:
    with Progress("measuring", unit="repetitions") as progress:

        def show(done: int, total: int, what: str) -> None:
            progress.what = f"measuring {what}"
            progress.to(done, total)

        try:
            return runner.run(plan, place, show)
        except runner.RepetitionFailedError as error:
            raise click.ClickException(str(error)) from None


def _print_tables(outcome: runner.Outcome) -> None:
    for size in outcome.samples:
        for table in (report.time_table(outcome, size), report.ratio_table(outcome, size)):
            print_table(table, header=True)
            click.echo()
    for bar, size, peer, found in report.bars(outcome):
        verdict = report.judge(found, bar.ratio_max)
        line = f"{verdict:<7}  {bar.operation} at {size} B: {found} of {peer}'s time, asked: at most {bar.ratio_max:g}"
        click.secho(line, fg={"holds": "green", "missed": "red"}.get(verdict))


def _write(out: Path, whole: dict[str, Any], outcome: runner.Outcome, *, quiet: bool) -> None:
    out.mkdir(parents=True, exist_ok=True)
    written = [out / "embedded.json", out / "embedded.md"]
    written[0].write_text(json.dumps(whole, indent=1) + "\n", encoding="utf-8")
    written[1].write_text(report.markdown(outcome, whole), encoding="utf-8")
    if plot.is_possible():
        title = f"kvarts {whole['commit'] or whole['versions']['kvarts']} on {whole['machine']['processor']}"
        written += plot.draw(outcome, title, out)
    elif not quiet:
        click.echo("no plot: matplotlib is not installed", err=True)
    if not quiet:
        click.echo(f"wrote {', '.join(map(str, written))}")
