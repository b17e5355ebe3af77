"""Mutated bytes into the readers in Python: `nox -s fuzz -- python --seconds 60 --seed 7`.

Inputs begin with the corpora of crates/kvarts-fuzz, and with the files of tests/compat. A reader may refuse, in its
own kind of error, or report; anything else that it raises is a bug, and so is a run that takes seconds.
"""

import argparse
import hashlib
import random
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from kvarts.base import tuples
from kvarts.base.errors import CodecError, KvartsError
from kvarts.inspect import inspect_log, inspect_manifest, inspect_store, inspect_table
from kvarts.inspect.format.batch import read_batch
from kvarts.inspect.format.block import read_block
from kvarts.inspect.format.checksum import tag
from kvarts.inspect.format.fields import FormatError
from kvarts.inspect.format.filter import read_filter
from kvarts.inspect.format.header import read_header
from kvarts.inspect.format.manifest import read_manifest
from kvarts.inspect.format.node_record import read_node_record
from kvarts.inspect.format.record import KINDS, Record, scan
from kvarts.inspect.format.seal import Seal
from kvarts.inspect.format.sealed import open_sealed
from kvarts.inspect.format.table import read_footer, read_index, read_properties
from kvarts.node.codec import (
    UnreadableMembership,
    decode_change,
    decode_membership,
    encode_change,
    encode_membership,
)

ROOT = Path(__file__).resolve().parents[2]
CORPUS = ROOT / "crates/kvarts-fuzz/corpus"
FILES = ROOT / "tests/compat/format-1/store"
REFUSALS = (FormatError, CodecError, UnreadableMembership, KvartsError)
SECONDS_MAX = 10
"""One input takes milliseconds; the machine may be busy."""
FILE, OFFSET = 1, 4096
HEADER_BYTES = 128
EDGES = (
    0,
    1,
    2,
    7,
    8,
    127,
    128,
    255,
    256,
    (1 << 16) - 1,
    (1 << 31) - 1,
    1 << 31,
    (1 << 32) - 1,
    (1 << 63),
    (1 << 64) - 1,
)


@dataclass(frozen=True)
class Reader:
    """Something that reads bytes: its name, what it does with them, and the folder or files that inputs begin with."""

    name: str
    read: Callable[[bytes], object]
    seeds: Callable[[], list[bytes]]


def _sealed(offset: int, body: bytes) -> bytes:
    return body + tag(FILE, offset, body)


def _read_header(body: bytes) -> object:
    file = int.from_bytes(body[16:24], "little")
    return read_header(body + tag(file, 0, body), None)


def _read_manifest(body: bytes) -> object:
    head = bytearray((FILES / "MANIFEST").read_bytes()[:HEADER_BYTES])
    file = int.from_bytes(head[16:24], "little")
    return read_manifest(bytes(head) + body + tag(file, HEADER_BYTES, body))


def _read_log(body: bytes) -> object:
    head = (FILES / "000019.log").read_bytes()[:HEADER_BYTES]
    return scan(Seal(FILE), head + body[1:])


def _read_node_record(body: bytes) -> object:
    names = list(KINDS.values())
    kind = names[(body[:1] or b"\0")[0] % len(names)]
    return read_node_record(Record(offset=128, kind=kind, stream=1, synced=0, payload=body[1:], next=0))


def _read_tuple(body: bytes) -> object:
    value = tuples.unpack(body)
    assert tuples.pack(value) == body, "a tuple has one form"
    return value


def _read_membership(body: bytes) -> object:
    membership = decode_membership(body)
    assert decode_membership(encode_membership(membership)) == membership
    return membership


def _read_change(body: bytes) -> object:
    change = decode_change(body)
    assert decode_change(encode_change(change)) == change
    return change


def _inspect(name: str, look: Callable[[Path], object]) -> Callable[[bytes], object]:
    def read(data: bytes) -> object:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / name
            path.write_bytes(data)
            report = look(path)
            if name == "MANIFEST":
                inspect_store(Path(folder))
            return report

    return read


def _corpus(name: str) -> list[bytes]:
    return [path.read_bytes() for path in sorted((CORPUS / name).iterdir())]


def _of_files(pattern: str) -> Callable[[], list[bytes]]:
    return lambda: [path.read_bytes() for path in sorted(FILES.glob(pattern))]


def _json_seeds() -> list[bytes]:
    return [
        b'{"auto_leave":false,"learners":[4],"learners_next":[],"outgoing":[],"voters":[1,2,3]}',
        b'{"changes":["add-voter 4"],"transition":"auto"}',
        b'{"auto_leave":false,"learners":null,"learners_next":[],"outgoing":[[]],"voters":[1e400]}',
        b"[" * 3000,
        b"",
    ]


def _shared(name: str, read: Callable[[bytes], object]) -> Reader:
    return Reader(name, read, lambda: _corpus(name))


READERS = (
    _shared("batch", read_batch),
    _shared("block", read_block),
    _shared("filter", read_filter),
    _shared("footer", lambda body: read_footer(Seal(FILE), OFFSET, _sealed(OFFSET, body))),
    _shared("header", _read_header),
    _shared("index", lambda body: read_index(body, 1 << 40)),
    _shared("log", _read_log),
    _shared("manifest", _read_manifest),
    _shared("node-record", _read_node_record),
    _shared("properties", read_properties),
    _shared("sealed-block", lambda body: open_sealed(Seal(FILE), OFFSET, _sealed(OFFSET, body))),
    _shared("tuple", _read_tuple),
    Reader("membership", _read_membership, _json_seeds),
    Reader("change", _read_change, _json_seeds),
    Reader("table-file", _inspect("000007.table", inspect_table), _of_files("*.table")),
    Reader("log-file", _inspect("000019.log", inspect_log), _of_files("*.log")),
    Reader("manifest-file", _inspect("MANIFEST", inspect_manifest), _of_files("MANIFEST")),
)


def mutated(seeds: list[bytes], rng: random.Random) -> bytes:
    """Return one of the seeds with a few bits, bytes, numbers or stretches changed."""
    data = bytearray(rng.choice(seeds)[: 16 << 10])
    for _ in range(rng.randrange(6)):
        at = rng.randrange(len(data) + 1)
        size = rng.choice((1, 2, 4, 8))
        match rng.randrange(8):
            case 0 if data:
                data[at % len(data)] ^= 1 << rng.randrange(8)
            case 1:
                data[at : at + size] = rng.choice(EDGES).to_bytes(8, "little")[:size]
            case 2:
                number = int.from_bytes(data[at : at + size], "little") + rng.randint(-9, 9)
                data[at : at + size] = (number % (1 << 8 * size)).to_bytes(size, "little")
            case 3:
                data[at:at] = rng.randbytes(rng.randrange(9))
            case 4:
                del data[at : at + rng.randrange(40)]
            case 5:
                data[at:at] = data[at : at + rng.randrange(64)] * rng.randrange(4)
            case 6:
                other = rng.choice(seeds)
                data[at:] = other[rng.randrange(len(other) + 1) :]
            case _:
                del data[at:]
    return bytes(data)


def check(reader: Reader, data: bytes) -> str | None:
    """Return what is wrong with how a reader takes these bytes; None where nothing is."""
    began = time.monotonic()
    try:
        reader.read(data)
    except REFUSALS as error:
        if not str(error):
            return "a refusal without words"
    except Exception:
        return traceback.format_exc()
    took = time.monotonic() - began
    return f"it took {took:.1f} s" if took > SECONDS_MAX else None


def inputs(reader: Reader, rng: random.Random) -> Iterator[bytes]:
    """Yield what a reader begins with, then mutations without end."""
    seeds = reader.seeds()
    yield from seeds
    while True:
        yield mutated(seeds, rng)


def main() -> int:
    """Run all readers, or the one named, and keep what fails in the corpus."""
    parser = argparse.ArgumentParser(prog="nox -s fuzz -- python")
    parser.add_argument("--only", choices=[reader.name for reader in READERS])
    parser.add_argument("--seconds", type=float, default=30, help="for each reader")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    parser.add_argument("--input", type=Path, help="run this file only; with --only")
    given = parser.parse_args()
    chosen = [reader for reader in READERS if given.only in (None, reader.name)]
    if given.input:
        wrong = check(chosen[0], given.input.read_bytes())
        print(wrong or "ok")
        return 1 if wrong else 0
    for reader in chosen:
        until, runs = time.monotonic() + given.seconds, 0
        for data in inputs(reader, random.Random(f"{given.seed} {reader.name}")):
            runs += 1
            wrong = check(reader, data)
            if wrong:
                path = CORPUS / reader.name / hashlib.blake2b(data, digest_size=8).hexdigest()
                path.parent.mkdir(exist_ok=True)
                path.write_bytes(data)
                print(f"{reader.name} FAILED seed={given.seed}: {wrong}\n  kept in {path}")
                print(f"  replay: nox -s fuzz -- python --only {reader.name} --input {path}")
                return 1
            if time.monotonic() > until:
                break
        print(f"{reader.name:<14} seed={given.seed} runs={runs}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
