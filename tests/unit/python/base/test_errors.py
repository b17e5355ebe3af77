"""Codes and flags come from one table; the engine's failures become our errors with their fields."""

import errno
from typing import Any

import pytest

from kvarts.base import errors
from kvarts.base.error_table import BY_NAME, ERRORS
from kvarts.base.errors import KvartsError, explain, from_engine


def kinds(of: type[KvartsError] = KvartsError) -> list[type[KvartsError]]:
    """All error classes of ours, the root first."""
    return [of, *(kind for sub in of.__subclasses__() if sub.__module__ == errors.__name__ for kind in kinds(sub))]


def test_table_and_tree_name_the_same_errors() -> None:
    assert {kind.__name__ for kind in kinds()} == set(BY_NAME)
    assert len(ERRORS) == len(BY_NAME)


@pytest.mark.parametrize("kind", kinds(), ids=lambda kind: kind.__name__)
def test_class_has_the_code_and_flags_of_the_table(kind: type[KvartsError]) -> None:
    info = BY_NAME[kind.__name__]
    assert (kind.code, kind.retryable, kind.maybe_applied, kind.deterministic) == (
        info.code,
        info.retryable,
        info.maybe_applied,
        info.deterministic,
    )


def test_a_users_subclass_keeps_the_code() -> None:
    class Mine(errors.CodecError):
        pass

    assert Mine.code == "KV-1005"


@pytest.mark.parametrize("asked", ["KV-2003", "kv-2003", "2003", "LockedError", " KV-2003 "])
def test_explain_takes_code_number_or_name(asked: str) -> None:
    assert explain(asked).name == "LockedError"


def test_explain_of_an_unknown_code_offers_the_near_one() -> None:
    with pytest.raises(errors.InvalidArgument, match="did you mean LockedError"):
        explain("LokedError")
    with pytest.raises(errors.InvalidArgument, match="KV-1000 to KV-"):
        explain("?")


@pytest.mark.parametrize(
    ("kind", "bases"),
    [
        (errors.InvalidArgument, ValueError),
        (errors.WrongType, TypeError),
        (errors.KeyNotFound, KeyError),
        (errors.StorageFull, OSError),
        (errors.StoreNotFound, FileNotFoundError),
    ],
)
def test_errors_are_what_python_expects(kind: type[KvartsError], bases: type[Exception]) -> None:
    assert issubclass(kind, bases)


@pytest.mark.parametrize(
    ("holder", "pid", "argv"),
    [
        ('{"pid": 7, "argv": ["app.py", "-x"]}', 7, ("app.py", "-x")),
        ("", None, ()),
        ("7", None, ()),
        ('{"pid": "x", "argv": []}', None, ()),
        ('{"pid": 7}', None, ()),
    ],
)
def test_holder_of_the_lock_is_read_where_it_can_be(holder: str, pid: int | None, argv: tuple[str, ...]) -> None:
    error = from_engine("Locked", "", {"holder": holder, "path": "/s"})
    assert isinstance(error, errors.LockedError)
    assert (error.pid, error.argv if pid else ()) == (pid, argv)
    assert "/s" in str(error)


@pytest.mark.parametrize(
    ("kind", "fields", "name", "expected"),
    [
        ("StorageFull", {"path": "/s"}, "StorageFull", {"errno": errno.ENOSPC, "filename": "/s"}),
        ("Io", {"path": "/s", "errno": errno.EACCES}, "StorageError", {"errno": errno.EACCES, "filename": "/s"}),
        ("Io", {"path": "/s", "errno": None}, "StorageError", {"errno": 0}),
        ("NotFound", {"path": "/s"}, "StoreNotFound", {"errno": errno.ENOENT}),
        ("Corruption", {"file": "/s/1.table", "offset": 9}, "CorruptionError", {"file": "/s/1.table", "offset": 9}),
        ("NewerFormat", {"found": 2, "supported": 1}, "NewerFormat", {"found": 2, "supported": 1}),
        ("Poisoned", {}, "StoreFailed", {"maybe_applied": True}),
        ("Closed", {}, "ClosedError", {}),
        ("ItGrewInTheNight", {}, "KvartsError", {}),
    ],
)
def test_failure_of_the_engine(kind: str, fields: dict[str, Any], name: str, expected: dict[str, Any]) -> None:
    error = from_engine(kind, "what", fields)
    assert type(error).__name__ == name
    assert "what" in str(error)
    assert error.code in str(error)
    assert {field: getattr(error, field) for field in expected} == expected
