"""kvarts: an ordered key-value database for Python. `kvarts.open(path)` is a dict on your disk.

Names load on first use (PEP 562): `import kvarts` alone loads neither the native module nor anything else.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kvarts.base.api import Batch, Scan, Store
    from kvarts.base.codecs import U64, Bytes, Codec, Json, JsonValue, Str
    from kvarts.base.errors import (
        ClosedError,
        CodecError,
        CodecMismatch,
        ConditionFailed,
        CorruptionError,
        ErrorInfo,
        ForkedHandle,
        InvalidArgument,
        KeyNotFound,
        KvartsError,
        LimitExceeded,
        LockedError,
        NewerFormat,
        NotAStore,
        ReadOnlyError,
        StorageError,
        StorageFull,
        StoreFailed,
        StoreNotFound,
        WrongThread,
        WrongType,
        explain,
    )
    from kvarts.base.types import (
        ABSENT,
        ANY,
        PRESENT,
        AtRevision,
        Condition,
        Damage,
        Entry,
        Equals,
        KeyspaceInfo,
        KeyspaceStats,
        OpenReport,
        Report,
        Revision,
        Stats,
    )
    from kvarts.embedded.opening import open

__version__ = "0.1.0"

__all__ = [
    "ABSENT",
    "ANY",
    "PRESENT",
    "U64",
    "AtRevision",
    "Batch",
    "Bytes",
    "ClosedError",
    "Codec",
    "CodecError",
    "CodecMismatch",
    "Condition",
    "ConditionFailed",
    "CorruptionError",
    "Damage",
    "Entry",
    "Equals",
    "ErrorInfo",
    "ForkedHandle",
    "InvalidArgument",
    "Json",
    "JsonValue",
    "KeyNotFound",
    "KeyspaceInfo",
    "KeyspaceStats",
    "KvartsError",
    "LimitExceeded",
    "LockedError",
    "NewerFormat",
    "NotAStore",
    "OpenReport",
    "ReadOnlyError",
    "Report",
    "Revision",
    "Scan",
    "Stats",
    "StorageError",
    "StorageFull",
    "Store",
    "StoreFailed",
    "StoreNotFound",
    "Str",
    "WrongThread",
    "WrongType",
    "explain",
    "open",
]

_ROOMS = {
    "kvarts.base.api": ("Batch", "Scan", "Store"),
    "kvarts.base.codecs": ("Bytes", "Codec", "Json", "JsonValue", "Str", "U64"),
    "kvarts.base.types": (
        "ABSENT",
        "ANY",
        "PRESENT",
        "AtRevision",
        "Condition",
        "Damage",
        "Entry",
        "Equals",
        "KeyspaceInfo",
        "KeyspaceStats",
        "OpenReport",
        "Report",
        "Revision",
        "Stats",
    ),
    "kvarts.embedded.opening": ("open",),
}
_HOME = {name: room for room, names in _ROOMS.items() for name in names}


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module 'kvarts' has no attribute {name!r}")
    value = getattr(import_module(_HOME.get(name, "kvarts.base.errors")), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
