"""Tokens: the pinned vectors, parts of keys, and which scans stay within one part."""

from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvarts.base.errors import InvalidArgument
from kvarts.base.rapidhash import rapidhash
from kvarts.shardmap.partition import FirstItem, Partition, Prefix, Until, WholeKey, after_prefix, partition_of
from kvarts.shardmap.space import Space, space_of
from tests.unit.python.shardmap.maps import KEYS, PARTITIONS, SPACES

VECTORS = Path(__file__).parents[4] / "proto" / "token-vectors.txt"
LINES = [line.split() for line in VECTORS.read_text().splitlines() if line and not line.startswith("#")]


def test_tokens_are_pinned_in_vectors() -> None:
    assert len(LINES) > 100
    for text, key, size, token in LINES:
        partition = partition_of(text)
        assert partition.part_bytes(bytes.fromhex(key)) == int(size), (text, key)
        assert Space(partition=partition).token(bytes.fromhex(key)).hex() == token, (text, key)


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        (b"", 0x0338_DC4B_E2CE_CDAE),
        (b"a", 0x599F_47DF_33A2_E1EB),
        (b"kvarts", 0x750B_891A_DC74_D3ED),
        (b"user/0000000000000042", 0x19A2_8C54_A3E0_2A8A),
        (bytes(range(256)), 0xA2F3_83F4_B926_0B9D),
    ],
    ids=["empty", "one", "short", "middle", "long"],
)
def test_hash_is_the_native_one(key: bytes, expected: int) -> None:
    """The vectors of `kvarts-formats`, under the seed of filters."""
    assert rapidhash(key) == expected


def test_tokens_of_counted_keys_are_spread_over_shards() -> None:
    space, counts = Space(), [0] * 16
    for number in range(16_000):
        counts[space.token(b"user%08d" % number)[0] >> 4] += 1
    assert max(counts) < 1.15 * 1000
    assert min(counts) > 0.85 * 1000


@pytest.mark.parametrize(
    ("partition", "key", "part"),
    [
        (Until(b"/"), b"user/1/x", b"user"),
        (Until(b"/"), b"user", b"user"),
        (Until(b"/"), b"/x", b""),
        (Until(b"::"), b"a:b::c", b"a:b"),
        (Prefix(2), b"abc", b"ab"),
        (Prefix(2), b"a", b"a"),
        (FirstItem, b"\x02user\x00\x15\x07", b"\x02user\x00"),
        (FirstItem, b"\x02us\x00\xffer\x00\x15\x07", b"\x02us\x00\xffer\x00"),
        (FirstItem, b"\x15\x07\x02x\x00", b"\x15\x07"),
        (FirstItem, b"\x05\x00\xff\x15\x00\x05\x00\x00\x14", b"\x05\x00\xff\x15\x00\x05\x00\x00"),
        (FirstItem, b"\x02cut short", b"\x02cut short"),
        (FirstItem, b"no tuple", b"no tuple"),
        (WholeKey, b"a/b", b"a/b"),
    ],
)
def test_part_of_a_key(partition: Partition, key: bytes, part: bytes) -> None:
    assert key[: partition.part_bytes(key)] == part


@given(st.sampled_from(PARTITIONS), KEYS, KEYS, KEYS)
def test_keys_of_a_scan_within_one_part_have_one_token(
    partition: Partition, start: bytes, stop: bytes, key: bytes
) -> None:
    space = Space(partition=partition)
    end = partition.span_end(start)
    token = space.scan_token(start, stop)
    if token is not None and start <= key < stop:
        assert space.token(key) == token
    # Right at both ends of the span, where a mistake of one byte would show.
    for near in (start, start + key, start + b"\xff" * 3, (end or b"")[:-1] + key):
        if end is not None and start <= near and (not end or near < end):
            assert space.token(near) == space.token(start), (near, end)


@pytest.mark.parametrize(
    ("partition", "start", "stop", "one"),
    [
        (Until(b"/"), b"user/", b"user0", True),
        (Until(b"/"), b"user/", b"user0\x00", False),
        (Until(b"/"), b"user", b"user\x00", True),
        (Until(b"/"), b"user", b"user0", False),
        (Until(b"/"), b"user/7", b"", False),
        (Until(b"\xff"), b"\xff", b"", True),
        (Prefix(2), b"ab", b"ac", True),
        (Prefix(2), b"a", b"ac", False),
        (FirstItem, b"\x02a\x00", b"\x02a\x00\xff", True),
        (FirstItem, b"\x02a\x00", b"\x02a\x01", False),
        (WholeKey, b"a", b"a\x00", True),
        (WholeKey, b"a", b"b", False),
        (WholeKey, b"", b"", False),
    ],
)
def test_scan_that_stays_within_one_part(partition: Partition, start: bytes, stop: bytes, one: bool) -> None:
    assert (Space(partition=partition).scan_token(start, stop) is not None) is one


@given(KEYS, st.binary(max_size=3))
def test_bound_after_a_prefix_is_above_all_its_keys(prefix: bytes, rest: bytes) -> None:
    end = after_prefix(prefix)
    assert not end or prefix + rest < end
    assert not end or not (end[:-1] + bytes((end[-1] - 1,))).startswith(end)
    assert end or set(prefix) == {0xFF}


@pytest.mark.parametrize("space", SPACES, ids=str)
def test_space_is_read_from_the_options_it_was_written_as(space: Space) -> None:
    assert space_of(space.options()) == space


@pytest.mark.parametrize(
    "options",
    [
        {"partition": "until:"},
        {"partition": "until:2F"},
        {"partition": "prefix:0"},
        {"partition": "prefix:08"},
        {"partition": "sometimes"},
        {"partition": 7},
        {"hash": 2},
        {"ordered": 1},
        {"ordered": True, "partition": "prefix:4"},
    ],
    ids=str,
)
def test_options_that_are_no_space_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(InvalidArgument):
        space_of(options)


@given(st.integers(1, 4096))
def test_even_bounds_rise_and_cut_equal_parts(shards: int) -> None:
    space = Space()
    bounds = space.even_bounds(shards)
    numbers = [0, *(int.from_bytes(each, "big") for each in bounds), 2**64]
    sizes = {upper - lower for lower, upper in pairwise(numbers)}
    assert len(bounds) == shards - 1
    assert all(map(space.is_bound, bounds))
    assert max(sizes) - min(sizes) <= 1


def test_middle_halves_a_range_until_one_token_is_left() -> None:
    space = Space()
    assert space.middle(b"", b"").hex() == "8000000000000000"
    assert space.middle(bytes.fromhex("c000000000000000"), b"").hex() == "e000000000000000"
    with pytest.raises(InvalidArgument, match="one token"):
        space.middle(bytes.fromhex("ffffffffffffffff"), b"")
    with pytest.raises(InvalidArgument, match="no middle"):
        Space(ordered=True).middle(b"a", b"b")
