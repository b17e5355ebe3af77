"""Laws of quorum arithmetic, against the definition by counting."""

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvarts.raft.ids import LogIndex, NodeId
from kvarts.raft.quorum import JointConfig, MajorityConfig, VoteResult

nodes = st.frozensets(st.integers(1, 7).map(NodeId), max_size=7)
acks = st.dictionaries(st.integers(1, 7).map(NodeId), st.integers(0, 5).map(LogIndex))


@given(nodes.filter(bool), acks)
def test_committed_is_the_highest_index_that_more_than_half_reached(
    voters: frozenset[NodeId], acked: dict[NodeId, LogIndex]
) -> None:
    reached = {index for index in range(6) if sum(acked.get(voter, 0) >= index for voter in voters) * 2 > len(voters)}
    assert MajorityConfig(voters).committed(acked) == max(reached)


@given(nodes, nodes, acks)
def test_joint_commit_is_the_lower_half_and_does_not_care_which_is_which(
    incoming: frozenset[NodeId], outgoing: frozenset[NodeId], acked: dict[NodeId, LogIndex]
) -> None:
    one, other = MajorityConfig(incoming), MajorityConfig(outgoing)
    committed = JointConfig(one, other).committed(acked)
    assert committed == JointConfig(other, one).committed(acked)
    assert committed == min(one.committed(acked), other.committed(acked))


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5])
def test_vote_is_won_or_lost_exactly_when_no_further_word_can_change_it(size: int) -> None:
    voters = [NodeId(node) for node in range(1, size + 1)]
    config = MajorityConfig(frozenset(voters))
    for words in product((None, True, False), repeat=size):
        votes = {voter: word for voter, word in zip(voters, words, strict=True) if word is not None}
        silent = [voter for voter in voters if voter not in votes]
        outcomes = {
            sum((votes | dict(zip(silent, rest, strict=True))).values()) * 2 > size
            for rest in product((True, False), repeat=len(silent))
        }
        wanted = VoteResult.PENDING if len(outcomes) == 2 else VoteResult.WON if True in outcomes else VoteResult.LOST
        assert config.vote_result(votes) is wanted


@given(nodes, st.dictionaries(st.integers(1, 7).map(NodeId), st.booleans()))
def test_joint_vote_of_a_config_with_itself_is_its_own(voters: frozenset[NodeId], votes: dict[NodeId, bool]) -> None:
    config = MajorityConfig(voters)
    assert JointConfig(config, config).vote_result(votes) is config.vote_result(votes)
    assert JointConfig(config).vote_result(votes) is config.vote_result(votes)
