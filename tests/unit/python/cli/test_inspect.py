"""inspect: reports for people and programs, rows, limits, and exit codes."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.python.cli.conftest import Kvarts, environment, on_a_terminal
from tests.unit.python.cli.test_widths import too_wide

CODE = """
import kvarts
with kvarts.open("demo", block_bytes=256) as db:
    db.put_many((b"%03d" % n, b"value %d" % n) for n in range(200))
    db.put(b"session", b"x", ttl=1e8)
    del db[b"007"]
    db.keyspace("other", key=kvarts.U64)[7] = b"\\xff"
"""


@pytest.fixture
def demo(tmp_path: Path) -> Path:
    """A closed store with two tables."""
    subprocess.run([sys.executable, "-c", CODE], cwd=tmp_path, env=environment(), check=True)
    return tmp_path / "demo"


@pytest.fixture
def table(demo: Path) -> Path:
    """Its large table."""
    return max(demo.glob("*.table"), key=lambda file: file.stat().st_size)


def _flip(path: Path, offset: int) -> None:
    data = bytearray(path.read_bytes())
    data[offset] ^= 1
    path.write_bytes(data)


def test_store_lists_files_with_roles_and_verdicts(kvarts: Kvarts, demo: Path) -> None:
    done = kvarts("inspect", "store", "demo")
    assert done.code == 0
    assert "keyspace default, level 0, 201 rows" in done.out
    assert "lock        free; last held by process" in done.out
    found = kvarts("inspect", "store", "demo", "--json").json
    assert (found["ok"], found["verdict"], found["damage"]) == (True, "ok", [])
    assert {file["name"] for file in found["files"]} == {path.name for path in demo.iterdir()}


def test_table_shows_parts_and_blocks_up_to_the_limit(kvarts: Kvarts, table: Path) -> None:
    done = kvarts("inspect", "table", str(table), "--limit", "3")
    assert done.code == 0
    assert "rows        201, of which 1 delete and 1 expire; 201 keys" in done.out
    assert all(f"\n{part} " in done.out for part in ("filter", "index", "properties"))
    assert done.out.splitlines()[-1].endswith("more blocks: --limit 0 shows all")
    found = kvarts("inspect", "table", str(table), "--json").json
    assert sum(block["rows"] for block in found["blocks"]) == found["properties"]["rows"] == 201
    assert found["filter"].keys() == {"probes", "lines", "share"}
    assert found["properties"]["smallest"] == "000"


def test_rows_of_a_table_end_at_the_limit_and_the_rest_is_not_read(kvarts: Kvarts, table: Path) -> None:
    _flip(table, table.stat().st_size // 3)
    first = kvarts("inspect", "table", str(table), "--rows", "--limit", "2")
    assert (first.code, first.out) == (
        0,
        "000\t1\tput\tvalue 0\n001\t1\tput\tvalue 1\n… 2 shown: --limit 0 shows all\n",
    )
    every = kvarts("inspect", "table", str(table), "--rows", "--json")
    assert every.code == 1
    assert [line for line in every.lines if "damage" in line]
    rows = {(row["key"], row["revision"]): row for row in every.lines if "key" in row}
    assert len(rows) < 201
    assert rows["session", 2]["kind"] == "put_expiring"
    assert rows["session", 2]["expires_ms"] > 0


def test_rows_as_hexadecimal(kvarts: Kvarts, demo: Path) -> None:
    small = min(demo.glob("*.table"), key=lambda file: file.stat().st_size)
    assert kvarts("inspect", "table", str(small), "--rows", "--hex").out == f"{7:016x}\t4\tput\tff\n"
    (row,) = kvarts("inspect", "table", str(small), "--rows", "--json").lines
    assert row["value_base64"] == "/w=="


def test_log_of_a_running_store_lists_records_and_operations(kvarts: Kvarts, tmp_path: Path) -> None:
    code = """
import kvarts, subprocess, sys
with kvarts.open("demo") as db:
    db[b"a"] = b"1"
    del db[b"a"]
    for more in ([], ["--rows"], ["--json"]):
        subprocess.run([sys.executable, "-m", "kvarts", "inspect", "log", "demo/000001.log", *more], check=True)
    subprocess.run([sys.executable, "-m", "kvarts", "inspect", "store", "demo"], check=True)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment(), check=True, capture_output=True, text=True
    )
    assert "records     2, of an engine's log\nend         clean at " in done.stdout
    assert "revision 1, operations 1" in done.stdout
    assert "\na\t1\tput\t1\na\t2\tdelete\n" in done.stdout
    assert '"verdict": "clean"' in done.stdout
    assert "lock        held by process" in done.stdout


def test_manifest_shows_keyspaces_and_tables(kvarts: Kvarts, demo: Path, table: Path) -> None:
    done = kvarts("inspect", "manifest", "demo/MANIFEST")
    assert done.code == 0
    assert "keyspace other: tree 1, keys u64, values bytes" in done.out
    assert f"\n{table.stem}      0 " in done.out
    trees = kvarts("inspect", "manifest", "demo/MANIFEST", "--json").json["manifest"]["trees"]
    assert [tree["name"] for tree in trees] == ["default", "other"]


def test_damage_ends_with_1_and_names_file_and_offset(kvarts: Kvarts, demo: Path, table: Path) -> None:
    offset = kvarts("inspect", "table", str(table), "--json").json["blocks"][3]["offset"]
    _flip(table, offset + 20)
    done = kvarts("inspect", "table", str(table))
    assert done.code == 1
    assert f"{table} at offset {offset}: block 3: the checksum differs\n  keys from " in done.out
    done = kvarts("inspect", "store", "demo", "--json")
    assert done.code == 1
    assert [place["offset"] for place in done.json["damage"]] == [offset]
    _flip(demo / "MANIFEST", 200)
    done = kvarts("inspect", "store", "demo")
    assert done.code == 1
    assert "cannot be read" in done.out
    assert "MANIFEST at offset 128: the checksum of the manifest differs" in done.out


def test_what_is_not_there_is_an_error_with_a_code(kvarts: Kvarts, tmp_path: Path) -> None:
    for what in ("table", "log", "manifest", "store"):
        done = kvarts("inspect", what, "absent", "--json")
        assert (done.code, done.error["code"]) == (3, "KV-2008"), what
    done = kvarts("inspect", "store", ".")
    assert done.code == 3
    assert "no store at ." in done.err
    (tmp_path / "empty").write_bytes(b"")
    assert kvarts("inspect", "log", "empty").code == 1


def test_names_and_keys_of_others_do_no_harm(kvarts: Kvarts, demo: Path) -> None:
    """A file name that is no text, and one with a terminal's own codes, are shown escaped."""
    (demo / "n\x1b[31mote").write_bytes(b"")
    Path(os.fsdecode(os.fsencode(demo) + b"/n\xff")).write_bytes(b"")
    done = kvarts("inspect", "store", "demo")
    assert "\x1b[31m" not in done.out
    assert "n\\x1b[31mote" in done.out
    names = [file["name"] for file in json.loads(kvarts("inspect", "store", "demo", "--json").out)["files"]]
    assert {"n\\x1b[31mote", "n\\xff"} <= set(names)


def test_reports_fit_a_terminal(demo: Path, table: Path, tmp_path: Path) -> None:
    for what, path in (("table", f"demo/{table.name}"), ("manifest", "demo/MANIFEST"), ("store", "demo")):
        text = on_a_terminal(tmp_path, "inspect", what, path, columns=80)
        assert too_wide(text, 80) == [], what
        assert "table" in text
