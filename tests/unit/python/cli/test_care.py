"""stats and verify."""

import subprocess
import sys
from pathlib import Path

from tests.unit.python.cli.conftest import Kvarts, environment


def test_stats_as_table_and_as_object(kvarts: Kvarts) -> None:
    kvarts("put", "demo", "hello", "world")
    kvarts("put", "demo", "1", "x", "--keyspace", "other", "--key-codec", "u64")
    table = kvarts("stats", "demo")
    assert table.code == 0
    assert "on disk" in table.out
    assert [line.split()[:3] for line in table.out.splitlines()[-2:]] == [
        ["default", "bytes", "bytes"],
        ["other", "u64", "bytes"],
    ]
    found = kvarts("stats", "demo", "--json").json
    assert found["revision"] >= 2
    assert found["disk_bytes"] == found["table_bytes"] + found["log_bytes"]
    assert found["codecs"]["other"] == {"key": "u64", "value": "bytes"}


def test_verify_of_a_sound_store_finds_nothing(kvarts: Kvarts) -> None:
    kvarts("put", "demo", "hello", "world")
    done = kvarts("verify", "demo")
    assert done.code == 0
    assert done.out.endswith("all as written\n")
    assert kvarts("verify", "demo", "--json").json["ok"] is True


def test_verify_finds_a_flipped_bit(kvarts: Kvarts, tmp_path: Path) -> None:
    code = """
import kvarts
with kvarts.open("demo") as db:
    db.put_many((b"%06d" % n, b"value" * 20) for n in range(5000))
    db.flush()
    db.compact()
"""
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment(), check=True)
    largest = max(_tables(tmp_path / "demo"), key=lambda file: file.stat().st_size)
    content = bytearray(largest.read_bytes())
    content[len(content) // 3] ^= 1
    largest.write_bytes(content)
    done = kvarts("verify", "demo")
    assert done.code == 1
    assert largest.name in done.out
    found = kvarts("verify", "demo", "--json").json
    assert found["ok"] is False
    assert found["damage"][0]["file"].endswith(largest.name)


def _tables(store: Path) -> list[Path]:
    return [file for file in store.rglob("*") if file.is_file() and "log" not in file.name.lower()]


def test_repair_saves_what_is_whole_and_lists_what_is_gone(kvarts: Kvarts, tmp_path: Path) -> None:
    code = """
import kvarts
with kvarts.open("demo") as db:
    db.put_many((b"%06d" % n, b"value" * 20) for n in range(5000))
    db.compact()
"""
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment(), check=True)
    whole = kvarts("repair", "demo", "--to", "whole")
    assert whole.code == 0
    assert whole.out.endswith("no row is gone\n")
    table = max(_tables(tmp_path / "demo"), key=lambda file: file.stat().st_size)
    content = bytearray(table.read_bytes())
    content[len(content) // 3] ^= 1
    table.write_bytes(content)
    done = kvarts("repair", "demo", "--to", "saved")
    assert done.code == 1
    assert table.name in done.out
    assert "are concerned" in done.out
    found = kvarts("repair", "demo", "--to", "again", "--json")
    assert found.code == 1
    assert found.json["ok"] is False
    assert found.json["gone"][0]["keyspace"] == "default"
    assert kvarts("verify", "saved").code == 0
    assert kvarts("get", "saved", "004999").out == "value" * 20
