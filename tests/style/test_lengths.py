"""Files and functions stay short, and the list of exceptions may only shrink."""

from tests.style.source import ROOT, code_line_numbers, files, functions

FILE_LINES_MAX = 400
FUNCTION_LINES_MAX = 70


def test_files_and_functions_stay_within_the_walls() -> None:
    excepted = _exceptions()
    too_long = _long_files() | _long_functions()
    new = {name: lines for name, lines in too_long.items() if name not in excepted}
    assert not new, f"split these (name: lines of code): {new}"
    stale = excepted - too_long.keys()
    assert not stale, f"no longer too long: take them out of tests/style/exceptions.txt: {stale}"


def _exceptions() -> set[str]:
    lines = (ROOT / "tests/style/exceptions.txt").read_text(encoding="utf-8").splitlines()
    entries = [line.split(maxsplit=1) for line in lines if line.strip() and not line.startswith("#")]
    assert all(len(entry) == 2 for entry in entries), "each exception gives its reason"
    return {entry[0] for entry in entries}


def _long_files() -> dict[str, int]:
    lengths = {path: len(code_line_numbers(path)) for path in [*files(".py"), *files(".pyi"), *files(".rs")]}
    return {path: lines for path, lines in lengths.items() if lines > FILE_LINES_MAX}


def _long_functions() -> dict[str, int]:
    found = (function for path in [*files(".py"), *files(".rs")] for function in functions(path))
    return {f"{f.path}::{f.name}": f.code_lines for f in found if f.code_lines > FUNCTION_LINES_MAX}
