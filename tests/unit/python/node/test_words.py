"""Words between nodes: what is said is understood, and what cannot be understood is no harm."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvarts.node.words import Word, decode, encode
from kvarts.raft.ids import NodeId
from kvarts.shardmap.shard import Epoch, ShardId
from kvarts.statemachine import shards
from kvarts.statemachine.configuration import RemoveNode
from kvarts.statemachine.configuration import encode as encode_configuration

STEP = shards.encode(shards.FinishMove(shard=ShardId(2), epoch=Epoch(3), source=NodeId(1), target=NodeId(4)))


SHARDS = st.integers(2, 2**40).map(ShardId)
OF_A_NODE = st.none() | st.tuples(st.integers(1, 99), st.frozensets(SHARDS))


@given(st.lists(st.just(STEP)), st.dictionaries(SHARDS, st.integers(0, 2**40)), OF_A_NODE, OF_A_NODE)
def test_a_word_is_understood(
    steps: list[bytes],
    behind: dict[ShardId, int],
    fenced: tuple[int, frozenset[ShardId]] | None,
    led: tuple[int, frozenset[ShardId]] | None,
) -> None:
    word = Word(tuple(steps), behind, fenced, led)
    assert decode(encode(word)) == word


@given(st.binary(max_size=200))
def test_bytes_that_are_no_word_are_nothing(data: bytes) -> None:
    assert decode(data) is None


@pytest.mark.parametrize(
    "data",
    [
        b"{}",
        b'{"behind":{},"steps":["zz"]}',
        b'{"behind":[],"steps":[]}',
        b'{"behind":{"x":1},"steps":[]}',
        b'{"behind":{},"steps":[],"led":{"node":1}}',
        b'{"behind":{},"steps":[],"led":7}',
        b"[" * 9999,
    ],
    ids=["empty", "no hex", "list", "no id", "no shards", "number", "deep"],
)
def test_words_with_other_parts_are_nothing(data: bytes) -> None:
    assert decode(data) is None


def test_only_steps_of_the_map_are_taken() -> None:
    word = Word((encode_configuration(RemoveNode(node=NodeId(1))),))
    assert decode(encode(word)) is None
