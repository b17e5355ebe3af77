"""Rust rooms see only the rooms before them, crates only the crates below. (Python: .importlinter.)"""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.style.source import ROOT, blank_rust, blank_rust_tests, files, is_rust_test, read

# Lower floors first. Rooms on one floor do not see each other, but for the engine's first: small ones without walls.
TOWERS = {
    "crates/kvarts-engine/src/": (
        ("error", "clock", "options", "prefetch", "sync"),
        ("keys",),
        ("fs",),
        ("iter",),
        ("memtable", "log", "table"),
        ("version",),
        ("compaction",),
        ("db",),
    ),
    "crates/kvarts-serve/src/": (("machine", "nodelog", "intake"), ("peers",), ("front",), ("muscle",)),
}
WITHOUT_WALLS = TOWERS["crates/kvarts-engine/src/"][0]
# Sees no room of its crate, and none sees it.
ALONE = {"crates/kvarts-serve/src/": "client"}


def _rooms(tower: str) -> dict[str, int]:
    """Rooms of a tower with their floors; the one that stands alone is above all and below none."""
    return {room: floor for floor, rooms in enumerate(TOWERS[tower]) for room in rooms}


def _uses(path: str, rooms: set[str]) -> set[str]:
    """Rooms named after `crate::`, in `use` trees and in paths alike; tests may look anywhere."""
    code = blank_rust_tests(blank_rust(read(path)))
    named = set(re.findall(r"\bcrate::(\w+)", code))
    for tree in re.findall(r"\bcrate::\{([^;]*)\};", code):
        named.update(re.findall(r"(?:^|[,{])\s*([a-z_]+)(?=::|\s*[,}]|\s*$)", tree))
    return named & rooms


@pytest.mark.parametrize("tower", TOWERS, ids=lambda tower: tower.split("/")[1])
def test_rust_rooms_see_only_lower_rooms(tower: str) -> None:
    floors, alone = _rooms(tower), ALONE.get(tower, "")
    wrong = []
    for path in files(".rs", tower):
        room = path.removeprefix(tower).split("/")[0].removesuffix(".rs")
        if room == "lib" or is_rust_test(path):
            continue
        assert room in floors or room == alone, f"{path}: put the room on a floor in {__file__}"
        for used in _uses(path, {*floors, alone}) - {room}:
            neighbours = room in WITHOUT_WALLS and used in WITHOUT_WALLS
            if alone in {room, used} or (floors[used] >= floors[room] and not neighbours):
                wrong.append(f"{path} ({room}) uses crate::{used}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("tower", TOWERS, ids=lambda tower: tower.split("/")[1])
def test_each_room_of_a_crate_has_its_floor(tower: str) -> None:
    listed = set(re.findall(r"^(?:pub )?mod (\w+);", blank_rust(read(f"{tower}lib.rs")), re.MULTILINE))
    assert listed <= {*_rooms(tower), ALONE.get(tower, "")}


def test_wire_knows_nothing_of_stores_and_nodes() -> None:
    wrong = [
        path for path in files("Cargo.toml", "crates/kvarts-wire/") if re.search("kvarts-(engine|serve)", read(path))
    ]
    assert not wrong


def test_engine_knows_nothing_of_network_and_nodes() -> None:
    outside = re.compile(r"\b(?:kvarts[-_](?:wire|serve)|tokio|tonic|prost)\b")
    sources = [*files("Cargo.toml", "crates/kvarts-engine/"), *files(".rs", "crates/kvarts-engine/")]
    wrong = [
        path for path in sources if outside.search(read(path) if path.endswith("toml") else blank_rust(read(path)))
    ]
    assert not wrong


def test_formats_know_nothing_of_the_engine() -> None:
    wrong = [path for path in files("Cargo.toml", "crates/kvarts-formats/") if "kvarts-engine" in read(path)]
    wrong += [path for path in files(".rs", "crates/kvarts-formats/") if "kvarts_engine" in blank_rust(read(path))]
    assert not wrong


def test_formats_touch_no_file_clock_or_thread() -> None:
    outside = re.compile(r"\bstd::(?:fs|net|thread|time|process|env)\b")
    wrong = [
        path
        for path in files(".rs", "crates/kvarts-formats/src/")
        if not is_rust_test(path) and outside.search(blank_rust_tests(blank_rust(read(path))))
    ]
    assert not wrong


def test_binding_sees_only_the_doors_of_the_engine_and_of_the_node() -> None:
    """`kvarts-py` talks to `db`, and names what `db`'s signatures name; of a node it sees three rooms."""
    inner = re.compile(
        r"\bkvarts_(?:engine::(?:memtable|log|table|version|compaction)|serve::(?:nodelog|peers|front))\b"
    )
    wrong = [path for path in files(".rs", "crates/kvarts-py/") if inner.search(blank_rust(read(path)))]
    assert not wrong


# Who may name the extension module: the two stores, and the wiring of a process.
NATIVE_USERS = ("python/kvarts/embedded", "python/kvarts/remote", "python/kvarts/node")
TOP_FLOORS: tuple[str, ...] = (
    "python/kvarts/cli",
    "python/kvarts/bench",
    "python/kvarts/console",
    "python/kvarts/testing",
)
TOP_FLOORS += ("python/kvarts/adapters", "python/kvarts/recipes", "python/kvarts/__")


def _imports(path: str) -> Iterator[str]:
    """Full names of what a file imports, `from x import y` as `x.y`, lazy and type-only imports included."""
    for node in ast.walk(ast.parse(read(path))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: no relative imports"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_only_its_rooms_import_the_native_module() -> None:
    wrong = [
        f"{path} imports {name}"
        for path in files(".py", "python/")
        for name in _imports(path)
        if name.startswith("kvarts._native") and not path.startswith(NATIVE_USERS)
    ]
    assert not wrong, "\n".join(wrong)


def test_rooms_below_the_top_do_not_import_the_front_door() -> None:
    """`from kvarts import open` in a lower room would reach every floor above it, unseen by the import contracts."""
    rooms = {path.split("/")[2].removesuffix(".py") for path in files(".py", "python/kvarts/")} | {"_native"}
    wrong = [
        f"{path} imports {name}"
        for path in files(".py", "python/")
        for name in _imports(path)
        if name.partition(".")[0] == "kvarts" and name.split(".")[1:2] not in [[room] for room in rooms]
        if not path.startswith(TOP_FLOORS)
    ]
    assert not wrong, "\n".join(wrong)


def test_nothing_imports_the_simulator() -> None:
    wrong = [path for path in files(".py", "python/") if any(name.startswith("kvarts_sim") for name in _imports(path))]
    assert not wrong


def test_other_systems_are_refused_by_the_crate_that_is_built_first() -> None:
    crates = {path.parent.name: path for path in (ROOT / "crates").glob("*/Cargo.toml")}
    first = [crates[name] for name in sorted(crates) if "compile_error!" in read(crates[name].parent / "src/lib.rs")]
    assert [path.parent.name for path in first] == ["kvarts-formats"]
    assert "kvarts-" not in first[0].read_text().partition("[dependencies]")[2]


def _modules_loaded_by(statement: str) -> set[str]:
    code = f"import sys; before = set(sys.modules); {statement}; print(*sorted(set(sys.modules) - before))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT / "python", capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_importing_kvarts_loads_only_itself_and_the_standard_library() -> None:
    tops = {name.partition(".")[0] for name in _modules_loaded_by("import kvarts")}
    assert tops - sys.stdlib_module_names == {"kvarts"}


def test_importing_kvarts_is_lazy() -> None:
    heavy = {"kvarts._native", "kvarts.cli", "kvarts.embedded", "asyncio", "json", "threading"}
    assert not _modules_loaded_by("import kvarts") & heavy


PURE_ROOMS = ("base", "raft", "replication", "statemachine", "placement", "shardmap", "txn", "coordination", "inspect")


@pytest.mark.parametrize("room", PURE_ROOMS)
def test_pure_room_loads_neither_native_module_nor_asyncio(room: str) -> None:
    if not (ROOT / "python/kvarts" / room).exists() and not (ROOT / f"python/kvarts/{room}.py").exists():
        pytest.skip(f"kvarts.{room} is not built yet")
    assert not _modules_loaded_by(f"import kvarts.{room}") & {"kvarts._native", "asyncio", "kvarts.embedded"}
