"""kvarts: an ordered key-value database for Python. `kvarts.open(path)` is a dict on your disk.

Names load on first use (PEP 562): `import kvarts` alone loads neither the native module nor anything else. Their types
stand in __init__.pyi, so that no room below is seen to import the floors above it by way of this package.
"""

from importlib import import_module

__version__ = "0.1.0"

__all__ = [
    "ABSENT",
    "ANY",
    "PRESENT",
    "U64",
    "AsyncBatch",
    "AsyncScan",
    "AsyncStore",
    "AtRevision",
    "BackupIncomplete",
    "Batch",
    "Bytes",
    "ClosedError",
    "Codec",
    "CodecError",
    "CodecMismatch",
    "CommitUnknown",
    "Compacted",
    "Condition",
    "ConditionFailed",
    "CorruptionError",
    "CrossShard",
    "Damage",
    "DeadlineExceeded",
    "EncryptionKeyError",
    "Entry",
    "Equals",
    "ErrorInfo",
    "ExposedWarning",
    "FenceRejected",
    "FirstItem",
    "ForkedHandle",
    "Gone",
    "InvalidArgument",
    "JoinRefused",
    "Json",
    "JsonValue",
    "KeyFile",
    "KeyFromEnv",
    "KeyNotFound",
    "KeyspaceInfo",
    "KeyspaceStats",
    "KvartsError",
    "LimitExceeded",
    "LockedError",
    "NewerFormat",
    "NotAStore",
    "NotLeader",
    "OpenReport",
    "Prefix",
    "ReadOnlyError",
    "RepairReport",
    "ReplicaFenced",
    "Report",
    "Revision",
    "Rotation",
    "Scan",
    "SessionExpired",
    "Stats",
    "StorageError",
    "StorageFull",
    "Store",
    "StoreFailed",
    "StoreNotFound",
    "Str",
    "Tuple",
    "Unavailable",
    "UnsafeStore",
    "Until",
    "WrongShard",
    "WrongThread",
    "WrongType",
    "codecs",
    "explain",
    "open",
    "open_async",
    "repair",
]

_ROOMS = {
    "kvarts.base.api": ("Batch", "Scan", "Store"),
    "kvarts.base.codecs": ("Bytes", "Codec", "Json", "JsonValue", "Str", "Tuple", "U64"),
    "kvarts.base.encryption": ("KeyFile", "KeyFromEnv"),
    "kvarts.base.types": (
        "ABSENT",
        "ANY",
        "PRESENT",
        "AtRevision",
        "Condition",
        "Damage",
        "Entry",
        "Equals",
        "Gone",
        "KeyspaceInfo",
        "KeyspaceStats",
        "OpenReport",
        "RepairReport",
        "Report",
        "Revision",
        "Rotation",
        "Stats",
    ),
    "kvarts.embedded.repairing": ("repair",),
    "kvarts.opening": ("open", "open_async"),
    "kvarts.remote.astore": ("AsyncBatch", "AsyncScan", "AsyncStore"),
    "kvarts.shardmap.partition": ("FirstItem", "Prefix", "Until"),
}
_HOME = {name: room for room, names in _ROOMS.items() for name in names}


def __getattr__(name: str) -> object:
    if name == "codecs":
        return import_module("kvarts.codecs")
    if name not in __all__:
        raise AttributeError(f"module 'kvarts' has no attribute {name!r}")
    value = getattr(import_module(_HOME.get(name, "kvarts.base.errors")), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
