"""Documents name only what exists: paths, tests, symbols of commands, decision records in order."""

import re

from tests.style.source import ROOT, files, functions, read

PLACES = ("python/", "crates/", "tests/", "docs/", "sim/", "benchmarks/", "examples/", "changes/", ".ci/")
ADR_HEADINGS = ("## Context", "## Decision", "## Rejected", "## What would change our mind")


def _documents() -> list[str]:
    return [path for path in files(".md") if not path.startswith(("docs/notes/", "tests/golden/"))]


def _paths_named_in(path: str) -> set[str]:
    """Paths in backticks (`tests/x.py::test_y` too) and relative link targets."""
    text = re.sub(r"^```.*?^```", "", read(path), flags=re.MULTILINE | re.DOTALL)
    ticked = {word for word in re.findall(r"`([^`\s]+)`", text) if word.startswith(PLACES)}
    links = {target for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", text) if "://" not in target}
    folder = (ROOT / path).parent
    return ticked | {str((folder / link).resolve().relative_to(ROOT)) for link in links}


def _exists(name: str) -> bool:
    path, _, symbol = name.partition("::")
    pattern = path.rstrip("/").replace("…", "*")
    if any(mark in pattern for mark in "*<{"):
        return "<" in pattern or "{" in pattern or any(ROOT.glob(pattern))
    if not (ROOT / pattern).exists():
        return False
    return not symbol or re.search(rf"\b(?:def|fn|class) {re.escape(symbol.split('::')[-1])}\b", read(path)) is not None


def test_documents_name_only_what_exists() -> None:
    dead = [f"{doc}: {name}" for doc in _documents() for name in sorted(_paths_named_in(doc)) if not _exists(name)]
    assert not dead, "\n".join(dead)


def test_decision_records_are_numbered_and_complete() -> None:
    records = [path for path in files(".md", "docs/adr/") if not path.endswith("README.md")]
    numbers = [int(path.removeprefix("docs/adr/")[:4]) for path in records]
    assert numbers, "docs/adr is empty"
    assert len(set(numbers)) == len(numbers), f"two records share a number: {records}"
    for number, path in zip(numbers, records, strict=True):
        text = read(path)
        assert re.match(rf"# {number:04d}[ :.]", text), f"{path} must open with '# {number:04d}: …'"
        missing = [heading for heading in ADR_HEADINGS if heading not in text]
        assert not missing, f"{path} lacks {missing}"


def test_ci_runs_the_commands_of_the_readme() -> None:
    commands = [line for line in read(".ci/run").splitlines() if line.startswith((".venv/bin/", "python3 -m venv"))]
    assert commands, ".ci/run must hold the README's commands, one a line"
    if (ROOT / "README.md").exists():
        wanted = re.findall(r"^(?:\$ )?((?:python3 -m venv|\.venv/bin/pip).*)$", read("README.md"), re.MULTILINE)
        assert len(wanted) >= 2, "README.md shows two commands"
        assert set(wanted[:2]) <= set(commands), f"README says {wanted[:2]}, .ci/run says {commands}"


def test_function_reader_sees_rust_and_python() -> None:
    here = [function.name for function in functions("tests/style/test_docs.py")]
    assert "_documents" in here
    rust = [function.name for function in functions("crates/kvarts-engine/src/error.rs")]
    assert {"io", "format", "invalid", "fmt"} <= set(rust)


def test_each_promise_names_a_test() -> None:
    """In docs/guarantees.md every row of the table that makes a promise ends in at least one test."""
    rows = [line for line in read("docs/guarantees.md").splitlines() if line.startswith("| **")]
    assert len(rows) >= 8
    unproven = [row for row in rows if not re.search(r"`(?:tests|crates)/[^`]+::\w+`", row.rsplit("|", 2)[1])]
    assert not unproven, "\n".join(unproven)
