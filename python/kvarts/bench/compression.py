"""`bench compression`: what each compression saves and costs, on values that do not, somewhat and well compress."""

import random
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from kvarts.bench.abilities import lacks_compression
from kvarts.bench.board import Bar, Figures, Row
from kvarts.bench.peers import BY_NAME, OURS, Engine, Peer, Tuning
from kvarts.bench.runner import Bench
from kvarts.bench.workloads import Data, Stopwatch, allocated_bytes, load

PASSES = 3
DISTINCT = 1 << 14
CACHE_BYTES = 16 << 20
"""Less than the data, so that gets and scans decode blocks."""
ROWS = (
    Row("disk", "on disk after compaction", "MB"),
    Row("share", "of the bytes that were put", "%", compared=False),
    Row("load", "load, per row"),
    Row("settle", "load and compact, per row"),
    Row("get", "get, page cache warm"),
    Row("scan", "scan to tuples", "rows/s", higher=True),
)
BARS = (Bar(row="disk", peer="rocksdict", limit=1.0),)
CHOICES = {OURS.name: ("none", "lz4", "zstd"), "rocksdict": ("none", "lz4", "zstd")}

_TEXT = (
    "the of and a to in is it you that he was for on are with as his they be at one have this from or had by hot "
    "but some what there we can out other were all your when up use word how said an each she which do their time "
    "if will way about many then them would write like so these her long make thing see him two has look more day "
    "could go come did my sound no most number who over know water than call first people may down side been now "
    "find any new work part take get place made live where after back little only round man year came show every "
    "good me give our under name very through just form much great think say help low line before turn cause same "
    "mean differ move "
)
_WORDS = tuple(_TEXT.split())


def _open_tuned(base: Peer, compression: str | None, folder: Path, sync: bool, tuning: Tuning) -> Engine:
    return base.open(folder, sync, replace(tuning, compression=compression))


def _variants() -> tuple[Peer, ...]:
    """Return each peer with its default, and with each compression that it can be told."""
    found = []
    for name, choices in CHOICES.items():
        base = BY_NAME[name]
        found.append(base)
        for choice in choices:
            if base is OURS and lacks_compression(choice):
                continue
            opened = partial(_open_tuned, base, choice)
            found.append(replace(base, name=f"{name} {choice}", open=opened, note=f"compression {choice}"))
    return tuple(found)


def lacks() -> tuple[str, ...]:
    """Name what cannot be measured here."""
    return tuple(filter(None, map(lacks_compression, CHOICES[OURS.name])))


def make_bench() -> Bench:
    """Return the bench, with what this build can compress with."""
    return Bench(
        name="compression",
        module=__name__,
        rows=ROWS,
        bars=BARS,
        settings=tuple(KINDS),
        counts={"rows": 100_000, "gets": 50_000},
        peers=_variants(),
        lacks=lacks,
    )


def repeat_once(task: dict[str, Any]) -> Figures:
    """Load, compact, get and scan by one peer with values of one kind."""
    peer = next(peer for peer in _variants() if peer.name == task["peer"])
    counts, folder = task["counts"], Path(task["folder"])
    values = make_values(task["setting"], min(DISTINCT, counts["rows"]), task["seed"])
    data = Data.make(counts["rows"], 0, task["seed"], values)
    rows, watch = len(data.pairs), Stopwatch()
    engine = peer.open(folder, False, Tuning(cache_bytes=CACHE_BYTES, buffer_bytes=CACHE_BYTES))
    with watch.measure("load", rows):
        load(engine, data.pairs)
    with watch.measure("compact", rows):
        engine.settle()
    watch.add("settle", watch.total_ns("load") + watch.total_ns("compact"))
    scan, get = engine.scan, engine.get
    assert scan is not None
    assert sum(1 for _ in scan()) == rows
    for _ in range(PASSES):
        with watch.measure("scan", rows):
            for _key, _value in scan():
                pass
        keys = data.some_keys(counts["gets"])
        with watch.measure("get", len(keys)):
            for key in keys:
                get(key)
    engine.close()
    disk = allocated_bytes(folder)
    put = sum(len(key) + len(value) for key, value in data.pairs)
    sizes = {"disk": {peer.name: disk / 1e6}, "share": {peer.name: 100 * disk / put}}
    return watch.figures(ROWS, peer.name) | sizes


def _random_value(rng: random.Random) -> bytes:
    return rng.randbytes(400)


def _json_value(rng: random.Random) -> bytes:
    return (
        f'{{"id": {rng.randrange(10**9)}, "name": "{rng.choice(_WORDS)} {rng.choice(_WORDS)}", '
        f'"email": "{rng.choice(_WORDS)}{rng.randrange(10**4)}@example.org", '
        f'"active": {rng.choice(("true", "false"))}, '
        f'"balance": {rng.randrange(10**6) / 100:.2f}, "created": "2025-{rng.randrange(1, 13):02d}-'
        f'{rng.randrange(1, 29):02d}T{rng.randrange(24):02d}:{rng.randrange(60):02d}:00Z", '
        f'"tags": ["{rng.choice(_WORDS)}", "{rng.choice(_WORDS)}"], "token": "{rng.randbytes(12).hex()}", '
        f'"address": {{"street": "{rng.choice(_WORDS)} street {rng.randrange(200)}", "city": "{rng.choice(_WORDS)}"}}}}'
    ).encode()


def _text_value(rng: random.Random) -> bytes:
    # Few words come often and most seldom, as in a language.
    words = [_WORDS[int(len(_WORDS) * rng.random() ** 2)] for _ in range(90)]
    return " ".join(words).encode()


KINDS: dict[str, Callable[[random.Random], bytes]] = {
    "random values": _random_value,
    "JSON values": _json_value,
    "text values": _text_value,
}


def make_values(kind: str, count: int, seed: int) -> list[bytes]:
    """Return values of a kind that a seed fixes."""
    rng = random.Random(f"{seed} {kind}")  # noqa: S311  # data, no secret
    return [KINDS[kind](rng) for _ in range(count)]
