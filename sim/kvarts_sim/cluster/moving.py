"""A simulated node whose groups come and go: the parts of production's loop that see to that, on a muscle that can."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

from kvarts.node.codec import decode_membership
from kvarts.node.conductor import Conductor
from kvarts.node.leading import Leading
from kvarts.node.moves import Moves
from kvarts.node.shards import Line, Shards
from kvarts.raft.ids import LogIndex, NodeId, Term
from kvarts.raft.membership import Membership
from kvarts.replication.events import Event, Events, GroupId, GroupOpened, Restored
from kvarts.replication.turn import Beats, Outgoing, Turn
from kvarts.statemachine.user_keys import UserKeys
from kvarts_sim.cluster.agenda import MS
from kvarts_sim.cluster.disk import Disk
from kvarts_sim.cluster.group_log import Checkpoint
from kvarts_sim.cluster.invariants import Invariants
from kvarts_sim.cluster.muscle import Part, SimMuscle
from kvarts_sim.cluster.process import Process, Surroundings

SendWord = Callable[[int, int, bytes], None]
"""Sends a word from one node to another; it may get lost."""


class MovingMuscle(SimMuscle):
    """Opens groups and takes them away, some time after it was asked, as the keeper and the apply thread do."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.send_word: Callable[[int, bytes], None] = lambda _node, _word: None
        self._closing: dict[GroupId, bytes | None] = {}
        """Groups whose files are being put away, and with which membership each is to be opened again after that."""

    def tell(self, node: int, word: bytes) -> None:
        """Send a word to another node."""
        self.send_word(node, word)

    def set_shards(self, version: int, keyspaces: list[Line], unready: list[int]) -> None:
        """Nothing: clients of this world know their groups."""

    def fence(self, group: int, why: str) -> None:
        """Nobody compares replicas in this world."""
        raise AssertionError(f"s{group} is fenced: {why}")

    def fences(self) -> dict[int, str]:
        """Return nothing: see fence."""
        return {}

    def lift_fence(self, group: int) -> None:
        """Nothing is fenced."""
        raise AssertionError(f"s{group} was never fenced")

    def open_group(self, group: int, membership: bytes) -> None:
        """Make a group; an event says when it is there."""
        self._later(self._pause_us(group), lambda: self._open(GroupId(group), membership))

    def _pause_us(self, group: int) -> int:
        # Odd enough to come before and after anything else, and the same in every run.
        return 1 + (group * 7919 + self._next * 104729) % (30 * MS)

    def _open(self, group: GroupId, membership: bytes) -> None:
        if group in self._closing:
            self._closing[group] = membership
            return
        if group in self.parts:
            return
        members = decode_membership(membership) if membership else Membership()
        index = LogIndex(1 if membership else 0)
        point = Checkpoint(index, Term(0), members, UserKeys())
        self.disk.add_group(group, point)
        self.parts[group] = Part(point.machine.copy(), index, members, {})
        self._applies[group] = deque()
        self.push(GroupOpened(group, index, {}))

    def perform(self, turn: Turn) -> None:
        """Carry out a turn; groups that it closes go."""
        super().perform(turn)
        for group in turn.closed:
            assert isinstance(self._watcher, Invariants)
            self._watcher.closes(self.node, group)
            del self.parts[group], self._applies[group]
            self._gates.pop(group, None)
            self._ready_reads = [each for each in self._ready_reads if each[0] != group]
            self._waiting = {key: value for key, value in self._waiting.items() if key[0] != group}
            self._closing[group] = None
            self._later(self._pause_us(group), lambda group=group: self._put_away(group))  # type: ignore[misc]

    def _put_away(self, group: GroupId) -> None:
        self.disk.remove_group(group)
        again = self._closing.pop(group)
        if again is not None:
            self._open(group, again)

    def _work(self, group: GroupId) -> None:
        if group in self.parts:
            super()._work(group)

    def _install(self, group: GroupId) -> None:
        if group in self.parts:
            super()._install(group)

    def _send(self, outgoing: Sequence[Outgoing], beats: Iterable[Beats] = ()) -> None:
        # Entries and snapshots of a group that was taken away are there no more.
        super()._send([each for each in outgoing if each.group in self.disk.live or _is_plain(each)], beats)


def _is_plain(outgoing: Outgoing) -> bool:
    return not outgoing.message.entries and outgoing.message.snapshot is None


class MovingProcess(Process):
    """A process with what runs beside the replicator in production: shards, moves, and the conductor."""

    def __init__(self, node: NodeId, disk: Disk, around: Surroundings, send_word: SendWord) -> None:
        super().__init__(node, disk, replace(around, muscle=MovingMuscle))
        self._send_word = send_word
        self.shards: Shards | None = None
        self._moves: Moves | None = None
        self._conductor: Conductor | None = None
        self._leading: Leading | None = None
        self._words: list[bytes] = []
        self._expelled = False

    def expel(self) -> None:
        """Stop for good: another node says that this one was removed."""
        self._expelled = True
        self.crash()

    def start(self) -> None:
        """Start from what the disk holds."""
        if self._expelled:
            return
        super().start()
        assert isinstance(self.muscle, MovingMuscle)
        assert self.replicator is not None
        self.muscle.send_word = lambda node, word: self._send_word(self.node, node, word)
        self._words = []
        self.shards = Shards(self.muscle, self.replicator)
        self._moves = Moves(self.muscle, self.replicator, self.shards)
        self._conductor = Conductor(self.replicator, self.shards)
        self._leading = Leading(self.muscle, self.replicator, self.shards)
        self.shards.look()

    def hear(self, word: bytes) -> None:
        """Take a word of another node."""
        if self.muscle is not None:
            self._words.append(word)
            self._wake(0)

    def _with_own(self, events: Events) -> Events:
        assert self.shards is not None
        assert self._moves is not None
        assert self._conductor is not None
        assert self._leading is not None
        now_ms, wanted = events.now_ms, list[Event](events.events)
        words, self._words = self._words, []
        for word in words:
            wanted += self._conductor.take(word)
            self._leading.take(word, now_ms)
        for event in events.events:
            if isinstance(event, GroupOpened):
                self.shards.opened(event.group, now_ms)
        wanted += self.shards.work(now_ms)
        wanted += self._moves.work(now_ms)
        wanted += self._conductor.work(now_ms)
        wanted += self._leading.work(now_ms)
        return Events(now_ms, wanted)

    def _performed(self, events: Events, turn: Turn) -> None:
        assert self.shards is not None
        self.shards.settle(turn)
        if turn.effects or turn.closed or any(isinstance(each, GroupOpened | Restored) for each in events.events):
            self.shards.look()
