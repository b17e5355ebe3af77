"""Nobody but the owner writes or reads a store: modes whatever the umask, refusals with their cures, planted traps."""

import os
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import kvarts
from tests.processes import python, surroundings
from tests.servers import Cluster

UMASKS = [0o000, 0o022, 0o077, 0o277, 0o777]
NOBODY = 65534

MAKE = """
import os, sys, kvarts
from kvarts.cli.app import run

def make(folder):
    os.chdir(folder)
    with kvarts.open("s", memory="1MiB", log_bytes=1 << 16) as db:
        for number in range(3000):
            db[b"%d" % number] = bytes(100)
        db.flush()
        db.compact()
        db.checkpoint("copy")
        db[b"last"] = b"1"
        print(*sorted(os.listdir("s")), flush=True)
        modes = {name: os.stat(os.path.join("s", name)).st_mode for name in os.listdir("s")}
        assert {oct(mode & 0o7777) for mode in modes.values()} == {"0o600"}, modes
    assert run(["export", "s", "rows.jsonl"]) == 0
    assert run(["put", "other", "a", "1"]) == 0
    kvarts.open("copy").close()

make(sys.argv[1])  # Which loads all that is needed.
os.umask(int(sys.argv[3]))
if os.geteuid() == 0:
    os.setgid(65534)
    os.setuid(65534)  # Root may do all, and would not notice what a umask took from the owner.
make(sys.argv[2])
"""


def _modes(top: Path) -> dict[str, str]:
    return {str(path.relative_to(top)): oct(stat.S_IMODE(path.lstat().st_mode)) for path in top.rglob("*")}


@pytest.fixture
def others_may_enter() -> Iterator[Path]:
    """A directory that every user can reach: pytest's own are its user's alone."""
    with tempfile.TemporaryDirectory(prefix="kvarts-modes-") as folder:
        os.chmod(folder, 0o711)
        yield Path(folder)


@pytest.mark.parametrize("umask", UMASKS, ids=oct)
def test_modes_are_the_owners_only_whatever_the_umask(tmp_path: Path, others_may_enter: Path, umask: int) -> None:
    top, first = others_may_enter / "top", tmp_path / "first"
    top.mkdir()
    first.mkdir()
    if os.geteuid() == 0:
        os.chown(top, NOBODY, NOBODY)
    done = subprocess.run(
        python("-c", MAKE, str(first), str(top), str(umask)),
        capture_output=True,
        text=True,
        check=False,
        **surroundings(),
    )
    assert done.returncode == 0, done.stderr
    assert {"LOCK", "MANIFEST"} <= set(done.stdout.split())
    modes = _modes(top)
    assert {modes[name] for name in ("s", "copy", "other")} == {"0o700"}
    files = {name: mode for name, mode in modes.items() if name not in ("s", "copy", "other")}
    assert set(files.values()) == {"0o600"}, files


def test_a_nodes_files_are_its_owners_only(monkeypatch: pytest.MonkeyPatch) -> None:
    before = os.umask(0)
    try:
        with Cluster(1) as cluster, kvarts.open(f"{cluster.uri}/default") as db:
            db[b"a"] = b"1"
            modes = _modes(Path(cluster.folder))
            directories = {name for name in modes if (Path(cluster.folder) / name).is_dir()}
    finally:
        os.umask(before)
    assert {modes[name] for name in directories} == {"0o700"}
    assert {name: mode for name, mode in modes.items() if name not in directories and mode != "0o600"} == {}


@pytest.fixture
def store(tmp_path: Path) -> Path:
    path = tmp_path / "s"
    with kvarts.open(path) as db:
        db[b"a"] = b"1"
        db.flush()
    return path


def _table(store: Path) -> Path:
    return next(store.glob("*.table"))


@pytest.mark.parametrize("mode", [0o770, 0o702, 0o777, 0o1777, 0o720], ids=oct)
def test_directory_that_others_can_write_is_refused_and_mended(store: Path, mode: int) -> None:
    store.chmod(mode)
    with pytest.raises(kvarts.UnsafeStore, match="KV-2009") as caught:
        kvarts.open(store)
    assert caught.value.filename == str(store)
    assert f"kvarts doctor {store} --fix-permissions" in str(caught.value.hint)
    assert stat.S_IMODE(store.stat().st_mode) == mode, "nothing was changed"
    with kvarts.open(store, fix_permissions=True) as db:
        assert db[b"a"] == b"1"
    assert not store.stat().st_mode & 0o022
    kvarts.open(store).close()


@pytest.mark.parametrize("name", ["MANIFEST", "LOCK", "000099.log", "*.table"])
def test_file_that_others_can_write_is_refused_and_mended(store: Path, name: str) -> None:
    file = _table(store) if name == "*.table" else store / name
    file.touch()
    file.chmod(0o620)
    with pytest.raises(kvarts.UnsafeStore, match=file.name):
        kvarts.open(store)
    with kvarts.open(store, fix_permissions=True) as db:
        assert db[b"a"] == b"1"
    assert not file.exists() or not file.stat().st_mode & 0o022


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_what_belongs_to_another_user_is_refused_and_not_taken(store: Path) -> None:
    for path in (store / "MANIFEST", store):
        os.chown(path, NOBODY, -1)
        for fix in (False, True):
            with pytest.raises(kvarts.UnsafeStore, match=f"belongs to user {NOBODY}") as caught:
                kvarts.open(store, fix_permissions=fix)
            assert "chown" in str(caught.value.hint)
        assert path.stat().st_uid == NOBODY


def test_what_everybody_can_read_is_told_and_opened(store: Path) -> None:
    store.chmod(0o755)
    _table(store).chmod(0o644)
    with pytest.warns(kvarts.ExposedWarning, match="chmod o-rwx"):
        kvarts.open(store).close()
    kvarts.open(store, fix_permissions=True).close()
    assert stat.S_IMODE(store.stat().st_mode) == 0o750
    kvarts.open(store).close()


def test_the_group_may_be_given_reading(store: Path) -> None:
    store.chmod(0o750)
    _table(store).chmod(0o640)
    with kvarts.open(store) as db:
        assert db[b"a"] == b"1"


def test_empty_directory_loses_writing_by_others_and_keeps_the_rest(tmp_path: Path) -> None:
    path = tmp_path / "s"
    path.mkdir()
    path.chmod(0o775)
    kvarts.open(path).close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o755


def _link(path: Path) -> None:
    path.symlink_to("/etc/hostname")


def _socket(path: Path) -> None:
    # Bound by a short name: that of a socket has some hundred bytes.
    here = os.getcwd()
    os.chdir(path.parent)
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(path.name)
    os.chdir(here)


TRAPS: dict[str, Callable[[Path], object]] = {
    "link": _link,
    "link to nothing": lambda path: path.symlink_to("nothing"),
    "pipe": lambda path: os.mkfifo(path, 0o600),
    "socket": _socket,
    "directory": lambda path: path.mkdir(0o700),
}


@pytest.mark.parametrize("trap", TRAPS)
@pytest.mark.parametrize("name", ["MANIFEST", "MANIFEST.tmp", "LOCK", "000099.log", "*.table"])
@pytest.mark.parametrize("fix", [False, True], ids=["", "fix"])
def test_what_is_no_file_in_place_of_one_is_refused(store: Path, trap: str, name: str, fix: bool) -> None:
    file = _table(store) if name == "*.table" else store / name
    file.unlink(missing_ok=True)
    TRAPS[trap](file)
    with pytest.raises(kvarts.UnsafeStore, match=f"{file.name} is a") as caught:
        kvarts.open(store, fix_permissions=fix)
    assert caught.value.hint


@pytest.mark.skipif(os.geteuid() != 0, reason="only root makes devices")
def test_a_device_in_place_of_a_file_is_refused(store: Path) -> None:
    (store / "LOCK").unlink()
    try:
        os.mknod(store / "LOCK", 0o600 | stat.S_IFCHR, os.makedev(1, 3))
    except PermissionError:
        pytest.skip("no devices can be made here")
    with pytest.raises(kvarts.UnsafeStore, match="LOCK is a device"):
        kvarts.open(store)


def test_lock_with_another_name_is_not_written(store: Path, tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("mine")
    precious.chmod(0o600)
    (store / "LOCK").unlink()
    os.link(precious, store / "LOCK")
    with pytest.raises(kvarts.UnsafeStore, match="other names") as caught:
        kvarts.open(store)
    assert caught.value.hint == f"rm {store / 'LOCK'}"
    assert precious.read_text() == "mine"


def test_store_reached_through_a_link_is_opened(store: Path, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(store)
    with kvarts.open(link) as db:
        assert db[b"a"] == b"1"


def test_directory_swapped_while_open_is_not_written(store: Path, tmp_path: Path) -> None:
    with kvarts.open(store, memory="1MiB", log_bytes=1 << 16) as db:
        store.rename(tmp_path / "moved")
        store.mkdir()
        for number in range(3000):
            db[b"%d" % number] = bytes(100)
        db.flush()
        db.compact()
        assert db.verify().ok
    assert list(store.iterdir()) == []
    with kvarts.open(tmp_path / "moved") as db:
        assert len(db) == 3001


def test_checkpoint_into_the_store_itself_is_refused(store: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(store)
    with kvarts.open(store) as db:
        for target in (store / "copy", tmp_path / "link" / "copy", store / ".." / "s" / "copy"):
            with pytest.raises(kvarts.InvalidArgument, match="in the store itself"):
                db.checkpoint(target)
        assert db.checkpoint(tmp_path / "s-copy")


def test_command_line_tells_of_what_everybody_can_read(store: Path) -> None:
    store.chmod(0o755)
    _table(store).chmod(0o644)
    command = [sys.executable, "-m", "kvarts", "get", str(store), "a"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, **surroundings())
    assert done.stdout == "1"
    assert done.stderr.startswith("warning  ")
    assert len(done.stderr.splitlines()) == 1
