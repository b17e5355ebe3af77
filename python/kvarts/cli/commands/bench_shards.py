"""`bench shards`: runs the measurement of what many shards cost, and shows it."""

from dataclasses import replace
from functools import partial
from typing import Any

import click

from kvarts.bench.cluster import shards as bench
from kvarts.bench.cluster import shards_report as report
from kvarts.bench.cluster.workloads import QUICK, Load
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
from kvarts.shardmap.space import SHARDS_MAX

KEYS_MAX = 1_000_000_000


@click.command(
    "shards",
    cls=Command,
    short_help="What many shards cost three nodes.",
    negative=None,
    examples=[
        ("kvarts bench shards --quick", "a minute or two; shows the order of things"),
        ("kvarts bench shards --out bench-results", "the whole; writes JSON, a table, PNG and SVG"),
        ("kvarts bench shards --shards 1,8 --scratch /mnt/disk", "some numbers, on another disk"),
        ("kvarts bench shards --shards 1,8 --keys 1000,1000000", "the cost of keys beside that of shards"),
    ],
)
@click.option("--shards", metavar="NUMBERS", default="1,8,64,256", show_default=True, help="Of the keyspace.")
@click.option("--keys", metavar="NUMBERS", help="How many there are. [default: 10000; quick: 2000]")
@click.option("--quick", is_flag=True, help="A third of the time, three repetitions.")
@click.option(
    "--repetitions", type=click.IntRange(min=1), metavar="N", help="Clusters per number of shards. [default: 5]"
)
@click.option("--seconds", type=click.FloatRange(min=0.05), metavar="S", help="Of each load. [default: 2]")
@click.option("--memory", metavar="SIZE", default="64MiB", show_default=True, help="Of each node.")
@click.option("--seed", type=int, default=1, show_default=True, help="Of the data and the order.")
@out_option
@scratch_option
@record_option
@json_option
def shards(
    *,
    shards: str,
    keys: str | None,
    quick: bool,
    repetitions: int | None,
    seconds: float | None,
    memory: str,
    seed: int,
    **given: Any,
) -> None:
    """Three nodes on loopback with one disk, a keyspace of so many shards: puts and gets with 64 in flight, processor
    time, entries, syncs and messages they take, and what the nodes take at rest.

    Each repetition is a cluster of its own, begun from nothing, numbers of shards in random order. Figures are medians
    with 95 % bootstrap intervals. With more than a million keys a cluster takes minutes to fill, so there is one.
    """
    load = QUICK if quick else Load()
    plan = bench.Plan(
        counts=_numbers("shards", shards, SHARDS_MAX),
        keys=_numbers("keys", str(load.rows) if keys is None else keys, KEYS_MAX),
        load=load if seconds is None else replace(load, seconds=seconds, warm_seconds=min(0.3, seconds)),
        idle_seconds=min(5.0, 2.5 * (seconds or load.seconds)),
        repetitions=repetitions or (3 if quick else 5),
        memory=memory,
        seed=seed,
    )
    where, outcome = Given(**given), bench.Outcome()
    with scratch_folder(where) as place:
        around = context(place, [])
        shown_while(lambda show: bench.run(plan, outcome, place, show), "clusters")
    whole = report.document(plan, outcome, around)
    if not where.as_json:
        for each in outcome.keys:
            click.secho(f"{each:,} keys", bold=True)
            print_table(report.table(outcome, each), header=True)
            click.echo()
        for found in bench.verdicts(outcome):
            click.secho(f"{found.verdict:<12}  {found.text}", fg=VERDICT_COLOURS.get(found.verdict))
    draw = partial(report.draw, outcome, f"kvarts bench shards, {title_of(whole)}")
    finish(whole, report.history_line(whole), report.markdown(outcome, whole), draw, where)


def _numbers(option: str, text: str, most: int) -> tuple[int, ...]:
    try:
        numbers = tuple(sorted({int(word) for word in text.split(",")}))
    except ValueError:
        raise click.UsageError(f"--{option} takes numbers such as 1,8,64, not {text!r}") from None
    if not 1 <= numbers[0] <= numbers[-1] <= most:
        raise click.UsageError(f"--{option} takes numbers from 1 to {most}, not {text!r}")
    return numbers
