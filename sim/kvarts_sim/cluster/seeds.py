"""One root seed gives every actor its own randomness by name, so that a new actor does not reshuffle the others."""

from __future__ import annotations

import random


class Seeds:
    """Randomness by name."""

    def __init__(self, root: int) -> None:
        self.root = root

    def stream(self, *name: object) -> random.Random:
        """Return a new stream; the same name always gives the same one."""
        return random.Random("/".join(map(str, (self.root, *name))))
