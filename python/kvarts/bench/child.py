"""One repetition in a process of its own: `python -m kvarts.bench.child` reads a task on stdin, prints what it took."""

import gc
import json
import sys
from pathlib import Path
from typing import Any

from kvarts.bench.peers import BY_NAME
from kvarts.bench.workloads import Counts, Data, Stopwatch, run_main, run_synced


def repeat_once(task: dict[str, Any]) -> dict[str, Any]:
    """Run every operation once on one peer. `task`: peer, value_bytes, seed, folder, counts."""
    peer = BY_NAME[task["peer"]]
    counts = Counts(**task["counts"])
    data = Data.make(counts.rows, task["value_bytes"], task["seed"])
    watch = Stopwatch()
    gc.disable()
    folder, synced = Path(task["folder"]) / "main", Path(task["folder"]) / "synced"
    for place in (folder, synced):
        place.mkdir(parents=True)
    engine = peer.open(folder, False)
    run_main(engine, data, counts, watch)
    engine.close()
    if peer.name != "dict":
        engine = peer.open(synced, True)
        run_synced(engine, data, counts, watch)
        engine.close()
    return {"unit_ns": watch.unit_ns, "disk_bytes": _allocated(folder)}


def _allocated(folder: Path) -> int:
    return sum(file.stat().st_blocks * 512 for file in folder.rglob("*") if file.is_file())


if __name__ == "__main__":
    json.dump(repeat_once(json.load(sys.stdin)), sys.stdout)
