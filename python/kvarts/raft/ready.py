"""What a node wants done: write, send, apply. Built from the core, and handed out once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from kvarts.raft.core import Core
from kvarts.raft.ids import LOG_INDEX_MIN, LOG_STORE, STATE_MACHINE, TERM_NONE, NodeId
from kvarts.raft.messages import Entry, HardState, Heartbeat, Message, MessageKind, ReadState, Snapshot, SoftState


@dataclass(slots=True)
class Ready:
    """What changed since the last one.

    With asynchronous storage only `messages` is to be carried out (those to LOG_STORE and STATE_MACHINE locally, each
    in order); the rest says what they contain. Otherwise: write `hard_state`, `entries` and `snapshot`, durably if
    `must_sync`, then send `messages`, apply `committed`, and call `advance`.
    """

    soft_state: SoftState | None = None
    hard_state: HardState | None = None
    read_states: Sequence[ReadState] = ()
    reads_dropped: Sequence[object] = ()
    entries: Sequence[Entry] = ()
    snapshot: Snapshot | None = None
    committed: Sequence[Entry] = ()
    messages: Sequence[Message] = ()
    must_sync: bool = False


NO_HARD_STATE = HardState()
_APPEND, _APPEND_RESPONSE = MessageKind.STORAGE_APPEND, MessageKind.STORAGE_APPEND_RESPONSE
_APPLY, _APPLY_RESPONSE = MessageKind.STORAGE_APPLY, MessageKind.STORAGE_APPLY_RESPONSE
"""By these names in what every entry passes: to look up a member of an enumeration costs as much as three calls."""


def heartbeat_messages(sender: NodeId, heartbeats: Sequence[Heartbeat]) -> list[Message]:
    """Return heartbeats as messages."""
    kind = MessageKind.HEARTBEAT
    return [Message(kind, to, sender, term, commit=commit, round=round_) for to, term, commit, round_ in heartbeats]


class Outbox:
    """Remembers what was handed out, so that only news is."""

    def __init__(self, core: Core) -> None:
        self._core = core
        # Carried out in order, entries are stable before they are applied; asynchronously the two race.
        self._allow_unstable = not core.options.async_storage
        self._soft = core.lead, core.role
        self._hard = core.term, core.vote, core.log.committed
        self._to_step: list[Message] = []

    def has_news(self) -> bool:
        """Return whether `take` would return something."""
        core = self._core
        log, unstable = core.log, core.log.unstable
        return bool(
            core.messages
            or core.heartbeats
            or core.after_append
            or (core.term, core.vote, log.committed) != self._hard
            or (core.lead, core.role) != self._soft
            or unstable.handed_out < unstable.offset + len(unstable.entries)
            or (log.applying < log.committed and log.has_next_committed(allow_unstable=self._allow_unstable))
            or core.read_states
            or core.reads_dropped
            or (unstable.snapshot is not None and not unstable.snapshot_handed_out)
        )

    def take(self) -> Ready:
        """Return the news; they count as handed out."""
        core, log = self._core, self._core.log
        soft, hard = (core.lead, core.role), (core.term, core.vote, log.committed)
        hard_state = HardState(core.term, core.vote, log.committed) if hard != self._hard else None
        entries, snapshot = log.unstable.next_entries(), log.unstable.next_snapshot()
        committed = log.next_committed(allow_unstable=self._allow_unstable) if log.applying < log.committed else ()
        if core.heartbeats:
            core.messages += heartbeat_messages(core.node, core.heartbeats)
            core.heartbeats = []
        own = self._storage_messages if core.options.async_storage else self._held
        ready = Ready(
            SoftState(*soft) if soft != self._soft else None,
            hard_state,
            core.read_states,
            core.reads_dropped,
            entries,
            snapshot,
            committed,
            core.messages + own(hard_state, entries, snapshot, committed),
            bool(entries) or snapshot is not None or hard[:2] != self._hard[:2],
        )
        self._soft, self._hard = soft, hard
        core.messages, core.after_append, core.read_states, core.reads_dropped = [], [], [], []
        if entries or snapshot is not None:
            log.unstable.hand_out()
        if committed:
            log.hand_out_to_apply(committed, allow_unstable=self._allow_unstable)
        return ready

    def done(self) -> list[Message]:
        """Return what is to be stepped now that the last Ready was carried out; only without asynchronous storage."""
        done, self._to_step = self._to_step, []
        return done

    def _storage_messages(
        self,
        hard_state: HardState | None,
        entries: Sequence[Entry],
        snapshot: Snapshot | None,
        committed: Sequence[Entry],
    ) -> list[Message]:
        core = self._core
        messages = []
        if entries or hard_state or snapshot or core.after_append:
            hard = hard_state or NO_HARD_STATE
            # By name a message costs three times as much to make.
            message = Message(_APPEND, LOG_STORE, core.node, hard.term, 0, 0, hard.commit, entries)  # type: ignore[arg-type]
            message.vote, message.snapshot = hard.vote, snapshot
            message.responses = (*core.after_append, *self._append_response(snapshot))
            messages.append(message)
        if committed:
            message = Message(_APPLY, STATE_MACHINE, core.node, TERM_NONE, TERM_NONE, 0, 0, committed)  # type: ignore[arg-type]
            message.responses = (self._apply_response(committed),)
            messages.append(message)
        return messages

    def _held(
        self,
        _hard_state: HardState | None,
        _entries: Sequence[Entry],
        snapshot: Snapshot | None,
        committed: Sequence[Entry],
    ) -> list[Message]:
        """Without asynchronous storage: return what may leave after the write; keep what is for ourselves."""
        core = self._core
        self._to_step = [message for message in core.after_append if message.to == core.node]
        self._to_step += self._append_response(snapshot)
        self._to_step += [self._apply_response(committed)] if committed else []
        return [message for message in core.after_append if message.to != core.node]

    def _append_response(self, snapshot: Snapshot | None) -> tuple[Message, ...]:
        """The word that the log is durable to its end.

        It names the end of the log, not of this write: writes are made in order, so whatever else is under way is
        durable by then too. It carries the term, and counts for nothing in a later one.
        """
        core, unstable = self._core, self._core.log.unstable
        if not unstable.entries and snapshot is None:
            return ()
        last, last_term = LOG_INDEX_MIN, TERM_NONE
        if unstable.entries:
            last_term, last = unstable.entries[-1][:2]
        message = Message(_APPEND_RESPONSE, core.node, LOG_STORE, core.term, last_term, last)
        message.snapshot = snapshot
        return (message,)

    def _apply_response(self, committed: Sequence[Entry]) -> Message:
        message = Message(_APPLY_RESPONSE, self._core.node, STATE_MACHINE)
        message.entries = committed
        return message
