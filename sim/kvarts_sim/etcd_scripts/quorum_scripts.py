"""The quorum scripts: `committed` and `vote` over a majority or a joint configuration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from kvarts.raft.ids import LOG_INDEX_MAX, LogIndex, NodeId
from kvarts.raft.quorum import JointConfig, MajorityConfig, VoteResult
from kvarts_sim.etcd_scripts.datadriven import Case, ScriptError

VOTE_WORDS = {VoteResult.PENDING: "VotePending", VoteResult.LOST: "VoteLost", VoteResult.WON: "VoteWon"}
UNKNOWN = "_"


class QuorumScript:
    """Runs quorum commands; nothing is kept between them."""

    COMMANDS = ("committed", "vote")

    def run(self, case: Case) -> str:
        """Return what the command prints."""
        config, order = _config(case)
        if case.command == "committed":
            acked = {node: LogIndex(int(word)) for node, word in _lookup(case, "idx", order).items()}
            committed = config.committed(acked)
            return describe(config, acked) + ("∞" if committed == LOG_INDEX_MAX else str(committed))
        votes = {node: word == "y" for node, word in _lookup(case, "votes", order).items()}
        return VOTE_WORDS[config.vote_result(votes)]


def describe(config: JointConfig, acked: Mapping[NodeId, LogIndex]) -> str:
    """Draw the acknowledged index of each voter; the bar says how many voters are behind it."""
    voters = sorted(config.voters)
    if not voters:
        return "<empty majority quorum>"
    lines = [" " * (len(voters) + 4) + "idx"]
    for voter in voters:
        index = acked.get(voter, LogIndex(0))
        behind = sum(acked.get(other, LogIndex(0)) < index for other in voters)
        bar = ("x" * behind + ">").ljust(len(voters) + 1) if voter in acked else "?".ljust(len(voters) + 1)
        lines.append(f"{bar} {index:5d}    (id={voter})")
    return "\n".join(lines) + "\n"


def _config(case: Case) -> tuple[JointConfig, Sequence[NodeId]]:
    halves: list[MajorityConfig] = []
    order: list[NodeId] = []
    for key in ("cfg", "cfgj"):
        values = case.values(key) or ()
        nodes = [] if values in {(), ("zero",)} else [NodeId(int(value)) for value in values]
        order += [node for node in nodes if node not in order]
        halves.append(MajorityConfig(frozenset(nodes)))
    return JointConfig(*halves), order


def _lookup(case: Case, key: str, order: Sequence[NodeId]) -> dict[NodeId, str]:
    """The words of `key` belong to the nodes in the order in which the configurations name them first."""
    words = case.values(key) or ()
    if len(words) > len(order):
        raise ScriptError(f"line {case.line}: more {key} than nodes")
    return {node: word for node, word in zip(order, words, strict=False) if word != UNKNOWN}
