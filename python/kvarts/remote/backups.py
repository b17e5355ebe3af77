"""A backup of a cluster on this machine: an ordinary store with all rows, and a manifest that says that it is whole.

    DIR/rows          a store: kvarts.open(DIR/rows), `kvarts scan`, `kvarts verify`
    DIR/backup.json   the manifest, which appears last
    DIR/UNDER-WAY     until then

A directory without a manifest is no backup, whatever it holds.
"""

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from kvarts.base.errors import BackupIncomplete, InvalidArgument, NewerFormat, StorageError
from kvarts.base.options import validate
from kvarts.embedded.opening import open_database
from kvarts.remote.layout import Layout

FORMAT = 1
MANIFEST = "backup.json"
UNDER_WAY = "UNDER-WAY"
ROWS = "rows"


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyspaceBackup:
    """What a backup holds of one keyspace. `layout` None: it lay in the meta group."""

    name: str
    key: str
    value: str
    layout: Layout | None
    rows: int
    size: int
    """Bytes of keys and values."""
    expiring: int
    """How many of the rows expire some time: by now some may have."""
    moments: tuple[tuple[int, int, int], ...]
    """Of each shard: its number, the revision that its rows are as of, and the clock then, in Unix milliseconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What a whole backup holds."""

    cluster: str
    version: str
    begun_ms: int
    """When it was begun, by a node's clock."""
    keyspaces: tuple[KeyspaceBackup, ...]

    @property
    def rows(self) -> int:
        """Of all keyspaces."""
        return sum(each.rows for each in self.keyspaces)

    @property
    def size(self) -> int:
        """Of all keyspaces."""
        return sum(each.size for each in self.keyspaces)


def prepare(folder: Path) -> Path:
    """Make the directory of a backup that begins, or clear away one that came to no end. Return where its rows go.

    Raises InvalidArgument where something else lies there, a whole backup too, and LockedError where one is under way.
    """
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        names = {each.name for each in folder.iterdir()}
        rows = folder / ROWS
        if MANIFEST in names:
            raise InvalidArgument(f"{folder} holds a backup already", hint="give another directory, or remove it")
        if names and UNDER_WAY not in names:
            raise InvalidArgument(f"{folder} has other things in it", hint="give a directory that is empty or absent")
        if ROWS in names:
            if (rows / "MANIFEST").exists():
                # Whoever makes it has it open.
                open_database(rows, validate({"create": False})).close()
            shutil.rmtree(rows)
        (folder / UNDER_WAY).touch(mode=0o600)
        _sync(folder)
    except OSError as error:
        raise StorageError(f"preparing {folder}: {error}") from error
    return rows


def finish(folder: Path, manifest: Manifest) -> None:
    """Say that a backup is whole; its rows are durable. Durable on return."""
    record = {"format": FORMAT, **asdict(manifest)}
    for keyspace, told in zip(manifest.keyspaces, record["keyspaces"], strict=True):
        if keyspace.layout is not None:
            told["layout"]["bounds"] = [bound.hex() for bound in keyspace.layout.bounds]
    new = folder / f"{MANIFEST}.new"
    try:
        with new.open("w") as file:
            json.dump(record, file, indent=1)
            file.write("\n")
            file.flush()
            os.fsync(file.fileno())
        _sync(folder / ROWS)
        new.rename(folder / MANIFEST)
        _sync(folder)
        _sync(folder.resolve().parent)
        (folder / UNDER_WAY).unlink()
    except OSError as error:
        raise StorageError(f"writing {new}: {error}") from error


def load(folder: Path) -> Manifest:
    """Return the manifest of a whole backup. Raises BackupIncomplete, NewerFormat."""
    try:
        record = json.loads((folder / MANIFEST).read_bytes())
    except FileNotFoundError:
        why = "its backup did not come to its end" if (folder / UNDER_WAY).exists() else "it has no backup.json"
        raise BackupIncomplete(f"{folder} holds no whole backup: {why}", hint="restore from another one") from None
    except (OSError, ValueError) as error:
        raise BackupIncomplete(
            f"{folder / MANIFEST} cannot be read: {error}", hint="restore from another one"
        ) from error
    try:
        if record["format"] != FORMAT:
            raise NewerFormat(f"{folder} is a backup of format {record['format']}", hint="upgrade kvarts")
        keyspaces = tuple(map(_keyspace, record["keyspaces"]))
        return Manifest(
            cluster=record["cluster"], version=record["version"], begun_ms=record["begun_ms"], keyspaces=keyspaces
        )
    except (KeyError, TypeError, ValueError) as error:
        raise BackupIncomplete(
            f"{folder / MANIFEST} says not all: {error!r}", hint="restore from another one"
        ) from error


def layout_of_told(told: Mapping[str, Any] | None) -> Layout | None:
    """Return a layout as nodes and manifests tell it."""
    if told is None:
        return None
    bounds = tuple(bytes.fromhex(each) for each in told["bounds"])
    return Layout(shards=told["shards"], partition=told["partition"], ordered=told["ordered"], bounds=bounds)


def _keyspace(told: Mapping[str, Any]) -> KeyspaceBackup:
    moments = tuple((shard, revision, now_ms) for shard, revision, now_ms in told["moments"])
    return KeyspaceBackup(**{**told, "layout": layout_of_told(told["layout"]), "moments": moments})


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
