"""import and export: what goes out comes in again."""

import json
from pathlib import Path

from tests.unit.python.cli.conftest import Kvarts

ROWS = b"""{"key": "caf\xc3\xa9", "value": "1"}
{"key_base64": "AP8=", "value_base64": "/w=="}

{"key": "tab\\t", "value": ""}
"""


def test_export_gives_back_what_was_imported(kvarts: Kvarts, tmp_path: Path) -> None:
    assert kvarts("import", "demo", "-", piped=ROWS).out == "imported 3 rows\n"
    expected = sorted((json.loads(line) for line in ROWS.splitlines() if line), key=str)
    assert sorted(kvarts("export", "demo").lines, key=str) == expected
    assert kvarts("export", "demo", "out.jsonl").out == "exported 3 rows\n"
    assert kvarts("import", "copy", "out.jsonl").code == 0
    assert kvarts("export", "copy").out == kvarts("export", "demo").out
    assert [path.name for path in tmp_path.glob("*.jsonl*")] == ["out.jsonl"]


def test_import_json_counts_rows(kvarts: Kvarts) -> None:
    done = kvarts("import", "demo", "-", "--json", piped=ROWS).json
    assert (done["rows"], done["bytes"]) == (3, len(ROWS))


def test_export_json_summary_and_bounds(kvarts: Kvarts) -> None:
    kvarts("import", "demo", "-", piped=ROWS)
    done = kvarts("export", "demo", "some.jsonl", "--prefix", "c", "--json").json
    assert (done["rows"], done["file"]) == (1, "some.jsonl")


def test_import_names_the_line_that_is_no_row(kvarts: Kvarts) -> None:
    for line, sentence in [
        (b"[1]", "not an object"),
        (b"{", "line 2: "),
        (b'{"key": 1, "value": ""}', "not a string"),
        (b'{"key": "a"}', 'neither "value"'),
        (b"\xff", "line 2: "),
        (b"[" * 100_000, "line 2: "),
        (b'{"key": "a", "value": "", "expires": 1}', "unknown field 'expires'"),
        (b'{"key": "a", "key_base64": "AA==", "value": ""}', "both 'key' and 'key_base64'"),
        (b'{"key": "a", "key": "b", "value": ""}', "given twice"),
        (b'{"key": "a", "value": "", "ttl": "1h"}', "'ttl' is '1h', not a number of seconds"),
        (b'{"key": "a", "value": "", "ttl": true}', "'ttl' is True"),
        (b'{"key": "a", "value": "", "ttl": null}', "'ttl' is None"),
        (b'{"key": "a", "value": "", "ttl": 0}', "'ttl' is 0"),
        (b'{"key": "a", "value": "", "ttl": NaN}', "'ttl' is nan"),
        (b'{"key": "a", "value": "", "ttl": 1e300}', "out of range"),
        (b'{"key": "a", "value": "", "ttl": 1' + b"0" * 400 + b"}", "line 2: "),
    ]:
        done = kvarts("import", "demo", "-", piped=b'{"key": "ok", "value": ""}\n' + line + b"\n")
        assert done.code == 2, line
        assert done.err.startswith("error line 2: "), line
        assert sentence in done.err, line


def test_import_honours_ttl(kvarts: Kvarts) -> None:
    rows = b"""{"key": "gone", "value": "1", "ttl": 0.001}
{"key": "later", "value": "1", "ttl": 3600}
{"key": "back", "value": "1", "ttl": 0.001}
{"key": "back", "value": "2"}
{"key": "stays", "value": "1"}
"""
    assert kvarts("import", "demo", "-", piped=rows).out == "imported 5 rows\n"
    assert kvarts("scan", "demo").out == "back\t2\nlater\t1\nstays\t1\n"


def test_import_of_many_groups_keeps_the_order_of_lines(kvarts: Kvarts) -> None:
    value = "x" * 300_000
    rows = "".join(f'{{"key": "{number % 3}", "value": "{number}{value}", "ttl": 999}}\n' for number in range(12))
    assert kvarts("import", "demo", "-", piped=rows.encode()).out == "imported 12 rows\n"
    assert [row["value"][:2] for row in kvarts("scan", "demo", "--json").lines] == ["9x", "10", "11"]


def test_export_says_which_keyspaces_and_codecs_it_leaves_out(kvarts: Kvarts) -> None:
    kvarts("put", "demo", "k", "v")
    assert kvarts("export", "demo").err == ""
    kvarts("put", "demo", "7", "{}", "--keyspace", "one", "--key-codec", "u64", "--value-codec", "json")
    only = "only keyspace default is exported; --keyspace NAME exports another: one"
    done = kvarts("export", "demo")
    assert (done.out, done.err) == ('{"key": "k", "value": "v"}\n', f"note: {only}\n")
    assert json.loads(kvarts("export", "demo", "--json").err) == {"note": only}
    done = kvarts("export", "demo", "out.jsonl", "--keyspace", "one", "--json")
    assert done.json["notes"] == [
        "only keyspace one is exported; --keyspace NAME exports another: default",
        "codecs are not kept: import with --key-codec u64 --value-codec json",
    ]
    assert kvarts("import", "copy", "out.jsonl", "--key-codec", "u64", "--value-codec", "json").code == 0
    assert kvarts("get", "copy", "7").out == "{}"
    for number in range(7):
        kvarts("put", "demo", "k", "v", "--keyspace", f"s{number}")
    assert kvarts("export", "demo").err.endswith("another: one, s0, s1, s2, s3 and 3 more\n")


def test_export_does_not_speak_of_empty_keyspaces(kvarts: Kvarts) -> None:
    kvarts("put", "demo", "k", "v", "--keyspace", "one")
    assert kvarts("export", "demo", "--keyspace", "one").err == ""


def test_help_of_export_says_what_it_does_not_hold(kvarts: Kvarts) -> None:
    text = " ".join(kvarts("export", "--help").out.split())
    for words in ("other keyspaces", '"default" unless', "when a row expires", "codecs"):
        assert words in text


def test_import_of_a_missing_file_is_a_usage_error(kvarts: Kvarts) -> None:
    assert kvarts("import", "demo", "nowhere.jsonl").code == 2


def test_export_into_a_missing_folder_is_an_error_that_leaves_nothing(kvarts: Kvarts) -> None:
    kvarts("import", "demo", "-", piped=ROWS)
    done = kvarts("export", "demo", "no/such/folder.jsonl")
    assert done.code == 3
    assert "no/such/folder.jsonl" in done.err


def test_keyspaces_are_kept_apart(kvarts: Kvarts) -> None:
    kvarts("import", "demo", "-", "--keyspace", "one", piped=ROWS)
    kvarts("put", "demo", "k", "v")
    assert len(kvarts("export", "demo", "--keyspace", "one").lines) == 3
    assert len(kvarts("export", "demo").lines) == 1
    assert kvarts("export", "demo", "--keyspace", "nowhere").code == 3
