"""What happened, as text: the last lines are kept for people, all of them go into a digest for the replay test."""

from __future__ import annotations

import hashlib
from collections import deque

from kvarts_sim.cluster.agenda import SECOND, Agenda


class Timeline:
    """Lines with the virtual time and who acted."""

    def __init__(self, agenda: Agenda, keep: int = 400) -> None:
        self._agenda = agenda
        self._lines: deque[str] = deque(maxlen=keep)
        self._digest = hashlib.sha256()
        self.count = 0

    def note(self, who: str, what: str) -> None:
        """Add a line."""
        line = f"{self._agenda.now_us / SECOND:12.6f} {who:>4} {what}"
        self._lines.append(line)
        self._digest.update(line.encode())
        self.count += 1

    @property
    def digest(self) -> str:
        """A hash of every line since the beginning."""
        return self._digest.hexdigest()

    def tail(self, count: int) -> list[str]:
        """Return the last lines."""
        return list(self._lines)[-count:]
