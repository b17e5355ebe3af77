"""The manifest: which files make up a store."""

from dataclasses import dataclass
from itertools import pairwise

from kvarts.inspect.format.checksum import TAG_BYTES
from kvarts.inspect.format.fields import FormatError, Reader
from kvarts.inspect.format.header import HEADER_BYTES, Header, read_header
from kvarts.inspect.format.seal import NO_KEYS, Keys
from kvarts.inspect.format.sealed import CODECS

_LOG_BYTES_MIN = 8
_TREE_BYTES_MIN = 28
_LEVEL_BYTES_MIN = 4
_TABLE_BYTES_MIN = 80
_COMPRESSION_BYTES = 2
_ZSTD_LEVEL = 3
_ZSTD_LEVEL_MAX = 19
_LEVELS_MAX = 7
_NEXT_FILE_MAX = (1 << 32) - (1 << 20)


@dataclass(frozen=True, slots=True, kw_only=True)
class TableRecord:
    """A live table, as the manifest knows it. The numbers are those of the table's properties."""

    file: int
    file_bytes: int
    rows: int
    tombstones: int
    revision_min: int
    revision_max: int
    expiry_min_ms: int
    expiry_half_ms: int
    keys: int
    smallest: bytes
    largest: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class TreeRecord:
    """A keyspace: rows up to revision `flushed` are in tables. Level 0 newest first, deeper levels by key.

    `compression` has a name for each level, of which the last counts for all deeper; None: as the store was opened.
    """

    id: int
    name: str
    key_codec: str
    value_codec: str
    compression: list[str] | None
    flushed: int
    levels: list[list[TableRecord]]

    @property
    def tables(self) -> list[TableRecord]:
        """The tables of all levels."""
        return [table for level in self.levels for table in level]


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """The whole manifest."""

    next_file: int
    next_tree: int
    last_revision: int
    logs: list[int]
    trees: list[TreeRecord]


def read_manifest(data: bytes, keys: Keys = NO_KEYS) -> tuple[Header, Manifest]:
    """Decode the bytes of a manifest's file. Raises FormatError, HiddenError."""
    header = read_header(data, "manifest")
    seal = keys.seal(header)
    if len(data) < HEADER_BYTES + TAG_BYTES:
        raise FormatError(len(data), "the manifest is cut short")
    body = seal.open(HEADER_BYTES, data[HEADER_BYTES:])
    if body is None:
        raise FormatError(HEADER_BYTES, "the checksum of the manifest differs")
    try:
        manifest = _read_body(Reader(body), header.version)
        _check(manifest)
    except FormatError as error:
        raise FormatError(HEADER_BYTES + error.offset, error.what) from None
    return header, manifest


def _read_body(reader: Reader, version: int) -> Manifest:
    manifest = Manifest(
        next_file=reader.u64(),
        next_tree=reader.u32(),
        last_revision=reader.u64(),
        logs=reader.list_(_LOG_BYTES_MIN, Reader.u64),
        trees=reader.list_(_TREE_BYTES_MIN, lambda tree: _read_tree(tree, version)),
    )
    reader.finish()
    return manifest


def _read_tree(reader: Reader, version: int) -> TreeRecord:
    number, flushed = reader.u32(), reader.u64()
    name, key_codec, value_codec = reader.text(), reader.text(), reader.text()
    compression = reader.list_(_COMPRESSION_BYTES, _read_compression) if version >= 2 else []
    if len(compression) > _LEVELS_MAX:
        raise FormatError(0, f"tree {number} has compressions for {len(compression)} levels")
    levels = reader.list_(_LEVEL_BYTES_MIN, lambda level: level.list_(_TABLE_BYTES_MIN, _read_table))
    return TreeRecord(
        id=number,
        name=name,
        key_codec=key_codec,
        value_codec=value_codec,
        compression=compression or None,
        flushed=flushed,
        levels=levels,
    )


def _read_compression(reader: Reader) -> str:
    code, level = reader.take(_COMPRESSION_BYTES)
    if code in (0, 1) and level == 0:
        return CODECS[code]
    if code != 2 or not 1 <= level <= _ZSTD_LEVEL_MAX:
        raise FormatError(0, f"no compression {code} of level {level}")
    return "zstd" if level == _ZSTD_LEVEL else f"zstd:{level}"


def _read_table(reader: Reader) -> TableRecord:
    names = list(TableRecord.__dataclass_fields__)[:9]
    numbers = {name: reader.u64() for name in names}
    return TableRecord(**numbers, smallest=reader.bytes_(), largest=reader.bytes_())


def _check(manifest: Manifest) -> None:
    """Raise where a field contradicts another."""
    for noun, given, limit in (
        ("tree", [tree.id for tree in manifest.trees], manifest.next_tree),
        ("file", [*manifest.logs, *(t.file for tree in manifest.trees for t in tree.tables)], manifest.next_file),
    ):
        if len(set(given)) < len(given) or any(number >= limit for number in given):
            raise FormatError(0, f"the number of a {noun} is used twice, or is not below {limit}")
    if len({tree.name for tree in manifest.trees}) < len(manifest.trees):
        raise FormatError(0, "the name of a tree is used twice")
    if manifest.next_file > _NEXT_FILE_MAX:
        raise FormatError(0, f"file {manifest.next_file - 1} cannot have been used")
    for tree in manifest.trees:
        if len(tree.levels) > _LEVELS_MAX:
            raise FormatError(0, f"tree {tree.id} has {len(tree.levels)} levels")
        for level, tables in enumerate(tree.levels):
            _check_level(level, tables, manifest.last_revision)


def _check_level(level: int, tables: list[TableRecord], last_revision: int) -> None:
    for table in tables:
        counted = table.tombstones <= table.rows and table.keys <= table.rows
        if not counted or table.smallest > table.largest or table.revision_min > table.revision_max:
            raise FormatError(0, f"the record of table {table.file} contradicts itself")
        if table.revision_max > last_revision:
            raise FormatError(0, f"table {table.file} holds a revision that was never given")
    if level and any(left.largest >= right.smallest for left, right in pairwise(tables)):
        raise FormatError(0, f"tables of level {level} overlap")
