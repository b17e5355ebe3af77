"""One door for every command: `nox` (check + test), `nox -s check|test|long|models|sim|planted|bench -- ARGS`.

Sessions use the environment that nox runs in: `pip install -e '.[dev]'` brought everything they need.
"""

import os
import sys
from pathlib import Path

import nox
from nox.command import CommandFailed

nox.needs_version = ">=2025.5"
nox.options.default_venv_backend = "none"
nox.options.sessions = ["check", "test"]

PYTHON = sys.executable
# Tools stand beside this Python also where nobody activated the environment.
PATH = f"{Path(PYTHON).parent}{os.pathsep}{os.environ.get('PATH', '')}"
PURE = ("base", "inspect", "node", "placement", "raft", "replication", "security", "shardmap", "testing")
BUSY = (
    *("tests/simulation", "tests/conformance", "tests/compat", "tests/fuzz", "tests/golden"),
    *("tests/fault/test_damage.py", "tests/fault/test_trials.py"),
    *(f"tests/unit/python/{room}" for room in PURE),
)
"""Tests that keep a processor busy and wait for nothing: they run beside each other, the others alone."""
LONG = {
    "KVARTS_CRASH_SEEDS": "50000",
    "KVARTS_FAULT_SEEDS": "1000",
    "KVARTS_MUTATIONS": "1000000",
    "KVARTS_REPAIR_SEEDS": "5000",
    "KVARTS_MODEL_SEEDS": "5000",
    "KVARTS_MODEL_STEPS": "1000000",
    "KVARTS_KILL_ROUNDS": "200",
    "KVARTS_INSPECT_FLIPS": "20000",
    "KVARTS_MEMORY_MIB": "64",
    "KVARTS_SIM_HOURS": "20",
    "KVARTS_TRIALS": "10000",
}


def _run(session: nox.Session, *command: str, **env: str) -> None:
    session.run(*command, env={"PATH": PATH, **env}, external=True)


@nox.session
def check(session: nox.Session) -> None:
    """Formats, lints, types, walls and the tidy test: all that needs no running store."""
    for tool in (["ruff", "format", "--check", "."], ["ruff", "check", "."], ["mypy"]):
        _run(session, PYTHON, "-m", *tool)
    if Path("python/kvarts/_native.pyi").exists():
        options = ["--mypy-config-file", "pyproject.toml", "--allowlist", "tests/style/stubtest.txt"]
        _run(session, PYTHON, "-m", "mypy.stubtest", "kvarts._native", *options, MYPYPATH="python", PYTHONPATH="python")
    _run(session, str(Path(PYTHON).parent / "lint-imports"), "--no-logo", PYTHONPATH="python")
    _run(session, "cargo", "fmt", "--all", "--check")
    _run(session, "cargo", "clippy", "--workspace", "--all-targets", "--", "-D", "warnings")
    _run(session, PYTHON, "-m", "pytest", "tests/style", *session.posargs)


@nox.session
def test(session: nox.Session) -> None:
    """Rust tests, then Python tests; arguments go to pytest: `nox -s test -- tests/conformance -k scan`."""
    if session.posargs:
        _run(session, PYTHON, "-m", "pytest", "--ignore=tests/style", *session.posargs)
        return
    others = [f"--ignore={each}" for each in ("tests/style", *BUSY)]
    pytest = (PYTHON, "-m", "pytest", "-m", "not long")
    failed = []
    for command in (
        ("cargo", "test", "--workspace", "--quiet"),
        (*pytest, "-n", str(os.cpu_count() or 1), "--dist", "worksteal", *BUSY),
        (*pytest, *others),
    ):
        # Each tells of other things.
        try:
            _run(session, *command)
        except CommandFailed:
            failed.append(" ".join(command))
    if failed:
        session.error(f"failed: {'; '.join(failed)}")


@nox.session
def long(session: nox.Session) -> None:
    """The same tests with counts far beyond CI's, and those marked `long`. Hours."""
    env = {name: os.environ.get(name, value) for name, value in LONG.items()}
    _run(session, "cargo", "test", "--workspace", "--release", **env)
    _run(session, PYTHON, "-m", "pytest", "--timeout=0", *(session.posargs or ["tests"]), **env)


@nox.session
def models(session: nox.Session) -> None:
    """Every order of threads in the memtable and the publication of revisions, by loom; planted bugs must be found."""
    _run(session, "cargo", "test", "-p", "kvarts-engine", "--features", "model", "--lib", "models", *session.posargs)


@nox.session
def sim(session: nox.Session) -> None:
    """One simulated cluster from its seed: `nox -s sim -- 1234`; more arguments go to `python -m kvarts_sim run`."""
    _simulate(session, "run")


@nox.session
def shrink(session: nox.Session) -> None:
    """The smallest run that fails as this one does: `nox -s shrink -- 1234 --scenario storm`, arguments as of sim."""
    _simulate(session, "shrink")


def _simulate(session: nox.Session, command: str) -> None:
    seed, *rest = session.posargs or ["1"]
    path = os.pathsep.join(["python", "sim"])
    _run(session, PYTHON, "-m", "kvarts_sim", command, "--seed", seed, *rest, PYTHONPATH=path)


@nox.session
def fuzz(session: nox.Session) -> None:
    """Mutated bytes into a decoder: `nox -s fuzz -- block --seconds 60`; `all`, `--list`; `python` has its own."""
    target, *rest = session.posargs or ["all"]
    if target == "python":
        _run(session, PYTHON, "-m", "tests.fuzz.readers", *rest, PYTHONPATH=os.pathsep.join(["python", "sim"]))
    else:
        _run(session, "cargo", "run", "--quiet", "--package", "kvarts-fuzz", "--", target, *rest)


@nox.session
def planted(session: nox.Session) -> None:
    """The table of planted bugs, each from its recorded seed; `-- --hunt 100` looks for seeds of the others."""
    _run(session, PYTHON, "-m", "kvarts_sim.planted", *session.posargs, PYTHONPATH=os.pathsep.join(["python", "sim"]))


@nox.session
def bench(session: nox.Session) -> None:
    """Ours against the peers on this machine; needs `pip install -e '.[bench]'`."""
    _run(session, PYTHON, "-m", "kvarts", "bench", *(session.posargs or ["embedded"]))
