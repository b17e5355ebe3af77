"""Where an export may go: it replaces nothing unasked, follows links, and writes devices and pipes as they are."""

import os
import stat
import threading
from pathlib import Path

import pytest

from kvarts.cli.sink import open_sink
from tests.unit.python.cli.conftest import Kvarts

LINE = '{"key": "k", "value": "v"}\n'


@pytest.fixture
def one(kvarts: Kvarts) -> Kvarts:
    """A store `demo` with k: v."""
    assert kvarts("put", "demo", "k", "v").code == 0
    return kvarts


def test_export_refuses_a_file_that_exists(one: Kvarts, tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text("mine")
    done = one("export", "demo", "rows.jsonl")
    assert done.code == 2
    assert "rows.jsonl exists" in done.err
    assert "--force" in done.err
    assert (tmp_path / "rows.jsonl").read_text() == "mine"


def test_export_with_force_replaces_a_file_and_keeps_its_mode(one: Kvarts, tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text("mine")
    (tmp_path / "rows.jsonl").chmod(0o640)
    assert one("export", "demo", "rows.jsonl", "--force").code == 0
    assert (tmp_path / "rows.jsonl").read_text() == LINE
    assert stat.S_IMODE((tmp_path / "rows.jsonl").stat().st_mode) == 0o640


@pytest.mark.parametrize("exists", [True, False])
def test_export_through_a_link_writes_its_target(one: Kvarts, tmp_path: Path, exists: bool) -> None:
    (tmp_path / "folder").mkdir()
    target = tmp_path / "folder/rows.jsonl"
    if exists:
        target.write_text("mine")
    (tmp_path / "link.jsonl").symlink_to(target)
    if exists:
        assert one("export", "demo", "link.jsonl").code == 2
    assert one("export", "demo", "link.jsonl", *(["--force"] if exists else [])).code == 0
    assert (tmp_path / "link.jsonl").is_symlink()
    assert target.read_text() == LINE
    assert list((tmp_path / "folder").iterdir()) == [target]


def test_export_to_a_device_writes_it_and_leaves_it(one: Kvarts, tmp_path: Path) -> None:
    (tmp_path / "full").symlink_to("/dev/full")
    (tmp_path / "null").symlink_to("/dev/null")
    assert one("export", "demo", "null").out == "exported 1 row\n"
    done = one("export", "demo", "full")
    assert (done.code, done.out) == (3, "")
    assert done.err == "error No space left on device: full\n"
    assert stat.S_ISCHR(os.stat("/dev/full").st_mode)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["demo", "full", "null"]


def test_export_to_a_fifo_reaches_its_reader(one: Kvarts, tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    got: list[str] = []
    reader = threading.Thread(target=lambda: got.append(fifo.read_text()))
    reader.start()
    assert one("export", "demo", "fifo").code == 0
    reader.join()
    assert got == [LINE]
    assert stat.S_ISFIFO(fifo.stat().st_mode)


def test_export_to_dev_stdout_is_an_export_to_stdout(one: Kvarts) -> None:
    assert one("export", "demo", "/dev/stdout").out == LINE


def test_export_that_fails_leaves_nothing_of_it(one: Kvarts, tmp_path: Path) -> None:
    assert one("export", "demo", "rows.jsonl", "--keyspace", "nowhere").code == 3
    with pytest.raises(RuntimeError), open_sink(str(tmp_path / "rows.jsonl")) as sink:
        sink.write(LINE)
        sink.flush()
        assert (tmp_path / "rows.jsonl.part").read_text() == LINE
        raise RuntimeError("broken off")
    assert [path.name for path in tmp_path.iterdir()] == ["demo"]


def test_export_does_not_take_the_unfinished_file_of_another(one: Kvarts, tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl.part").write_text("half")
    done = one("export", "demo", "rows.jsonl")
    assert done.code == 2
    assert "rows.jsonl.part exists" in done.err
    assert (tmp_path / "rows.jsonl.part").read_text() == "half"
    assert one("export", "demo", "rows.jsonl", "--force").code == 0
    assert (tmp_path / "rows.jsonl").read_text() == LINE
