"""Nodes without a network: a message waits until a script delivers or drops it, a write until a script does it."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from kvarts.raft.core import Core
from kvarts.raft.errors import Compacted, ProposalDropped, RaftError, UnknownPeer
from kvarts.raft.ids import LOG_STORE, LogIndex, NodeId, Term
from kvarts.raft.membership import Membership
from kvarts.raft.messages import Entry, EntryKind, HardState, Message, MessageKind, Snapshot
from kvarts.raft.node import RaftNode
from kvarts.raft.options import RaftOptions
from kvarts.raft.storage import MemoryStore
from kvarts_sim.etcd_scripts.datadriven import ScriptError
from kvarts_sim.etcd_scripts.render import indented, message_lines, ready_lines


@dataclass
class Member:
    """A node with its store, its state machine (the snapshots it could make) and the writes it waits for."""

    node: RaftNode
    options: RaftOptions
    store: MemoryStore
    history: list[Snapshot]
    hard_state: HardState
    appends: list[Message] = field(default_factory=list)
    applies: list[Message] = field(default_factory=list)

    @property
    def core(self) -> Core:
        """The core, which scripts look into where the face tells too little."""
        return self.node._core

    def write(self, hard_state: HardState | None, entries: Sequence[Entry], snapshot: Snapshot | None) -> None:
        """Write what a Ready or an append asks for."""
        if hard_state is not None:
            self.store.hard_state = hard_state
        if snapshot is not None:
            self.store.install_snapshot(snapshot)
            self.history.append(snapshot)
        self.store.append(entries)

    def apply(self, entries: Sequence[Entry]) -> None:
        """Apply committed entries: the state is the concatenation of their payloads."""
        for entry in entries:
            last = self.history[-1]
            membership, data = last.membership, last.data or b""
            if entry.kind is EntryKind.CONFIG:
                membership = self.node.apply_config(entry.change)
            else:
                assert isinstance(data, bytes)
                assert isinstance(entry.payload, bytes)
                data += entry.payload
            self.history.append(Snapshot(entry.index, entry.term, membership, data))
            self.store.save_snapshot(self.history[-1])


class Cluster:
    """The members and the messages under way. Methods yield the lines that they print."""

    def __init__(self) -> None:
        self.members: dict[NodeId, Member] = {}
        self.messages: list[Message] = []

    def add(self, options: RaftOptions, membership: Membership, index: LogIndex, data: bytes) -> None:
        """Start a node from a snapshot at `index`."""
        store = MemoryStore()
        snapshot = Snapshot(index, Term(1 if index else 0), membership, data)
        if index:
            store.install_snapshot(snapshot)
        node = RaftNode(options, store, random.Random(options.node), applied=index)
        hard_state = HardState(commit=index)
        self.members[options.node] = Member(node, options, store, [snapshot], hard_state)

    def member(self, node: NodeId) -> Member:
        """Return a member."""
        if node not in self.members:
            raise ScriptError(f"no node {node}")
        return self.members[node]

    def process_ready(self, node: NodeId) -> Iterator[str]:
        """Take a node's Ready and carry it out, or queue it where storage is asynchronous."""
        member = self.member(node)
        ready = member.node.ready()
        hard = ready.hard_state or member.hard_state
        before = (member.hard_state.term, member.hard_state.vote)
        # A snapshot alone does not ask for a sync in the scripts' words; it does in ours.
        yield from ready_lines(ready, must_sync=bool(ready.entries) or (hard.term, hard.vote) != before)
        member.hard_state = hard
        asynchronous = member.options.async_storage
        if not asynchronous:
            member.write(ready.hard_state, ready.entries, ready.snapshot)
            member.apply(ready.committed)
        for message in ready.messages:
            if message.to < 0:
                (member.appends if message.to == LOG_STORE else member.applies).append(message)
            else:
                self.messages.append(message)
        if not asynchronous:
            member.node.advance()

    def process_append(self, node: NodeId) -> Iterator[str]:
        """Do the oldest append that a node waits for."""
        member = self.member(node)
        if not member.appends:
            yield "no append work to perform"
            return
        message = member.appends.pop(0)
        yield from _work_lines(message)
        changed = message.term or message.vote or message.commit
        hard_state = HardState(message.term, message.vote, message.commit) if changed else None
        member.write(hard_state, message.entries, message.snapshot)
        self.messages += message.responses

    def process_apply(self, node: NodeId) -> Iterator[str]:
        """Do the oldest apply that a node waits for."""
        member = self.member(node)
        if not member.applies:
            yield "no apply work to perform"
            return
        message = member.applies.pop(0)
        yield from _work_lines(message)
        member.apply(message.entries)
        self.messages += message.responses

    def deliver(self, to: NodeId, kind: MessageKind | None = None, *, drop: bool = False) -> Iterator[str]:
        """Deliver or drop the messages under way to a node; a node's words to itself are never dropped."""
        chosen = [message for message in self.messages if _is_for(message, to, kind, drop=drop)]
        self.messages = [message for message in self.messages if not _is_for(message, to, kind, drop=drop)]
        for message in chosen:
            first, *rest = message_lines(message)
            yield ("dropped: " if drop else "") + first
            yield from rest
            if drop:
                continue
            try:
                self.member(to).node.step(message)
            except RaftError as error:
                yield error_line(error)

    def has_messages(self, to: NodeId) -> bool:
        """Return whether messages are under way to a node."""
        return any(message.to == to for message in self.messages)

    def stabilize(self, nodes: Sequence[NodeId]) -> Iterator[str]:
        """Let nodes work and talk until nothing is left to do among them."""
        members = [(node, self.member(node)) for node in nodes]
        busy = True
        while busy:
            busy = False
            for node, member in members:
                if member.node.has_ready():
                    busy = True
                    yield from titled(f"> {node} handling Ready", self.process_ready(node))
            for node, _ in members:
                if self.has_messages(node):
                    busy = True
                    yield from titled(f"> {node} receiving messages", self.deliver(node))
            for node, member in members:
                if member.appends:
                    busy = True
                    work = self._all(node, member.appends, self.process_append)
                    yield from titled(f"> {node} processing append thread", work)
            for node, member in members:
                if member.applies:
                    busy = True
                    work = self._all(node, member.applies, self.process_apply)
                    yield from titled(f"> {node} processing apply thread", work)

    def _all(self, node: NodeId, queue: list[Message], work: Callable[[NodeId], Iterator[str]]) -> Iterator[str]:
        while queue:
            yield from work(node)


def error_line(error: RaftError) -> str:
    """An error in the words of the scripts."""
    if isinstance(error, ProposalDropped):
        return "raft proposal dropped"
    if isinstance(error, Compacted):
        return "requested index is unavailable due to compaction"
    return "raft: cannot step as peer not found" if isinstance(error, UnknownPeer) else str(error)


def titled(title: str, lines: Iterator[str]) -> Iterator[str]:
    """A heading and the lines below it. The work is done as the lines are taken."""
    yield title
    yield from indented(lines)


def _is_for(message: Message, to: NodeId, kind: MessageKind | None, *, drop: bool) -> bool:
    local = message.sender == message.to or message.sender < 0
    return message.to == to and not (drop and local) and kind in {None, message.kind}


def _work_lines(message: Message) -> Iterator[str]:
    yield "Processing:"
    yield from message_lines(replace(message, responses=()))
    yield "Responses:"
    for response in message.responses:
        yield from message_lines(response)
