"""get, put, delete and scan: as text and as JSON, with the exit codes that the help promises."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.python.cli.conftest import Kvarts, environment, on_a_terminal


def test_put_then_get_gives_the_value_as_it_is(kvarts: Kvarts) -> None:
    assert kvarts("put", "demo", "hello", "world").out.startswith("revision ")
    done = kvarts("get", "demo", "hello")
    assert (done.code, done.out, done.err) == (0, "world", "")


def test_get_json_has_key_value_and_revision(kvarts: Kvarts) -> None:
    written = kvarts("put", "demo", "hello", "world", "--json").json
    assert (written["key"], written["bytes"]) == ("hello", 5)
    found = kvarts("get", "demo", "hello", "--json").json
    assert found == {"key": "hello", "found": True, "value": "world", "revision": written["revision"]}


def test_absent_key_is_exit_code_1(kvarts: Kvarts) -> None:
    kvarts("put", "demo", "hello", "world")
    done = kvarts("get", "demo", "other")
    assert (done.code, done.out, done.err) == (1, "", "no key other in demo\n")
    done = kvarts("get", "demo", "other", "--json")
    assert (done.code, done.json["found"]) == (1, False)


def test_missing_store_is_one_tidy_block(kvarts: Kvarts) -> None:
    done = kvarts("get", "nowhere", "hello")
    assert (done.code, done.out) == (3, "")
    first, what, *_, more = done.err.splitlines()
    assert first.startswith("error KV-")
    assert "nowhere" in what
    assert more == f"  more  kvarts explain {first.split()[1]}"
    error = kvarts("get", "nowhere", "hello", "--json").error
    assert error["code"] == first.split()[1]
    assert error["hint"]


def test_value_from_stdin_may_be_any_bytes(kvarts: Kvarts) -> None:
    kvarts("put", "demo", "blob", "-", piped=b"\xff\x00\n")
    assert kvarts("get", "demo", "blob", "--hex").code == 2  # "blob" is no hexadecimal
    assert kvarts("get", "demo", "--hex", b"blob".hex()).out == "ff000a\n"
    assert kvarts("get", "demo", "blob", "--json").json["value_base64"] == "/wAK"


def test_hex_and_base64_hold_for_keys_and_values(kvarts: Kvarts) -> None:
    kvarts("put", "demo", "--hex", "00ff", "0102")
    assert kvarts("get", "demo", "--base64", "AP8=").out == "AQI=\n"
    assert kvarts("scan", "demo", "--hex").out == "00ff\t0102\n"


def test_hex_and_base64_at_once_are_refused(kvarts: Kvarts) -> None:
    for command in (
        ("put", "demo", "00ff", "0102"),
        ("get", "demo", "00ff"),
        ("scan", "demo"),
        ("delete", "demo", "00"),
    ):
        done = kvarts(*command, "--hex", "--base64")
        assert (done.code, "give one of --hex, --base64" in done.err) == (2, True), command


@pytest.mark.parametrize("command", [("put", "a", "1"), ("get", "a"), ("scan",), ("stats",), ("verify",), ("export",)])
def test_a_store_in_memory_would_end_with_the_command(kvarts: Kvarts, command: tuple[str, ...]) -> None:
    name, *rest = command
    done = kvarts(name, ":memory:", *rest)
    assert (done.code, done.out) == (2, "")
    assert "ends with the command" in done.err


def test_conditions_hold_or_fail_with_their_code(kvarts: Kvarts) -> None:
    revision = kvarts("put", "demo", "owner", "me", "--if-absent", "--json").json["revision"]
    assert kvarts("put", "demo", "owner", "you", "--if-absent", "--json").error["code"] == "KV-1007"
    assert kvarts("put", "demo", "owner", "you", "--if-revision", str(revision)).code == 0
    assert kvarts("put", "demo", "new", "x", "--if-present").code == 3
    assert kvarts("put", "demo", "new", "x", "--if-present", "--if-absent").code == 2


def test_key_with_ttl_is_gone_after_it(kvarts: Kvarts) -> None:
    kvarts("put", "demo", "session", "42", "--ttl", "1ms")
    assert kvarts("get", "demo", "session").code == 1
    kvarts("put", "demo", "session", "42", "--ttl", "1h")
    assert kvarts("get", "demo", "session").out == "42"
    assert kvarts("put", "demo", "session", "42", "--ttl", "soon").code == 2


def test_delete_says_which_keys_were_absent(kvarts: Kvarts) -> None:
    kvarts("put", "demo", "one", "1")
    done = kvarts("delete", "demo", "one", "two")
    assert (done.code, done.out, done.err) == (1, "deleted 1\n", "no key two in demo\n")
    assert kvarts("delete", "demo", "one", "--json").json == {"deleted": 0, "absent": [{"key": "one"}]}


@pytest.fixture
def letters(kvarts: Kvarts) -> Kvarts:
    """A store `demo` with a: 1, b/1: 2, b/2: 3, c: 4."""
    rows = ["a", "b/1", "b/2", "c"]
    lines = "".join(f'{{"key": "{key}", "value": "{number}"}}\n' for number, key in enumerate(rows, start=1))
    assert kvarts("import", "demo", "-", piped=lines.encode()).out == "imported 4 rows\n"
    return kvarts


@pytest.mark.parametrize(
    ("options", "keys"),
    [
        ([], ["a", "b/1", "b/2", "c"]),
        (["--reverse"], ["c", "b/2", "b/1", "a"]),
        (["--prefix", "b/"], ["b/1", "b/2"]),
        (["--prefix", "b/", "--reverse", "--limit", "1"], ["b/2"]),
        (["--start", "b", "--stop", "c"], ["b/1", "b/2"]),
        (["--limit", "0"], []),
    ],
    ids=lambda value: " ".join(value) if value and value[0].startswith("-") else "",
)
def test_scan_takes_bounds_and_direction(letters: Kvarts, options: list[str], keys: list[str]) -> None:
    assert [row["key"] for row in letters("scan", "demo", "--json", *options).lines] == keys
    assert letters("scan", "demo", "--keys", *options).out.split() == keys


def test_scan_prints_key_tab_value(letters: Kvarts) -> None:
    assert letters("scan", "demo", "--limit", "2").out == "a\t1\nb/1\t2\n"


def test_scan_escapes_what_is_no_text(kvarts: Kvarts) -> None:
    kvarts("put", "demo", "k", "-", piped=b"\x1b[31mred\n\xff")
    assert kvarts("scan", "demo").out == "k\t\\x1b[31mred\\n\\xff\n"


def test_codecs_of_a_keyspace_decide_how_text_is_read(kvarts: Kvarts) -> None:
    space = ["--keyspace", "counts"]
    assert kvarts("put", "demo", "12", "[1, 2]", *space, "--key-codec", "u64", "--value-codec", "json").code == 0
    assert kvarts("put", "demo", "5", "{}", *space).code == 0
    assert kvarts("scan", "demo", *space).out == "5\t{}\n12\t[1,2]\n"
    assert kvarts("put", "demo", "five", "{}", *space).code == 2
    assert kvarts("put", "demo", "5", "{", *space).code == 2


@pytest.mark.parametrize("command", [["get", "k"], ["scan"], ["delete", "k"], ["export"]])
def test_missing_keyspace_is_told_in_words_of_the_command_line(kvarts: Kvarts, command: list[str]) -> None:
    kvarts("put", "my demo", "k", "v", "--keyspace", "users")
    done = kvarts(command[0], "my demo", *command[1:], "--keyspace", "user")
    assert done.code == 3
    assert done.err.splitlines()[1:3] == [
        "  what  no keyspace 'user' in my demo",
        "  hint  did you mean users? `kvarts stats 'my demo'` lists them; `kvarts put --keyspace` and "
        "`kvarts import --keyspace` make them",
    ]


@pytest.mark.parametrize("space", [[], ["--keyspace", "one"]])
def test_other_codecs_are_told_in_words_of_the_command_line(kvarts: Kvarts, space: list[str]) -> None:
    kvarts("put", "demo", "7", "v", "--key-codec", "u64", *space)
    done = kvarts("put", "demo", "7", "v", "--key-codec", "str", *space)
    assert done.code == 3
    assert "  hint  leave --key-codec and --value-codec out: the keyspace has its own, u64 and bytes\n" in done.err


def test_store_made_by_a_program_opens_with_its_own_codecs(kvarts: Kvarts, tmp_path: Path) -> None:
    code = "import kvarts; kvarts.open('demo', key=kvarts.U64, value=kvarts.Json)[7] = {'a': 1}"
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment(), check=True)
    assert kvarts("get", "demo", "7").out == '{"a":1}'
    assert kvarts("put", "demo", "8", '"x"').code == 0
    assert kvarts("scan", "demo").out == '7\t{"a":1}\n8\t"x"\n'


def test_closed_pipe_ends_quietly(kvarts: Kvarts, tmp_path: Path) -> None:
    lines = "".join(f'{{"key": "{number:06d}", "value": "{"x" * 100}"}}\n' for number in range(5000))
    kvarts("import", "demo", "-", piped=lines.encode())
    command = [sys.executable, "-m", "kvarts", "scan", "demo"]
    with subprocess.Popen(
        command, cwd=tmp_path, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as child:
        assert child.stdout is not None
        assert child.stderr is not None
        assert child.stdout.readline().startswith(b"000000\t")
        child.stdout.close()
        assert child.stderr.read() == b""
        assert child.wait() == 141


def test_terminal_gets_a_newline_and_no_control_characters(kvarts: Kvarts, tmp_path: Path) -> None:
    kvarts("put", "demo", "k", "-", piped=b"\x1b]0;title\x07")
    kvarts("put", "demo", "long", "x" * 500)
    assert on_a_terminal(tmp_path, "get", "demo", "k") == "\\x1b]0;title\\x07\n"
    rows = on_a_terminal(tmp_path, "scan", "demo").splitlines()
    assert rows[1].endswith("…")


def test_prefix_is_of_the_codecs_keys(kvarts: Kvarts) -> None:
    for key in ("a", "ab", "b"):
        kvarts("put", "texts", key, "1", "--key-codec", "str")
    assert kvarts("scan", "texts", "--prefix", "a").out == "a\t1\nab\t1\n"
    assert kvarts("scan", "texts", "--prefix", "a", "--start", "aa", "--stop", "b").out == "ab\t1\n"
    for key in ("('user', 7)", "('user', 42)", "('users',)", r"('user\0',)"):
        kvarts("put", "tuples", key, "1", "--key-codec", "tuple")
    assert kvarts("scan", "tuples", "--prefix", "('user',)").out == "('user', 7)\t1\n('user', 42)\t1\n"
    assert kvarts("get", "tuples", "('user', 42)").out == "1"
    assert kvarts("get", "tuples", "user").code == 2
