"""What the Raft core costs: three nodes, stores in memory; processor time per message and per entry.

Run with python/ on the path: `PYTHONPATH=python python benchmarks/raft_core.py`. Messages to a node's own store and
state machine count too.
"""

import random
import time

from kvarts.raft.ids import LOG_STORE, LogIndex, NodeId, Term
from kvarts.raft.membership import Membership
from kvarts.raft.messages import HardState, Message, Snapshot
from kvarts.raft.node import RaftNode
from kvarts.raft.options import RaftOptions
from kvarts.raft.storage import MemoryStore

NODES = (1, 2, 3)
PAYLOAD_BYTES = 100


class Group:
    """Three nodes and what they have sent."""

    def __init__(self) -> None:
        self.stores = {node: MemoryStore() for node in NODES}
        self.nodes: dict[int, RaftNode] = {}
        self.messages = 0
        for node, store in self.stores.items():
            store.install_snapshot(Snapshot(LogIndex(1), Term(1), Membership.of(*NODES)))
            store.hard_state = HardState(Term(1), commit=LogIndex(1))
            self.nodes[node] = RaftNode(RaftOptions(node=NodeId(node)), store, random.Random(node), applied=LogIndex(1))
        self.nodes[1].campaign()
        self.settle()

    def settle(self) -> None:
        """Carry out everything."""
        busy = True
        while busy:
            busy = False
            for node, raft in self.nodes.items():
                while raft.has_ready():
                    busy = True
                    for message in raft.ready().messages:
                        self._carry_out(node, message)

    def _carry_out(self, node: int, message: Message) -> None:
        if message.to > 0:
            self._deliver(message)
            return
        if message.to == LOG_STORE:
            if message.term:
                self.stores[node].hard_state = HardState(message.term, message.vote, message.commit)
            self.stores[node].append(message.entries)
        for response in message.responses:
            self._deliver(response)

    def _deliver(self, message: Message) -> None:
        self.messages += 1
        self.nodes[message.to].step(message)


def measure(groups: int, batch: int, rounds: int) -> str:
    """Return the costs of `rounds` proposals of `batch` entries in each of so many groups."""
    all_groups = [Group() for _ in range(groups)]
    payloads = [(b"x" * PAYLOAD_BYTES, PAYLOAD_BYTES)] * batch
    before = sum(group.messages for group in all_groups)
    start = time.process_time()
    for _ in range(rounds):
        for group in all_groups:
            group.nodes[1].propose_many(payloads)
            group.settle()
    spent_us = (time.process_time() - start) * 1e6
    messages = sum(group.messages for group in all_groups) - before
    entries = rounds * groups * batch * len(NODES)
    each = f"{spent_us / messages:6.1f} us a message, {spent_us / entries:6.2f} us an entry and node"
    return f"{groups:3} groups, batch {batch:3}: {each}"


if __name__ == "__main__":
    for group_count in (1, 16):
        for batch_size in (1, 64):
            print(measure(group_count, batch_size, 800 // group_count))
