"""A node without room waits, says so to whoever asks, and goes on when there is room, unless it is to end."""

import io
import json
import urllib.error
import urllib.request
from pathlib import Path
from threading import Thread

import pytest

from kvarts.node.news import News
from kvarts.node.room import ROOM_BYTES, Room


class Measured(Room):
    """A room whose bytes a test says."""

    free = 0

    def free_bytes(self) -> int:
        """Return what the test said."""
        return self.free


def _told(out: io.StringIO) -> list[str]:
    return [json.loads(line)["event"] for line in out.getvalue().splitlines()]


def test_a_node_goes_on_when_there_is_room(tmp_path: Path) -> None:
    room, out = Measured(tmp_path), io.StringIO()
    room.free = ROOM_BYTES
    assert room.wait("no space left", News(out, 1, lambda: 0), "127.0.0.1:0")
    assert _told(out) == ["paused", "resumed"]


def test_a_node_that_waits_ends_when_told_to_and_is_alive_but_not_ready(tmp_path: Path) -> None:
    room, out = Measured(tmp_path), io.StringIO()
    answers: list[bool] = []
    # The port is free as far as anybody knows: the kernel gave it a moment ago.
    http = f"127.0.0.1:{_free_port()}"
    waits = Thread(target=lambda: answers.append(room.wait("no space left", News(out, 1, lambda: 0), http)))
    waits.start()
    try:
        assert _page(http, "/livez")[0] == 200
        status, text = _page(http, "/readyz?verbose")
        assert status == 503
        assert "no space left" in text
        assert "kvarts_node_paused 1" in _page(http, "/metrics")[1]
    finally:
        room.stop.set()
        waits.join()
    assert answers == [False]
    assert _told(out) == ["paused"]


def _free_port() -> int:
    import socket

    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return int(held.getsockname()[1])


def _page(http: str, path: str) -> tuple[int, str]:
    for _ in range(1000):
        try:
            with urllib.request.urlopen(f"http://{http}{path}", timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()
        except urllib.error.URLError:
            # It does not listen yet.
            continue
    return pytest.fail("nobody listens")
