"""What a crash leaves of a turn: any beginning of its records, and each must be a state that a node may start from."""

import random
from collections.abc import Callable

import pytest

from kvarts.raft.ids import LogIndex, NodeId, Term
from kvarts.raft.membership import Membership
from kvarts.raft.messages import Entry, HardState, Snapshot
from kvarts.replication.events import GroupId, Handle, Ticket
from kvarts.replication.turn import Turn, Write
from kvarts.statemachine.user_keys import UserKeys
from kvarts_sim.cluster.agenda import SECOND, Agenda
from kvarts_sim.cluster.disk import Disk
from kvarts_sim.cluster.group_log import Checkpoint
from kvarts_sim.cluster.invariants import Invariants
from kvarts_sim.cluster.muscle import Bytes, SimMuscle

GROUP = GroupId(1)
START = Checkpoint(LogIndex(1), Term(0), Membership.of(1, 2, 3), UserKeys())


class KeepsFirst(random.Random):
    """Lets a crash keep a given number of unsynced records."""

    def __init__(self, count: int) -> None:
        super().__init__(0)
        self._count = count

    def randrange(self, *_: object) -> int:
        return self._count


def _entries(term: int, *indexes: int) -> tuple[Entry, ...]:
    return tuple(Entry(Term(term), LogIndex(index)) for index in indexes)


def _write(commit: int, term: int, entries: tuple[Entry, ...], snapshot: Snapshot | None = None) -> Turn:
    hard = HardState(Term(term), NodeId(2), LogIndex(commit))
    return Turn(ticket=Ticket(1), must_sync=True, writes=[Write(GROUP, hard, snapshot, entries)])


def _after_crash(keep: int, *turns: Turn, prepare: Callable[[SimMuscle], None] = lambda _: None) -> Disk:
    """Write turns, of which only the first is synced, and crash with `keep` records of the rest."""
    agenda = Agenda()
    disk = Disk(agenda, KeepsFirst(keep), {GROUP: START})
    watcher = Invariants([GROUP], {1: disk}, lambda: agenda.now_us, None)
    muscle = SimMuscle(NodeId(1), agenda, disk, watcher, lambda *_: True, lambda: None)
    prepare(muscle)
    muscle.perform(turns[0])
    while agenda.now_us < SECOND and agenda.step():
        pass
    for turn in turns[1:]:
        muscle.perform(turn)
    disk.crash()
    return disk


@pytest.mark.parametrize("keep", range(4))
def test_commit_index_is_never_kept_without_the_entries_it_vouches_for(keep: int) -> None:
    tail = _write(1, 1, _entries(1, 2, 3, 4))
    log = _after_crash(keep, tail, _write(3, 2, _entries(2, 2, 3))).live[GROUP]
    hard, _ = log.initial_state()
    committed = [log.term_at(LogIndex(index)) for index in range(2, hard.commit + 1)]
    assert committed == [2, 2][: hard.commit - 1]
    assert (hard.commit == 3) == (keep == 3)


@pytest.mark.parametrize("keep", range(3))
def test_commit_index_is_never_kept_without_the_snapshot_it_comes_from(keep: int) -> None:
    point = Checkpoint(LogIndex(9), Term(2), START.membership, UserKeys())
    snapshot = Snapshot(point.index, point.term, point.membership, Handle(1))
    log = _after_crash(
        keep,
        _write(1, 1, _entries(1, 2, 3, 4)),
        _write(9, 2, (), snapshot),
        prepare=lambda muscle: muscle._handles.update({Handle(1): Bytes(checkpoint=point)}),
    ).live[GROUP]
    hard, _ = log.initial_state()
    assert hard.commit == (1 if keep == 0 else 9)
    assert log.last_index() == (4 if keep == 0 else 9)
