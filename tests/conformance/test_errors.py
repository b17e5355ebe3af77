"""Errors of opening, and what every error carries."""

import inspect
import os
import sys
from pathlib import Path
from typing import Any

import pytest

import kvarts


def test_missing_parent_directory(tmp_path: Path) -> None:
    with pytest.raises(kvarts.StoreNotFound) as caught:
        kvarts.open(tmp_path / "no" / "store")
    assert isinstance(caught.value, FileNotFoundError)
    assert caught.value.hint
    assert not (tmp_path / "no").exists()


def test_create_false_makes_nothing(tmp_path: Path) -> None:
    with pytest.raises(kvarts.StoreNotFound):
        kvarts.open(tmp_path / "store", create=False)
    assert list(tmp_path.iterdir()) == []


def test_a_file_is_not_a_store(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(kvarts.NotAStore):
        kvarts.open(tmp_path / "file")
    assert (tmp_path / "file").read_text() == "x"


def test_nothing_can_be_made_under_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(kvarts.StoreNotFound) as caught:
        kvarts.open(tmp_path / "file" / "store")
    assert caught.value.hint == "a file lies there"


def test_a_link_to_nothing_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "gone")
    with pytest.raises(kvarts.StoreNotFound, match="symbolic link to nothing") as caught:
        kvarts.open(tmp_path / "link")
    assert caught.value.hint
    assert not (tmp_path / "gone").exists()


def test_a_path_like_that_gives_no_text_is_refused_as_a_wrong_type() -> None:
    class Odd:
        def __fspath__(self) -> Any:
            return 3

    with pytest.raises(kvarts.WrongType, match="__fspath__"):
        kvarts.open(Odd())


def test_a_copy_needs_a_directory_to_lie_in(tmp_path: Path) -> None:
    with kvarts.open(tmp_path / "store") as db, pytest.raises(kvarts.StoreNotFound) as caught:
        db.checkpoint(tmp_path / "no" / "copy")
    assert "hold the copy" in str(caught.value)
    assert str(tmp_path / "no") in (caught.value.hint or "")


def test_a_wrong_type_tells_of_codecs_and_a_closed_store_what_to_do(tmp_path: Path) -> None:
    db: Any = kvarts.open(tmp_path / "store")
    with pytest.raises(kvarts.WrongType) as caught:
        db["text"] = b"1"
    assert "kvarts.Str" in (caught.value.hint or "")
    db.close()
    with pytest.raises(kvarts.ClosedError) as closed:
        db.get(b"a")
    assert closed.value.hint


def test_a_directory_of_other_things_is_not_a_store(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(kvarts.NotAStore):
        kvarts.open(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_an_empty_directory_becomes_a_store(tmp_path: Path) -> None:
    with kvarts.open(tmp_path) as db:
        db[b"a"] = b"1"
    with kvarts.open(tmp_path, create=False) as db:
        assert db[b"a"] == b"1"


def test_second_opener_in_this_process(tmp_path: Path) -> None:
    with kvarts.open(tmp_path / "store"), pytest.raises(kvarts.LockedError) as caught:
        kvarts.open(tmp_path / "store")
    assert caught.value.pid == os.getpid()
    kvarts.open(tmp_path / "store").close()


def test_other_codecs_than_it_was_made_with(tmp_path: Path) -> None:
    kvarts.open(tmp_path / "store", key=kvarts.Str).close()
    with pytest.raises(kvarts.CodecMismatch) as caught:
        kvarts.open(tmp_path / "store")
    assert "Str" in (caught.value.hint or "")
    kvarts.open(tmp_path / "store", key=kvarts.Str).close()


@pytest.mark.parametrize(
    "options",
    [
        {"durability": "often"},
        {"memory": "much"},
        {"memory": 1000},
        {"memory": -1},
        {"memory": "9" * 400},
        {"memory": 10**5000},
        {"log_bytes": 1 << 40},
        {"block_bytes": 1},
        {"compression": "zip"},
        {"level_growth": 1},
        {"filter_bits": 99},
        {"sync_interval_ms": 0},
        {"memroy": "1GiB"},
    ],
    ids=lambda options: next(iter(options)),
)
def test_bad_option_is_named_and_opens_nothing(tmp_path: Path, options: dict[str, Any]) -> None:
    with pytest.raises(kvarts.InvalidArgument) as caught:
        kvarts.open(tmp_path / "store", **options)
    assert next(iter(options)) in str(caught.value)
    assert caught.value.hint
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize("target", [7, None, b"bytes"], ids=repr)
def test_target_of_wrong_type(target: Any) -> None:
    with pytest.raises(kvarts.WrongType):
        kvarts.open(target)


@pytest.mark.parametrize("target", ["", "kvarts:///space", "a\0b"], ids=repr)
def test_target_that_cannot_be(target: str) -> None:
    with pytest.raises(kvarts.InvalidArgument):
        kvarts.open(target)


@pytest.mark.parametrize("target", ["\ud800", "n" * 256], ids=["surrogate", "long"])
def test_name_that_no_file_has(tmp_path: Path, target: str) -> None:
    with pytest.raises((kvarts.InvalidArgument, kvarts.StorageError)) as caught:
        kvarts.open(tmp_path / target)
    assert isinstance(caught.value, kvarts.KvartsError)
    with kvarts.open(tmp_path / "store") as db, pytest.raises((kvarts.InvalidArgument, kvarts.StorageError)):
        db.checkpoint(tmp_path / target)


@pytest.mark.skipif(sys.platform != "linux", reason="file names are UTF-8 there")
def test_path_that_is_not_utf8(tmp_path: Path) -> None:
    path = os.fsdecode(bytes(tmp_path) + b"/\xff")
    with kvarts.open(path) as db:
        db[b"a"] = b"1"
        db.flush()
        db.checkpoint(path + "2")
        with pytest.raises(kvarts.LockedError):
            kvarts.open(path)
        assert "\n" not in repr(db)
    for stored in (path, Path(path + "2")):
        with kvarts.open(stored, create=False) as db:
            assert db[b"a"] == b"1"
    with pytest.raises(kvarts.StoreNotFound) as caught:
        kvarts.open(path + "3", create=False)
    assert caught.value.filename == path + "3"
    assert sorted(os.listdir(bytes(tmp_path))) == [b"\xff", b"\xff2"]


def _errors() -> list[type[kvarts.KvartsError]]:
    found = [getattr(kvarts, name) for name in kvarts.__all__]
    return [kind for kind in found if inspect.isclass(kind) and issubclass(kind, kvarts.KvartsError)]


@pytest.mark.parametrize("kind", _errors(), ids=lambda kind: kind.__name__)
def test_every_error_has_a_code_that_explain_knows(kind: type[kvarts.KvartsError]) -> None:
    info = kvarts.explain(kind.code)
    assert info.name == kind.__name__
    assert (info.retryable, info.maybe_applied, info.deterministic) == (
        kind.retryable,
        kind.maybe_applied,
        kind.deterministic,
    )


def test_explain_of_what_is_no_code() -> None:
    code: Any = 2003
    with pytest.raises(kvarts.WrongType):
        kvarts.explain(code)


def test_codes_are_distinct() -> None:
    codes = [kind.code for kind in _errors()]
    assert len(set(codes)) == len(codes)


@pytest.mark.parametrize("kind", _errors(), ids=lambda kind: kind.__name__)
def test_every_error_survives_a_pickle(kind: type[kvarts.KvartsError]) -> None:
    import pickle

    again = pickle.loads(pickle.dumps(kind("what")))
    assert type(again) is kind
    assert again.code == kind.code
