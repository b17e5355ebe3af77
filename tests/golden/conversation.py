"""Replicators that talk to each other when a script says so; each turn is a line of what it made the muscle do.

The muscle is the simulator's, its disk finishes a sync and its network delivers a packet on command. The lines come
from turns and packets alone, so that another muscle can be put in its place.
"""

import random
from collections.abc import Iterable, Iterator

from kvarts.raft.confchange import ChangeKind, ConfigChange, NodeChange
from kvarts.raft.ids import LogIndex, NodeId, Term
from kvarts.raft.membership import Membership
from kvarts.raft.messages import Entry, EntryKind, HardState, Message, MessageKind
from kvarts.raft.options import RaftOptions, ReadMode
from kvarts.replication.events import (
    CommandRequested,
    ConfigRequested,
    Event,
    GroupId,
    GroupOpened,
    StopRequested,
    TransferRequested,
)
from kvarts.replication.options import ReplicatorOptions
from kvarts.replication.replicator import Replicator
from kvarts.statemachine.commands import Command, Put
from kvarts.statemachine.user_keys import UserKeys
from kvarts_sim.cluster.agenda import MS, Agenda
from kvarts_sim.cluster.disk import Disk
from kvarts_sim.cluster.group_log import Checkpoint
from kvarts_sim.cluster.muscle import Packet, SimMuscle
from tests.golden import configurations
from tests.golden.words import entry_words, message_words, status_words, turn_words

S1 = GroupId(1)
TICK_MS = 100


class Fixed(random.Random):
    """Always draws the same. Node n stands after 9 + n ticks; a crash keeps nothing that is not synced."""

    def __init__(self, drawn: int) -> None:
        super().__init__(drawn)
        self._drawn = drawn

    def randrange(self, *_args: object) -> int:
        return self._drawn


class Silent:
    """Nobody looks over the muscle's shoulder."""

    def wrote(self, *_: object) -> None:
        pass

    leaves = applied = took = digested = asked = read = served = read_at_once = wrote


class Asking(SimMuscle):
    """Lets every read ask the core: that is what scripts are about. Gates are told, and tried in simulated worlds."""

    def gate_is_open(self, group: GroupId) -> bool:
        return False


class Node:
    """A disk that outlives crashes, and the process on it. `starts` counts its lives."""

    def __init__(self, node: int, cluster: "Conversation", membership: Membership) -> None:
        self.id = NodeId(node)
        self.cluster = cluster
        point = Checkpoint(LogIndex(1 if membership.members else 0), Term(0), membership, UserKeys())
        self.disk = Disk(cluster.agenda, Fixed(0), {S1: point})
        for log in (self.disk.live[S1], self.disk.durable[S1]):
            log.hard_state = HardState(commit=point.index)
        self.now_ms = 0
        self.starts = 0
        self.start()

    def start(self) -> None:
        self.starts += 1
        self.disk.health.stalled = True
        self.muscle = Asking(
            self.id, self.cluster.agenda, self.disk, Silent(), self.cluster.transmit, self._wake, self.starts * 1000
        )
        self.muscle.clock_us = lambda: self.now_ms * MS
        raft = RaftOptions(node=self.id, forward_proposals=False, read_mode=self.cluster.read_mode)
        options = ReplicatorOptions(raft=raft, tick_ms=TICK_MS, keep_entries=self.cluster.keep_entries, gather_ms=0)
        part = self.muscle.parts[S1]
        groups = [GroupOpened(S1, part.index, part.system)]
        self.replicator = Replicator(options, self.disk, groups, lambda _: Fixed(self.id - 1), now_ms=self.now_ms)
        self.hard = self.disk.live[S1].hard_state

    def crash(self) -> None:
        self.muscle.alive = False
        self.disk.crash()

    def sync(self) -> None:
        """Finish the sync under way; the next one, if the muscle has gathered for it, waits again."""
        self.disk.recover_health()
        self.disk.health.stalled = True

    def turn(self) -> Iterator[str]:
        turn = self.replicator.turn(self.muscle.poll(0))
        before = len(self.cluster.sent)
        self.muscle.perform(turn)
        sent = self.cluster.sent[before:]
        words, self.hard = turn_words(turn, self.hard, sent)
        del self.cluster.sent[before:]
        if words:
            yield f"n{self.id} " + " ; ".join(words)

    def _wake(self) -> None:
        self.cluster.due.add(self.id)


class Conversation:
    """Understands the commands of `do`."""

    def __init__(self) -> None:
        self.agenda = Agenda()
        self.nodes: dict[NodeId, Node] = {}
        self.network: list[tuple[NodeId, Packet]] = []
        self.sent: list[Message] = []
        self.due: set[NodeId] = set()
        self.cut: set[NodeId] = set()
        self.answers: list[str] = []
        self.read_mode = ReadMode.SAFE
        self.keep_entries = 1000

    def transmit(self, packet: Packet, to: NodeId) -> bool:
        self.sent += [*(message for _, message in packet.messages), *_said_by(packet, to)]
        if self.cut & {to, packet.sender}:
            return False
        self.network.append((to, packet))
        return True

    def do(self, line: str) -> list[str]:
        """A script's command; several may stand on a line, with semicolons between them."""
        return [came for part in line.split(" ; ") for came in self._do(part.split())]

    def _do(self, words: list[str]) -> Iterator[str]:
        match words:
            case ["cluster", *named]:
                self._found(dict(word.split("=") for word in named))
            case ["tick", node, count, "quietly"]:
                list(self._tick(node, int(count)))
            case ["tick", node, *count]:
                yield from self._tick(node, int(count[0]) if count else 1)
            case ["elect", node]:
                list(self._tick(node, 9 + int(node)))
                list(self._settle())
            case ["settle"]:
                yield from self._settle()
            case ["settle", "quietly"]:
                list(self._settle())
            case ["sync", *nodes]:
                yield from self._sync(self._named(nodes))
            case ["deliver", *nodes]:
                yield from self._deliver(self._named(nodes) or list(self.nodes.values()))
            case ["lose"]:
                self.network.clear()
            case ["cut", *nodes]:
                self.cut |= {node.id for node in self._named(nodes)}
            case ["heal"]:
                self.cut.clear()
            case ["pause", node, ms]:
                self._node(node).now_ms += int(ms)
            case ["crash", node]:
                self._node(node).crash()
            case ["start", node]:
                self._node(node).start()
            case ["flush", node]:
                self._node(node).muscle.flush(S1)
                yield from self._drain()
            case ["status", *nodes]:
                for each in self._named(nodes) or self.nodes.values():
                    yield status_words(each.replicator.replicas[S1].raft.status())
            case ["log", node]:
                kept = self._node(node).disk.live[S1].kept()
                yield " ".join([f"n{node}", *map(self._with_text, kept)])
            case ["rows", node]:
                part = self._node(node).muscle.parts[S1]
                rows = [f"{key.decode()}={value.decode()}" for key, (value, _) in sorted(part.machine.rows.items())]
                system = [f"{key.decode()}={value.decode()}" for key, value in sorted(part.system.items())]
                yield " ".join([f"n{node}", *rows, *system])
            case [verb, node, *rest]:
                yield from self._request(verb, self._node(node), rest)

    def _request(self, verb: str, node: Node, words: list[str]) -> Iterator[str]:
        def answer(how: str, result: object) -> None:
            row = f" {result[0].decode()}" if isinstance(result, tuple) else ""
            self.answers.append(f"n{node.id} answers {verb}: {how}{row}")

        match verb:
            case "put":
                for word in words:
                    key, value = word.split("=")
                    node.muscle.write(S1, Command((Put(key.encode(), value.encode()),)), answer)
            case "read":
                node.muscle.read(S1, words[0].encode(), answer)
            case _:
                node.muscle.push(_event(verb, words))
        yield from self._drain()

    def _found(self, named: dict[str, str]) -> None:
        voters = Membership.of(*range(1, int(named["nodes"]) + 1))
        self.read_mode = ReadMode(named.get("reads", "safe"))
        self.keep_entries = int(named.get("keep", "1000"))
        self.network.clear()
        self.nodes = {node: Node(node, self, voters) for node in sorted(voters.members)}
        if "spare" in named:
            spare = NodeId(int(named["spare"]))
            self.nodes[spare] = Node(spare, self, Membership())

    def _tick(self, name: str, count: int = 1) -> Iterator[str]:
        node = self._node(name)
        for _ in range(count):
            node.now_ms += TICK_MS
            self.due.add(node.id)
            yield from self._drain()

    def _sync(self, nodes: Iterable[Node]) -> Iterator[str]:
        for node in nodes:
            node.sync()
            if self.sent:
                yield f"n{node.id} synced ; " + " ; ".join(map(message_words, self.sent))
                self.sent.clear()
        yield from self._drain()

    def _deliver(self, nodes: Iterable[Node]) -> Iterator[str]:
        to = {node.id for node in nodes if node.muscle.alive}
        arriving = [each for each in self.network if each[0] in to]
        self.network = [each for each in self.network if each[0] not in to]
        for node, packet in arriving:
            self.nodes[node].muscle.receive(packet)
            # Heartbeats would wait for the next tick.
            self.due.add(node)
        yield from self._drain()

    def _settle(self) -> Iterator[str]:
        """Deliver and sync until nothing is under way."""
        alive = [node for node in self.nodes.values() if node.muscle.alive]
        for _ in range(20):
            yield from self._deliver(alive)
            yield from self._sync(alive)

    def _drain(self) -> Iterator[str]:
        while True:
            while self.agenda.step():
                pass
            yield from self._spoken()
            if not self.due:
                return
            node = self.nodes[min(self.due)]
            self.due.remove(node.id)
            if node.muscle.alive:
                yield from node.turn()

    def _spoken(self) -> Iterator[str]:
        yield from self.answers
        self.answers.clear()

    def _node(self, name: str) -> Node:
        return self.nodes[NodeId(int(name))]

    def _named(self, names: list[str]) -> list[Node]:
        return [self._node(name) for name in names]

    def _with_text(self, entry: Entry) -> str:
        if entry.kind is not EntryKind.NORMAL or not isinstance(entry.payload, tuple):
            return entry_words(entry)
        puts = [operation for command in entry.payload for operation in command.operations]
        return entry_words(entry) + "+" + ",".join(f"{put.key.decode()}={put.value.decode()}" for put in puts)


def _said_by(packet: Packet, to: NodeId) -> Iterator[Message]:
    """Return a packet's heartbeats and answers as the messages that they stand for."""
    for beats in packet.beats:
        for _, term, commit, number in beats.heartbeats:
            yield Message(MessageKind.HEARTBEAT, to, packet.sender, term, commit=commit, round=number)
        for _, term, number in beats.answers:
            yield Message(MessageKind.HEARTBEAT_RESPONSE, to, packet.sender, term, round=number)


def _event(verb: str, words: list[str]) -> Event:
    match verb:
        case "change":
            changes = tuple(NodeChange(ChangeKind(word[0]), NodeId(int(word[1:]))) for word in words)
            return ConfigRequested(S1, ConfigChange(changes))
        case "transfer":
            return TransferRequested(S1, NodeId(int(words[0])))
        case "stop":
            return StopRequested()
        case "config":
            return CommandRequested(S1, int(words[0]), configurations.encoded(words[1:]))
    raise ValueError(f"no command {verb}")
