"""What servers count, read from their pages of metrics (the text format of Prometheus)."""

from collections import Counter
from collections.abc import Iterable
from http.client import HTTPConnection

TIMEOUT_S = 10


def read_figures(pages: Iterable[str]) -> Counter[str]:
    """Return every counter and sum of the pages at these addresses (host:port), by name and labels, added up."""
    total: Counter[str] = Counter()
    for page in pages:
        for line in _text(page).splitlines():
            name, _, value = line.rpartition(" ")
            if name and not line.startswith("#"):
                total[name] += float(value)  # type: ignore[assignment]  # a Counter adds floats as well
    return total


def _text(page: str) -> str:
    host, _, port = page.rpartition(":")
    connection = HTTPConnection(host, int(port), timeout=TIMEOUT_S)
    try:
        connection.request("GET", "/metrics")
        return connection.getresponse().read().decode()
    finally:
        connection.close()
