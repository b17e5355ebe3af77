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
    ]:
        done = kvarts("import", "demo", "-", piped=b'{"key": "ok", "value": ""}\n' + line + b"\n")
        assert done.code == 2, line
        assert done.err.startswith("error line 2: "), line
        assert sentence in done.err, line


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
