"""One precedence: flag, environment, file, default."""

from pathlib import Path

import pytest

from kvarts import InvalidArgument, StorageError
from kvarts.node.config import TABLE, settle


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "node.toml"
    path.write_text('memory = "1GiB"\ntick-ms = 50\nreads = "lease"\n')
    return path


def test_a_flag_wins_over_the_environment_and_that_over_the_file(file: Path) -> None:
    environment = {"KVARTS_MEMORY": "2GiB", "KVARTS_TICK_MS": "70"}
    settings = settle({"tick_ms": "90", "data": None}, environment, file)
    assert {name: (settings[name].value, settings[name].source) for name in ("tick_ms", "memory", "reads", "data")} == {
        "tick_ms": (90, "flag"),
        "memory": (2 << 30, "environment"),
        "reads": ("lease", "file"),
        "data": ("kvarts-data", "default"),
    }


def test_every_option_has_a_flag_a_variable_and_help() -> None:
    settings = settle({}, {})
    assert list(settings) == [spec.name for spec in TABLE]
    assert all(spec.help.endswith((".", "…", "]", "GB.")) or spec.help for spec in TABLE)
    assert len({spec.variable for spec in TABLE}) == len(TABLE)


@pytest.mark.parametrize(
    ("flags", "environment"),
    [({"tick_ms": "soon"}, {}), ({}, {"KVARTS_INSECURE": "perhaps"}), ({"reads": "guess"}, {}), ({"memory": "x"}, {})],
)
def test_a_value_that_cannot_be_is_refused(flags: dict[str, object], environment: dict[str, str]) -> None:
    with pytest.raises(InvalidArgument):
        settle(flags, environment)


def test_an_unknown_name_in_the_file_is_refused_and_a_missing_file_told(tmp_path: Path) -> None:
    path = tmp_path / "node.toml"
    path.write_text("memroy = 1\n")
    with pytest.raises(InvalidArgument, match="memroy"):
        settle({}, {}, path)
    with pytest.raises(StorageError):
        settle({}, {}, tmp_path / "absent.toml")


def test_a_token_is_shown_to_nobody() -> None:
    token = settle({}, {"KVARTS_TOKEN": "kvj1.xyz"})["token"]
    assert (token.value, token.shown, token.source) == ("kvj1.xyz", "(set)", "environment")
    assert "xyz" not in repr(token)
    assert settle({}, {})["token"].shown == ""
