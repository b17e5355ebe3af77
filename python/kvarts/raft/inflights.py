"""The window of appends sent to a follower and not yet acknowledged, bounded in messages and in bytes."""

from __future__ import annotations

from collections import deque

from kvarts.raft.ids import LogIndex


class Inflights:
    """Appends in flight to one follower, oldest first.

    The bounds are soft by one message: a window that is not full takes one more whatever its size, or an entry larger
    than the window would never be sent.
    """

    __slots__ = ("_bytes", "_bytes_max", "_count_max", "_window")

    def __init__(self, count_max: int, bytes_max: int | None = None) -> None:
        self._count_max = count_max
        self._bytes_max = bytes_max
        self._bytes = 0
        self._window: deque[tuple[LogIndex, int]] = deque()

    def __len__(self) -> int:
        return len(self._window)

    @property
    def bytes(self) -> int:
        """Bytes of payload in flight."""
        return self._bytes

    @property
    def is_full(self) -> bool:
        """True if nothing more may be sent before something is acknowledged."""
        if len(self._window) >= self._count_max:
            return True
        return self._bytes_max is not None and self._bytes >= self._bytes_max

    def add(self, last: LogIndex, size: int) -> None:
        """Note an append whose last entry is `last` and whose payload has `size` bytes."""
        self._window.append((last, size))
        self._bytes += size

    def free_to(self, index: LogIndex) -> None:
        """Forget the appends that end at or before `index`."""
        window = self._window
        while window and window[0][0] <= index:
            self._bytes -= window.popleft()[1]

    def clear(self) -> None:
        """Forget all."""
        self._window.clear()
        self._bytes = 0
