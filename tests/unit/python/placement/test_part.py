"""The part of a shard's group in its move, led by whoever knows a map of any age; words come late, twice or never."""

import random
from dataclasses import dataclass, field

import pytest

from kvarts.base.ids import NODE_NONE, NodeId
from kvarts.placement.nodes import Duty, Node
from kvarts.placement.part import Deed, DeedKind, Group, next_deed
from kvarts.raft.confchange import ChangeKind, ConfigChange, NodeChange, apply_change
from kvarts.raft.membership import Membership
from kvarts.shardmap.shard import (
    Epoch,
    KeyspaceId,
    Shard,
    ShardId,
    ShardRefused,
    begin_move,
    cancel_move,
    finish_move,
    promote,
    settle_move,
)
from kvarts.shardmap.verdict import Ending, Verdict

NODES = [NodeId(each) for each in range(1, 7)]
SEEDS = 300
CHANGES = {
    DeedKind.ADD_LEARNER: ChangeKind.ADD_LEARNER,
    DeedKind.ADD_VOTER: ChangeKind.ADD_VOTER,
    DeedKind.REMOVE: ChangeKind.REMOVE,
}


def shard_of(*voters: int) -> Shard:
    """Return a shard that owns everything."""
    kept = tuple(map(NodeId, voters))
    return Shard(id=ShardId(2), keyspace=KeyspaceId(1), start=b"", stop=b"", epoch=Epoch(1), voters=kept)


def told(now: Shard, then: Shard, ending: Ending) -> Shard:
    """Return the shard once the map has heard what was said of it as it was `then`. Raises ShardRefused."""
    assert then.move is not None
    source, target, epoch = then.move.source, then.move.target, then.epoch
    match ending:
        case Ending.PROMOTE:
            return promote(now, target, epoch)
        case Ending.CANCEL:
            return cancel_move(now, source, target, epoch)
        case Ending.FINISH:
            return finish_move(now, source, target, epoch)
    return settle_move(now, source, target, epoch)


@dataclass
class Story:
    """A shard and its group. `rows` are all that the map ever said; leaders know any of them."""

    rng: random.Random
    replication: int
    rows: list[Shard]
    membership: Membership
    verdict: Verdict | None = None
    up: set[NodeId] = field(default_factory=lambda: set(NODES))
    gone: set[NodeId] = field(default_factory=set)
    words: list[tuple[Shard, Ending]] = field(default_factory=list)

    @property
    def row(self) -> Shard:
        """What the map says now."""
        return self.rows[-1]

    @property
    def voters(self) -> frozenset[NodeId]:
        """Who votes in the group."""
        return self.membership.voters.incoming.voters

    def lead(self, row: Shard) -> Deed | None:
        """Let some voter that is up lead, with the map as it knows it, and do one deed."""
        leaders = sorted(self.voters & self.up)
        if len(leaders) * 2 <= len(self.voters):
            return None
        learner = row.learner
        group = Group(
            leader=self.rng.choice(leaders),
            membership=self.membership,
            verdict=self.verdict,
            caught_up=learner in self.membership.learners and learner in self.up and self.rng.random() < 0.7,
        )
        nodes = [Node(id=each, duty=self.duty(each)) for each in NODES]
        deed = next_deed(row, group, nodes, self.replication)
        if deed is not None:
            self.do(row, deed)
        return deed

    def duty(self, node: NodeId) -> Duty:
        """What a leader thinks of a node."""
        if node in self.gone:
            return Duty.GONE
        return Duty.SERVES if node in self.up else Duty.AWAY

    def do(self, row: Shard, deed: Deed) -> None:
        """Carry a deed out, and see that all is as it must be."""
        if deed.kind is DeedKind.DECIDE:
            assert deed.ending is not None
            verdict = Verdict(row.epoch, deed.ending)
            if verdict.follows(self.verdict):
                self.verdict = verdict
        elif deed.kind is DeedKind.TELL:
            assert deed.ending is not None
            self.words.append((row, deed.ending))
        elif deed.kind in CHANGES:
            change = ConfigChange((NodeChange(CHANGES[deed.kind], deed.node),))
            self.membership = apply_change(self.membership, change)
        self.check()

    def hear(self, row: Shard, ending: Ending) -> None:
        """The map hears a word, which may be an old one: it names the epoch of the row that it was said of."""
        try:
            self.rows.append(told(self.row, row, ending))
        except ShardRefused:
            return
        self.check()

    def check(self) -> None:
        """Whoever votes is named by the map, so nobody takes its replica away; and a quorum is up."""
        named = {*self.row.voters, self.row.learner}
        assert self.voters <= named, (self.row, self.membership)
        if self.row.move is None:
            assert self.voters == set(self.row.voters), (self.row, self.membership)

    def begin(self) -> None:
        """Begin some move."""
        source = self.rng.choice([NODE_NONE, *self.row.voters])
        target = self.rng.choice([NODE_NONE, *(each for each in NODES if each not in self.row.voters)])
        try:
            self.rows.append(begin_move(self.row, source, target, self.row.epoch))
        except ShardRefused:
            return

    def rest(self) -> None:
        """All are up, the leader's map is new, words arrive: the move ends."""
        self.up = set(NODES)
        self.gone = set()
        for _ in range(60):
            deed = self.lead(self.row)
            if deed is not None and deed.kind is DeedKind.TELL:
                self.hear(*self.words[-1])
            if self.row.move is None and not self.membership.learners:
                return
        raise AssertionError(f"it never ends: {self.row} {self.membership} {self.verdict}")


@pytest.mark.parametrize("first", range(1, SEEDS, 50))
def test_the_map_follows_the_group_whoever_leads_with_whatever_map(first: int) -> None:
    for seed in range(first, first + 50):
        rng = random.Random(seed)
        replication = rng.choice([2, 3])
        shard = shard_of(*sorted(rng.sample(NODES, replication)))
        story = Story(rng, replication, [shard], Membership.of(*shard.voters))
        try:
            for _ in range(rng.randrange(400)):
                _happens(story, rng)
            story.rest()
        except AssertionError as error:
            raise AssertionError(f"seed={seed}: {error}") from error


def _happens(story: Story, rng: random.Random) -> None:
    roll = rng.random()
    if roll < 0.08 and story.row.move is None:
        story.begin()
    elif roll < 0.15:
        node = rng.choice(NODES)
        story.up ^= {node}
        story.gone -= story.up
    elif roll < 0.18:
        story.gone |= {each for each in NODES if each not in story.up and rng.random() < 0.3}
    elif roll < 0.45 and story.words:
        # Any word of all time, once more.
        story.hear(*rng.choice(story.words))
    else:
        story.lead(rng.choice([story.row, rng.choice(story.rows)]))


def test_a_move_goes_through_its_deeds() -> None:
    story = Story(random.Random(1), 3, [shard_of(1, 2, 3)], Membership.of(1, 2, 3))
    story.rows.append(begin_move(story.row, NodeId(3), NodeId(4), Epoch(1)))
    nodes = [Node(id=each) for each in NODES]

    def deed(caught_up: bool = False, leader: int = 1) -> Deed | None:
        group = Group(leader=NodeId(leader), membership=story.membership, verdict=story.verdict, caught_up=caught_up)
        return next_deed(story.row, group, nodes, 3)

    def done(expected: Deed, **seen: object) -> None:
        assert deed(**seen) == expected  # type: ignore[arg-type]
        story.do(story.row, expected)
        if expected.kind is DeedKind.TELL:
            story.hear(*story.words[-1])

    done(Deed(DeedKind.ADD_LEARNER, NodeId(4)))
    assert deed() is None
    done(Deed(DeedKind.DECIDE, ending=Ending.PROMOTE), caught_up=True)
    done(Deed(DeedKind.ADD_VOTER, NodeId(4)), caught_up=True)
    done(Deed(DeedKind.TELL, ending=Ending.PROMOTE))
    assert deed(leader=3) == Deed(DeedKind.HAND_OVER, NodeId(4))
    done(Deed(DeedKind.DECIDE, ending=Ending.FINISH))
    assert deed(leader=3) == Deed(DeedKind.HAND_OVER, NodeId(4))
    done(Deed(DeedKind.REMOVE, NodeId(3)))
    done(Deed(DeedKind.TELL, ending=Ending.FINISH))
    assert (story.row.voters, story.row.move, story.row.epoch) == ((1, 2, 4), None, 3)


def test_what_was_promoted_in_the_group_is_not_cancelled_by_a_word_of_an_earlier_attempt() -> None:
    story = Story(random.Random(1), 3, [shard_of(1, 2, 3)], Membership.of(1, 2, 3))
    story.rows.append(begin_move(story.row, NodeId(3), NodeId(4), Epoch(1)))
    first = story.row
    story.hear(first, Ending.CANCEL)
    story.rows.append(begin_move(story.row, NodeId(3), NodeId(4), story.row.epoch))
    now = story.row
    story.hear(first, Ending.CANCEL)
    assert story.row == now
