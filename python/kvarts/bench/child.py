"""One repetition in a process of its own: `python -m kvarts.bench.child` reads a task on stdin, prints its figures."""

import gc
import json
import sys
from importlib import import_module
from pathlib import Path
from typing import Any


def repeat_once(task: dict[str, Any]) -> Any:
    """Let the task's module measure the task's peer once. The folder is made; it is the caller's to empty."""
    Path(task["folder"]).mkdir(parents=True)
    gc.disable()
    return import_module(task["module"]).repeat_once(task)


if __name__ == "__main__":
    json.dump(repeat_once(json.load(sys.stdin)), sys.stdout)
