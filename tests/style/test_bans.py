"""Calls and words that have a better replacement here, and files that do not say what they are."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.style.source import ROOT, blank_rust, files, is_rust_test, read, tracked_files

# STYLE rule 6: the world comes in through the constructor.
BANNED_CALLS = {
    "time.time": "take a clock through the constructor",
    "time.time_ns": "take a clock through the constructor",
    "time.sleep": "wait for the condition (an Event, a pipe, a process's end) or advance the clock",
    "datetime.datetime.now": "take a clock through the constructor",
    "datetime.datetime.utcnow": "take a clock through the constructor",
    "os.urandom": "take a random.Random through the constructor",
    "uuid.uuid4": "take a random.Random through the constructor",
    "os._exit": "end a process by returning from its main function",
}
RANDOM_ALLOWED = {"random.Random", "random.SystemRandom"}
# (path prefix, call): why this room may.
ALLOWED_CALLS = {
    ("python/kvarts/embedded/opening.py", "time.time"): "tells a second opener since when the store is held",
    ("python/kvarts/node/serve.py", "time.time_ns"): "gives the clock to all of a node",
    ("tests/fault/", "os._exit"): "a forked child must not run pytest's exit handlers",
}

UNSAFE_ROOMS = (
    "crates/kvarts-engine/src/memtable/",
    "crates/kvarts-engine/src/prefetch.rs",
    "crates/kvarts-engine/src/fs/os",
    "crates/kvarts-py/src/buffers",
)


def _calls(path: str) -> Iterator[tuple[int, str]]:
    """Calls with their dotted name, as the file's own imports spell it out."""
    tree = ast.parse(read(path))
    names: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {(alias.asname or alias.name): alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {(alias.asname or alias.name): f"{node.module}.{alias.name}" for alias in node.names}
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            head, _, rest = ast.unparse(node.func).partition(".")
            if head in names:
                yield node.lineno, f"{names[head]}.{rest}" if rest else names[head]


def _why_banned(path: str, call: str) -> str | None:
    if any(path.startswith(prefix) and call == allowed for prefix, allowed in ALLOWED_CALLS):
        return None
    if call.startswith("random.") and call not in RANDOM_ALLOWED and call.count(".") == 1:
        return "draw from a random.Random(seed) that the caller passes"
    return BANNED_CALLS.get(call)


def test_python_calls_nothing_that_is_banned() -> None:
    found = [
        f"{path}:{line} {call}: {why}"
        for path in files(".py")
        for line, call in _calls(path)
        if (why := _why_banned(path, call))
    ]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    ("path", "call", "banned"),
    [
        ("python/kvarts/cli/tour.py", "time.time", True),
        ("tests/unit/test_x.py", "random.shuffle", True),
        ("tests/unit/test_x.py", "random.Random", False),
        ("tests/fault/child.py", "os._exit", False),
    ],
)
def test_ban_list_bites_where_it_should(path: str, call: str, banned: bool) -> None:
    assert bool(_why_banned(path, call)) is banned


def test_only_cli_bench_and_tools_print() -> None:
    speaking = ("python/kvarts/cli", "python/kvarts/bench", "python/kvarts/__main__", "python/kvarts/testing")
    found = [
        f"{path}:{node.lineno}"
        for path in files(".py", "python/")
        if not path.startswith(speaking)
        for node in ast.walk(ast.parse(read(path)))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
        if not any(keyword.arg == "file" for keyword in node.keywords)
    ]
    assert not found, f"a library does not print: {found}"


def test_each_source_file_says_what_it_is() -> None:
    python = [path for path in files(".py") if ast.get_docstring(ast.parse(read(path))) is None]
    rust = [path for path in files(".rs") if not is_rust_test(path) and not read(path).startswith("//!")]
    assert not python + rust, f"open these with a sentence that says what they are: {python + rust}"


def test_unsafe_stays_in_its_rooms() -> None:
    found = [
        path
        for path in files(".rs")
        if re.search(r"\bunsafe\b", blank_rust(read(path))) and not path.startswith(UNSAFE_ROOMS)
    ]
    assert not found, f"unsafe outside {UNSAFE_ROOMS}: {found}"


def test_nothing_names_a_registry_host_or_a_path_of_one_machine() -> None:
    domains = ["pypi org", "pythonhosted org", "static crates io", "index crates io", "registry npmjs org"]
    domains += ["proxy golang org", "deb debian org"]
    needles = [domain.replace(" ", ".") for domain in domains]
    home = str(Path.home())
    needles += [f"{home}/"] if len(home) > 1 else []
    found = []
    for path in tracked_files():
        data = (ROOT / path).read_bytes()
        found += [f"{path}: {needle}" for needle in needles if path != "Cargo.lock" and needle.encode() in data]
    assert not found, "\n".join(found)
