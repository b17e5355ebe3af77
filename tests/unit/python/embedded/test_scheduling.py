"""Who goes first on a crowded processor: compaction last, and threads of a node that wake up push nobody off."""

import os
import sys
from pathlib import Path

import pytest

import kvarts
from tests.servers import Cluster

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux has priorities of threads")


def _threads(pid: int) -> dict[str, set[int]]:
    """Return the names of a process' threads with the niceness of those that bear them."""
    found: dict[str, set[int]] = {}
    for task in Path(f"/proc/{pid}/task").iterdir():
        # The name in brackets may hold spaces; nice is field 19.
        nice = int((task / "stat").read_text().rpartition(")")[2].split()[16])
        found.setdefault((task / "comm").read_text().strip(), set()).add(nice)
    return found


def test_compaction_has_others_go_first(tmp_path: Path) -> None:
    usual = os.getpriority(os.PRIO_PROCESS, 0)
    with kvarts.open(tmp_path / "store") as db:
        db[b"a"] = b"1"
        nice = _threads(os.getpid())
        assert nice["kvarts-compact"] == {max(usual, 10)}
        assert nice["kvarts-flush"] == {usual}


def test_threads_of_a_node_interrupt_nobody() -> None:
    with Cluster(1) as cluster:
        (pid,) = (node["pid"] for node in cluster.nodes)
        threads = [int(task.name) for task in Path(f"/proc/{pid}/task").iterdir()]
        assert {os.sched_getscheduler(thread) for thread in threads} == {os.SCHED_BATCH}
        assert max(_threads(pid)["kvarts-compact"]) == 10
