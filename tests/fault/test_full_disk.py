"""A full disk: StorageFull, nothing acknowledged is lost, and writing goes on once there is room."""

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.processes import python, surroundings

SMALL_DISK = 'mount -t tmpfs -o size=10m none "$0" && exec "$@"'


def _commands() -> list[list[str]]:
    """Ways to get a file system of 10 MiB that goes away with its process: as root, or in a user's own namespace."""
    return [["unshare", "--mount"], ["unshare", "--user", "--map-root-user", "--mount"]]


def _way_to_a_small_disk(folder: Path) -> list[str]:
    refusals = []
    for way in _commands():
        if shutil.which(way[0]) is None:
            refusals.append(f"{way[0]} is not installed")
            continue
        command = [*way, "sh", "-c", SMALL_DISK, str(folder), "true"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode == 0:
            return [*way, "sh", "-c", SMALL_DISK, str(folder)]
        refusals.append(f"{' '.join(way)}: {done.stderr.strip()}")
    pytest.skip(f"NO FULL DISK WAS TESTED: this machine lets nobody mount a tmpfs: {'; '.join(refusals)}")


@pytest.mark.parametrize("durability", ["sync", "batch", "none"])
def test_full_disk_loses_nothing(tmp_path: Path, durability: str, figure: Callable[[str], None]) -> None:
    way = _way_to_a_small_disk(tmp_path)
    command = [*way, *python("-m", "tests.fault.filler", str(tmp_path), durability)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=200, **surroundings())
    assert done.returncode == 0, done.stdout + done.stderr
    figure(f"full disk, {durability}: {done.stdout.strip()}")
