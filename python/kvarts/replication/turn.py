"""What the replicator wants done; the muscle carries it out without blocking.

Nobody changes the elements of a turn; what nearly every turn has is not `frozen`, for the cost: see
kvarts.raft.messages.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum

from kvarts.raft.ids import LogIndex, NodeId, Term
from kvarts.raft.membership import Membership
from kvarts.raft.messages import Entry, HardState, Message, Snapshot
from kvarts.replication.events import GroupId, Handle, Ticket
from kvarts.statemachine.python_commands import Decision, Founding, SystemWrite


class Why(Enum):
    """Why a request was refused, by what its maker should do."""

    NOT_LEADER = "not-leader"
    """Ask the leader that is named, or anybody later."""
    BUSY = "busy"
    """This is the leader, and too much waits here: ask it again later."""
    UNREADABLE = "unreadable"
    """The command is none: never ask again."""
    SUPERSEDED = "superseded"
    """It was proposed and never will be carried out: another leader's entry has its place. Ask again."""
    UNKNOWN = "unknown"
    """It was proposed, and what became of it is not known here."""


@dataclass(slots=True, unsafe_hash=True)
class Write:
    """To append to the node's log for one group: the snapshot first, then the entries, then the hard state.

    A crash may keep only the beginning. The commit index vouches for what is before it in the log: were it kept without
    the entries of its turn, a superseded tail would pass for committed. Entries supersede what stood at their indexes
    and after; nothing is truncated.
    """

    group: GroupId
    hard_state: HardState | None
    snapshot: Snapshot | None
    entries: Sequence[Entry]


@dataclass(slots=True, unsafe_hash=True)
class Outgoing:
    """A message to another node. The muscle puts in the bytes of its entries, from the log by term and index."""

    group: GroupId
    message: Message


@dataclass(slots=True)
class Beats:
    """Heartbeats of the groups that this node leads to one node, and answers to those of its leaders.

    Of all groups together: a group at rest costs a line of numbers. `idle`: nobody waits for what comes of them, so the
    receiver may let them lie until it has something else to do, up to a tick.
    """

    to: NodeId
    idle: bool
    heartbeats: list[tuple[GroupId, Term, LogIndex, int]] = field(default_factory=list)
    answers: list[tuple[GroupId, Term, int]] = field(default_factory=list)


@dataclass(slots=True, unsafe_hash=True)
class Apply:
    """Entries [first, last] are committed: apply them in order. `barrier`: the last one waits for Effects."""

    group: GroupId
    first: LogIndex
    last: LogIndex
    barrier: bool = False


@dataclass(frozen=True, slots=True)
class Effects:
    """What the barrier at `index` does to the state machine: to be stored with the applied position, as one batch.

    `membership` is the one at `index`; `writes` go to the shard's system keys. `founding`: the rows as they were right
    before the barrier are copied for another group, with the same members and these writes; it is there, as by
    GroupOpened, only once a restart would find that this one has passed the barrier. `check`: the rows as they are
    after the barrier are digested, beside everything else; the muscle keeps the digest under this number for a while.
    """

    group: GroupId
    index: LogIndex
    membership: Membership
    writes: tuple[SystemWrite, ...] = ()
    founding: Founding | None = None
    check: int = 0


@dataclass(slots=True, unsafe_hash=True)
class ReadReady:
    """The read may be served when `index` is applied.

    Questions come back and answers come twice: of several words about one read, this or ReadRefused, the first counts,
    and one about a read of an earlier life of this node means nothing.
    """

    group: GroupId
    context: int
    index: LogIndex


@dataclass(frozen=True, slots=True)
class ReadRefused:
    """The read was not confirmed; ask `leader`, if it is known."""

    group: GroupId
    context: int
    leader: NodeId


@dataclass(frozen=True, slots=True)
class WriteRefused:
    """The batch was not proposed and never will be; ask `leader`, if it is known."""

    group: GroupId
    handle: Handle
    leader: NodeId
    why: Why = Why.NOT_LEADER


@dataclass(frozen=True, slots=True)
class CommandDone:
    """A Python command that was asked for here was carried out, or refused by its own rules on every node alike."""

    group: GroupId
    context: int
    decision: Decision


@dataclass(frozen=True, slots=True)
class CommandRefused:
    """A Python command was not carried out, but for Why.UNKNOWN; ask `leader`, if it is known."""

    group: GroupId
    context: int
    leader: NodeId
    why: Why = Why.NOT_LEADER


@dataclass(slots=True, unsafe_hash=True)
class Gate:
    """Until the node's clock shows `until_ms`, a group may be read without a round once `index` is applied; 0: no more.

    The index counts: what is committed may be known elsewhere before it is applied here. Whoever reads looks at the
    clock after it has taken the state, or has found that it must wait for the index.
    """

    group: GroupId
    until_ms: int
    index: LogIndex


@dataclass(frozen=True, slots=True)
class Compaction:
    """Entries up to and including `index` are needed no more."""

    group: GroupId
    index: LogIndex


@dataclass(slots=True)
class Turn:
    """In this order: set gates; write and, if `must_sync`, begin a sync; take effects; flush; send; apply; answer;
    release; close.

    `beats` leave with `sends`. `flushes`: groups whose state machine is to go to disk now, since older snapshots of it
    are of no use to a newcomer.

    `held` leaves when all that this and earlier turns asked to be durable is durable, and then Synced(ticket) is due.
    At most one sync is under way on a node; what later turns write gathers for the next. Without a
    ticket nothing waits. `closed`: groups of which nothing more will come; their logs and state machines may go.
    `stopped`: a stop was asked for, and of the groups that others could lead this node leads none.
    """

    gates: list[Gate] = field(default_factory=list)
    ticket: Ticket | None = None
    must_sync: bool = False
    writes: list[Write] = field(default_factory=list)
    sends: list[Outgoing] = field(default_factory=list)
    beats: dict[tuple[NodeId, bool], Beats] = field(default_factory=dict)
    held: list[Outgoing] = field(default_factory=list)
    effects: list[Effects] = field(default_factory=list)
    flushes: list[GroupId] = field(default_factory=list)
    applies: list[Apply] = field(default_factory=list)
    reads: list[ReadReady] = field(default_factory=list)
    reads_refused: list[ReadRefused] = field(default_factory=list)
    writes_refused: list[WriteRefused] = field(default_factory=list)
    commands_done: list[CommandDone] = field(default_factory=list)
    commands_refused: list[CommandRefused] = field(default_factory=list)
    compactions: list[Compaction] = field(default_factory=list)
    release: list[Handle] = field(default_factory=list)
    closed: list[GroupId] = field(default_factory=list)
    stopped: bool = False

    def beats_to(self, node: NodeId, *, idle: bool) -> Beats:
        """Return what goes to a node, to be added to."""
        beats = self.beats.get((node, idle))
        if beats is None:
            beats = self.beats[node, idle] = Beats(node, idle)
        return beats
