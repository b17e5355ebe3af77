"""Numbers that have a meaning in Raft, as types."""

from typing import NewType

from kvarts.base.ids import NODE_NONE, NodeId

__all__ = [
    "LOG_INDEX_MAX",
    "LOG_INDEX_MIN",
    "LOG_STORE",
    "NODE_NONE",
    "STATE_MACHINE",
    "TERM_NONE",
    "LogIndex",
    "NodeId",
    "Term",
]

Term = NewType("Term", int)
"""A term of the paper's section 5.1. 0 is before the first election."""

LogIndex = NewType("LogIndex", int)
"""Position of an entry in the log. The first entry has index 1."""

TERM_NONE = Term(0)
LOG_INDEX_MIN = LogIndex(0)
LOG_INDEX_MAX = LogIndex(2**64 - 1)
LOG_STORE = NodeId(-1)
"""Receiver of appends: the node's own log on disk. No member has this id."""
STATE_MACHINE = NodeId(-2)
"""Receiver of committed entries: the node's own state machine. No member has this id."""
