"""Floor 7: measuring ours beside the peers: one process per repetition, peers interleaved, equal durability.

`board` says what is measured (rows, bars, outcomes), `peers` on whom, `child` does it once, `runner` does it often,
`statistics` (pure) sums it up, `report` and `plot` show it. A bench is a file with a `runner.Bench` and a function
`repeat_once`: `embedded`, `scans`, `parallel`, `compression`, `large`, `opening`, `profile`. `founding` and `ycsb` run
in one process; `cluster` starts servers.
"""
