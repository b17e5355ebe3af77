"""Python commands in worlds with faults: every node carries out the same ones, and answers are true.

One kind of asker makes and drops keyspaces. The other changes the shard map like a rebalancer whose sight is old: it
looks at the rows of any node, and asks all nodes.
"""

import random
from collections import Counter
from collections.abc import Callable, Mapping

import pytest

from kvarts.raft.ids import LogIndex, NodeId
from kvarts.raft.messages import EntryKind
from kvarts.replication.events import CommandRequested, GroupId
from kvarts.replication.replica import Replica
from kvarts.replication.turn import CommandDone, CommandRefused, Effects, Turn, Why
from kvarts.shardmap.shard import Epoch, KeyspaceId, Shard
from kvarts.statemachine import checks, shards
from kvarts.statemachine.configuration import Configuration, CreateKeyspace, DropKeyspace, SetNode, encode
from kvarts.statemachine.rows import shard_map_in
from kvarts.statemachine.system_keys import SystemKeys
from kvarts_sim.cluster.agenda import MS, SECOND
from kvarts_sim.cluster.invariants import Invariants
from kvarts_sim.cluster.muscle import Part, SimMuscle
from kvarts_sim.cluster.seeds import Seeds
from kvarts_sim.cluster.world import Scenario, World


class Ledger:
    """What was asked for, carried out and answered in one world."""

    def __init__(self) -> None:
        self.asked: dict[int, bytes] = {}
        self.carried_out: dict[tuple[GroupId, LogIndex], tuple[bytes, Effects]] = {}
        self.done: list[CommandDone] = []
        self.refused: list[CommandRefused] = []

    def effects(self, command: bytes, effects: Effects) -> None:
        known = self.carried_out.setdefault((effects.group, effects.index), (command, effects))
        assert known == (command, effects), "two nodes carried out different things"

    def muscle(self) -> type[SimMuscle]:
        ledger = self

        class Watched(SimMuscle):
            """The plain muscle, with its turns written down."""

            def perform(self, turn: Turn) -> None:
                ledger.done += turn.commands_done
                ledger.refused += turn.commands_refused
                super().perform(turn)

            def _take_effects(self, effects: Effects) -> None:
                entry = self.disk.live[effects.group].entry(effects.index)
                if entry is not None and entry.kind is EntryKind.PYTHON:
                    assert isinstance(entry.payload, bytes)
                    ledger.effects(entry.payload, effects)
                super()._take_effects(effects)

        return Watched


Chooser = Callable[[random.Random, int, Mapping[bytes, bytes]], bytes]
"""Makes up a command from what a node's rows say."""


def _of_keyspaces(rng: random.Random, context: int, _rows: Mapping[bytes, bytes]) -> bytes:
    name = f"k{rng.randrange(6)}"
    if rng.random() < 0.4:
        # The id beside it is seldom the right one, and no two commands are the same bytes.
        return encode(DropKeyspace(name=name, id=rng.randrange(1, 40)))
    return encode(CreateKeyspace(name=name, key="str", value="json", options={"asked": context}))


def _of_checks(_rng: random.Random, _context: int, _rows: Mapping[bytes, bytes]) -> bytes:
    return checks.encode(checks.ComputeDigest())


def _of_shards(rng: random.Random, context: int, rows: Mapping[bytes, bytes]) -> bytes:
    seen = Configuration(rows)
    if len(seen.nodes) < 5:
        return encode(SetNode(node=NodeId(len(seen.nodes) + 1), addresses=(f"n{context}",)))
    if not seen.keyspaces:
        return encode(CreateKeyspace(name="k", key="str", value="json", options={"asked": context}))
    nodes = sorted(seen.nodes)
    if not seen.shard_map.shards:
        bounds = ("4000000000000000", "8000000000000000")
        voters = tuple(tuple(sorted(rng.sample(nodes, 3))) for _ in range(3))
        return shards.encode(shards.CreateShards(keyspace=KeyspaceId(1), bounds=bounds, voters=voters))
    return shards.encode(_step(rng, rng.choice(seen.shard_map.shards), nodes))


def _step(rng: random.Random, shard: Shard, nodes: list[NodeId]) -> shards.ShardCommand:
    if shard.split:
        if rng.random() < 0.3:
            return shards.CancelSplit(shard=shard.id, child=shard.split.child)
        return shards.FinishSplit(shard=shard.id, child=shard.split.child)
    if shard.move:
        source, target = shard.move.source, shard.move.target
        if rng.random() < 0.2:
            return shards.CancelMove(shard=shard.id, epoch=shard.epoch, source=source, target=target)
        if shard.move.promoted:
            return shards.FinishMove(shard=shard.id, epoch=shard.epoch, source=source, target=target)
        return shards.PromoteMove(shard=shard.id, epoch=shard.epoch, target=target)
    if rng.random() < 0.5:
        return shards.BeginSplit(shard=shard.id, epoch=shard.epoch, at=f"{rng.randrange(1, 2**64):016x}")
    target = rng.choice([each for each in nodes if each not in shard.voters] or nodes)
    return shards.BeginMove(shard=shard.id, epoch=shard.epoch, source=rng.choice(shard.voters), target=target)


def _seen_by(world: World, node: int) -> Mapping[bytes, bytes]:
    muscle = world.processes[NodeId(node)].muscle
    part = None if muscle is None else muscle.parts.get(GroupId(1))
    return {} if part is None else dict(part.system)


def _ask(world: World, ledger: Ledger, rng: random.Random, choose: Chooser) -> None:
    nodes = sorted(world.processes)
    for node in nodes if choose is _of_shards else [rng.choice(nodes)]:
        context = len(ledger.asked) + 1
        ledger.asked[context] = choose(rng, context, _seen_by(world, rng.choice(nodes)))
        world.push(node, CommandRequested(GroupId(1), context, ledger.asked[context]))
    if world.agenda.now_us < world.scenario.duration_us:
        world.agenda.after(rng.randrange(1, 200) * MS, lambda: _ask(world, ledger, rng, choose))


def _hold(seed: int, choose: Chooser = _of_keyspaces) -> Ledger:
    """Run a world and compare what was carried out with what was answered, and with a machine that did it alone."""
    ledger = Ledger()
    world = World(Scenario.storm(seed, 20 * SECOND), muscle=ledger.muscle())
    _ask(world, ledger, Seeds(seed).stream("commands"), choose)
    world.run()

    replay = SystemKeys({})
    rows: dict[LogIndex, dict[bytes, bytes]] = {LogIndex(0): {}}
    for (_, index), (command, effects) in sorted(ledger.carried_out.items()):
        assert replay.apply(command).writes == effects.writes, f"seed={seed}: another decision at {index}"
        rows[index] = dict(replay.rows)
    for part in _parts_of_members(world):
        latest = max(index for index in rows if index <= part.index)
        assert part.system == rows[latest], f"seed={seed}: other rows at {part.index}"
    _judge_answers(ledger, seed)
    return ledger


def _judge_answers(ledger: Ledger, seed: int) -> None:
    """No two creations are the same bytes: each was carried out once if its asker was told so, and not if not."""
    times = Counter(command for command, _ in ledger.carried_out.values())
    for done in ledger.done:
        command = ledger.asked[done.context]
        if b"asked" in command:
            assert times[command] == 1, f"seed={seed}: a lie, {done}"
    for refused in ledger.refused:
        command = ledger.asked[refused.context]
        if refused.why is not Why.UNKNOWN and b"asked" in command:
            assert times[command] == 0, f"seed={seed}: a lie, {refused}"


def _parts_of_members(world: World) -> list[Part]:
    leader = world.leader(GroupId(1))
    assert leader is not None
    muscles = [world.processes[node].muscle for node in world.membership(leader, GroupId(1)).members]
    return [muscle.parts[GroupId(1)] for muscle in muscles if muscle is not None]


def test_every_node_carries_out_the_same_commands() -> None:
    done = [len(_hold(seed).done) for seed in range(1, 13)]
    assert sum(done) > 40, done


def test_every_node_has_the_same_rows_where_an_entry_asks_for_a_digest(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: Counter[tuple[int, int]] = Counter()
    demand = Invariants.digested

    def count(self: Invariants, node: int, group: GroupId, index: LogIndex, digest: object) -> None:
        compared[int(group), int(index)] += 1
        demand(self, node, group, index, digest)

    monkeypatch.setattr(Invariants, "digested", count)
    for seed in range(1, 7):
        _hold(seed, _of_checks)
    assert sum(each > 2 for each in compared.values()) > 40, compared


def test_every_token_has_one_owner_after_every_command_and_its_epoch_only_grows() -> None:
    done, versions = 0, 0
    for seed in range(1, 7):
        ledger = _hold(seed, _of_shards)
        keys = SystemKeys({})
        epochs: dict[bytes, Epoch] = {}
        for _, (command, _) in sorted(ledger.carried_out.items()):
            keys.apply(command)
            shard_map = shard_map_in(keys.rows)  # Raises where shards do not cover the space once.
            if shard_map.shards:
                for token in (bytes([first]) + bytes(7) for first in range(1, 256)):
                    epoch = shard_map.owner(KeyspaceId(1), token).epoch
                    assert epoch >= epochs.get(token, Epoch(0)), f"seed={seed}: {command!r}"
                    epochs[token] = epoch
        versions += shard_map_in(keys.rows).version
        done += len(ledger.done)
    assert versions > 60, (versions, done)


def test_the_alarm_rings_when_system_keys_of_a_snapshot_are_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Replica, "restored", lambda *_: None)
    with pytest.raises(AssertionError, match="two nodes carried out different things"):
        for seed in range(1, 21):
            _hold(seed)
