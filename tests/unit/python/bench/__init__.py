"""The bench: its arithmetic, its plan, one pass of it."""
