"""Fixtures: tiny clusters of one node and of three, and a store of each."""

from collections.abc import Iterator

import pytest

import kvarts
from tests.tiny import Tiny

Db = kvarts.Store[bytes, bytes]


@pytest.fixture
def one() -> Iterator[Tiny]:
    """A cluster of one."""
    with Tiny() as tiny:
        yield tiny


@pytest.fixture
def three() -> Iterator[Tiny]:
    """A cluster of three; the first leads."""
    with Tiny(3) as tiny:
        yield tiny


@pytest.fixture
def db(three: Tiny) -> Iterator[Db]:
    """A store in the cluster of three."""
    with kvarts.open(three.uri, timeout=20) as store:
        yield store
