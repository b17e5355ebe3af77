"""Turns, messages and entries in few words: `2@1` is the entry of index 2 and term 1."""

from collections.abc import Iterable, Sequence

from kvarts.raft.ids import NodeId
from kvarts.raft.messages import Entry, EntryKind, HardState, Message, MessageKind
from kvarts.raft.node import Status
from kvarts.replication.replicator import GATE_OPEN_MS
from kvarts.replication.turn import Apply, CommandDone, Effects, Gate, Turn, Write


def turn_words(turn: Turn, hard: HardState, sent: Sequence[Message]) -> tuple[list[str], HardState]:
    """Return what a turn does, in the order in which it is done, and the hard state after it."""
    words = [_gate(each) for each in turn.gates]
    for write in turn.writes:
        words += _write(write, hard)
        hard = write.hard_state or hard
    words += [f"compact {each.index}" for each in turn.compactions]
    words += map(_effects, turn.effects)
    words += ["flush"] * len(turn.flushes)
    words += grouped(sent)
    left = [message_words(message) for message in sent]
    words += [f"hold {each}" for each in (message_words(each.message) for each in turn.held) if each not in left]
    words += map(_apply, turn.applies)
    words += [f"read ready at {each.index}" for each in turn.reads]
    words += [f"refuse read, {_ask(each.leader)}" for each in turn.reads_refused]
    words += [f"refuse write, {_ask(each.leader)}, {each.why.value}" for each in turn.writes_refused]
    words += map(_done, turn.commands_done)
    refused = turn.commands_refused
    words += [f"refuse command {each.context}, {_ask(each.leader)}, {each.why.value}" for each in refused]
    words += ["stopped"] if turn.stopped else []
    return words, hard


def _gate(gate: Gate) -> str:
    if gate.until_ms == GATE_OPEN_MS:
        return "reads at once"
    return f"reads at once until {gate.until_ms}" if gate.until_ms else "no read at once"


def _write(write: Write, before: HardState) -> list[str]:
    words, hard = [], write.hard_state
    if write.snapshot is not None:
        words.append(f"install {write.snapshot.index}@{write.snapshot.term}")
    if write.entries:
        words.append("append " + " ".join(map(entry_words, write.entries)))
    if hard is not None and (hard.term, hard.vote) != (before.term, before.vote):
        words.append(f"term {hard.term}" + (f" vote {hard.vote}" if hard.vote else ""))
    if hard is not None and hard.commit != before.commit:
        words.append(f"commit {hard.commit}")
    return words


def _effects(effects: Effects) -> str:
    rows = [f"{key.decode()}={value.decode() if value is not None else 'gone'}" for key, value in effects.writes]
    return " ".join([f"effects {effects.index}", *(rows or [repr(effects.membership)])])


def _apply(apply: Apply) -> str:
    span = f"{apply.first}" if apply.first == apply.last else f"{apply.first}..{apply.last}"
    return f"apply {span}" + (" and wait" if apply.barrier else "")


def _done(done: CommandDone) -> str:
    decision = done.decision
    outcome = f"refused {decision.refusal}" if decision.refusal else "done"
    return f"command {done.context} {outcome}" + ("" if decision.value is None else f" {decision.value}")


def _ask(leader: NodeId) -> str:
    return f"ask n{leader}" if leader else "leader unknown"


def grouped(messages: Iterable[Message]) -> list[str]:
    """Return the messages in words; those that say the same to several are one."""
    to: dict[str, list[str]] = {}
    for message in messages:
        to.setdefault(_said(message), []).append(f"n{message.to}")
    return [f"-> {' '.join(receivers)} {said}" for said, receivers in to.items()]


def message_words(message: Message) -> str:
    """Return a message with its receiver."""
    return f"-> n{message.to} {_said(message)}"


def _said(message: Message) -> str:
    m, at = message, f"{message.index}@{message.log_term}"
    said = f"term={m.term} " + ("no" if m.reject else "yes")
    match m.kind:
        case MessageKind.APPEND:
            entries = " ".join(map(entry_words, m.entries))
            return f"append after {at} [{entries}] commit={m.commit}"
        case MessageKind.APPEND_RESPONSE if m.reject:
            return f"reject {m.index}, try {m.hint}@{m.log_term}"
        case MessageKind.APPEND_RESPONSE:
            return f"ack {m.index}"
        case MessageKind.VOTE | MessageKind.PRE_VOTE:
            forced = " forced" if m.forced else ""
            return f"{_name(m)}? term={m.term} last={at}{forced}"
        case MessageKind.VOTE_RESPONSE | MessageKind.PRE_VOTE_RESPONSE:
            return f"{_name(m)} {said}"
        case MessageKind.HEARTBEAT:
            return f"heartbeat round={m.round} commit={m.commit}"
        case MessageKind.HEARTBEAT_RESPONSE:
            return f"heard round={m.round}"
        case MessageKind.SNAPSHOT:
            assert m.snapshot is not None
            return f"snapshot {m.snapshot.index}@{m.snapshot.term}"
        case MessageKind.READ_INDEX_RESPONSE:
            return f"read-index {m.index}"
    return _name(m)


def _name(message: Message) -> str:
    return message.kind.name.lower().replace("_response", "").replace("_", "-")


def entry_words(entry: Entry) -> str:
    """Return index, term and, if it is not plain, what an entry is."""
    kind = {EntryKind.NORMAL: "", EntryKind.CONFIG: "+change", EntryKind.PYTHON: "+command"}[entry.kind]
    changes = f"({entry.change})" if entry.kind is EntryKind.CONFIG else ""
    return f"{entry.index}@{entry.term}{kind}{changes}"


def status_words(s: Status) -> str:
    """Return a node in one line."""
    role = s.role.name.lower().replace("_", "-")
    lead = f" leader=n{s.lead}" if s.lead and s.lead != s.node else ""
    indexes = f"last={s.last} committed={s.committed} applied={s.applied}"
    return f"n{s.node} {role} term={s.term}{lead} {indexes} {s.membership!r}" + (" lease" if s.lease else "")
