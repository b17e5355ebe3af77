"""`keygen`, `rotate-key`, and --key-file wherever a store or a file of one is opened."""

from pathlib import Path

import pytest

from tests.unit.python.cli.conftest import Kvarts


@pytest.fixture
def keys(kvarts: Kvarts) -> tuple[str, str]:
    """Makes two key files, and a store that is encrypted with the first; returns their ids."""
    ids = [kvarts("keygen", name, "--json").json["key_id"] for name in ("old.key", "new.key")]
    assert kvarts("put", "demo", "hello", "world", "--key-file", "old.key").code == 0
    return ids[0], ids[1]


def test_keygen_makes_a_file_for_its_owner_and_replaces_none(kvarts: Kvarts, tmp_path: Path) -> None:
    done = kvarts("keygen", "a.key")
    assert done.code == 0, done.err
    assert (tmp_path / "a.key").stat().st_mode & 0o777 == 0o600
    content = (tmp_path / "a.key").read_text()
    assert len(bytes.fromhex(content)) == 32
    assert content.strip() not in done.out
    again = kvarts("keygen", "a.key", "--json")
    assert (again.code, again.error["code"]) == (3, "KV-1001")
    assert (tmp_path / "a.key").read_text() == content


def test_every_command_on_a_store_takes_the_key(
    kvarts: Kvarts, keys: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    commands = (["get", "demo", "hello"], ["scan", "demo"], ["stats", "demo"], ["verify", "demo"], ["export", "demo"])
    for command in commands:
        refused = kvarts(*command, "--json") if command[0] != "export" else kvarts(*command)
        assert refused.code != 0
        assert keys[0] in refused.err
        assert kvarts(*command, "--key-file", "old.key").code == 0, command
        assert keys[0] in kvarts(*command, "--key-file", "new.key").err
    monkeypatch.setenv("KVARTS_ENCRYPTION_KEY_FILE", "old.key")
    assert kvarts("get", "demo", "hello").out == "world"


def test_inspect_shows_the_header_without_a_key_and_all_with_it(
    kvarts: Kvarts, keys: tuple[str, str], tmp_path: Path
) -> None:
    [table] = (tmp_path / "demo").glob("*.table")
    for kind, path in (("table", str(table)), ("manifest", "demo/MANIFEST"), ("store", "demo")):
        hidden = kvarts("inspect", kind, path)
        assert hidden.code == 0, hidden.out
        assert keys[0] in hidden.out
        assert "default" not in hidden.out
        shown = kvarts("inspect", kind, path, "--key-file", "old.key")
        assert shown.code == 0, shown.out
        assert ("default" if kind != "table" else "hello") in shown.out
        assert kvarts("inspect", kind, path, "--key-file", "new.key").code == 0
    assert kvarts("inspect", "store", "demo", "--json").json["verdict"] == "hidden"
    assert kvarts("inspect", "store", "demo", "--json", "--key-file", "old.key").json["verdict"] == "ok"
    table.write_bytes(table.read_bytes()[:-1] + b"!")
    assert kvarts("inspect", "table", str(table), "--key-file", "old.key").code == 1


def test_rotate_key_moves_the_store_and_may_be_said_again(kvarts: Kvarts, keys: tuple[str, str]) -> None:
    command = ("rotate-key", "demo", "--key-file", "old.key", "--new-key-file", "new.key", "--json")
    done = kvarts(*command)
    assert (done.code, done.json["key_id"], done.json["tables"]) == (0, keys[1], 1), done.err
    assert kvarts("get", "demo", "hello", "--key-file", "new.key").out == "world"
    assert keys[1] in kvarts("get", "demo", "hello", "--key-file", "old.key").err
    assert kvarts(*command).json["tables"] == 0
    assert kvarts("put", "plain", "a", "b").code == 0
    assert "not encrypted" in kvarts("rotate-key", "plain", "--new-key-file", "new.key").err
