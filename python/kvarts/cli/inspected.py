"""Reports of kvarts.inspect as people and programs see them."""

import os
from collections.abc import Sequence
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import click

from kvarts.base.types import Damage
from kvarts.cli.damage import damage_object
from kvarts.cli.output import columns, print_table
from kvarts.cli.text import Form, counted, shown, size, to_fields
from kvarts.inspect import LogReport, ManifestReport, RecordReport, StoreReport, TableReport
from kvarts.inspect.format.header import CIPHERS, Header
from kvarts.inspect.format.rows import KINDS, Row
from kvarts.inspect.format.table import NEVER_MS, Properties
from kvarts.statemachine.rows import JOIN_KEY

KEY_COLUMNS_MIN = 10
_JOIN_KEY_ROW = b"\0" + JOIN_KEY
_HIDDEN = b"(hidden)"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def to_object(value: Any) -> Any:
    """Return what --json prints of a report: bytes as text or base64, expiries that never come as null."""
    if isinstance(value, Damage):
        return damage_object(value)
    if is_dataclass(value):
        found: dict[str, Any] = {}
        for field in fields(value):
            given = getattr(value, field.name)
            if isinstance(given, bytes):
                found |= to_fields(field.name, given, "bytes") if field.repr else {}
            else:
                found[field.name] = None if field.name.startswith("expiry") and given == NEVER_MS else to_object(given)
        return found
    if isinstance(value, dict):
        return {name: to_object(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [to_object(each) for each in value]
    return printable(value) if isinstance(value, str) else value


def row_object(row: Row) -> dict[str, Any]:
    """Return what --json prints of a row."""
    found: dict[str, Any] = {**to_fields("key", row.key, "bytes"), "revision": row.revision, "kind": KINDS[row.kind]}
    if row.value or row.kind:
        found |= to_fields("value", _open_value(row), "bytes")
    return found | ({} if row.expires_ms is None else {"expires_ms": row.expires_ms})


def _open_value(row: Row) -> bytes:
    """Return the value of a row, but for that of a cluster's meta group by which whoever sees it makes join tokens."""
    return _HIDDEN if row.key == _JOIN_KEY_ROW else row.value


def row_line(row: Row, form: Form) -> str:
    """Return a row for people: key, revision, what it is, value."""
    width = columns()
    room = None if width is None else max(KEY_COLUMNS_MIN, width // 3)
    kind = KINDS[row.kind] if row.expires_ms is None else f"put until {moment(row.expires_ms)}"
    cells = (shown(row.key, form, "bytes", room), str(row.revision), kind, shown(_open_value(row), form, "bytes", room))
    return "\t".join(cells).rstrip("\t")


def moment(ms: int) -> str:
    """Return a time for people."""
    if ms == NEVER_MS:
        return "never"
    try:
        return (_EPOCH + timedelta(milliseconds=ms)).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    except OverflowError:
        return f"{ms} ms after 1970"


def printable(text: str) -> str:
    """Return text of others (names of files, command lines) so that any terminal and any JSON takes it."""
    text = os.fsencode(text).decode("utf-8", "backslashreplace")
    return "".join(mark if mark.isprintable() else mark.encode("unicode_escape").decode() for mark in text)


def print_table_report(report: TableReport, form: Form, limit: int) -> None:
    """Print a table: what it says of itself, its parts, its blocks."""
    _print_head(report.file, report.file_bytes, report.header, "table")
    if report.hidden:
        click.echo("content     hidden: --key-file gives the key")
    if report.properties:
        _print_properties(report.properties, form)
    if report.filter:
        filter_ = report.filter
        bits = f"{filter_.lines:,} lines, {filter_.probes} probes, {100 * filter_.share:.0f} % of the bits set"
        click.echo(f"filter      {bits}")
    if report.parts:
        click.echo()
        rows = [
            (
                part.name,
                f"{part.offset:,}",
                f"{part.stored_bytes:,}",
                part.codec or "?",
                _or(part.raw_bytes),
                _state(part.problem),
            )
            for part in report.parts
        ]
        print_table([("part", "offset", "bytes", "codec", "raw", "state"), *rows], header=True, left=(3, 5))
    if report.blocks:
        click.echo()
        _print_blocks(report, form, limit)


def _print_properties(known: Properties, form: Form) -> None:
    keys = " to ".join(shown(key, form, "bytes", 40) for key in (known.smallest, known.largest))
    counts = f"{known.rows:,}, of which {known.tombstones:,} delete and {known.expiring:,} expire"
    click.echo(f"rows        {counts}; {known.keys:,} keys; {size(known.raw_bytes)}")
    click.echo(f"keys        {keys}")
    click.echo(f"revisions   {known.revision_min:,} to {known.revision_max:,}")
    if known.expiring:
        click.echo(f"expire      from {moment(known.expiry_min_ms)}, half by {moment(known.expiry_half_ms)}")


def _print_blocks(report: TableReport, form: Form, limit: int) -> None:
    room = _key_room(60)
    rows = []
    for block in _first(report.blocks, limit):
        first = "?" if block.first_key is None else shown(block.first_key, form, "bytes", room)
        numbers = (
            f"{block.offset:,}",
            f"{block.stored_bytes:,}",
            block.codec or "?",
            _or(block.raw_bytes),
            _or(block.rows),
        )
        rows.append(
            (str(block.number), *numbers, first, shown(block.last_key, form, "bytes", room), _state(block.problem))
        )
    title = ("block", "offset", "bytes", "codec", "raw", "rows", "first key", "last key", "state")
    print_table([title, *rows], header=True, left=(3, 6, 7, 8))
    _print_rest(len(report.blocks) - len(rows), "block")


def print_log_report(report: LogReport, limit: int) -> None:
    """Print a log: its records, and how it ends."""
    _print_head(report.file, report.file_bytes, report.header, "log")
    if report.hidden:
        click.echo("content     hidden: --key-file gives the key")
        return
    whole = [record for record in report.records if record.counts]
    whose = {"engine": ", of an engine's log", "node": ", of a node's log"}.get(report.log, "")
    click.echo(f"records     {len(whole):,}{whose}")
    if report.log == "node":
        groups = sorted({record.stream for record in whole if record.kind not in ("end", "resumed")})
        click.echo(f"groups      {', '.join(map(str, groups)) or 'none'}")
    click.echo(f"end         {_log_end(report)}")
    if not report.records:
        return
    click.echo()
    title = ("offset", "bytes", "kind", "stream", "synced", "says", "state")
    rows = [_record_row(record) for record in _first(report.records, limit)]
    print_table([title, *rows], header=True, left=(2, 5, 6))
    _print_rest(len(report.records) - len(rows), "record")


def _record_row(record: RecordReport) -> tuple[str, ...]:
    says = ", ".join(f"{name.replace('_', ' ')} {value:,}" for name, value in record.says.items())
    state = _state(record.problem) if record.counts else "beyond the end"
    numbers = (f"{record.offset:,}", f"{record.record_bytes:,}", record.kind, str(record.stream), f"{record.synced:,}")
    return (*numbers, says, state)


def _log_end(report: LogReport) -> str:
    if report.verdict == "clean":
        return f"clean at {report.end:,}" if report.continues_in is None else f"goes on in log {report.continues_in}"
    behind = f"{report.dropped_bytes:,} bytes behind it do not count"
    return f"{report.verdict} at {report.end:,}: {report.why}; {behind}"


def print_manifest_report(report: ManifestReport, form: Form) -> None:
    """Print a manifest: numbers, logs, keyspaces with their tables."""
    _print_head(report.file, report.file_bytes, report.header, "manifest")
    manifest = report.manifest
    if report.hidden:
        click.echo("content     hidden: --key-file gives the key")
    if manifest is None:
        return
    click.echo(f"revision    {manifest.last_revision:,} is the last in tables")
    click.echo(f"next        file {manifest.next_file}, tree {manifest.next_tree}")
    click.echo(f"logs        {', '.join(map(str, manifest.logs)) or 'none: it was closed'}")
    room = _key_room(56)
    for tree in manifest.trees:
        codecs = f"keys {printable(tree.key_codec)}, values {printable(tree.value_codec)}"
        if tree.compression:
            codecs += f", compressed {' '.join(tree.compression)}"
        click.echo(f"\nkeyspace {printable(tree.name)}: tree {tree.id}, {codecs}, flushed up to {tree.flushed:,}")
        rows = []
        for level, tables in enumerate(tree.levels):
            for table in tables:
                ends = (shown(key, form, "bytes", room) for key in (table.smallest, table.largest))
                revisions = f"{table.revision_min}-{table.revision_max}"
                numbers = (f"{table.file_bytes:,}", f"{table.rows:,}", revisions)
                rows.append((f"{table.file:06}", str(level), *numbers, *ends))
        if rows:
            title = ("table", "level", "bytes", "rows", "revisions", "smallest", "largest")
            print_table([title, *rows], header=True, left=(5, 6))


def print_store_report(report: StoreReport) -> None:
    """Print a store: who has it, each file, what can go."""
    _print_store_head(report)
    rows = [
        (printable(file.name), file.role, f"{file.file_bytes:,}", file.verdict or "-", file.detail)
        for file in report.files
    ]
    click.echo()
    print_table([("file", "role", "bytes", "verdict", "what it is"), *rows], header=True, left=(1, 3, 4))
    if report.unused_bytes:
        click.echo(f"\n{size(report.unused_bytes)} are unused: the next open removes them")


def _print_store_head(report: StoreReport) -> None:
    header = report.manifest.header if report.manifest else None
    click.secho(printable(report.path), bold=True)
    click.echo(f"store       {header.store}, format {header.version}" if header else "store       unknown")
    lock = report.lock
    if lock is None:
        click.echo("lock        none")
        return
    who = f"process {lock.pid} ({printable(' '.join(lock.argv))})" if lock.pid is not None else "a process unknown"
    click.echo(f"lock        held by {who}" if lock.held else f"lock        free; last held by {who}")


def _print_head(path: str, file_bytes: int, header: Header | None, kind: str) -> None:
    click.secho(f"{printable(path)}  {size(file_bytes)}", bold=True)
    if header:
        click.echo(f"{kind:<11} {header.file} of store {header.store}, format {header.version}")
        if header.cipher:
            click.echo(f"encrypted   {CIPHERS[header.cipher]}, with key {header.key_name}")
    else:
        click.echo(f"{kind:<11} the header cannot be read")


def _key_room(others: int) -> int | None:
    width = columns()
    return None if width is None else max(KEY_COLUMNS_MIN, (width - others) // 2)


def _first(rows: Sequence[Any], limit: int) -> Sequence[Any]:
    return rows[:limit] if limit else rows


def _print_rest(count: int, noun: str) -> None:
    if count:
        click.echo(f"… and {counted(count, f'more {noun}')}: --limit 0 shows all")


def _or(number: int | None) -> str:
    return "?" if number is None else f"{number:,}"


def _state(problem: str | None) -> str:
    return problem or "ok"
