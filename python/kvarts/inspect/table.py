"""The report on a table: its parts, every block of it, and whether they agree."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from kvarts.base.types import Damage
from kvarts.inspect.files import OpenFile, Target, damage, damage_of, identify, open_file
from kvarts.inspect.format.block import read_block
from kvarts.inspect.format.fields import FormatError
from kvarts.inspect.format.filter import Filter, read_filter
from kvarts.inspect.format.header import HEADER_BYTES, Header
from kvarts.inspect.format.rows import Row
from kvarts.inspect.format.seal import NO_KEYS, Keys, Seal
from kvarts.inspect.format.sealed import open_sealed
from kvarts.inspect.format.table import (
    FOOTER_BYTES,
    Footer,
    Handle,
    IndexEntry,
    Properties,
    read_footer,
    read_index,
    read_properties,
)
from kvarts.inspect.tally import Tally

T = TypeVar("T")
Progress = Callable[[int, int], object]


@dataclass(frozen=True, slots=True, kw_only=True)
class PartReport:
    """Filter, index or properties as stored. `codec` and `raw_bytes` are None where the checksum differs."""

    name: str
    offset: int
    stored_bytes: int
    codec: str | None
    raw_bytes: int | None
    problem: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockReport:
    """A data block. What only its content tells is None where it cannot be decoded; its last row then is its end."""

    number: int
    offset: int
    stored_bytes: int
    codec: str | None
    raw_bytes: int | None
    rows: int | None
    first_key: bytes | None
    last_key: bytes
    last_revision: int
    problem: str | None


@dataclass(slots=True, kw_only=True)
class TableReport:
    """What a table's file holds. Parts are None where they are damaged, or no one is left to say where they lie.

    `hidden` names the key without which nothing but the header can be read.
    """

    file: str
    file_bytes: int
    header: Header | None = None
    footer: Footer | None = None
    filter: Filter | None = None
    properties: Properties | None = None
    parts: list[PartReport] = field(default_factory=list)
    blocks_in_index: int | None = None
    blocks: list[BlockReport] = field(default_factory=list)
    hidden: str | None = None
    damage: list[Damage] = field(default_factory=list)

    @property
    def is_whole_read(self) -> bool:
        """Tell whether every block was looked at."""
        return self.blocks_in_index == len(self.blocks)


Sink = Callable[[BlockReport, list[Row]], bool]


def inspect_table(
    target: Target,
    *,
    keys: Keys = NO_KEYS,
    rows: Sink = lambda _block, _rows: True,
    progress: Progress = lambda _done, _all: None,
) -> TableReport:
    """Read a table and check every byte of it.

    `rows` gets each block with its rows (none of a damaged one), and returns False to end there. `progress` gets bytes
    done and in all. Raises StorageError, InvalidArgument where it is no file.
    """
    with open_file(target) as file:
        report = TableReport(file=file.path, file_bytes=file.size)
        reading = _Reading(file, report, keys)
        index = reading.tail()
        if index is not None:
            reading.blocks(index, rows, progress)
    return report


class _Reading:
    """A table being read into its report."""

    def __init__(self, file: OpenFile, report: TableReport, keys: Keys) -> None:
        self.file = file
        self.report = report
        self.keys = keys
        self.seal = Seal(0)

    def note(self, offset: int, what: str, smallest: bytes = b"", largest: bytes = b"") -> None:
        self.report.damage.append(damage(self.file.path, offset, what, smallest, largest))

    def tail(self) -> list[IndexEntry] | None:
        """Read all but the data blocks; return what the index says."""
        identity = identify(self.file.path, self.file.read(0, HEADER_BYTES), "table", self.keys)
        self.report.header, self.report.hidden = identity.header, identity.hidden
        if identity.problem:
            self.report.damage.append(damage_of(self.file.path, identity.problem))
        if identity.seal is None:
            return None
        self.seal = identity.seal
        footer_at = self.file.size - FOOTER_BYTES
        if footer_at < HEADER_BYTES:
            self.note(self.file.size, "the file is too short for a table")
            return None
        try:
            footer = read_footer(self.seal, footer_at, self.file.read(footer_at, FOOTER_BYTES))
        except FormatError as error:
            self.report.damage.append(damage_of(self.file.path, error, footer_at))
            return None
        self.report.footer = footer
        first = footer.filter if footer.filter.size else footer.index
        if footer.filter.size:
            self.report.filter = self.part("filter", footer.filter, read_filter)
        index = self.part("index", footer.index, lambda raw: read_index(raw, first.offset))
        self.report.properties = self.part("properties", footer.properties, read_properties)
        self.report.blocks_in_index = None if index is None else len(index)
        return index

    def part(self, name: str, handle: Handle, read: Callable[[bytes], T]) -> T | None:
        """Read and decode a part; what is inside a block is told by the block's own offset: it may be compressed."""
        codec, raw_bytes, problem = None, None, None
        decoded: T | None = None
        try:
            opened = open_sealed(self.seal, handle.offset, self.file.read(handle.offset, handle.size))
            codec, raw_bytes = opened.codec, len(opened.raw)
            decoded = read(opened.raw)
        except FormatError as error:
            problem = error.what
            self.note(handle.offset, f"{name}: {problem}")
        self.report.parts.append(
            PartReport(
                name=name,
                offset=handle.offset,
                stored_bytes=handle.size,
                codec=codec,
                raw_bytes=raw_bytes,
                problem=problem,
            )
        )
        return decoded

    def blocks(self, index: list[IndexEntry], rows: Sink, progress: Progress) -> None:
        """Read the data blocks, one after another, until `rows` has enough."""
        tally = Tally(self.report.filter)
        smallest = self.report.properties.smallest if self.report.properties else b""
        for number, entry in enumerate(index):
            found, content = self.block(number, entry, tally, smallest, is_last=number + 1 == len(index))
            self.report.blocks.append(found)
            progress(entry.handle.end, self.file.size)
            smallest = entry.end_key
            if not rows(found, content):
                return
        properties = self.report.properties
        if properties is not None and not any(block.problem for block in self.report.blocks):
            for what in tally.differences(properties):
                assert self.report.footer is not None
                self.note(self.report.footer.properties.offset, what)

    def block(
        self, number: int, entry: IndexEntry, tally: Tally, smallest: bytes, *, is_last: bool
    ) -> tuple[BlockReport, list[Row]]:
        """Read a data block; `smallest` is the key after which its rows lie, where only the index tells of them."""
        handle = entry.handle
        codec, raw_bytes, problem = None, None, None
        content: list[Row] = []
        try:
            opened = open_sealed(self.seal, handle.offset, self.file.read(handle.offset, handle.size))
            codec, raw_bytes = opened.codec, len(opened.raw)
            content = read_block(opened.raw)
            tally.add(content, entry, is_last=is_last)
        except FormatError as error:
            problem = error.what
            self.note(handle.offset, f"block {number}: {problem}", smallest, entry.end_key)
        found = BlockReport(
            number=number,
            offset=handle.offset,
            stored_bytes=handle.size,
            codec=codec,
            raw_bytes=raw_bytes,
            rows=len(content) if content else None,
            first_key=content[0].key if content else None,
            last_key=content[-1].key if content else entry.end_key,
            last_revision=content[-1].revision if content else entry.end_revision,
            problem=problem,
        )
        return found, content
