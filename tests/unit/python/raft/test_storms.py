"""Groups in random weather: messages late, twice or lost, disks slow, nodes crashing. Raft keeps its promises.

A failure prints its seed; KVARTS_RAFT_SEEDS sets how many are tried.
"""

import os
import random
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

from kvarts.raft.confchange import ChangeKind, ConfigChange, NodeChange
from kvarts.raft.errors import InvariantBroken, ProposalDropped
from kvarts.raft.ids import LogIndex, NodeId
from kvarts.raft.messages import Entry, EntryKind, Role
from tests.unit.python.raft.group import Group

SEEDS = int(os.environ.get("KVARTS_RAFT_SEEDS", "40"))
STEPS = 600


class Storm:
    """One group and what must never happen to it."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.group = Group(1, 2, 3, 4, 5, **self._options())
        self.leaders: dict[int, int] = {}
        self.history: dict[int, Entry] = {}
        self.proposed = 0

    def _options(self) -> dict[str, Any]:
        rng = self.rng
        return {
            "pre_vote": rng.random() < 0.5,
            "check_quorum": rng.random() < 0.5,
            "append_bytes_max": rng.choice([None, 1, 64]),
            "inflight_count_max": rng.choice([1, 2, 64]),
            "apply_bytes_max": rng.choice([None, 1, 64]),
        }

    def step(self) -> None:
        """Let messages arrive, nodes work and time pass; now and then something worse happens."""
        rng = self.rng
        for _ in range(rng.randrange(8)):
            self.deliver()
        for node in self.group.peers:
            if rng.random() < 0.6:
                self.work(node)
        node = rng.choice(list(self.group.peers))
        if rng.random() < 0.7:
            self.group[node].raft.tick()
        rare: list[Callable[[int], None]] = [
            self.propose,
            self.crash,
            self.compact,
            self.change,
            self.transfer,
            self.cut,
            self.nothing,
        ]
        rng.choices(rare, [30, 1, 4, 3, 1, 2, 60])[0](node)
        self.check()

    def nothing(self, _node: int) -> None:
        """Most of the time nothing happens."""

    def deliver(self) -> None:
        messages = self.group.messages
        if not messages:
            return
        # Responses of our own store and state machine come in order and once; others as they like.
        at = self.rng.randrange(len(messages))
        local = [m for m in messages if m.sender < 0 or m.sender == m.to]
        if messages[at] in local:
            at = next(i for i, m in enumerate(messages) if m.to == messages[at].to and m in local)
            self.group.deliver(messages.pop(at))
            return
        fate = self.rng.random()
        message = messages[at] if fate < 0.05 else messages.pop(at)
        if fate < 0.95:
            self.group.deliver(message)

    def work(self, node: int) -> None:
        """Some of what a node has to do: its disk and its state machine may lag behind."""
        peer, rng = self.group[node], self.rng
        if peer.raft.has_ready():
            self.group.messages += peer.take_ready()
        if peer.writes and rng.random() < 0.8:
            self.group.messages += peer.write()
        if peer.applies and rng.random() < 0.8:
            self.group.messages += peer.apply()

    def propose(self, node: int) -> None:
        self.proposed += 1
        with suppress(ProposalDropped):
            self.group[node].raft.propose(b"p%d" % self.proposed)

    def crash(self, node: int) -> None:
        """What was not written is lost; messages that had left are still under way."""
        self.group.messages = [m for m in self.group.messages if m.to != node or m.sender not in {-1, -2, node}]
        self.group[node].start()

    def compact(self, node: int) -> None:
        peer = self.group[node]
        if peer.applied_index >= peer.store.first_index() and not peer.applies and not peer.writes:
            peer.compact()

    def change(self, node: int) -> None:
        kinds = [ChangeKind.ADD_VOTER, ChangeKind.ADD_LEARNER, ChangeKind.REMOVE]
        nodes = self.rng.sample(range(1, 6), self.rng.choice([1, 1, 2]))
        changes = tuple(NodeChange(self.rng.choice(kinds), NodeId(each)) for each in nodes)
        voters = self.group[node].raft.status().membership.voters.incoming.voters
        staying = voters - {c.node for c in changes if c.kind is not ChangeKind.ADD_VOTER}
        if len(staying) < 3 or (len(changes) == 1 and self.group[node].raft.status().membership.is_joint):
            return
        with suppress(ProposalDropped):
            self.group[node].raft.propose_config(ConfigChange(changes))

    def transfer(self, node: int) -> None:
        self.group[node].raft.transfer_to(NodeId(self.rng.choice(list(self.group.peers))))

    def cut(self, node: int) -> None:
        if self.rng.random() < 0.7:
            self.group.heal()
        else:
            self.group.isolate(node)

    def check(self) -> None:
        for node, peer in self.group.peers.items():
            status = peer.raft.status()
            if status.role is Role.LEADER:
                assert self.leaders.setdefault(status.term, node) == node, f"two leaders in term {status.term}"
            for entry in peer.applied_entries:
                known = self.history.setdefault(entry.index, entry)
                assert known == entry, f"n{node} applied {entry}, another applied {known}"
            peer.applied_entries.clear()

    def check_logs_match(self) -> None:
        """If two logs have an entry of the same index and term, they are equal up to it."""
        logs = []
        for peer in self.group.peers.values():
            store = peer.store
            stop = LogIndex(store.last_index() + 1)
            logs.append({e.index: e for e in store.entries(store.first_index(), stop, None)})
        for one in logs:
            for other in logs:
                agreed = [i for i in one.keys() & other.keys() if one[i].term == other[i].term]
                below = [i for i in one.keys() & other.keys() if agreed and i <= max(agreed)]
                assert all(one[i] == other[i] for i in below)

    def calm_down(self) -> None:
        """Heal everything and let time pass: there must be progress."""
        self.group.heal()
        self.group.settle()
        for _ in range(30):
            self.group.tick(5)
            # Snapshots may have been lost; who carries them knows, and says so.
            for leader in self.group.leaders:
                for node in self.group.peers:
                    self.group[leader].raft.report_snapshot(NodeId(node), delivered=False)
            if self._takes_a_proposal():
                return
        raise AssertionError("no progress after the storm")

    def _takes_a_proposal(self) -> bool:
        leaders = self.group.leaders
        if not leaders:
            return False
        payload = b"after %d" % self.rng.randrange(10**9)
        try:
            self.group[leaders[-1]].raft.propose(payload)
        except ProposalDropped:
            return False
        self.group.tick(5)
        members = [self.group[leaders[-1]].raft.status().membership.members]
        return all(payload in self.group[node].applied for node in members[0])


@pytest.mark.parametrize("seed", range(SEEDS))
def test_promises_hold_in_a_storm(seed: int) -> None:
    storm = Storm(seed)
    try:
        for _ in range(STEPS):
            storm.step()
        storm.check_logs_match()
        storm.calm_down()
        storm.check()
        storm.check_logs_match()
    except Exception as error:
        raise AssertionError(f"seed={seed}") from error


def test_storms_do_what_they_are_for() -> None:
    """The alarm is worth something only if storms elect, commit, change members, crash and compact."""
    storms = [Storm(seed) for seed in range(10)]
    for storm in storms:
        for _ in range(STEPS):
            storm.step()
    peers = [peer for storm in storms for peer in storm.group.peers.values()]
    assert sum(len(storm.leaders) > 1 for storm in storms) >= 5
    assert sum(len(storm.history) for storm in storms) > 200
    assert any(entry.kind is EntryKind.CONFIG for storm in storms for entry in storm.history.values())
    assert sum(peer.starts > 1 for peer in peers) > 10
    assert sum(peer.store.first_index() > 2 for peer in peers) > 10


def test_alarm_rings_when_acknowledged_entries_are_lost() -> None:
    """The canary: disks that lie about what they wrote must break a promise that is checked."""

    class Liar(Storm):
        def crash(self, node: int) -> None:
            store = self.group[node].store
            del store._entries[store.last_index() // 2 :]
            super().crash(node)

    def rings(seed: int) -> bool:
        storm = Liar(seed)
        try:
            for _ in range(STEPS):
                storm.step()
        except (AssertionError, InvariantBroken):
            return True
        return False

    assert any(rings(seed) for seed in range(20))
