"""/metrics, /livez and /readyz over plain HTTP, on a thread of the node; read only."""

from __future__ import annotations

import json
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from urllib.parse import urlsplit

Page = Callable[[bool], tuple[int, str, str]]
"""Takes whether more words are wanted (?verbose); returns status, content type and text."""

PROMETHEUS = "text/plain; version=0.0.4"
"""Content type of metrics."""


class _Handler(BaseHTTPRequestHandler):
    server: PageServer

    def do_GET(self) -> None:
        """Answer a GET."""
        url = urlsplit(self.path)
        page = self.server.pages.get(url.path)
        status, kind, text = page("verbose" in url.query) if page else (404, "text/plain", "no such page\n")
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing: events are the node's to tell."""


class PageServer(ThreadingHTTPServer):
    """Serves pages on a thread until closed."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, host: str, port: int, pages: dict[str, Page]) -> None:
        self.pages = pages
        super().__init__((host, port), _Handler)
        self._thread = Thread(target=self.serve_forever, name="kvarts-http", daemon=True)
        self._thread.start()

    @property
    def address(self) -> str:
        """Where it listens."""
        host, port = self.server_address[:2]
        return f"{host!s}:{port}"

    def close(self) -> None:
        """Stop serving."""
        self.shutdown()
        self._thread.join()
        self.server_close()


def checks_page(checks: Callable[[], dict[str, str]]) -> Page:
    """Return a page that is 200 where every check is "ok", else 503; with ?verbose it lists them."""

    def page(verbose: bool) -> tuple[int, str, str]:
        found = checks()
        good = all(each == "ok" for each in found.values())
        text = json.dumps(found) + "\n" if verbose else ("ok\n" if good else "not ready\n")
        return (200 if good else 503), "application/json" if verbose else "text/plain", text

    return page
