"""The report on a store's directory: each file, what it is for, and whether all agree."""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from kvarts.base.errors import NotAStore, StorageError, refused
from kvarts.base.types import Damage
from kvarts.inspect.chain import MIXED, Chain
from kvarts.inspect.files import Target, damage, floor, numbered
from kvarts.inspect.format.manifest import Manifest, TableRecord, TreeRecord
from kvarts.inspect.format.seal import NO_KEYS, Keys
from kvarts.inspect.lock import LOCK, LockReport, look_at_lock
from kvarts.inspect.log import LogReport, inspect_log
from kvarts.inspect.manifest import ManifestReport, inspect_manifest
from kvarts.inspect.table import TableReport, inspect_table

MANIFEST = "MANIFEST"
MANIFEST_TMP = "MANIFEST.tmp"
_HEADER_BYTES = 128
_LOOKS_AT_A_LIVE_LOG = 3

Progress = Callable[[int, int], object]


@dataclass(frozen=True, slots=True, kw_only=True)
class FileReport:
    """A file of a store.

    Roles: manifest, table, log; lock; floor; "unused" (a crash, or work that goes on, left it: the next open
    removes it); "missing" (something names it); "gone" (it went while we looked); "foreign". Verdicts: "ok", "torn",
    "damaged", "hidden" (encrypted with a key that was not given), or "" where nothing was checked. What is wrong with
    an unused file counts for nothing.
    """

    name: str
    role: str
    file_bytes: int
    verdict: str
    detail: str
    damage: tuple[Damage, ...] = ()


@dataclass(slots=True, kw_only=True)
class StoreReport:
    """What a store's directory holds. `lock` is None where it has no lock file."""

    path: str
    manifest: ManifestReport | None
    lock: LockReport | None
    files: list[FileReport] = field(default_factory=list)

    @property
    def damage(self) -> tuple[Damage, ...]:
        """Damage of the files that count."""
        return tuple(place for file in self.files if file.role != "unused" for place in file.damage)

    @property
    def verdict(self) -> str:
        """Return "damaged", "torn" (an unclean stop: its log ends early), "hidden" (no key was given) or "ok"."""
        verdicts = {file.verdict for file in self.files if file.role != "unused"}
        return next((verdict for verdict in ("damaged", "torn", "hidden") if verdict in verdicts), "ok")

    @property
    def unused_bytes(self) -> int:
        """Bytes of files that the next open removes."""
        return sum(file.file_bytes for file in self.files if file.role == "unused")


def inspect_store(
    target: Target, *, keys: Keys = NO_KEYS, progress: Progress = lambda _done, _all: None
) -> StoreReport:
    """Read every file of a store and hold them against the manifest. Nothing is written, no lock taken.

    Of a store that is open the answer is that of a moment: files may come and go meanwhile, and its newest record may
    look torn. `progress` gets bytes done and in all. Raises NotAStore, StorageError.
    """
    path = os.fspath(target)
    sizes = _list(path)
    if MANIFEST not in sizes and not any(numbered(name) or floor(name) for name in sizes):
        raise NotAStore(f"no store at {path}", hint=_hint(sizes), filename=path)
    manifest = inspect_manifest(os.path.join(path, MANIFEST), keys=keys) if MANIFEST in sizes else None
    report = StoreReport(path=path, manifest=manifest, lock=look_at_lock(path))
    report.files = list(_Looking(report, sizes, keys, progress).files())
    return report


def _list(path: str) -> dict[str, int]:
    """Return names and sizes."""
    try:
        with os.scandir(path) as entries:
            sizes = {entry.name: _size(entry) for entry in entries}
            return {name: size for name, size in sizes.items() if size is not None}
    except NotADirectoryError:
        raise NotAStore(f"{path} is not a directory", hint="a store is a directory", filename=path) from None
    except OSError as error:
        raise refused(f"listing {path}", error, path) from error


def _size(entry: os.DirEntry[str]) -> int | None:
    """Return a file's size, or None where it went while the directory was listed."""
    try:
        return entry.stat(follow_symlinks=False).st_size
    except FileNotFoundError:
        return None


def _hint(names: dict[str, int]) -> str:
    if {"log", "shards"} <= names.keys():
        return "this is a node's directory: its stores are shards/GROUP/NUMBER, its log is in log/"
    return "a store has a file MANIFEST"


class _Looking:
    """A directory being looked at."""

    def __init__(self, report: StoreReport, sizes: dict[str, int], keys: Keys, progress: Progress) -> None:
        self.keys = keys
        self.report = report
        self.sizes = sizes
        self.progress = progress
        self.all_bytes = sum(size for name, size in sizes.items() if numbered(name))
        self.done_bytes = 0
        self.manifest = report.manifest.manifest if report.manifest else None
        self.is_held = report.lock is not None and report.lock.held

    def files(self) -> Iterator[FileReport]:
        """Yield a report on each file: manifest, tables, logs, the others."""
        yield self._manifest()
        live = _live_tables(self.manifest)
        names = {f"{number:06}.table" for number in live} | {name for name in self.sizes if _suffix(name) == "table"}
        for name in sorted(names, key=_by_number):
            yield self._table(name, live.get(_number(name)))
        yield from self._logs()
        for name in sorted(self.sizes):
            if name in (LOCK, MANIFEST_TMP):
                detail = "whoever has the store open holds it" if name == LOCK else "a manifest that was being written"
                role = "lock" if name == LOCK else "unused"
                yield FileReport(name=name, role=role, file_bytes=self.sizes[name], verdict="", detail=detail)
            elif said := floor(name):
                detail = f"manifest {said[0]} was in place, its logs reach revision {said[1]}"
                yield FileReport(name=name, role="floor", file_bytes=self.sizes[name], verdict="", detail=detail)
            elif name != MANIFEST and not numbered(name):
                yield FileReport(
                    name=name, role="foreign", file_bytes=self.sizes[name], verdict="", detail="none of ours"
                )

    def _manifest(self) -> FileReport:
        if self.report.manifest is None:
            if self._holds_data():
                return self._missing(MANIFEST, "it is missing, although files of a store are here")
            # A creation that was cut short: an empty log, and no store yet.
            detail = "a store that was being made"
            return FileReport(name=MANIFEST, role="missing", file_bytes=0, verdict="", detail=detail)
        found = self.report.manifest.damage + self._stale()
        detail = "cannot be read"
        if self.manifest is not None:
            tables = sum(len(tree.tables) for tree in self.manifest.trees)
            detail = ", ".join(
                _counted(count, noun)
                for count, noun in (
                    (len(self.manifest.trees), "keyspace"),
                    (tables, "table"),
                    (len(self.manifest.logs), "log"),
                )
            )
        verdict = "damaged" if found else "ok"
        if self.report.manifest.hidden:
            verdict, detail = "hidden", _hidden(self.report.manifest.hidden)
        size = self.report.manifest.file_bytes
        return FileReport(name=MANIFEST, role="manifest", file_bytes=size, verdict=verdict, detail=detail, damage=found)

    def _stale(self) -> tuple[Damage, ...]:
        """Tell of a manifest that is older than one that was in place."""
        header = self.report.manifest.header if self.report.manifest else None
        newest = max((said[0] for name in self.sizes if (said := floor(name))), default=0)
        # The floor of a store that is open may have been raised since its manifest was read.
        if header is None or header.file >= newest or self.is_held:
            return ()
        what = f"it is manifest {header.file}, an older one: {newest} was in place"
        return (damage(os.path.join(self.report.path, MANIFEST), 0, what),)

    def _holds_data(self) -> bool:
        if any(_suffix(name) == "table" or floor(name) for name in self.sizes):
            return True
        logs = [name for name in self.sizes if _suffix(name) == "log"]
        return any(
            inspect_log(os.path.join(self.report.path, name), keys=self.keys).written_bytes > _HEADER_BYTES
            for name in logs
        )

    def _missing(self, name: str, what: str) -> FileReport:
        place = damage(os.path.join(self.report.path, name), 0, what)
        return FileReport(name=name, role="missing", file_bytes=0, verdict="damaged", detail=what, damage=(place,))

    def _table(self, name: str, known: "tuple[TreeRecord, int, TableRecord] | None") -> FileReport:
        path = os.path.join(self.report.path, name)
        try:
            table = inspect_table(path, keys=self.keys, progress=self._progress)
        except StorageError as error:
            return self._vanished(name, error)
        finally:
            self.done_bytes += self.sizes.get(name, 0)
        found = [*table.damage, *self._disagreements(table, known[2] if known else None)]
        rows = _counted(table.properties.rows, "row") if table.properties else "rows unknown"
        detail = f"keyspace {known[0].name}, level {known[1]}, {rows}" if known else rows
        # Without a manifest nobody can tell what counts: everything may.
        role = "table" if known or self.manifest is None else "unused"
        verdict = "damaged" if found else "ok"
        if table.hidden and not found:
            verdict, detail = "hidden", _hidden(table.hidden)
        return FileReport(
            name=name, role=role, file_bytes=table.file_bytes, verdict=verdict, detail=detail, damage=tuple(found)
        )

    def _progress(self, done: int, _all: int) -> None:
        self.progress(min(self.done_bytes + done, self.all_bytes), self.all_bytes)

    def _vanished(self, name: str, error: StorageError) -> FileReport:
        """Tell of a file that cannot be opened: it is missing, unless the manifest of now does without it."""
        if not isinstance(error.__cause__, FileNotFoundError):
            raise error
        if name in self.sizes and name not in self._names_of_now():
            return FileReport(name=name, role="gone", file_bytes=0, verdict="", detail="went while we looked")
        return self._missing(name, "the file is missing")

    def _names_of_now(self) -> set[str]:
        now = self._manifest_of_now() if MANIFEST in self.sizes else None
        logs = [f"{number:06}.log" for number in now.logs] if now else []
        return {f"{number:06}.table" for number in _live_tables(now)} | set(logs)

    def _manifest_of_now(self) -> Manifest | None:
        return inspect_manifest(os.path.join(self.report.path, MANIFEST), keys=self.keys).manifest

    def _disagreements(self, table: TableReport, record: TableRecord | None) -> Iterator[Damage]:
        """Yield where a table is of another store, or not what the manifest says."""
        header = self.report.manifest.header if self.report.manifest else None
        if header and table.header and table.header.store != header.store:
            yield damage(table.file, 0, "the file belongs to another store")
        if header and table.header and bool(table.header.cipher) != bool(header.cipher):
            yield damage(table.file, 13, MIXED)
        if record is None:
            return
        manifest = os.path.join(self.report.path, MANIFEST)
        if record.file_bytes != table.file_bytes:
            what = f"table {record.file} has {table.file_bytes} bytes, the manifest says {record.file_bytes}"
            yield damage(manifest, 0, what)
        for name in ("rows", "tombstones", "keys", "revision_min", "revision_max", "expiry_min_ms", "expiry_half_ms"):
            if table.properties and getattr(table.properties, name) != getattr(record, name):
                yield damage(manifest, 0, f"it and table {record.file} disagree about {name}")
        ends = (record.smallest, record.largest)
        if table.properties and (table.properties.smallest, table.properties.largest) != ends:
            yield damage(manifest, 0, f"it and table {record.file} disagree about its keys")

    def _logs(self) -> Iterator[FileReport]:
        found = sorted((name for name in self.sizes if _suffix(name) == "log"), key=_by_number)
        named = [f"{number:06}.log" for number in self.manifest.logs] if self.manifest else []
        reports: dict[str, LogReport] = {}
        gone: set[int] = set()
        waiting = sorted({*found, *named}, key=_by_number)
        while waiting:
            name = waiting.pop(0)
            try:
                reports[name] = self._log(name)
            except StorageError as error:
                vanished = self._vanished(name, error)
                if vanished.role == "gone":
                    gone.add(_number(name))
                yield vanished
                continue
            self.done_bytes += self.sizes.get(name, 0)
            waiting += self._begun_since(reports[name], {*found, *named})
        header = self.report.manifest.header if self.report.manifest else None
        chain = Chain({_number(name): log for name, log in reports.items()}, gone, header, self.manifest)
        for name, log in reports.items():
            yield self._judged(name, log, chain)

    def _begun_since(self, log: LogReport, known: set[str]) -> list[str]:
        """Return the log that this one leads to, if it was made after we listed the directory."""
        name = f"{log.continues_in:06}.log" if log.continues_in is not None else ""
        is_new = name not in known and os.path.exists(os.path.join(self.report.path, name))
        return [name] if name and is_new else []

    def _log(self, name: str) -> LogReport:
        """Read a log; one that is being written is read again where its last record was only half there."""
        path = os.path.join(self.report.path, name)
        report = inspect_log(path, keys=self.keys, progress=self._progress)
        for _ in range(_LOOKS_AT_A_LIVE_LOG - 1):
            if report.verdict == "clean" or not self.is_held:
                break
            report = inspect_log(path, keys=self.keys, progress=self._progress)
        return report

    def _judged(self, name: str, log: LogReport, chain: Chain) -> FileReport:
        place = chain.places[_number(name)]
        count = sum(record.counts and record.kind == "batch" for record in log.records)
        batches = f"{count:,} batch{'' if count == 1 else 'es'}"
        detail = f"{batches}, {place.detail}"
        if log.dropped_bytes and log.verdict != "clean":
            detail += f", {log.verdict} at {log.end}: {log.dropped_bytes:,} bytes behind it"
        found = (*log.damage, *place.damage) if place.counts else ()
        verdict = "damaged" if found else ("torn" if log.verdict == "torn" and place.counts else "ok")
        if log.hidden and not found:
            verdict, detail = "hidden", _hidden(log.hidden)
        role = "log" if place.counts else "unused"
        return FileReport(
            name=name, role=role, file_bytes=log.file_bytes, verdict=verdict, detail=detail, damage=tuple(found)
        )


def _live_tables(manifest: Manifest | None) -> dict[int, tuple[TreeRecord, int, TableRecord]]:
    trees = manifest.trees if manifest else []
    return {
        table.file: (tree, level, table)
        for tree in trees
        for level, tables in enumerate(tree.levels)
        for table in tables
    }


def _hidden(needed: str) -> str:
    return f"encrypted with key {needed}"


def _counted(count: int, noun: str) -> str:
    """Return "1 row", "2,000 rows"."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def _suffix(name: str) -> str:
    found = numbered(name)
    return found[1] if found else ""


def _number(name: str) -> int:
    found = numbered(name)
    return found[0] if found else 0


def _by_number(name: str) -> tuple[int, str]:
    return _number(name), name
