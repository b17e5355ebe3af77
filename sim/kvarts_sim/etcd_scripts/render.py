"""Writes what the core does in the words of the scripts."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator

from kvarts.raft.confchange import ConfigChange
from kvarts.raft.ids import LOG_STORE, STATE_MACHINE, NodeId
from kvarts.raft.membership import Membership
from kvarts.raft.messages import Entry, EntryKind, HardState, Message, MessageKind, Role, Snapshot
from kvarts.raft.progress import Progress, ProgressState
from kvarts.raft.ready import Ready
from kvarts.raft.tracker import Tracker

OLD_STYLE = "v1"
"""Context of a change that the script proposed in the old form."""

PROGRESS_WORDS = {
    ProgressState.PROBE: "StateProbe",
    ProgressState.REPLICATE: "StateReplicate",
    ProgressState.SNAPSHOT: "StateSnapshot",
}
ROLE_WORDS = {
    Role.FOLLOWER: "StateFollower",
    Role.PRE_CANDIDATE: "StatePreCandidate",
    Role.CANDIDATE: "StateCandidate",
    Role.LEADER: "StateLeader",
}
KIND_WORDS = {
    MessageKind.APPEND: "MsgApp",
    MessageKind.APPEND_RESPONSE: "MsgAppResp",
    MessageKind.VOTE: "MsgVote",
    MessageKind.VOTE_RESPONSE: "MsgVoteResp",
    MessageKind.PRE_VOTE: "MsgPreVote",
    MessageKind.PRE_VOTE_RESPONSE: "MsgPreVoteResp",
    MessageKind.HEARTBEAT: "MsgHeartbeat",
    MessageKind.HEARTBEAT_RESPONSE: "MsgHeartbeatResp",
    MessageKind.SNAPSHOT: "MsgSnap",
    MessageKind.TIMEOUT_NOW: "MsgTimeoutNow",
    MessageKind.PROPOSE: "MsgProp",
    MessageKind.READ_INDEX: "MsgReadIndex",
    MessageKind.READ_INDEX_RESPONSE: "MsgReadIndexResp",
    MessageKind.TRANSFER: "MsgTransferLeader",
    MessageKind.STORAGE_APPEND: "MsgStorageAppend",
    MessageKind.STORAGE_APPEND_RESPONSE: "MsgStorageAppendResp",
    MessageKind.STORAGE_APPLY: "MsgStorageApply",
    MessageKind.STORAGE_APPLY_RESPONSE: "MsgStorageApplyResp",
}
NODE_WORDS = {LOG_STORE: "AppendThread", STATE_MACHINE: "ApplyThread"}


def describe_all_progress(tracker: Tracker) -> str:
    """One line for each member."""
    return "\n".join(f"{node}: {describe_progress(tracker, node)}" for node in tracker.progress)


def describe_progress(tracker: Tracker, node: NodeId) -> str:
    """One member's progress on a line."""
    progress: Progress = tracker.progress[node]
    words = [PROGRESS_WORDS[progress.state], f"match={progress.match}", f"next={progress.next}"]
    words += ["learner"] if tracker.is_learner(node) else []
    words += ["paused"] if progress.is_paused else []
    words += [f"pendingSnap={progress.snapshot_pending}"] if progress.snapshot_pending else []
    words += [] if progress.recently_active else ["inactive"]
    if len(progress.inflights):
        words.append(f"inflight={len(progress.inflights)}{'[full]' if progress.inflights.is_full else ''}")
    return " ".join(words)


def ready_lines(ready: Ready, *, must_sync: bool) -> Iterator[str]:
    """A Ready, one line each for what it holds."""
    body = list(_ready_body(ready))
    if body:
        yield f"Ready MustSync={str(must_sync).lower()}:"
        yield from body
    else:
        yield "<empty Ready>"


def _ready_body(ready: Ready) -> Iterator[str]:
    if ready.soft_state:
        yield f"Lead:{ready.soft_state.lead} State:{ROLE_WORDS[ready.soft_state.role]}"
    if ready.hard_state:
        yield "HardState " + _hard_state(ready.hard_state)
    if ready.read_states:
        yield "ReadStates [" + " ".join(f"{{{state.index} {state.context}}}" for state in ready.read_states) + "]"
    if ready.entries:
        yield "Entries:"
        yield from map(entry_line, ready.entries)
    if ready.snapshot:
        yield "Snapshot " + _snapshot(ready.snapshot)
    if ready.committed:
        yield "CommittedEntries:"
        yield from map(entry_line, ready.committed)
    if ready.messages:
        yield "Messages:"
        for message in ready.messages:
            yield from message_lines(message)


def message_lines(message: Message) -> Iterator[str]:
    """A message: usually a line, more if it holds several entries, a snapshot or responses."""
    line = f"{_node(message.sender)}->{_node(message.to)} {KIND_WORDS[message.kind]} Term:{message.term}"
    line += f" Log:{message.log_term}/{message.index}"
    line += f" Rejected (Hint: {message.hint})" if message.reject else ""
    line += f" Commit:{message.commit}" if message.commit else ""
    line += f" Vote:{message.vote}" if message.vote else ""
    if len(message.entries) == 1:
        line += f" Entries:[{entry_line(message.entries[0])}]"
    elif message.entries:
        yield line + " Entries:["
        yield from indented(map(entry_line, message.entries))
        line = "]"
    if message.snapshot:
        yield line
        line = "  Snapshot: " + _snapshot(message.snapshot)
    if message.responses:
        yield line + " Responses:["
        for response in message.responses:
            yield from indented(message_lines(response))
        line = "]"
    yield line


def entry_line(entry: Entry) -> str:
    """An entry with its payload: quoted text, or the changes of a membership."""
    start = f"{entry.term}/{entry.index} "
    if entry.kind is EntryKind.NORMAL:
        assert isinstance(entry.payload, bytes)
        return f"{start}EntryNormal {json.dumps(entry.payload.decode('utf-8', 'replace'), ensure_ascii=False)}"
    return start + _change(entry.change)


def indented(lines: Iterable[str]) -> Iterator[str]:
    """The lines, two columns to the right."""
    return ("  " + line for line in lines)


def _change(change: ConfigChange) -> str:
    kind = "EntryConfChange" if change.context == OLD_STYLE else "EntryConfChangeV2"
    return f"{kind} {change}".rstrip()


def _hard_state(state: HardState) -> str:
    vote = f" Vote:{state.vote}" if state.vote else ""
    return f"Term:{state.term}{vote} Commit:{state.commit}"


def _snapshot(snapshot: Snapshot) -> str:
    return f"Index:{snapshot.index} Term:{snapshot.term} ConfState:{_membership(snapshot.membership)}"


def _membership(membership: Membership) -> str:
    groups = {
        "Voters": membership.voters.incoming.voters,
        "VotersOutgoing": membership.voters.outgoing.voters,
        "Learners": membership.learners,
        "LearnersNext": membership.learners_next,
    }
    words = [f"{name}:[{' '.join(map(str, sorted(nodes)))}]" for name, nodes in groups.items()]
    return " ".join([*words, f"AutoLeave:{str(membership.auto_leave).lower()}"])


def _node(node: NodeId) -> str:
    return NODE_WORDS.get(node) or str(node)
