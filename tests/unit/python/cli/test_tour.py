"""The tour runs whole, in its JSON form, and its checks can fail."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from kvarts.cli.tour.corpus import find
from tests.unit.python.cli.conftest import Kvarts, environment


def test_tour_holds_every_check(kvarts: Kvarts, tmp_path: Path) -> None:
    done = kvarts("tour", "--json", "--keep", "kept")
    assert done.code == 0, done.err
    found = done.json
    assert found["ok"] is True
    assert found["steps"]["load"]["files"] == found["steps"]["read_back"]["same"] > 500
    assert found["steps"]["kill"]["exit_code"] == -9
    assert found["steps"]["kill"]["intact"] == found["steps"]["kill"]["acknowledged"] >= 20_000
    assert found["seconds"] < 60
    assert (tmp_path / "kept").is_dir()
    assert kvarts("tour", "--keep", "kept").code == 2


TAKE_CTRL_C = """
import runpy, signal
signal.signal(signal.SIGINT, signal.default_int_handler)
runpy.run_module("kvarts", run_name="__main__", alter_sys=True)
"""
"""What runs in the background of a shell script starts with Ctrl-C ignored, and so would the tour of this test."""


def test_ctrl_c_ends_the_tour_quietly_and_leaves_no_store(tmp_path: Path) -> None:
    command = [sys.executable, "-c", TAKE_CTRL_C, "tour"]
    # Ctrl-C between the open and the `with` of a read leaves that file to the collector, which would warn of it.
    world = {**environment(), "PYTHONWARNINGS": "error,ignore::ResourceWarning", "TMPDIR": str(tmp_path)}
    with subprocess.Popen(command, env=world, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as child:
        assert child.stdout is not None
        assert child.stderr is not None
        assert any("✔".encode() in line for line in child.stdout)
        child.send_signal(signal.SIGINT)
        child.stdout.read()
        assert child.stderr.read().split() == [b"interrupted"]
        assert child.wait() == 130
    assert list(tmp_path.iterdir()) == []


def test_corpus_is_every_file_in_key_order_but_caches_and_links(tmp_path: Path) -> None:
    for name in ("b.py", "a/x.py", "a/__pycache__/x.pyc", "site-packages/p.py", "a.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(name.encode())
    (tmp_path / "link.py").symlink_to("a.py")
    corpus = find(tmp_path)
    assert list(corpus.sizes) == ["a.py", "a/x.py", "b.py"]
    assert corpus.total_bytes == len("a.pya/x.pyb.py")
    assert corpus.under("a/") == ["a/x.py"]


@pytest.mark.parametrize(("files_max", "folder"), [(10, "big/"), (2, "small/")])
def test_busiest_folder_has_a_bound(tmp_path: Path, files_max: int, folder: str) -> None:
    for name in ("big/1", "big/2", "big/3", "small/1"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert find(tmp_path).busiest_folder(files_max) == folder
