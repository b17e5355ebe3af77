"""What a node tells operators: one JSON object per line, by default on stderr."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TextIO


class News:
    """Writes events. A reader that has gone is no reason to stop."""

    def __init__(self, out: TextIO, node: int, unix_ms: Callable[[], int]) -> None:
        self._out = out
        self._node = node
        self._unix_ms = unix_ms

    def say(self, event: str, **fields: object) -> None:
        """Write one event with its fields."""
        line = {"unix_ms": self._unix_ms(), "node": self._node, "event": event, **fields}
        try:
            self._out.write(json.dumps(line, default=str) + "\n")
            self._out.flush()
        except (OSError, ValueError):
            return
