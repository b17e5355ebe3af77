"""A cluster beside its peers: etcd with three nodes, redis with one; everything synced to disk, all on this machine.

`workloads` says what is done and how it is timed, `servers` starts and ends what is measured, `clients` speaks to it,
`peers` puts the two together, `child` does one repetition, `runner` plans, `report` and `plot` show.
"""
