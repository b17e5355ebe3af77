"""Worlds from seeds: nothing that Raft promises may break, whatever happens to nodes, disks and networks."""
