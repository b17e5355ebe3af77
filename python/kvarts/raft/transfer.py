"""Handing the leadership over. Source: Raft thesis 3.10."""

from __future__ import annotations

from kvarts.raft.core import Core
from kvarts.raft.ids import NODE_NONE, NodeId
from kvarts.raft.messages import Message, MessageKind
from kvarts.raft.replication import send_append


def begin_transfer(core: Core, target: NodeId) -> None:
    """Bring `target` up to date, taking no proposals meanwhile, and let it stand; tried for one election timeout."""
    progress = core.tracker.progress.get(target)
    if progress is None or target in {core.transferee, core.node}:
        return
    core.transferee = target
    core.election_elapsed = 0
    if progress.match == core.log.last_index():
        send_timeout_now(core, target)
    else:
        send_append(core, target, progress)


def send_timeout_now(core: Core, target: NodeId) -> None:
    """Tell `target`, whose stable log is as long as ours, to stand at once."""
    # It may do so however late this arrives, also when the transfer was given up: no lease is safe from now on.
    core.reads.lease_void = True
    core.send(Message(MessageKind.TIMEOUT_NOW, target, core.node, core.term))


def give_up_transfer(core: Core) -> None:
    """Take proposals again."""
    core.transferee = NODE_NONE
