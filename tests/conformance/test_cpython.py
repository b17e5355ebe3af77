"""CPython's own suite for mappings, unmodified, against a store with text keys and JSON values."""

import unittest
from typing import Any

import pytest

import kvarts

mapping_tests = pytest.importorskip(
    "test.mapping_tests", reason="this Python comes without its own tests (test.mapping_tests): the suite cannot run"
)

_opened: list[Any] = []


def _store(*arguments: Any, **more: Any) -> Any:
    """Makes a store as `dict(...)` would; the suite calls it as a class."""
    db = kvarts.open(key=kvarts.Str, value=kvarts.Json)
    _opened.append(db)
    db.update(*arguments, **more)
    return db


class TestMappingProtocol(mapping_tests.BasicTestMappingProtocol):  # type: ignore[misc,name-defined]
    """As CPython's test_os does for os.environ: same tests, our type, keys and values that it takes."""

    type2test = staticmethod(_store)

    def _reference(self) -> dict[str, Any]:
        return {"key1": "value1", "key2": 2, "key3": [1, "2", 3.0]}

    def tearDown(self) -> None:
        while _opened:
            _opened.pop().close()


def test_the_suite_is_not_empty() -> None:
    names = unittest.defaultTestLoader.getTestCaseNames(TestMappingProtocol)
    assert len(names) >= 8, names
