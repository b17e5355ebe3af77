"""Shards split, move and are asked for by clients while nodes die, hang and are cut off: all at once, in any order."""

import random
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import pytest

import kvarts
from kvarts.remote.checking import Outcome, check
from tests.cluster.clients import Recorder
from tests.cluster.network import Network, enter, in_namespace
from tests.cluster.nodes import Nodes
from tests.cluster.test_moves import CLIENTS, SHARDS, Operator, operator

__all__ = ["operator"]

Record = Callable[..., Recorder]

COUNTERS = 40
WORKERS = 4
DEEDS = ("split", "cut", "drain", "kill", "pause", "links", "rain")
"""In this order within a round: who asks for something must reach a leader, and a link that is cut must not stay so."""
JOINED = (4, 5)
PIECES_MAX = 20


class Counting:
    """Threads that count in two keyspaces, one of them ordered; each addition that was acknowledged is there once."""

    def __init__(self, nodes: Nodes, network: Network) -> None:
        self._uri = nodes.uri
        self._namespace = network.host(CLIENTS).namespace
        self._stop = threading.Event()
        self.errors: list[str] = []
        self.added: list[dict[tuple[str, bytes], int]] = [{} for _ in range(WORKERS)]
        self.written: list[set[bytes]] = [set() for _ in range(WORKERS)]
        self._threads = [threading.Thread(target=self._run, args=(number,)) for number in range(WORKERS)]
        for each in self._threads:
            each.start()

    def _run(self, number: int) -> None:
        enter(self._namespace)
        rng = random.Random(number)
        added = self.added[number]
        with (
            kvarts.open(f"{self._uri}/hashed?timeout=60", shards=SHARDS, value=kvarts.U64) as hashed,
            kvarts.open(f"{self._uri}/ordered?timeout=60", ordered=True, value=kvarts.U64) as ordered,
        ):
            while not self._stop.is_set():
                name, db = rng.choice((("hashed", hashed), ("ordered", ordered)))
                key = b"%d/%03d" % (number, rng.randrange(COUNTERS))
                try:
                    if rng.random() < 0.8:
                        total = db.incr(key)
                        added[name, key] = added.get((name, key), 0) + 1
                        if total != added[name, key]:
                            self.errors.append(f"{name} {key!r}: {total} for {added[name, key]}")
                    else:
                        at = len(self.written[number])
                        rows = {
                            b"%d/%03d/row%d" % (number, rng.randrange(COUNTERS), at + each): at for each in range(9)
                        }
                        db.put_many(rows)
                        self.written[number] |= {name.encode() + b" " + each for each in rows}
                except kvarts.KvartsError as error:
                    self.errors.append(f"{name} {key!r}: {error!r}")

    def stop(self) -> None:
        """End, and demand that nobody saw an error."""
        self._stop.set()
        for each in self._threads:
            each.join()
        assert not self.errors, self.errors[:5]

    def demand(self) -> None:
        """Demand that all is there that was acknowledged, and nothing twice."""

        def read() -> dict[tuple[str, bytes], int]:
            found: dict[tuple[str, bytes], int] = {}
            for name in ("hashed", "ordered"):
                with kvarts.open(f"{self._uri}/{name}?timeout=60", value=kvarts.U64) as db:
                    found |= {(name, key): value for key, value in db.items()}
            return found

        found = in_namespace(self._namespace, read)
        added = {pair: count for each in self.added for pair, count in each.items()}
        wrong = {pair: (count, found.get(pair)) for pair, count in added.items() if found.get(pair) != count}
        assert not wrong, list(wrong.items())[:5]
        rows = {name.encode() + b" " + key for name, key in found if b"row" in key}
        assert set().union(*self.written) <= rows


class Storm:
    """Does what goes wrong, as a seed has it."""

    def __init__(self, nodes: Nodes, network: Network, operator: Operator, seed: int) -> None:
        self._nodes, self._network, self._operator = nodes, network, operator
        self._rng = random.Random(seed)
        self._pulse = threading.Event()
        self.told: list[str] = []

    def round(self) -> None:
        """Two or three deeds at once, then all is well again for a moment."""
        rng = self._rng
        begun = sorted((rng.choice(DEEDS) for _ in range(rng.randrange(2, 4))), key=DEEDS.index)
        victim = rng.choice((*self._nodes.founders, *JOINED))
        self.told.append(f"{begun} {victim}")
        undo = [self._do(deed, victim) for deed in begun]
        self._pulse.wait(rng.uniform(0.1, 3.0))
        for each in reversed(undo):
            each()
        self._pulse.wait(rng.uniform(0.1, 2.0))

    def _do(self, deed: str, victim: int) -> Callable[[], None]:
        rng, nodes, network = self._rng, self._nodes, self._network
        if deed == "split":
            shards = [each for each in self._shards() if each == "hashed"]
            if len(shards) < PIECES_MAX:
                self._operator.try_("split", keyspace="hashed", into=len(shards) + 2)
        elif deed == "cut":
            if sum(each == "ordered" for each in self._shards()) < PIECES_MAX:
                at = b"%d/%03d" % (rng.randrange(WORKERS), rng.randrange(COUNTERS))
                self._operator.try_("split", keyspace="ordered", at=at.hex())
        elif deed == "kill":
            if nodes.processes[victim].poll() is None:
                nodes.kill(victim)
            return lambda: self._start(victim)
        elif deed == "pause":
            nodes.pause(victim)
            return lambda: nodes.resume(victim)
        elif deed == "links":
            # The clients lose one node, both ways or what it answers.
            both = rng.random() < 0.5
            network.cuts |= {(victim, CLIENTS), *([(CLIENTS, victim)] if both else [])}
            return network.heal
        elif deed == "drain":
            self._operator.try_("drain", id=victim)
            return lambda: self._operator.try_("drain", id=victim, stop=True)
        elif deed == "rain":
            network.weather.loss, network.weather.reorder = 0.05, 0.1
            return network.heal
        return lambda: None

    def _start(self, victim: int) -> None:
        if self._nodes.processes[victim].poll() is not None:
            self._nodes.start([victim], *(("--join", self._nodes.address(1)) if victim in JOINED else ()))

    def _shards(self) -> list[str]:
        with suppress(kvarts.KvartsError):
            return [str(each["keyspace"]) for each in self._operator.ask("shards")["shards"]]
        return []


@contextmanager
def counting(nodes: Nodes, network: Network) -> Iterator[Counting]:
    """Count beside what the block does; demand afterwards that each addition is there once."""
    counting = Counting(nodes, network)
    try:
        yield counting
    finally:
        network.heal()
        counting.stop()
    counting.demand()


@pytest.mark.long
@pytest.mark.parametrize("seed", range(1, 5))
def test_every_write_is_there_once_whatever_happens_to_shards_and_nodes(
    nodes: Nodes, network: Network, record: Record, operator: Operator, seed: int
) -> None:
    operator.make("moved")
    recorder = record(f"{nodes.uri}/moved", timeout_s=60.0)
    nodes.start(JOINED, "--join", nodes.address(1))
    storm = Storm(nodes, network, operator, seed)
    with counting(nodes, network):
        recorder.await_more(50)
        for _ in range(20):
            storm.round()
            recorder.await_more(10, wait_s=90.0)
        for number in range(1, 6):
            operator.ask("drain", id=number, stop=True)
        operator.await_(lambda kept: len(kept) == 5, f"a node keeps nothing; {storm.told}")
        recorder.await_more(50, wait_s=60.0)
    assert recorder.errors == [], storm.told
    found = in_namespace(network.host(CLIENTS).namespace, lambda: list(check(nodes.uri)))
    assert {each.outcome for each in found} == {Outcome.EQUAL}, [each.told() for each in found]
