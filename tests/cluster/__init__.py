"""Real nodes in namespaces of their own: cut, delayed, paused, killed; what clients saw must be linearizable."""
