"""The six workloads of YCSB on a store of this machine, by one thread of Python.

Keys are drawn before the clock starts. Samples of several stores alternate, so that they meet the same moments of the
machine. Source: Cooper et al., Benchmarking cloud serving systems with YCSB, 2010; zipfian: Gray et al., 1994.
"""

import random
import string
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from kvarts.base.api import Store
from kvarts.base.rapidhash import rapidhash
from kvarts.bench.board import Outcome, Row
from kvarts.bench.peers import OURS
from kvarts.bench.runner import Bench

Db = Store[bytes, bytes]
Clock = Callable[[], int]

PLAIN, ENCRYPTED = OURS.name, f"{OURS.name} encrypted"
THETA = 0.99
SCAN_ROWS_MAX = 100
VALUE_BYTES = 1000
VALUES = 512


@dataclass(frozen=True, slots=True)
class Mix:
    """A workload: shares of its operations, in percent. `latest` reads what was inserted last most often."""

    name: str
    title: str
    read: int = 0
    update: int = 0
    insert: int = 0
    scan: int = 0
    modify: int = 0
    latest: bool = False


MIXES = {
    mix.name: mix
    for mix in (
        Mix("A", "half updates", read=50, update=50),
        Mix("B", "a twentieth updates", read=95, update=5),
        Mix("C", "gets", read=100),
        Mix("D", "gets of what is new, inserts", read=95, insert=5, latest=True),
        Mix("E", "scans of 1 to 100 rows", scan=95, insert=5),
        Mix("F", "read, change, write", read=50, modify=50),
    )
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is measured: workloads, rows, operations per sample (a fiftieth of scans), samples."""

    mixes: Sequence[Mix] = tuple(MIXES.values())
    records: int = 100_000
    operations: int = 20_000
    repetitions: int = 7
    seed: int = 1


@dataclass(slots=True)
class Bed:
    """A store that is measured, and how many rows it has. `samples` are nanoseconds per operation by workload."""

    name: str
    db: Db
    rows: int = 0
    samples: dict[str, list[float]] = field(default_factory=dict)


def bench_of(plan: Plan) -> Bench:
    """Return what a run is told as. Its repetitions are samples within one process: `run` takes them."""
    rows = tuple(Row(mix.name, f"{mix.name}: {mix.title}", "ops/s", higher=True) for mix in plan.mixes)
    counts = {"rows": plan.records, "operations": plan.operations}
    return Bench(name="ycsb", module=__name__, rows=rows, counts=counts, peers=(OURS,))


def outcome_of(plan: Plan, beds: Sequence[Bed]) -> Outcome:
    """Return the samples of a run as operations a second."""
    rows = {
        mix.name: {bed.name: [1e9 / sample_ns for sample_ns in bed.samples[mix.name]] for bed in beds}
        for mix in plan.mixes
    }
    return Outcome({f"{plan.records:,} rows of {VALUE_BYTES} B": rows})


def key_of(number: int) -> bytes:
    """Return the key of a row: numbers in an order that is not theirs."""
    return b"user%020d" % rapidhash(number.to_bytes(8, "little"))


def make_values(seed: int) -> list[bytes]:
    """Return values of ten fields each, joined."""
    rng = random.Random(seed)  # noqa: S311  # data, no secret
    letters = string.ascii_letters + string.digits
    return ["".join(rng.choices(letters, k=VALUE_BYTES)).encode() for _ in range(VALUES)]


def zipfian(rng: random.Random, count: int) -> Iterator[int]:
    """Yield numbers below `count`, small ones more often, without end."""
    zeta = sum(1 / rank**THETA for rank in range(1, count + 1))
    zeta_two = 1 + 0.5**THETA
    alpha = 1 / (1 - THETA)
    eta = (1 - (2 / count) ** (1 - THETA)) / (1 - zeta_two / zeta)
    while True:
        share = rng.random()
        if share * zeta < 1:
            yield 0
        elif share * zeta < zeta_two:
            yield 1
        else:
            yield min(count - 1, int(count * (eta * share - eta + 1) ** alpha))


def load(bed: Bed, plan: Plan, values: Sequence[bytes]) -> None:
    """Put the rows in, and let what follows from it end."""
    bed.db.put_many((key_of(number), values[number % VALUES]) for number in range(plan.records))
    bed.db.flush()
    bed.db.compact()
    bed.rows = plan.records


def run(plan: Plan, beds: Sequence[Bed], clock: Clock, progress: Callable[[int, int], object]) -> None:
    """Load all beds, then take their samples in turn."""
    values = make_values(plan.seed)
    for bed in beds:
        load(bed, plan, values)
    order = random.Random(plan.seed)  # noqa: S311
    done, total = 0, plan.repetitions * len(plan.mixes) * len(beds)
    for repetition in range(plan.repetitions):
        for mix in plan.mixes:
            for bed in order.sample(beds, len(beds)):
                steps = make_steps(mix, plan, bed.rows, repetition)
                bed.samples.setdefault(mix.name, []).append(sample(bed, steps, values, clock))
                done += 1
                progress(done, total)


def make_steps(mix: Mix, plan: Plan, rows: int, repetition: int) -> list[tuple[str, bytes, int]]:
    """Return what a sample does: verb, key, and the number of a value or of rows."""
    rng = random.Random(f"{plan.seed} {mix.name} {repetition}")  # noqa: S311
    ranks = zipfian(rng, rows)
    verbs = ("read", "update", "insert", "scan", "modify")
    count = plan.operations // 50 if mix.scan else plan.operations
    drawn = rng.choices(verbs, weights=[getattr(mix, verb) for verb in verbs], k=count)
    steps = []
    for verb, rank in zip(drawn, islice(ranks, count), strict=True):
        if verb == "insert":
            number, rows = rows, rows + 1
        else:
            # Else the rows that are read most are the first ones: the order of keys scatters them.
            number = rows - 1 - rank if mix.latest else rank
        steps.append((verb, key_of(number), 1 + rng.randrange(SCAN_ROWS_MAX)))
    return steps


def sample(bed: Bed, steps: Sequence[tuple[str, bytes, int]], values: Sequence[bytes], clock: Clock) -> float:
    """Do the steps and return nanoseconds per step. What writes leave in memory is put into tables within the time."""
    do = _verbs(bed.db, values)
    start = clock()
    for verb, key, number in steps:
        do[verb](key, number)
    if any(verb not in ("read", "scan") for verb, _, _ in steps):
        bed.db.flush()
    elapsed = clock() - start
    bed.rows += sum(verb == "insert" for verb, _, _ in steps)
    return elapsed / len(steps)


def _verbs(db: Db, values: Sequence[bytes]) -> dict[str, Callable[[bytes, int], Any]]:
    def read(key: bytes, _number: int) -> None:
        if db.get(key) is None:
            raise AssertionError(key)

    def write(key: bytes, number: int) -> None:
        db.put(key, values[number])

    def modify(key: bytes, number: int) -> None:
        old = db[key]
        db.put(key, old[:100] + values[number][100:])

    def scan(key: bytes, number: int) -> None:
        for _ in db.scan(key, limit=number):
            pass

    return {"read": read, "update": write, "insert": write, "modify": modify, "scan": scan}
