"""The report on a log, of the engine or of a node: every record, and how the log ends."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from kvarts.base.types import Damage
from kvarts.inspect.files import Identity, OpenFile, Target, damage, damage_of, identify, open_file
from kvarts.inspect.format.batch import Operation, read_batch
from kvarts.inspect.format.fields import FormatError, u64_at
from kvarts.inspect.format.header import HEADER_BYTES, Header
from kvarts.inspect.format.node_record import FIRST_KINDS, read_node_record
from kvarts.inspect.format.record import Record, scan
from kvarts.inspect.format.seal import NO_KEYS, Keys

Progress = Callable[[int, int], object]
_END_BYTES = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordReport:
    """A whole record. `says` are its fields: revision and operations of a batch, or those of a node's record.

    `counts` is False for one that lies beyond the end of the log.
    """

    offset: int
    record_bytes: int
    kind: str
    stream: int
    synced: int
    payload_bytes: int
    says: dict[str, int]
    counts: bool
    problem: str | None


@dataclass(slots=True, kw_only=True)
class LogReport:
    """What a log's file holds. `log` is "engine", "node", or "empty" where no record tells.

    `end` is where the records that count end, `written_bytes` the last byte that is not zero; `verdict` is "clean",
    "torn" or "damaged", and `why` says what is wrong at `end`. `tree_max` is the highest tree that a batch names.
    `hidden` names the key without which nothing but the header can be read.
    """

    file: str
    file_bytes: int
    header: Header | None = None
    log: str = "empty"
    records: list[RecordReport] = field(default_factory=list)
    end: int = 0
    written_bytes: int = 0
    verdict: str = "clean"
    why: str = ""
    continues_in: int | None = None
    tree_max: int | None = None
    hidden: str | None = None
    damage: list[Damage] = field(default_factory=list)

    @property
    def dropped_bytes(self) -> int:
        """Bytes behind the end that are not zero."""
        return max(0, self.written_bytes - self.end)

    @property
    def shows_synced(self) -> bool:
        """Tell whether a record was appended when all older logs were on stable storage."""
        return any(record.synced for record in self.records)


Sink = Callable[[RecordReport, Sequence[Operation]], bool]


@dataclass(frozen=True, slots=True)
class _Told:
    """Who hears of what is read."""

    operations: Sink
    progress: Progress


def inspect_log(
    target: Target,
    *,
    keys: Keys = NO_KEYS,
    operations: Sink = lambda _record, _operations: True,
    progress: Progress = lambda _done, _all: None,
) -> LogReport:
    """Read a log and check every byte of it. Memory: the file.

    `operations` gets each batch that counts with its operations, and returns False where it has enough. Raises
    StorageError, InvalidArgument where it is no file.
    """
    with open_file(target) as file:
        data = file.read(0, file.size)
        report = LogReport(file=file.path, file_bytes=file.size, written_bytes=len(data.rstrip(b"\0")))
        identity = identify(file.path, data[:HEADER_BYTES], "log", keys)
        _read(file, data, identity, report, _Told(operations, progress))
    return report


def _read(file: OpenFile, data: bytes, identity: Identity, report: LogReport, told: "_Told") -> None:
    report.header, report.hidden = identity.header, identity.hidden
    if identity.problem:
        report.damage.append(damage_of(file.path, identity.problem))
        report.verdict, report.why = "damaged", identity.problem.what
    if len(data) < HEADER_BYTES or identity.seal is None:
        report.end = report.written_bytes
        return
    found = scan(identity.seal, data, lambda done: told.progress(done, file.size))
    report.end = found.end
    if report.verdict == "clean":
        report.verdict, report.why = found.verdict, found.why
    if found.verdict == "damaged":
        what = f"{found.why}, although a later record shows that this place was on stable storage"
        report.damage.append(damage(file.path, found.end, what))
    if found.records:
        report.log = "node" if found.records[0].kind in FIRST_KINDS else "engine"
    wanted = True
    for record in found.records:
        found_record, batch = _told(file.path, record, report)
        report.records.append(found_record)
        trees = {operation.tree for operation in batch} | {report.tree_max}
        report.tree_max = max((tree for tree in trees if tree is not None), default=None)
        wanted = wanted and told.operations(found_record, batch)
    report.records += [_told(file.path, record, report, counts=False)[0] for record in found.later]
    _check_end(file.path, found.records, report)


def _told(
    path: str, record: Record, report: LogReport, *, counts: bool = True
) -> tuple[RecordReport, Sequence[Operation]]:
    """Decode the payload of a record; one that counts and cannot be decoded is damage."""
    says: dict[str, int] = {}
    batch: Sequence[Operation] = ()
    problem = None
    try:
        says, batch = _payload(record, report.log)
    except FormatError as error:
        problem = error.what
        if counts:
            report.damage.append(damage(path, record.offset, problem))
    told = RecordReport(
        offset=record.offset,
        record_bytes=record.next - record.offset,
        kind=record.kind,
        stream=record.stream,
        synced=record.synced,
        payload_bytes=len(record.payload),
        says=says,
        counts=counts,
        problem=problem,
    )
    return told, batch


def _payload(record: Record, log: str) -> tuple[dict[str, int], Sequence[Operation]]:
    if record.kind == "end":
        if len(record.payload) != _END_BYTES:
            raise FormatError(0, "the end of a log names no later log")
        return {"next": u64_at(record.payload, 0)}, ()
    if log == "node":
        said = read_node_record(record)
        sizes = {f"{name}_bytes": len(value) for name, value in said.items() if isinstance(value, bytes)}
        return {name: value for name, value in said.items() if isinstance(value, int)} | sizes, ()
    if record.kind != "batch":
        raise FormatError(0, f"a record of kind {record.kind} has no place in an engine's log")
    revision, batch = read_batch(record.payload)
    return {"revision": revision, "operations": len(batch)}, batch


def _check_end(path: str, records: Sequence[Record], report: LogReport) -> None:
    """Check that an end is the last record, and that a file which recovery made is as long as it says."""
    ends = [told for told in report.records if told.counts and told.kind == "end"]
    if ends:
        first = ends[0]
        report.continues_in = first.says.get("next")
        if report.continues_in is not None and report.header and report.continues_in <= report.header.file:
            report.damage.append(damage(path, first.offset, "the end of the log names no later log"))
        if records[-1].offset != first.offset:
            report.damage.append(damage(path, first.offset + first.record_bytes, "a record follows the end of the log"))
        elif report.dropped_bytes:
            report.damage.append(damage(path, report.end, "bytes follow the end of the log"))
    whole = report.records[0].says.get("whole", 0) if report.records and report.records[0].kind == "resumed" else 0
    if report.end < whole and not report.damage:
        what = f"the log ends here, although its first record says that {whole} bytes were on stable storage"
        report.damage.append(damage(path, report.end, what))
    if report.damage:
        report.verdict = "damaged"
        report.why = report.why or report.damage[0].what
