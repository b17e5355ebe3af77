"""What tools ask of a store without opening it."""

from typing import NamedTuple

from kvarts import _native


class Exposure(NamedTuple):
    """What others than the owner may do to a file or directory of a store; `refused`: it is not opened for it."""

    path: str
    what: str
    cure: str
    refused: bool


def exposures(folder: str, *, mends: bool = False) -> list[Exposure]:
    """Return what others may do to the store in a directory; with `mends`, what is left once modes are set.

    Raises StorageError.
    """
    return [Exposure(*found) for found in _native.permissions(folder, mends=mends)]


def native_version() -> str:
    """Return the version of the extension module."""
    return _native.__version__
