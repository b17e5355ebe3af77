"""Runs the published scripts of etcd-io/raft against `kvarts.raft`: `python -m kvarts_sim.etcd_scripts FILE…`."""
