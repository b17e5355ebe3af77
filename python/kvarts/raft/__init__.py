"""Raft as a pure core: no clock, socket, file, thread or randomness but an injected one.

Source: Ongaro and Ousterhout, "In Search of an Understandable Consensus Algorithm" (the paper) and Ongaro's thesis.
The behaviour follows etcd/raft, whose published scripts judge it; docs/internals/raft.md lists every deviation.
"""
