"""What the figures depend on: machine, system, versions, commit."""

import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import kvarts


def describe_machine(scratch: Path) -> dict[str, object]:
    """Return processor, cores, memory, system and the file system that is written to."""
    return {
        "processor": _first_value(Path("/proc/cpuinfo"), "model name") or platform.processor(),
        "cores": os.cpu_count(),
        "memory": _first_value(Path("/proc/meminfo"), "MemTotal"),
        "system": platform.platform(),
        "file_system": file_system(scratch),
    }


def describe_versions(packages: list[str]) -> dict[str, str]:
    """Return versions of Python, ours and the peers'."""
    import sqlite3

    found = {"python": platform.python_version(), "kvarts": kvarts.__version__, "sqlite3": sqlite3.sqlite_version}
    for package in packages:
        try:
            found.setdefault(package, version(package))
        except PackageNotFoundError:
            continue
    return found


def commit() -> str | None:
    """Return the commit this package's source stands at, or None for an installed one."""
    command = ["git", "describe", "--always", "--dirty", "--exclude=*"]
    try:
        done = subprocess.run(  # noqa: S603  # git, with words of our own
            command, cwd=Path(__file__).parent, capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()


def file_system(path: Path) -> str | None:
    """Return the type of the file system a folder lies on. On tmpfs a sync costs nothing, so figures say nothing."""
    try:
        lines = Path("/proc/self/mounts").read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    mounts = [(fields[1], fields[2]) for fields in map(str.split, lines)]
    above = [(place, kind) for place, kind in mounts if path.resolve().is_relative_to(place)]
    return max(above, key=lambda mount: len(mount[0]))[1] if above else None


def _first_value(file: Path, name: str) -> str | None:
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(name)), None)
