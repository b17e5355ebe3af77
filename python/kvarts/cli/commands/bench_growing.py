"""`bench growing`: runs the measurement of what callers notice while a cluster changes, and shows it."""

from functools import partial
from typing import Any

import click

from kvarts.bench.cluster import growing as bench
from kvarts.bench.cluster import growing_report as report
from kvarts.cli.commands.bench_run import (
    VERDICT_COLOURS,
    Given,
    context,
    finish,
    out_option,
    record_option,
    scratch_folder,
    scratch_option,
    shown_while,
    title_of,
)
from kvarts.cli.commands.options import json_option
from kvarts.cli.help import Command
from kvarts.cli.output import print_table


@click.command(
    "growing",
    cls=Command,
    short_help="What callers notice of changes.",
    negative=None,
    examples=[
        ("kvarts bench growing --seconds 3 --repetitions 1", "a minute; shows the order of things"),
        ("kvarts bench growing --out bench-results", "the whole; writes JSON, a table, PNG and SVG"),
        ("kvarts bench growing --load 0.3", "a cluster with little to do"),
    ],
)
@click.option(
    "--load",
    type=click.FloatRange(min=0.01, max=0.95),
    metavar="SHARE",
    default=0.7,
    show_default=True,
    help="Of the rate that 64 in flight reach before.",
)
@click.option("--seconds", type=click.FloatRange(min=1), metavar="S", default=10.0, help="Of each phase, at least.")
@click.option("--repetitions", type=click.IntRange(min=1), metavar="N", default=3, help="Clusters. [default: 3]")
@click.option("--memory", metavar="SIZE", default="64MiB", show_default=True, help="Of each node.")
@click.option("--seed", type=int, default=1, show_default=True, help="Of the data.")
@out_option
@scratch_option
@record_option
@json_option
def growing(*, load: float, seconds: float, repetitions: int, memory: str, seed: int, **given: Any) -> None:
    """Three nodes on loopback under a steady stream of gets and puts, half each; then 8 shards become 16, two nodes
    join and get their share, one node is emptied and another is killed. Waits and errors of callers in each phase.

    Requests come at a fixed rate, whatever became of those before; each one's wait counts from when it was due.
    Figures are medians of the repetitions, each a cluster of its own.
    """
    plan = bench.Plan(load=load, seconds=seconds, repetitions=repetitions, memory=memory, seed=seed)
    where, outcome = Given(**given), bench.Outcome()
    with scratch_folder(where) as place:
        around = context(place, [])
        shown_while(lambda show: bench.run(plan, outcome, place, show), "clusters")
    whole, found = report.document(plan, outcome, around), bench.verdict(outcome)
    if not where.as_json:
        print_table(report.table(outcome), header=True)
        click.echo()
        click.secho(f"{found.verdict:<12}  {found.text}", fg=VERDICT_COLOURS.get(found.verdict))
    draw = partial(report.draw, outcome, f"kvarts bench growing, {title_of(whole)}")
    finish(whole, report.history_line(whole), report.markdown(outcome, whole), draw, where)
