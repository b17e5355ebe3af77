"""`import kvarts` loads nothing; each name brings its room when it is first used."""

import subprocess
import sys

import pytest

import kvarts

LOADED = "import sys; before = set(sys.modules); {}; print(*sorted(set(sys.modules) - before))"


def loaded_by(statement: str) -> set[str]:
    """Names of the modules that a fresh interpreter loads for a statement."""
    program = [sys.executable, "-c", LOADED.format(statement)]
    path = {"PYTHONPATH": ":".join(sys.path), "PATH": ""}
    return set(subprocess.run(program, capture_output=True, text=True, check=True, env=path).stdout.split())


def test_import_loads_the_package_and_nothing_else_of_it() -> None:
    assert {name for name in loaded_by("import kvarts") if name.startswith("kvarts")} == {"kvarts"}


def test_open_loads_the_native_module_and_the_standard_library_only() -> None:
    loaded = loaded_by("import kvarts; kvarts.open().close()")
    assert "kvarts._native" in loaded
    allowed = sys.stdlib_module_names | {"kvarts"}
    assert {name.partition(".")[0] for name in loaded} <= allowed
    assert not loaded & {"asyncio", "socket", "ssl", "subprocess", "multiprocessing", "kvarts.cli"}


@pytest.mark.parametrize("name", kvarts.__all__)
def test_every_public_name_is_there(name: str) -> None:
    assert getattr(kvarts, name) is not None
    assert name in dir(kvarts)


def test_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="nothing_like_it"):
        kvarts.nothing_like_it  # type: ignore[attr-defined]  # noqa: B018
