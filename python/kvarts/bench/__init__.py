"""Floor 7: measuring ours beside the peers: one process per repetition, peers interleaved, equal durability.

`workloads` says what is done, `peers` to whom, `child` does it once, `runner` does it often, `statistics` (pure) sums
it up, `report` and `plot` show it.
"""
