"""What the records of a node log say."""

from collections.abc import Callable, Mapping
from typing import Final

from kvarts.inspect.format.fields import U64_MAX, FormatError, Reader
from kvarts.inspect.format.record import Record

Said = dict[str, int | bytes]
"""Fields by name. Bytes, which belong to the replicator, come last."""

FIRST_KINDS: Final = ("resumed", "group")
"""The kinds that open every file of a node log."""


def read_node_record(record: Record) -> Said:
    """Decode the payload. Raises FormatError; records of the engine's log have no place in a node log."""
    read = _READERS.get(record.kind)
    if read is None:
        raise FormatError(0, f"a record of kind {record.kind} has no place in a node log")
    reader = Reader(record.payload)
    said = read(reader)
    reader.finish()
    return said


def _hard_state(reader: Reader) -> Said:
    return {"term": reader.u64(), "vote": reader.u64(), "commit": reader.u64()}


def _entry(reader: Reader) -> Said:
    term, index, kind, zero = reader.u64(), reader.u64(), reader.u32(), reader.u32()
    if index in (0, U64_MAX) or zero:
        raise FormatError(8, "no entry has this index, or a reserved field that is not zero")
    return {"index": index, "term": term, "kind": kind, "payload": reader.take(reader.left)}


def _mark(reader: Reader) -> Said:
    return {**_entry_id(reader), "membership": reader.take(reader.left)}


def _entry_id(reader: Reader) -> Said:
    """Read index and term. No entry has the last index of all: the one after it must have a number too."""
    at = reader.at
    said: Said = {"index": reader.u64(), "term": reader.u64()}
    if said["index"] == U64_MAX:
        raise FormatError(at, "no entry has this index")
    return said


def _group(reader: Reader) -> Said:
    said: Said = {
        **_hard_state(reader),
        **{f"base_{name}": value for name, value in _entry_id(reader).items()},
        "last_index": reader.u64(),
    }
    if not int(said["base_index"]) <= int(said["last_index"]) < U64_MAX:
        raise FormatError(40, "a group's log does not end there")
    return said | ({f"mark_{name}": value for name, value in _mark(reader).items()} if reader.left else {})


_READERS: Mapping[str, Callable[[Reader], Said]] = {
    "hard state": _hard_state,
    "entry": _entry,
    "snapshot mark": _mark,
    "compacted": _entry_id,
    "group": _group,
    "resumed": lambda reader: {"after": reader.u64(), "whole": reader.u64()},
    "removed": lambda _: {},
}
