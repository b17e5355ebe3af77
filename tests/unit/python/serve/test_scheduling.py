"""Threads of a node that wake up push nobody off a processor: ADR 0025."""

import os
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from tests.servers import Cluster


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has this way of sharing processors")
def test_threads_of_a_node_interrupt_nobody() -> None:
    with Cluster(1) as cluster:
        (pid,) = (node["pid"] for node in cluster.nodes)
        found = set()
        for task in Path(f"/proc/{pid}/task").iterdir():
            # Some threads end meanwhile.
            with suppress(ProcessLookupError):
                found.add(os.sched_getscheduler(int(task.name)))
        assert found == {os.SCHED_BATCH}
