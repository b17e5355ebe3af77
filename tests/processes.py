"""Child processes of tests: they find kvarts and the tests as their parent does."""

import os
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]


def python(*arguments: str) -> list[str]:
    """Command of this Python with arguments."""
    return [sys.executable, *arguments]


def surroundings() -> dict[str, Any]:
    """Keyword arguments for subprocess: folder and environment in which `import kvarts` and `tests` work."""
    path = os.pathsep.join([str(ROOT), str(ROOT / "python"), os.environ.get("PYTHONPATH", "")])
    return {"cwd": ROOT, "env": {**os.environ, "PYTHONPATH": path}}
