"""Opening a store of a million keys after a clean close: measured and reported; slow machines do not fail it."""

import time
from collections.abc import Callable
from pathlib import Path

import kvarts

KEYS = 1_000_000


def test_a_million_keys_open_after_a_clean_close(tmp_path: Path, figure: Callable[[str], None]) -> None:
    with kvarts.open(tmp_path / "s") as db:
        db.put_many((b"%016d" % number, b"v" * 16) for number in range(KEYS))
    times = []
    for _ in range(5):
        begun = time.perf_counter()
        db = kvarts.open(tmp_path / "s")
        times.append(time.perf_counter() - begun)
        assert db[b"%016d" % (KEYS - 1)] == b"v" * 16
        assert db.open_report.replayed == 0, "a clean close leaves nothing to replay"
        db.close()
    figure(f"open of {KEYS} keys after a clean close: median {sorted(times)[2] * 1000:.1f} ms, goal 50 ms")
