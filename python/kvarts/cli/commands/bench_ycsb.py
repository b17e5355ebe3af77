"""`bench ycsb`: the workloads A to F, and what encryption costs of them."""

import secrets
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

import click

import kvarts
from kvarts.base.options import OpenOptions
from kvarts.bench.statistics import median, ratio_estimate
from kvarts.bench.ycsb import MIXES, Bed, Mix, Plan, run
from kvarts.cli.commands.options import json_option
from kvarts.cli.help import Command
from kvarts.cli.output import print_json, print_table
from kvarts.cli.progress import Progress

MEMORY = "64MiB"


@click.command(
    cls=Command,
    short_help="The workloads of YCSB.",
    negative=None,
    examples=[
        ("kvarts bench ycsb", "A to F on a store of 100,000 rows"),
        ("kvarts bench ycsb A C --encryption", "two of them, beside an encrypted store"),
    ],
)
@click.argument("workloads", nargs=-1, type=click.Choice(list(MIXES), case_sensitive=False))
@click.option("--encryption", is_flag=True, help="Measure an encrypted store too, in turn, and print the ratio.")
@click.option("--records", type=click.IntRange(min=1000), default=Plan().records, show_default=True, help="Rows.")
@click.option(
    "--operations", type=click.IntRange(min=100), default=Plan().operations, show_default=True, help="Per sample."
)
@click.option(
    "--repetitions", type=click.IntRange(min=1), default=Plan().repetitions, show_default=True, help="Samples."
)
@click.option("--memory", default=MEMORY, show_default=True, metavar="SIZE", help="Budget of each store.")
@click.option("--scratch", type=click.Path(path_type=Path), metavar="DIR", help="Stores go here: the disk to measure.")
@json_option
def ycsb(
    *,
    workloads: tuple[str, ...],
    encryption: bool,
    records: int,
    operations: int,
    repetitions: int,
    memory: str,
    scratch: Path | None,
    as_json: bool,
) -> None:
    """Zipfian keys, values of 1000 B, one thread of Python: A updates half, B a twentieth, C none, D inserts and reads
    what is new, E scans, F reads, changes and writes.

    A sample ends once its writes are in tables. With --encryption two stores take turns; the ratio is that of their
    throughputs, with a 95 % bootstrap interval.
    """
    mixes = tuple(MIXES[name.upper()] for name in workloads) or tuple(MIXES.values())
    plan = Plan(mixes=mixes, records=records, operations=operations, repetitions=repetitions)
    options: OpenOptions = {"memory": memory}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="kvarts-ycsb-", dir=scratch)))
        beds = [Bed("plain", stack.enter_context(kvarts.open(folder / "plain", **options)))]
        if encryption:
            options["encryption_key"] = secrets.token_bytes(32)
            beds.append(Bed("encrypted", stack.enter_context(kvarts.open(folder / "encrypted", **options))))
        with Progress("measuring", unit="samples") as progress:
            run(plan, beds, time.perf_counter_ns, progress.to)
    if as_json:
        print_json({"plan": {"records": records, "operations": operations, "memory": memory}, **_figures(mixes, beds)})
    else:
        print_table(_table(mixes, beds), header=True)


def _figures(mixes: tuple[Mix, ...], beds: list[Bed]) -> dict[str, object]:
    return {
        mix.name: {bed.name: [round(sample) for sample in bed.samples[mix.name]] for bed in beds}
        | ({"throughput_ratio": str(_ratio(mix, beds))} if len(beds) > 1 else {})
        for mix in mixes
    }


def _table(mixes: tuple[Mix, ...], beds: list[Bed]) -> list[tuple[str, ...]]:
    title = ("workload", *(f"{bed.name}, ops/s" for bed in beds))
    rows = []
    for mix in mixes:
        speeds = tuple(f"{1e9 / median(bed.samples[mix.name]):,.0f}" for bed in beds)
        rows.append((mix.name, *speeds, *((str(_ratio(mix, beds)),) if len(beds) > 1 else ())))
    return [(*title, "encrypted / plain") if len(beds) > 1 else title, *rows]


def _ratio(mix: Mix, beds: list[Bed]) -> object:
    plain, encrypted = (bed.samples[mix.name] for bed in beds)
    return ratio_estimate(plain, encrypted)
