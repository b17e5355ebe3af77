"""A node that cannot go on for want of room: it serves nothing, waits for some, and begins again by itself."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from threading import Event

from kvarts.node.http import PROMETHEUS, Page, PageServer, checks_page
from kvarts.node.metrics import Sample, room_samples, text_of
from kvarts.node.news import News

ROOM_BYTES = 192 << 20
"""Free bytes that a start asks for: three log files (what recovery writes, what it goes on in, the next one)."""
PAUSE_S = 1.0
PAUSE_S_MAX = 32.0


class Room:
    """Knows how often a node had to wait, so that one that cannot go on all the same asks ever more seldom."""

    def __init__(self, data: Path) -> None:
        self._data = data
        self.stop = Event()
        """Set where the node is to end."""
        self._pause_s = PAUSE_S

    def free_bytes(self) -> int:
        """Return what the file system has left for the node."""
        return shutil.disk_usage(self._data).free

    def samples(self, *, paused: bool) -> Iterator[Sample]:
        """Return the figures of it."""
        return room_samples(paused=paused, free_bytes=self.free_bytes())

    def went_well(self) -> None:
        """A start led to a node that served: the next wait is short again."""
        self._pause_s = PAUSE_S

    def wait(self, reason: str, news: News, http: str) -> bool:
        """Wait until there is room; meanwhile /livez is well, /readyz is not. Return False where a stop is wanted."""
        news.say("paused", reason=reason, free_bytes=self.free_bytes(), needed_bytes=ROOM_BYTES)
        host, _, port = http.rpartition(":")
        pages: dict[str, Page] = {
            "/metrics": lambda _verbose: (200, PROMETHEUS, text_of(self.samples(paused=True))),
            "/livez": checks_page(lambda: {"loop": "ok"}),
            "/readyz": checks_page(lambda: {"room": f"{reason}; {self.free_bytes()} of {ROOM_BYTES} bytes are free"}),
        }
        server = PageServer(host, int(port), pages)
        try:
            pause_s, self._pause_s = self._pause_s, min(2 * self._pause_s, PAUSE_S_MAX)
            while not self.stop.wait(pause_s):
                if self.free_bytes() >= ROOM_BYTES:
                    news.say("resumed", free_bytes=self.free_bytes())
                    return True
        finally:
            server.close()
        return False
