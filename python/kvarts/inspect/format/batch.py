"""A batch of writes: the payload of a record of the engine's log."""

from typing import NamedTuple

from kvarts.inspect.format.fields import FormatError, read_varint, u32_at, u64_at
from kvarts.inspect.format.rows import Row, fits

_HEAD_BYTES = 12
_OPERATION_BYTES_MIN = 4
_TREE_MAX = (1 << 32) - 1


class Operation(NamedTuple):
    """A row as it is written, and the tree it is written to."""

    tree: int
    row: Row


def read_batch(payload: bytes) -> tuple[int, list[Operation]]:
    """Return the revision of a batch and its operations. Raises FormatError."""
    if len(payload) < _HEAD_BYTES:
        raise FormatError(0, "a batch is shorter than its head")
    revision, count = u64_at(payload, 0), u32_at(payload, 8)
    if count > (len(payload) - _HEAD_BYTES) // _OPERATION_BYTES_MIN:
        raise FormatError(8, f"a batch counts {count} operations, more than it has bytes for")
    operations = []
    at = _HEAD_BYTES
    for _ in range(count):
        operation, at = _read_operation(payload, at, revision)
        operations.append(operation)
    if at < len(payload):
        raise FormatError(at, "bytes follow the last operation of a batch")
    return revision, operations


def _read_operation(payload: bytes, start: int, revision: int) -> tuple[Operation, int]:
    stop = len(payload)
    tree, at = read_varint(payload, start, stop)
    if at >= stop or tree > _TREE_MAX:
        raise FormatError(start, "an operation of a batch is damaged")
    kind = payload[at]
    key_bytes, at = read_varint(payload, at + 1, stop)
    value_bytes, at = read_varint(payload, at, stop)
    if key_bytes + value_bytes > stop - at or not fits(kind, value_bytes):
        raise FormatError(start, f"an operation of kind {kind} with {key_bytes} + {value_bytes} bytes cannot be here")
    value_at = at + key_bytes
    end = value_at + value_bytes
    return Operation(tree, Row(payload[at:value_at], revision, kind, payload[value_at:end])), end
