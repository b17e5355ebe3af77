"""`bench ycsb`: the workloads A to F, and what encryption costs of them."""

import secrets
import time
from contextlib import ExitStack
from functools import partial
from typing import Any

import click

import kvarts
from kvarts.base.options import OpenOptions
from kvarts.bench import plot, report, runner
from kvarts.bench.board import Outcome
from kvarts.bench.statistics import ratio_estimate
from kvarts.bench.ycsb import ENCRYPTED, MIXES, PLAIN, Bed, Plan, bench_of, outcome_of, run
from kvarts.cli.commands.bench_run import (
    Given,
    context,
    finish,
    out_option,
    record_option,
    scratch_folder,
    scratch_option,
    title_of,
)
from kvarts.cli.commands.options import json_option
from kvarts.cli.help import Command
from kvarts.cli.output import print_table
from kvarts.cli.progress import Progress

MEMORY = "64MiB"


@click.command(
    cls=Command,
    short_help="The workloads of YCSB.",
    negative=None,
    examples=[
        ("kvarts bench ycsb", "A to F on a store of 100,000 rows"),
        ("kvarts bench ycsb A C --encryption", "two of them, beside an encrypted store"),
        ("kvarts bench ycsb --out bench-results", "writes JSON, a table, PNG and SVG"),
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
@out_option
@scratch_option
@record_option
@json_option
def ycsb(
    *,
    workloads: tuple[str, ...],
    encryption: bool,
    records: int,
    operations: int,
    repetitions: int,
    memory: str,
    **given: Any,
) -> None:
    """Zipfian keys, values of 1000 B, one thread of Python: A updates half, B a twentieth, C none, D inserts and reads
    what is new, E scans, F reads, changes and writes.

    A sample ends once its writes are in tables. With --encryption two stores take turns; the ratio is that of their
    throughputs, with a 95 % bootstrap interval.
    """
    mixes = tuple(MIXES[name.upper()] for name in workloads) or tuple(MIXES.values())
    plan = Plan(mixes=mixes, records=records, operations=operations, repetitions=repetitions)
    where = Given(**given)
    with scratch_folder(where) as folder, ExitStack() as stack:
        around = context(folder, [])
        options: OpenOptions = {"memory": memory}
        beds = [Bed(PLAIN, stack.enter_context(kvarts.open(folder / "plain", **options)))]
        if encryption:
            options["encryption_key"] = secrets.token_bytes(32)
            beds.append(Bed(ENCRYPTED, stack.enter_context(kvarts.open(folder / "encrypted", **options))))
        with Progress("measuring", unit="samples") as progress:
            run(plan, beds, time.perf_counter_ns, progress.to)
    outcome, bench = outcome_of(plan, beds), bench_of(plan)
    told = runner.Plan(bench=bench, counts=bench.counts, repetitions=repetitions, seed=plan.seed)
    whole = report.document(told, outcome, around)
    whole["options"]["memory"] = memory
    if not where.as_json:
        for setting in outcome.samples:
            print_table(_with_ratios(report.figure_table(told, outcome, setting), outcome, setting, plan), header=True)
    title = f"kvarts bench ycsb, {title_of(whole)}"
    page = report.markdown(told, outcome, whole)
    finish(whole, report.history_line(whole), page, partial(plot.draw, told, outcome, title), where)


def _with_ratios(table: report.Table, outcome: Outcome, setting: str, plan: Plan) -> report.Table:
    """Add a column of throughputs of the encrypted store over the plain one's, where there is one."""
    if ENCRYPTED not in outcome.peers(setting):
        return table
    samples = (outcome.samples[setting][mix.name] for mix in plan.mixes)
    ratios = [str(ratio_estimate(of[ENCRYPTED], of[PLAIN])) for of in samples]
    return [(*row, cell) for row, cell in zip(table, ["encrypted / plain", *ratios], strict=True)]
