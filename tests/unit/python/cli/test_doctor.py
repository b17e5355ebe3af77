"""`doctor`: each verdict from the facts that lead to it, the facts from files that say them, and the command itself."""

import json
import os
import stat
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from kvarts.cli.doctor.facts import (
    Clock,
    Disk,
    Exposure,
    Facts,
    Limits,
    Memory,
    Place,
    SyncCost,
    Versions,
)
from kvarts.cli.doctor.gather import _mount_of, group_limit, look_at_memory, try_syncs
from kvarts.cli.doctor.judge import Check, judge, worst
from tests.unit.python.cli.conftest import Kvarts, on_a_terminal

GIB = 1 << 30
GOOD = Facts(
    place=Place(path="/s", kind="store", measured="/s", tables=3),
    disk=Disk(kind="ext4", mount="/", options=("rw",), free_bytes=50 * GIB, total_bytes=99 * GIB, free_files=1_000_000),
    sync=SyncCost(count=200, median_ns=400_000, p99_ns=2_000_000),
    limits=Limits(open_files=20_000, address_bytes=None, file_bytes=None),
    memory=Memory(
        total_bytes=16 * GIB,
        available_bytes=12 * GIB,
        swap_total_bytes=2 * GIB,
        swap_free_bytes=2 * GIB,
        swappiness=60,
        overcommit=0,
        group_bytes=None,
    ),
    clock=Clock(source="tsc", unix_s=1_790_000_000.0),
    versions=Versions(kvarts="1.0", native="1.0", python="3.12", threads_free=False),
)


def judged(part: str, **changes: Any) -> dict[str, Check]:
    """The judgement of good facts but for some of one part."""
    facts = replace(GOOD, **{part: replace(getattr(GOOD, part), **changes)})
    return {check.name: check for check in judge(facts)}


def test_good_facts_are_all_well() -> None:
    checks = judge(GOOD)
    assert worst(checks) == "ok"
    assert all(not check.cure for check in checks)


@pytest.mark.parametrize(
    ("part", "changes", "check", "verdict", "says"),
    [
        ("versions", {"native": "", "error": "no such file"}, "versions", "fail", "no such file"),
        ("versions", {"native": "0.9"}, "versions", "fail", "0.9"),
        ("versions", {"threads_free": True}, "versions", "warn", "GIL"),
        ("place", {"kind": "directory"}, "place", "warn", "other things"),
        ("place", {"kind": "empty"}, "place", "ok", "can be made"),
        ("place", {"kind": "node"}, "place", "ok", "node"),
        ("place", {"kind": "nothing"}, "place", "ok", "does not exist"),
        ("place", {"held_by": 77}, "place", "ok", "process 77"),
        ("place", {"tables": 30_000}, "open files", "fail", "needs 30,064"),
        ("disk", {"options": ("ro",)}, "file system", "fail", "read-only"),
        ("disk", {"kind": "tmpfs"}, "file system", "warn", "memory"),
        ("disk", {"kind": "nfs4"}, "file system", "warn", "network"),
        ("disk", {"kind": "fuse.sshfs"}, "file system", "warn", "network"),
        ("disk", {"kind": "vfat"}, "file system", "warn", "modes"),
        ("disk", {"kind": "overlay"}, "file system", "warn", "container"),
        ("disk", {"options": ("rw", "nobarrier")}, "file system", "warn", "nobarrier"),
        ("disk", {"kind": ""}, "file system", "ok", "unknown"),
        ("disk", {"free_bytes": 63 << 20}, "space", "fail", "no room"),
        ("disk", {"free_bytes": 512 << 20}, "space", "warn", "free"),
        ("disk", {"free_files": 10}, "space", "warn", "10 more files"),
        ("disk", {"free_files": None}, "space", "ok", "free"),
        ("sync", {"count": 0, "error": "Permission denied"}, "sync", "fail", "Permission denied"),
        ("sync", {"median_ns": 30_000_000}, "sync", "warn", "30 ms"),
        ("sync", {"p99_ns": 900_000_000}, "sync", "warn", "900 ms"),
        ("sync", {"median_ns": 900}, "sync", "warn", "no disk"),
        ("limits", {"open_files": 50}, "open files", "fail", "needs 67"),
        ("limits", {"open_files": 256}, "open files", "warn", "256"),
        ("limits", {"open_files": None}, "open files", "ok", "no limit"),
        ("limits", {"file_bytes": 1 << 20}, "sizes", "fail", "log"),
        ("limits", {"address_bytes": 300 << 20}, "sizes", "fail", "addresses"),
        ("memory", {"total_bytes": 128 << 20}, "memory", "fail", "machine"),
        ("memory", {"group_bytes": 128 << 20}, "memory", "fail", "control group"),
        ("memory", {"group_bytes": 300 << 20}, "memory", "warn", "control group"),
        ("memory", {"total_bytes": None}, "memory", "ok", "unknown"),
        ("memory", {"swap_free_bytes": GIB}, "swap", "warn", "are used"),
        ("memory", {"swap_total_bytes": 0, "swap_free_bytes": 0}, "swap", "ok", "none"),
        ("memory", {"overcommit": 2, "available_bytes": 100 << 20}, "overcommit", "warn", "promises"),
        ("memory", {"overcommit": 2}, "overcommit", "ok", "promises"),
        ("clock", {"unix_s": 1.0}, "clock", "fail", "2024"),
        ("clock", {"source": "hpet"}, "clock", "warn", "hpet"),
        ("clock", {"source": ""}, "clock", "ok", "set"),
    ],
)
def test_each_fact_has_its_verdict(part: str, changes: dict[str, Any], check: str, verdict: str, says: str) -> None:
    checks = judged(part, **changes)
    assert checks[check].verdict == verdict
    assert says in checks[check].what
    assert bool(checks[check].cure) == (verdict != "ok")
    assert [other.name for other in checks.values() if other.verdict != "ok" and other.name != check] == []


def test_a_sync_in_memory_may_cost_nothing() -> None:
    facts = replace(GOOD, disk=replace(GOOD.disk, kind="tmpfs"), sync=replace(GOOD.sync, median_ns=900))
    assert {check.name for check in judge(facts) if check.verdict != "ok"} == {"file system"}


def test_exposures_are_judged_one_by_one_and_many_are_counted() -> None:
    exposures = tuple(Exposure(path=f"/s/{n}", what="is open", cure="chmod", refused=n == 7) for n in range(9))
    checks = [check for check in judge(replace(GOOD, exposures=exposures)) if check.name == "permissions"]
    assert [check.verdict for check in checks] == ["warn"] * 5 + ["fail"]
    assert checks[-1].what == "4 more files like these"
    few = [check for check in judge(replace(GOOD, exposures=exposures[:2])) if check.name == "permissions"]
    assert [check.what for check in few] == ["/s/0 is open", "/s/1 is open"]


MOUNTS = """\
22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/root rw,discard
30 22 0:30 / /data rw,noexec - xfs /dev/sdb rw,nobarrier
31 30 0:31 / /data/with\\040space rw - tmpfs none rw
32 22 0:32 / /database rw - nfs4 host:/x rw
"""


def test_mount_is_the_longest_that_covers_the_path() -> None:
    assert _mount_of("/data/s", MOUNTS) == ("/data", "xfs", ("nobarrier", "noexec", "rw"))
    assert _mount_of("/data/with space/s", MOUNTS)[:2] == ("/data/with space", "tmpfs")
    assert _mount_of("/dat", MOUNTS)[:2] == ("/", "ext4")
    assert _mount_of("/x", "") == ("", "", ())


def test_limit_of_a_control_group_is_the_lowest_above(tmp_path: Path) -> None:
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    (inner / "memory.max").write_text("max\n")
    assert group_limit("0::/a/b\n", tmp_path) is None
    (tmp_path / "a" / "memory.max").write_text("1048576\n")
    assert group_limit("0::/a/b\n", tmp_path) == 1 << 20
    old = tmp_path / "memory" / "c"
    old.mkdir(parents=True)
    (old / "memory.limit_in_bytes").write_text(f"{(1 << 63) - 4096}\n")
    assert group_limit("5:cpu,memory:/c\n6:pids:/c\n", tmp_path) is None
    (old / "memory.limit_in_bytes").write_text("4096\n")
    assert group_limit("5:cpu,memory:/c\n", tmp_path) == 4096


def test_memory_is_read_from_what_the_kernel_says(tmp_path: Path) -> None:
    (tmp_path / "meminfo").write_text("MemTotal: 1024 kB\nMemAvailable: 512 kB\nSwapTotal: 0 kB\nSwapFree: 0 kB\n")
    (tmp_path / "sys" / "vm").mkdir(parents=True)
    (tmp_path / "sys" / "vm" / "overcommit_memory").write_text("2\n")
    found = look_at_memory(tmp_path)
    assert (found.total_bytes, found.available_bytes, found.swap_total_bytes) == (1 << 20, 1 << 19, 0)
    assert (found.overcommit, found.swappiness, found.group_bytes) == (2, None, None)


def test_syncs_are_tried_in_the_place_and_leave_nothing(tmp_path: Path) -> None:
    told: list[int] = []
    modes: set[int] = set()

    def progress(done: int, _total: int) -> None:
        told.append(done)
        modes.update(stat.S_IMODE(file.stat().st_mode) for file in tmp_path.iterdir())

    found = try_syncs(str(tmp_path), progress)
    assert 0 < found.median_ns <= found.p99_ns
    assert told == list(range(1, found.count + 1))
    assert modes == {0o600}
    assert list(tmp_path.iterdir()) == []


def test_place_that_takes_no_file_is_told(tmp_path: Path) -> None:
    assert try_syncs(str(tmp_path / "nothing"), lambda *_: None).error == "No such file or directory"


def test_command_judges_a_store_and_mends_it(kvarts: Kvarts, tmp_path: Path) -> None:
    kvarts("put", "demo", "hello", "world")
    (tmp_path / "demo").chmod(0o777)
    done = kvarts("doctor", "demo")
    assert done.code == 1
    assert "can be written by others" in done.out
    assert "KV-2009" in kvarts("get", "demo", "hello").err
    mended = kvarts("doctor", "demo", "--fix-permissions", "--json")
    found = {row["name"]: row["verdict"] for row in mended.json["checks"]}
    assert found["permissions"] == "ok"
    assert mended.json["facts"]["place"]["kind"] == "store"
    assert stat.S_IMODE((tmp_path / "demo").stat().st_mode) == 0o755
    assert kvarts("get", "demo", "hello").out == "world"


def test_command_judges_a_place_where_nothing_is(kvarts: Kvarts) -> None:
    found = json.loads(kvarts("doctor", "not/there", "--json").out)
    assert found["facts"]["place"]["kind"] == "nothing"
    assert kvarts("doctor", "--memory", "nonsense").code == 2
    assert kvarts("doctor", "--memory", "1KiB").code == 2


def test_command_wraps_on_a_narrow_terminal(tmp_path: Path) -> None:
    shown = on_a_terminal(tmp_path, "doctor", ".", columns=60)
    assert max(map(len, shown.splitlines())) <= 60


def test_unsafe_store_and_a_pipe_for_a_lock_are_told_as_json(kvarts: Kvarts, tmp_path: Path) -> None:
    kvarts("put", "demo", "hello", "world")
    (tmp_path / "demo").chmod(0o777)
    (tmp_path / "demo" / "LOCK").unlink()
    os.mkfifo(tmp_path / "demo" / "LOCK", 0o600)
    told = kvarts("doctor", "demo", "--json")
    assert told.code == 1
    found = {check["name"]: check["verdict"] for check in json.loads(told.out)["checks"]}
    assert found["permissions"] == "fail"
    assert kvarts("inspect", "store", "demo", "--json").json["lock"] is None
