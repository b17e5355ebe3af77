"""The runner of golden scripts.

A step is a block of commands, `----`, and the expected lines, up to an empty line; lines that begin with `#` are prose.
KVARTS_REWRITE=1 writes what really came out: read the difference like code.
"""

import os
from collections.abc import Callable
from pathlib import Path

GOLDEN = Path(__file__).parent
OF_PYTHON = ("checks", "config", "joins", "shards", "verdicts")
"""Scripts of commands that Python decides; the others are the machine's."""
MARK = "----"


def run_script(path: Path, do: Callable[[str], list[str]]) -> None:
    """Run every step of a script; fail at the first whose outcome differs."""
    written = []
    for block in path.read_text(encoding="utf-8").rstrip("\n").split("\n\n"):
        lines = block.split("\n")
        if MARK not in lines:
            written.append(block)
            continue
        at = lines.index(MARK)
        commands = [line for line in lines[:at] if not line.startswith("#")]
        came = [line for command in commands for line in do(command)]
        written.append("\n".join([*lines[: at + 1], *came]))
        if not os.environ.get("KVARTS_REWRITE"):
            assert came == lines[at + 1 :], f"{path.name}: after {commands}"
    if os.environ.get("KVARTS_REWRITE"):
        path.write_text("\n\n".join(written) + "\n", encoding="utf-8")
