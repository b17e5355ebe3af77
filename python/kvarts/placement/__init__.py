"""Where replicas and leaders should lie, and the steps that bring them there without losing a quorum. Pure."""
