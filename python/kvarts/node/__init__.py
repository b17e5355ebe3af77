"""One process of a cluster: wires the muscle, the replicator and the outside together, and owns their loop."""
