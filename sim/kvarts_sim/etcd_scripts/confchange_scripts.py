"""The confchange scripts: `simple`, `enter-joint` and `leave-joint` on one group's membership."""

from __future__ import annotations

from collections.abc import Iterable

from kvarts.raft.confchange import ChangeKind, NodeChange, change_simply, enter_joint, leave_joint
from kvarts.raft.errors import ConfigChangeRefused, Refusal
from kvarts.raft.ids import LogIndex, NodeId
from kvarts.raft.membership import Membership
from kvarts.raft.tracker import Tracker
from kvarts_sim.etcd_scripts.datadriven import Case, ScriptError
from kvarts_sim.etcd_scripts.render import describe_all_progress

REFUSAL_WORDS = {
    Refusal.ALREADY_JOINT: "config is already joint",
    Refusal.NOT_JOINT: "can't leave a non-joint config",
    Refusal.SIMPLE_WHILE_JOINT: "can't apply simple config change in joint config",
    Refusal.NO_VOTERS: "removed all voters",
    Refusal.JOINT_WITHOUT_VOTERS: "can't make a zero-voter config joint",
    Refusal.TWO_VOTERS_AT_ONCE: "more than one voter changed without entering joint config",
}


class ConfchangeScript:
    """Runs confchange commands on one tracker. Every command, refused or not, makes the log one entry longer."""

    COMMANDS = ("simple", "enter-joint", "leave-joint")

    def __init__(self) -> None:
        self._tracker = Tracker(inflight_count_max=10)
        self._last = LogIndex(0)

    def run(self, case: Case) -> str:
        """Return what the command prints."""
        try:
            membership = _change(case, self._tracker.membership)
        except ConfigChangeRefused as refused:
            return REFUSAL_WORDS[refused.reason]
        else:
            self._tracker.switch(membership, self._last)
            return f"{membership!r}\n{describe_all_progress(self._tracker)}"
        finally:
            self._last = LogIndex(self._last + 1)


def parse_changes(lines: Iterable[str]) -> tuple[NodeChange, ...]:
    """Return the changes of words such as `v1 l2 r3 u4`."""
    return tuple(_node_change(word) for line in lines for word in line.split())


def _node_change(word: str) -> NodeChange:
    try:
        return NodeChange(ChangeKind(word[0]), NodeId(int(word[1:])))
    except ValueError:
        raise ScriptError(f"no change of a member: {word}") from None


def _change(case: Case, membership: Membership) -> Membership:
    changes = parse_changes(case.input)
    if case.command == "simple":
        return change_simply(membership, changes)
    if case.command == "enter-joint":
        return enter_joint(membership, changes, auto_leave=case.value("autoleave") == "true")
    return leave_joint(membership)
