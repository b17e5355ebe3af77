"""Planted bugs of turns: replaced functions of the replicator, of a replica and of the state machine."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from kvarts.raft.ids import LOG_INDEX_MIN
from kvarts.raft.messages import Entry
from kvarts.replication.replica import Replica
from kvarts.replication.replicator import Replicator
from kvarts.replication.turn import Turn
from kvarts.statemachine.commands import Command
from kvarts.statemachine.user_keys import UserKeys


def gates_without_index(self: Replicator, turn: Turn) -> None:
    """Let reads in that the state machine has not reached."""
    _SET_GATES(self, turn)
    turn.gates = [replace(gate, index=LOG_INDEX_MIN) for gate in turn.gates]


def gates_stay_open(self: Replicator, turn: Turn) -> None:
    """Close no gate."""
    _SET_GATES(self, turn)
    turn.gates = [gate for gate in turn.gates if gate.until_ms]


_SET_GATES = Replicator._set_gates


def own_word_at_once(self: Replicator, turn: Turn) -> None:
    """Take a replica's own acknowledgements in the turn that writes."""
    for replica in self.replicas.values():
        for _ in range(2):
            for message in replica.collect(turn):
                replica.receive(message)
    self._ticket = turn.ticket = type(self._ticket)(self._ticket + 1)


def apply_again(self: UserKeys, command: Command, revision: Any) -> Any:
    """Apply a command of a session however often it comes."""
    return self._apply(command, revision)


def pass_no_barrier(self: Replica, barrier: Entry, turn: Turn) -> None:
    """Flush nothing before a barrier is passed."""
    _PASS(self, barrier, turn)
    turn.flushes.clear()


_PASS = Replica._pass_barrier
