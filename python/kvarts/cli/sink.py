"""Where rows go: stdout, a device or pipe as it is, or a file that appears when it is whole."""

import os
import shutil
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO

import click

from kvarts.base.private import open_private

STDOUT = "-"


def check_sink(file: str, *, force: bool) -> str:
    """Return where to write: STDOUT for stdout itself under any name, the target of a link, else `file`.

    Ends with a usage error where a file would be overwritten and `force` is not given.
    """
    if file == STDOUT:
        return file
    status = _status(file)
    if status is not None and _is_stdout(status):
        return STDOUT
    if status is not None and not stat.S_ISREG(status.st_mode):
        return file
    target = os.path.realpath(file)
    if not force:
        if status is not None:
            raise click.UsageError(f"{file} exists. Give another name, or --force to replace it.")
        if os.path.lexists(_unfinished(target)):
            unfinished = f"{file}.part exists: of another export that runs, or was broken off."
            raise click.UsageError(f"{unfinished} Remove it, or give --force.")
    return target


@contextmanager
def open_sink(file: str) -> Iterator[TextIO]:
    """Open what `check_sink` returned for writing text. An error of writing names `file`."""
    if file == STDOUT:
        yield sys.stdout
        return
    status = _status(file)
    try:
        if status is not None and not stat.S_ISREG(status.st_mode):
            with open(file, "w", encoding="utf-8") as sink:
                yield sink
        else:
            with _appearing(file, status) as sink:
                yield sink
    except OSError as error:
        error.filename = error.filename or file
        raise


@contextmanager
def _appearing(file: str, replaced: os.stat_result | None) -> Iterator[TextIO]:
    """Write beside the file and rename over it at the end: others see all of it or nothing."""
    unfinished = _unfinished(file)
    with suppress(FileNotFoundError):
        unfinished.unlink()
    sink = os.fdopen(open_private(unfinished), "w", encoding="utf-8")
    try:
        with sink:
            yield sink
            sink.flush()
            os.fsync(sink.fileno())
        if replaced is not None:
            shutil.copymode(file, unfinished)
        unfinished.replace(file)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise


def _unfinished(file: str) -> Path:
    return Path(f"{file}.part")


def _status(file: str) -> os.stat_result | None:
    try:
        return os.stat(file)
    except FileNotFoundError:
        return None


def _is_stdout(status: os.stat_result) -> bool:
    try:
        return os.path.samestat(status, os.fstat(sys.stdout.fileno()))
    except (OSError, ValueError):
        return False
