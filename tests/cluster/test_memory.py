"""Many shards on one node: all of them together stay within its memory."""

import os
import random
from pathlib import Path

import kvarts
from kvarts.bench.cluster.servers import process_memory_bytes
from tests.servers import Cluster

MIB = 1 << 20
SHARDS = 64
MEMORY = 64 * MIB
"""What `kvarts dev` gives a node."""
DATA = 256 * MIB
VALUE_BYTES = 8 << 10
SHARD_BYTES = MIB
"""Threads, files, manifests and the first chunk of a memtable."""


def test_node_of_64_shards_holds_no_more_than_one_budget() -> None:
    rng = random.Random(7)
    with Cluster(1) as cluster:
        (node,) = cluster.nodes
        before = process_memory_bytes(node["pid"])
        with kvarts.open(cluster.uri, shards=SHARDS, timeout=60) as store:
            most = 0
            for first in range(0, DATA // VALUE_BYTES, 256):
                keys = range(first, first + 256)
                store.put_many((b"%08d" % number, rng.randbytes(VALUE_BYTES)) for number in keys)
                most = max(most, process_memory_bytes(node["pid"]))
            assert sum(1 for _ in store.items()) == DATA // VALUE_BYTES
            most = max(most, process_memory_bytes(node["pid"]))
        on_disk = sum(each.stat().st_size for each in Path(node["data"]).rglob("*.*") if each.is_file())
    assert on_disk > DATA // 2
    bound = before + MEMORY + MEMORY // 4 + SHARDS * SHARD_BYTES
    figure = f"{most // MIB} MiB of {bound // MIB}, began with {before // MIB}"
    print(f"figure: {SHARDS} shards, {DATA // MIB} MiB: {figure}")
    assert most < bound, f"{figure}; {os.cpu_count()} processors"
