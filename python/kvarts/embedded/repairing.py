"""Repair: what is whole of a damaged store goes into a new one."""

import os
from collections.abc import Callable

from kvarts import _native
from kvarts.base.errors import InvalidArgument, NotAStore, StoreNotFound, WrongType
from kvarts.base.types import Gone, RepairReport
from kvarts.embedded.opening import open_as_made
from kvarts.embedded.paths import check_name, text_path


def repair(
    path: str | os.PathLike[str],
    to: str | os.PathLike[str],
    *,
    one_keyspace: str | None = None,
    progress: Callable[[int, int], object] | None = None,
) -> RepairReport:
    """Salvage every whole block and log record of a store into a new one at `to`, and tell what is gone.

    The store at `path` stays as it is; `to` must not exist. Of each key the newest value that is whole is kept, with
    its revision. Where MANIFEST is damaged or lost nothing says which keyspace a table belongs to: each becomes a
    keyspace of its own, "recovered-N", or all become `one_keyspace`. `progress` gets bytes done and in all.
    Raises StoreNotFound, NotAStore, UnsafeStore, LockedError, InvalidArgument (an encrypted store, too), StorageFull,
    StorageError, and what `progress` raises: nothing is left at `to`.
    """
    source, target = (os.path.abspath(text_path(given, name)) for given, name in ((path, "path"), (to, "to")))
    if progress is not None and not callable(progress):
        raise WrongType(f"progress is a function, not {type(progress).__name__}", hint="progress(done, total)")
    if not os.path.exists(source):
        raise StoreNotFound(f"no store at {source}", hint="check the path", filename=source)
    if not os.path.isdir(source):
        raise NotAStore(f"{source} is not a directory", hint="a store is a directory", filename=source)
    if os.path.lexists(target):
        raise InvalidArgument(f"{target} exists already", hint="give a path that does not exist")
    if os.path.commonpath([os.path.realpath(source), os.path.realpath(target)]) == os.path.realpath(source):
        raise InvalidArgument(f"{target} lies in the store itself", hint="give a path outside of it")
    if one_keyspace is not None:
        check_name(one_keyspace)
    parent = os.path.dirname(target)
    if not os.path.isdir(parent):
        raise StoreNotFound(
            f"no directory {parent} to hold the new store", hint=f"make {parent} first", filename=target
        )
    fields = _native.repair(source, target, one_keyspace=one_keyspace, progress=progress)
    # A store has a keyspace "default": who opens it to read cannot make one.
    open_as_made(target).close()
    gone = tuple(Gone(**one) for one in fields.pop("gone"))
    return RepairReport(**fields | {"keyspaces": dict(fields["keyspaces"]), "gone": gone})
