"""Fixtures: `make` opens a store of each kind in turn, `db` is one with Bytes keys and values."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import kvarts
from tests.conformance.kinds import KINDS, Make, Unfit, end_clusters, end_used_clusters, stop_servers


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
    if opened and request.param.startswith(("node", "cluster")):
        end_used_clusters()


@pytest.fixture
def db(make: Make) -> "kvarts.Store[bytes, bytes]":
    """A store of Bytes."""
    return make()
