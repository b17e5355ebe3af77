"""Logs of Jepsen: the reader, the command, and the verdicts of the corpus."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from time import perf_counter

import pytest

from kvarts.testing.linearizability import ABORTED, Operation
from kvarts.testing.linearizability.__main__ import main
from kvarts.testing.linearizability.jepsen import parse
from tests.processes import ROOT, python, surroundings

CORPORA = Path(os.environ.get("KVARTS_CORPORA", ROOT / "../shared/corpora"))
CORPUS = CORPORA / "jepsen-etcd"

GOOD = """\
INFO  jepsen.util - 0\t:invoke\t:read\tnil
INFO  jepsen.util - 1\t:invoke\t:write\t4
INFO  jepsen.util - 0\t:ok\t:read\tnil
INFO  jepsen.util - 1\t:ok\t:write\t4
INFO  jepsen.util - :nemesis\t:info\t:start\tnil
INFO  jepsen.util - 0\t:invoke\t:cas\t[4 2]
INFO  jepsen.util - 1\t:invoke\t:cas\t[4 3]
INFO  jepsen.util - 0\t:ok\t:cas\t[4 2]
INFO  jepsen.util - 1\t:fail\t:cas\t[4 3]
INFO  jepsen.util - 0\t:invoke\t:read\tnil
INFO  jepsen.util - 1\t:invoke\t:write\t1
INFO  jepsen.util - 0\t:fail\t:read\t:timed-out
INFO  jepsen.util - 1\t:info\t:write\t:timed-out
INFO  jepsen.util - 2\t:invoke\t:read\tnil
"""
BAD = GOOD.replace("0\t:ok\t:read\tnil", "0\t:ok\t:read\t3")


def test_a_log_is_read_line_by_line() -> None:
    assert parse(GOOD.splitlines()) == [
        Operation(0, 1, 3, ("read",)),
        Operation(1, 2, 4, ("write", 4)),
        Operation(0, 6, 8, ("cas", 4, 2), True),
        Operation(1, 7, 9, ("cas", 4, 3), False),
        Operation(0, 10, 12, ("read",), ABORTED),
        Operation(1, 11, None, ("write", 1)),
        Operation(2, 14, None, ("read",)),
    ]


@pytest.mark.parametrize(
    "line",
    [
        "INFO  jepsen.util - 0\t:ok\t:read\t1",
        "INFO  jepsen.util - 0\t:invoke\t:append\t1",
        "INFO  jepsen.util - 0\t:invoke\t:write\tnone",
        "INFO  jepsen.util - 0\t:invoke\t:cas\t[1]",
        "INFO  jepsen.util - 0",
    ],
    ids=["nobody-asked", "unknown-request", "no-number", "half", "cut"],
)
def test_a_line_that_makes_no_sense_is_named(line: str) -> None:
    with pytest.raises(ValueError, match="line 1 is not understood"):
        parse([line])


def test_a_file_of_another_kind_is_refused() -> None:
    with pytest.raises(ValueError, match="no operation"):
        parse(["{:process 0, :type :invoke, :f :read}", "INFO jepsen.core - 5 nodes started"])


def test_a_process_does_one_thing_at_a_time() -> None:
    asks = "INFO  jepsen.util - 0\t:invoke\t:read\tnil"
    with pytest.raises(ValueError, match="line 2 is not understood"):
        parse([asks, asks])


def test_the_command_prints_one_line_per_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good, bad, none = tmp_path / "good.log", tmp_path / "bad.log", tmp_path / "none.log"
    good.write_text(GOOD, encoding="utf-8")
    bad.write_text(BAD, encoding="utf-8")
    assert main(["--jepsen", str(good), str(bad)]) == 0
    assert capsys.readouterr().out == f"{good} linearizable\n{bad} not-linearizable\n"
    assert main(["--fail", "--explain", "--jepsen", str(bad)]) == 1
    assert "<- no place" in capsys.readouterr().out
    assert main(["--fail", "--jepsen", str(none), str(bad), str(good)]) == 2
    told = capsys.readouterr()
    assert told.out == f"{bad} not-linearizable\n{good} linearizable\n"
    assert str(none) in told.err
    assert main(["--steps-max", "0", "--jepsen", str(good)]) == 3
    assert capsys.readouterr().out == f"{good} unknown\n"


def test_the_command_runs_without_the_native_module(tmp_path: Path) -> None:
    log = tmp_path / "good.log"
    log.write_text(GOOD, encoding="utf-8")
    told = "import sys, runpy; sys.modules['kvarts._native'] = None; sys.argv[0] = 'x'; "
    run_it = "runpy.run_module('kvarts.testing.linearizability', run_name='__main__')"
    command = python("-c", told + run_it, "--jepsen", str(log))
    done = subprocess.run(command, capture_output=True, text=True, check=False, **surroundings())
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{log} linearizable\n", "")


def test_the_room_loads_only_the_standard_library() -> None:
    code = "import sys, kvarts.testing.linearizability; print(*{name.partition('.')[0] for name in sys.modules})"
    done = subprocess.run(python("-S", "-c", code), capture_output=True, text=True, check=True, **surroundings())
    assert set(done.stdout.split()) - set(sys.stdlib_module_names) <= {"kvarts", "__main__"}


def test_all_verdicts_of_the_corpus_are_ours(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, figure: Callable[[str], None]
) -> None:
    if not (CORPUS / "verdicts.txt").exists():
        pytest.skip(f"no corpus of histories at {CORPUS}: set KVARTS_CORPORA to the folder that holds jepsen-etcd")
    verdicts = (CORPUS / "verdicts.txt").read_text(encoding="utf-8").splitlines()
    monkeypatch.chdir(CORPUS)
    began = perf_counter()
    assert main(["--jepsen", *(line.split()[0] for line in verdicts)]) == 0
    figure(f"judged {len(verdicts)} histories of the corpus in {perf_counter() - began:.2f} s")
    assert capsys.readouterr().out.splitlines() == verdicts
    assert len(verdicts) == 52
