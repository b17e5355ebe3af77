"""`bench cluster`: runs the measurement of servers and shows it."""

import json
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import click

from kvarts.bench import machine
from kvarts.bench.cluster import plot, report, runner, stubs
from kvarts.bench.cluster.peers import OURS
from kvarts.bench.cluster.workloads import FIGURES, QUICK, START, WORKLOADS, Load
from kvarts.bench.plot import is_possible
from kvarts.cli.commands.bench_run import VERDICT_COLOURS, shown_while
from kvarts.cli.commands.options import json_option
from kvarts.cli.help import Command
from kvarts.cli.output import print_json, print_table

CLIENTS = ["grpcio", "redis", "hiredis", "uvloop"]


@click.command(
    cls=Command,
    short_help="Three nodes, against etcd; one, against redis.",
    negative=None,
    examples=[
        ("kvarts bench cluster --quick", "some minutes; shows the order of things"),
        ("kvarts bench cluster --out bench-results", "the whole; writes JSON, tables, PNG and SVG"),
        ("kvarts bench cluster --workloads put_64,get_64 --values 256", "some workloads, one size"),
        ("kvarts bench cluster --out results --go-on results/cluster.json", "adds to what is there: in pieces"),
    ],
)
@click.option("--quick", is_flag=True, help="A third of the time, three repetitions.")
@click.option(
    "--repetitions", type=click.IntRange(min=1), metavar="N", help="Starts of each server per size. [default: 5]"
)
@click.option("--seconds", type=click.FloatRange(min=0.05), metavar="S", help="Of each workload. [default: 2]")
@click.option("--peers", metavar="NAMES", help="Of etcd, redis.")
@click.option("--workloads", metavar="NAMES", help=f"Of {', '.join(workload.name for workload in WORKLOADS)}.")
@click.option("--values", metavar="SIZES", default="256,1000", show_default=True, help="Bytes of a value.")
@click.option("--seed", type=int, default=1, show_default=True, help="Of the data and the order of peers.")
@click.option(
    "--out", type=click.Path(path_type=Path, file_okay=False), metavar="DIR", help="Write JSON, tables and plots here."
)
@click.option(
    "--go-on",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    metavar="FILE",
    help="Begin with the samples of an earlier run on this machine.",
)
@click.option("--scratch", type=click.Path(path_type=Path), metavar="DIR", help="Data goes here: the disk to measure.")
@json_option
def cluster(
    *,
    quick: bool,
    repetitions: int | None,
    seconds: float | None,
    peers: str | None,
    workloads: str | None,
    values: str,
    seed: int,
    out: Path | None,
    go_on: Path | None,
    scratch: Path | None,
    as_json: bool,
) -> None:
    """Ours against etcd with three nodes each, and one node of ours against redis.

    All on loopback and on this machine's disk, each write synced before it is answered, a client of one process,
    peers in random order, each repetition with servers begun from nothing. Ratios have 95 % bootstrap intervals.
    Peers that are not installed are named and left out.
    """
    load = QUICK if quick else Load()
    plan = runner.Plan(
        load=load if seconds is None else Load(seconds=seconds, warm_seconds=min(0.3, seconds), rows=load.rows),
        repetitions=repetitions or (3 if quick else 5),
        value_bytes=_sizes(values),
        peers=_peers(peers),
        workloads=_workloads(workloads),
        seed=seed,
    )
    _tell_what_is_missing(plan)
    outcome = runner.Outcome() if go_on is None else runner.Outcome.from_dict(json.loads(go_on.read_text())["samples"])
    with tempfile.TemporaryDirectory(prefix="kvarts-bench-", dir=scratch) as folder:
        place = Path(folder)
        if machine.file_system(place) == "tmpfs" and not as_json:
            click.echo("the scratch folder is on tmpfs, where a sync costs nothing: use --scratch DIR", err=True)
        context = _context(plan, place, partial(datetime.now, UTC))
        shown_while(lambda show: runner.run(plan, outcome, place, show))
    whole = report.document(plan, outcome, context)
    if as_json:
        print_json(whole)
    else:
        _print_tables(outcome)
    if out is not None:
        _write(out, whole, outcome, quiet=as_json)


def _tell_what_is_missing(plan: runner.Plan) -> None:
    for peer in plan.missing:
        click.echo(f"left out: {peer.name} is not installed ({peer.brings})", err=True)
    if "unary_64" in plan.workloads and not stubs.are_possible():
        click.echo("left out: unary_64 needs grpcio and grpcio-tools (pip install 'kvarts[bench]')", err=True)


def _peers(names: str | None) -> tuple[Any, ...]:
    try:
        return runner.chosen(None if names is None else _words(names))
    except KeyError as error:
        raise click.UsageError(f"no peer {error}; there are etcd, redis") from None


def _workloads(names: str | None) -> tuple[str, ...]:
    known = [workload.name for workload in WORKLOADS]
    wanted = known if names is None else _words(names)
    for name in wanted:
        if name not in known:
            raise click.UsageError(f"no workload {name!r}; there are {', '.join(known)}")
    return tuple(name for name in known if name in wanted)


def _sizes(values: str) -> tuple[int, ...]:
    try:
        sizes = tuple(int(word) for word in _words(values))
    except ValueError:
        raise click.UsageError(f"--values takes sizes in bytes, such as 256,1000, not {values!r}") from None
    if not sizes or min(sizes) < 1:
        raise click.UsageError(f"--values takes sizes of at least one byte, not {values!r}")
    return sizes


def _words(names: str) -> list[str]:
    return [name.strip() for name in names.split(",")]


def _context(plan: runner.Plan, place: Path, now: Callable[[], datetime]) -> dict[str, Any]:
    programs = {peer.name: peer.program_version for peer in plan.runnable if peer.program_version}
    return {
        "when": now().isoformat(timespec="seconds"),
        "commit": machine.commit(),
        "machine": machine.describe_machine(place),
        # The server's name is also a client's: redis.
        "versions": machine.describe_versions(CLIENTS) | {f"{name}-server": of for name, of in programs.items()},
    }


def _print_tables(outcome: runner.Outcome) -> None:
    for size in outcome.samples:
        for figure in FIGURES:
            print_table(report.figure_table(outcome, size, figure), header=True)
            click.echo()
    for name, found in report.starts(outcome):
        verdict = "" if name != OURS.name else f", asked: at most {report.START_S_MAX:g}"
        click.echo(f"{START.title}: {name} {found} s{verdict}")
    for bar, size, found in report.bars(outcome):
        verdict = report.judge(bar, found)
        click.secho(f"{verdict:<7}  {report.bar_line(bar, size, found)}", fg=VERDICT_COLOURS.get(verdict))


def _write(out: Path, whole: dict[str, Any], outcome: runner.Outcome, *, quiet: bool) -> None:
    out.mkdir(parents=True, exist_ok=True)
    written = [out / "cluster.json", out / "cluster.md"]
    written[0].write_text(json.dumps(whole, indent=1) + "\n", encoding="utf-8")
    written[1].write_text(report.markdown(outcome, whole), encoding="utf-8")
    if is_possible():
        title = f"kvarts {whole['commit'] or whole['versions']['kvarts']} on {whole['machine']['processor']}"
        written += plot.draw(outcome, title, out)
    elif not quiet:
        click.echo("no plot: matplotlib is not installed", err=True)
    if not quiet:
        click.echo(f"wrote {', '.join(map(str, written))}")
