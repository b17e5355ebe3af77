"""`bench founding`: ten million pairs, gets of keys that exist, told as the founding benchmark told them."""

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import click

import kvarts
from kvarts.base.options import Options, parse_bytes
from kvarts.bench import founding as bench
from kvarts.bench import plot
from kvarts.bench.board import judge, shown
from kvarts.bench.report import as_markdown
from kvarts.bench.sampling import Routine, take_samples
from kvarts.bench.statistics import Estimate
from kvarts.cli.commands.bench_run import (
    VERDICT_COLOURS,
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
from kvarts.cli.text import size as size_text

WARM_SHARE = 0.5
"""Seconds of warming up per second of measuring."""
MEMORY_FREE_SHARE = 1.1
ALL = "all"
MARKER = "founding.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to measure: `memory` in bytes, `whole` where it holds all data."""

    pairs: int
    seed: int
    memory: int
    whole: bool
    compacts: bool
    samples: int
    seconds: float

    @property
    def made(self) -> dict[str, Any]:
        """What a loaded store depends on, so that it can be used again."""
        return {"pairs": self.pairs, "seed": self.seed, "compacted": self.compacts}


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What was measured. `loaded` is of an earlier run where the store was used again."""

    loaded: bench.Loaded
    data_bytes: int
    get: bench.Measured
    floor: bench.Measured


@click.command(
    cls=Command,
    short_help="The benchmark the project began with.",
    negative=None,
    examples=[
        ("kvarts bench founding", "10,000,000 pairs: needs 25 GB free, and a while"),
        ("kvarts bench founding --pairs 100000", "half a minute"),
        ("kvarts bench founding --store bench-store", "keeps the loaded store, or uses it again"),
        ("kvarts bench founding --store bench-store --memory all", "with a budget that holds all data"),
    ],
)
@click.option("--pairs", type=click.IntRange(min=100), default=bench.PAIRS, show_default=True, help="Rows.")
@click.option(
    "--memory", metavar="SIZE", help="Budget of the store, or \"all\" for the data's size. [default: the store's]"
)
@click.option(
    "--store", type=click.Path(path_type=Path, file_okay=False), metavar="DIR", help="Keep it here, and reuse."
)
@click.option(
    "--settle",
    type=click.Choice(["flush", "compact"]),
    default="flush",
    show_default=True,
    help="flush: memtables become tables and background work ends; compact: all tables are merged too.",
)
@click.option("--samples", type=click.IntRange(min=3), default=100, show_default=True, help="As Criterion has them.")
@click.option("--seconds", type=click.FloatRange(min=0.01), default=5.0, show_default=True, help="Of measuring.")
@click.option("--seed", type=int, default=1, show_default=True, help="Fixes the data and the order.")
@out_option
@scratch_option
@record_option
@json_option
def founding(
    *,
    pairs: int,
    memory: str | None,
    store: Path | None,
    settle: str,
    samples: int,
    seconds: float,
    seed: int,
    **given: Any,
) -> None:
    """Keys of 500 random letters and digits, values of 500 random bytes, gets of keys that exist, drawn at random: then
    45.8 µs a get, 20.8 MiB/s.

    Loads in random order, warms the page cache, and samples as Criterion does: slope, R², mean, median, standard
    deviation and MAD, each with 95 % bootstrap bounds. Beside it stands the floor: a read of one block from the page
    cache, which is what is left of a get whose block is in no cache of the store, once all else costs nothing.
    """
    plan = Plan(
        pairs=pairs,
        seed=seed,
        memory=_memory(memory, pairs),
        whole=memory == ALL,
        compacts=settle == "compact",
        samples=samples,
        seconds=seconds,
    )
    where = Given(**given)
    with scratch_folder(where) as scratch:
        place = store or scratch
        around = context(scratch, [])
        found = _measure(plan, place)
    whole = _document(plan, found, around)
    if not where.as_json:
        for line in _tables(plan, found):
            print_table(line, header=True)
            click.echo()
        for verdict, text in _verdict_lines(plan, found):
            click.secho(f"{verdict:<12}  {text}", fg=VERDICT_COLOURS.get(verdict))
    title = f"kvarts bench founding, {pairs:,} pairs, {title_of(whole)}"
    draw = partial(plot.draw_founding, found.get, found.floor, title)
    finish(whole, _history_line(whole), _page(plan, found, whole), draw, where)


def _memory(given: str | None, pairs: int) -> int:
    """Return the budget in bytes. Raises UsageError where the machine has less than all data need."""
    if given is None:
        return Options().memory
    if given != ALL:
        return parse_bytes("memory", given)
    needed, free = bench.memory_for_all(pairs), _memory_free()
    if free is not None and free < needed * MEMORY_FREE_SHARE:
        raise click.UsageError(
            f"--memory all needs {size_text(needed * MEMORY_FREE_SHARE)} of memory for {pairs:,} pairs, "
            f"and {size_text(free)} are free: give fewer --pairs, or a --memory SIZE"
        )
    return needed


def _memory_free() -> int | None:
    try:
        lines = Path("/proc/meminfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) << 10 for line in lines if line.startswith("MemAvailable")), None)


def _measure(plan: Plan, place: Path) -> Found:
    place.mkdir(parents=True, exist_ok=True)
    data = bench.make_data(plan.seed)
    loaded = _load_or_reuse(plan, data, place)
    with kvarts.open(place / "store", memory=plan.memory) as store:
        with _shown("warming the page cache", "B") as progress:
            data_bytes = bench.warm_page_cache(place / "store", progress)
        free = _memory_free()
        if free is not None and data_bytes > free:
            click.echo(f"the page cache cannot hold {size_text(data_bytes)}: gets will read the disk", err=True)
        if plan.whole:
            with _shown("warming the store", "gets") as progress:
                bench.warm_store(store, data, plan.pairs, progress)
        bench.check(store, data, plan.pairs)
        get = _sampled("measuring gets", bench.gets_of(store, data, plan.pairs), plan)
        store.flush()
        with bench.block_reads_of(place / "store", Options().block_bytes) as reads:
            floor = _sampled("measuring the floor", reads, plan)
    return Found(loaded=loaded, data_bytes=data_bytes, get=get, floor=floor)


def _load_or_reuse(plan: Plan, data: Any, place: Path) -> bench.Loaded:
    marker = place / MARKER
    if marker.exists():
        kept = json.loads(marker.read_text(encoding="utf-8"))
        if kept["made"] != plan.made:
            raise click.UsageError(f"{place} was loaded with {_words(kept['made'])}, not {_words(plan.made)}")
        return bench.Loaded(**kept["loaded"])
    if (place / "store").exists():
        raise click.UsageError(f"{place / 'store'} was not loaded to its end: remove it, or give another --store")
    needed, free = bench.disk_bytes_needed(plan.pairs), shutil.disk_usage(place).free
    if free < needed:
        raise click.UsageError(
            f"{plan.pairs:,} pairs need {size_text(needed)} free in {place}, and {size_text(free)} are: "
            "give fewer --pairs, or another --scratch or --store"
        )
    with kvarts.open(place / "store", memory=plan.memory) as store:
        with _shown("loading", "pairs") as progress:
            loaded = bench.load(store, data, plan.pairs, progress)
        with Progress("settling, compacted so far", unit="B") as settling:
            settle_s = bench.settle(store, settling.to, compacts=plan.compacts)
    loaded = bench.Loaded(loaded.put_s, loaded.generate_s, settle_s)
    marker.write_text(json.dumps({"made": plan.made, "loaded": asdict(loaded)}) + "\n", encoding="utf-8")
    return loaded


def _words(made: dict[str, Any]) -> str:
    return ", ".join(f"{name}={value}" for name, value in made.items())


@contextmanager
def _shown(what: str, unit: str) -> Iterator[Callable[[int, int], None]]:
    with Progress(what, unit=unit) as progress:
        yield progress.to


def _sampled(what: str, routine: Routine, plan: Plan) -> bench.Measured:
    measure_ns = plan.seconds * 1e9
    with _shown(what, "samples") as progress:
        points = take_samples(
            routine, samples=plan.samples, warm_ns=measure_ns * WARM_SHARE, measure_ns=measure_ns, progress=progress
        )
    return bench.Measured.of(points)


def _document(plan: Plan, found: Found, around: dict[str, Any]) -> dict[str, Any]:
    return {
        "kind": "founding",
        **around,
        "options": {**asdict(plan), "memory_for_all": plan.whole},
        "load": asdict(found.loaded),
        "data_bytes": found.data_bytes,
        "get": bench.as_json(found.get),
        "floor": bench.as_json(found.floor),
        "throughput_bytes_per_s": asdict(found.get.throughput(bench.PAIR_BYTES)),
        "of_founding": asdict(_of_founding(found)),
        "bars": [{"verdict": verdict, "text": text} for verdict, text in _verdict_lines(plan, found)],
    }


def _history_line(whole: dict[str, Any]) -> dict[str, Any]:
    kept = {name: whole[name] for name in ("kind", "when", "commit", "machine", "versions", "options", "load")}
    return kept | {"get_ns": whole["get"]["ns"], "floor_ns": whole["floor"]["ns"], "bars": whole["bars"]}


def _of_founding(found: Found) -> Estimate:
    return found.get.summary.slope.scaled(1 / (1e3 * bench.FOUNDING_US))


def _tables(plan: Plan, found: Found) -> list[list[tuple[str, ...]]]:
    budget = f"memory={size_text(plan.memory)}"
    get = _criterion_table(f"get, {plan.pairs:,} pairs, {budget}", found.get, bench.PAIR_BYTES)
    block = Options().block_bytes
    floor = _criterion_table(f"floor: read of {block >> 10} KiB, page cache", found.floor, block)
    return [_load_table(plan, found), get, floor]


def _load_table(plan: Plan, found: Found) -> list[tuple[str, ...]]:
    loaded = found.loaded
    return [
        ("load", "s", "µs per pair"),
        ("put_many in random order", f"{loaded.put_s:.1f}", f"{1e6 * loaded.put_s / plan.pairs:.2f}"),
        ("making the pairs", f"{loaded.generate_s:.1f}", f"{1e6 * loaded.generate_s / plan.pairs:.2f}"),
        ("compaction of all" if plan.compacts else "flush, background work", f"{loaded.settle_s:.1f}", ""),
        ("on disk", size_text(found.data_bytes), ""),
    ]


def _criterion_table(title: str, measured: bench.Measured, unit_bytes: int) -> list[tuple[str, ...]]:
    summary = measured.summary
    times = {
        "Mean": summary.mean,
        "Std. Dev.": summary.std_dev,
        "Median": summary.median,
        "MAD": summary.mad,
    }

    def row(name: str, found: Estimate, form: Callable[[float], str]) -> tuple[str, ...]:
        return (name, form(found.low), form(found.value), form(found.high))

    return [
        (title, "lower bound", "estimate", "upper bound"),
        row("Slope", summary.slope, _time),
        row("Throughput", measured.throughput(unit_bytes), lambda rate: f"{shown(rate / (1 << 20))} MiB/s"),
        row("R²", summary.r_squared, lambda share: f"{share:.4f}"),
        *(row(name, found, _time) for name, found in times.items()),
    ]


def _time(ns: float) -> str:
    return f"{ns:.1f} ns" if ns < 1e3 else f"{ns / 1e3:.3f} µs" if ns < 1e6 else f"{ns / 1e6:.3f} ms"


def _verdict_lines(plan: Plan, found: Found) -> list[tuple[str, str]]:
    slope = found.get.summary.slope.scaled(1e-3)
    asked = bench.asked_us(found.floor)
    stretch = bench.WHOLE_US_MAX if plan.whole else None
    hoped = "" if stretch is None else f" (stretch {stretch:g})"
    against = f"{_of_founding(found)} of the founding {bench.FOUNDING_US} µs"
    over = found.get.summary.slope.value / found.floor.summary.slope.value
    full = "" if plan.pairs == bench.PAIRS else f"; {plan.pairs:,} pairs where {bench.PAIRS:,} are asked"
    text = f"get: {slope} µs, {against}, {over:.2f} of the floor, asked: at most {asked:.2f} µs{hoped}{full}"
    return [(judge(slope, asked, stretch=stretch), text)]


def _page(plan: Plan, found: Found, whole: dict[str, Any]) -> str:
    machine = whole["machine"]
    lines = [f"{machine['processor']}, {machine['cores']} cores, {whole['when']}, {whole['commit']}"]
    for table in _tables(plan, found):
        lines += ["", as_markdown(table)]
    return "\n".join([*lines, "", *(f"- {verdict}: {text}" for verdict, text in _verdict_lines(plan, found))]) + "\n"
