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


SPAN_SHARDS = frozenset(
    {
        "test_batch_commits_as_one_revision",
        "test_batch_reaches_other_keyspaces",
        "test_clear_empties_this_view_only",
        "test_closed_snapshot_is_refused",
        "test_delete_many",
        "test_dict_of_a_scan_sees_the_store_as_of_its_creation",
        "test_equality_is_that_of_mappings",
        "test_get_many_keeps_the_order_asked",
        "test_incr_refuses_what_is_no_number_and_what_does_not_fit",
        "test_last_write_of_a_batch_wins",
        "test_popitem_takes_the_first_key",
        "test_snapshot_closed_while_a_call_is_under_way_is_refused_and_never_newer",
        "test_snapshot_does_not_move",
        "test_snapshot_has_the_keyspaces_there_were",
        "test_snapshot_of_a_snapshot_and_views_of_one",
        "test_snapshot_takes_no_writes",
        "test_snapshots_of_different_moments",
        "test_update_is_one_batch",
        "test_views_are_sets_over_the_live_store",
    }
)
"""Cases with batches, updates or snapshots over keys of several shards. No other may be refused as CrossShard."""


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Iterator[None]:
    """Skips the cases that take a batch or a snapshot over several shards: tests/unit/python/serve/test_shards.py says
    that it is refused there."""
    try:
        return (yield)
    except kvarts.CrossShard as error:
        kinds = map(str, pyfuncitem.callspec.params.values())
        if pyfuncitem.originalname not in SPAN_SHARDS or not any(map(may_span_shards, kinds)):
            raise
        pytest.skip(str(error))


@pytest.fixture
def db(make: Make) -> "kvarts.Store[bytes, bytes]":
    """A store of Bytes."""
    return make()
