"""Fixtures: `make` opens a store of each kind in turn, `db` is one with Bytes keys and values."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import kvarts
from tests.conformance.kinds import (
    KINDS,
    Make,
    Unfit,
    end_clusters,
    end_used_clusters,
    free_spaces,
    may_span_shards,
    stop_servers,
)


@pytest.fixture(scope="session", autouse=True)
def _clusters() -> Iterator[None]:
    """Ends the clusters that cases shared."""
    yield
    end_clusters()


@pytest.fixture(params=list(KINDS))
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Make]:
    """Opens stores of one kind; each call its own folder. Closes them in the end."""
    opened: list[kvarts.Store[Any, Any]] = []

    def open_one(**codecs: Any) -> kvarts.Store[Any, Any]:
        folder = tmp_path / f"{len(opened)}"
        folder.mkdir()
        try:
            opened.append(KINDS[request.param](folder, **codecs))
        except Unfit as why:
            pytest.skip(str(why))
        return opened[-1]

    yield open_one
    for store in opened:
        store.close()
    stop_servers()
    if opened and request.param.startswith(("node", "cluster", "sharded", "together")):
        free_spaces()
        end_used_clusters()


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Iterator[None]:
    """Skips a case that takes a batch or a snapshot over several shards: tests/unit/python/serve/test_shards.py says
    that it is refused there."""
    try:
        return (yield)
    except kvarts.CrossShard as error:
        if not any(map(may_span_shards, map(str, pyfuncitem.callspec.params.values()))):
            raise
        pytest.skip(str(error))


@pytest.fixture
def db(make: Make) -> "kvarts.Store[bytes, bytes]":
    """A store of Bytes."""
    return make()
