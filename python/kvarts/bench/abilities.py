"""What this Python and this build can measure: each question is answered by asking, and says what is lacking."""

import tempfile
from collections.abc import Callable
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from shutil import which
from typing import Any

import kvarts


@cache
def lacks_arrow() -> str | None:
    """Say why scans to Arrow cannot be measured, or None."""
    if find_spec("pyarrow") is None:
        return "scans to Arrow: pyarrow is not installed"
    return _refusal("scans to Arrow", lambda store: store.scan().arrow())


@cache
def lacks_parallel_arrow() -> str | None:
    """Say why scans to Arrow on several threads cannot be measured, or None."""
    return lacks_arrow() or _refusal("scans to Arrow in parallel", lambda store: store.scan().arrow(parallel=2))


@cache
def lacks_parallel_gets() -> str | None:
    """Say why get_many on several threads cannot be measured, or None."""
    return _refusal("get_many in parallel", lambda store: store.get_many([], parallel=2))


@cache
def lacks_compression(name: str) -> str | None:
    """Say why a compression cannot be measured, or None."""
    return _refusal(f"compression={name!r}", lambda _: None, compression=name)


def lacks_instruction_counts() -> str | None:
    """Say why instructions cannot be counted, or None."""
    return None if which("valgrind") else "instruction counts: valgrind is not installed"


def _refusal(what: str, ask: Callable[[Any], object], **options: Any) -> str | None:
    with tempfile.TemporaryDirectory(prefix="kvarts-bench-") as folder:
        try:
            with kvarts.open(Path(folder) / "store", **options) as store:
                store.put(b"key", b"value")
                ask(store)
        except (AttributeError, TypeError, kvarts.InvalidArgument):
            return f"{what}: this build of kvarts has none"
    return None
