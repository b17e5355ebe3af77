"""What is shown before any store is opened: help, greeting, explain; quick, and the same on each machine."""

import resource
import subprocess
import sys

import pytest

from kvarts.cli.app import COMMANDS
from tests.unit.python.cli.conftest import Kvarts, environment


def test_no_arguments_show_three_commands_to_copy(kvarts: Kvarts) -> None:
    done = kvarts()
    assert done.code == 0
    assert [line.split("#")[0].strip() for line in done.out.splitlines() if line.startswith("  kvarts")] == [
        "kvarts tour",
        "kvarts put ./demo hello world",
        "kvarts scan ./demo",
    ]


def test_help_lists_commands_and_exit_codes(kvarts: Kvarts) -> None:
    done = kvarts("--help")
    assert done.code == 0
    assert all(f"  {name} " in done.out for name in COMMANDS)
    assert "141" in done.out


GROUPS = {
    "bench": [
        "founding",
        "embedded",
        "scan",
        "parallel",
        "compression",
        "large",
        "open",
        "profile",
        "ycsb",
        "cluster",
        "shards",
    ],
    "cluster": [
        "drain",
        "join",
        "limit-shards",
        "move-leader",
        "plan",
        "remove",
        "replace",
        "shards",
        "status",
        "transfer",
    ],
    "config": ["explain"],
    "inspect": ["table", "log", "manifest", "store"],
}
LEAVES = [f"{group} {name}" for group, names in GROUPS.items() for name in names]


@pytest.mark.parametrize("command", [*COMMANDS, *LEAVES])
def test_help_of_each_command_opens_with_examples(kvarts: Kvarts, command: str) -> None:
    done = kvarts(*command.split(), "--help")
    assert done.code == 0
    if command not in GROUPS:
        assert done.out.index("Examples:") < done.out.index("Usage:") < done.out.index("Options:")
        assert f"kvarts {command}" in done.out
        assert "--json" in done.out


def test_help_imports_neither_subcommands_nor_rich_nor_the_engine() -> None:
    code = "import sys; from kvarts.cli.app import run; run(['--help']); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment(), check=True)
    loaded = set(done.stdout.splitlines()[-1].split())
    assert not loaded & {"rich", "kvarts._native", "kvarts.embedded", "kvarts.cli.commands", "asyncio"}


def test_help_takes_under_150_ms_of_processor_time() -> None:
    def once() -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-m", "kvarts", "--help"], capture_output=True, env=environment(), check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    assert min(once() for _ in range(3)) < 0.150


def test_version(kvarts: Kvarts) -> None:
    assert kvarts("--version").out.startswith("kvarts 0.")


def test_unknown_command_names_the_near_one(kvarts: Kvarts) -> None:
    done = kvarts("scna", "./demo")
    assert done.code == 2
    assert "Did you mean 'scan'?" in done.err


def test_usage_error_with_json_is_an_object(kvarts: Kvarts) -> None:
    done = kvarts("get", "./demo", "--json")
    assert done.code == 2
    assert done.error["code"] is None
    assert "KEY" in done.error["what"]


def test_explain_tells_cause_and_cure(kvarts: Kvarts) -> None:
    done = kvarts("explain", "2003")
    assert done.code == 0
    assert done.out.startswith("KV-2003 LockedError\n  cause ")
    assert kvarts("explain", "LockedError", "--json").json["code"] == "KV-2003"


def test_explain_without_a_code_lists_all(kvarts: Kvarts) -> None:
    listed = kvarts("explain").out.splitlines()
    assert len(listed) == len(kvarts("explain", "--json").json) > 15


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ("foo", "`kvarts explain` lists them"),
        ("KV-9999", "codes run from KV-1000 to "),
        ("LockError", "did you mean LockedError (KV-2003)"),
        ("lockederror", "did you mean LockedError (KV-2003)?"),
        ("codec", "CodecError (KV-"),
    ],
)
def test_explain_of_an_unknown_code_is_a_usage_error_with_near_ones(kvarts: Kvarts, asked: str, words: str) -> None:
    done = kvarts("explain", asked)
    assert (done.code, done.out) == (2, "")
    assert f"no error code '{asked}'; " in done.err
    assert words in done.err
    done = kvarts("explain", asked, "--json")
    assert done.code == 2
    assert words in done.error["what"]
