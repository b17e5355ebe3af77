"""What README, guides and examples show is what happens."""

import re
import shlex
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
from sybil import Sybil
from sybil.parsers.markdown import PythonCodeBlockParser

from kvarts.cli.app import COMMANDS
from tests.unit.python.cli.conftest import environment

ROOT = Path(__file__).resolve().parents[4]
PAGES = ["README.md", *sorted(str(path.relative_to(ROOT)) for path in ROOT.glob("docs/guide/*.md"))]


@pytest.mark.parametrize("page", PAGES)
def test_python_on_a_page_does_what_it_shows(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    # A page may start nodes: of these sources.
    monkeypatch.setenv("PYTHONPATH", environment()["PYTHONPATH"])
    document = Sybil(parsers=[PythonCodeBlockParser()], path=str(ROOT)).parse(ROOT / page)
    examples = list(document.examples())
    assert examples or page == "docs/guide/cli.md"
    for example in examples:
        example.evaluate()
    for store in list(document.namespace.values()):
        if hasattr(store, "close"):
            store.close()


def test_shell_lines_of_the_readme_work_on_the_store_of_its_python(tmp_path: Path) -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    python = "".join(line[4:] + "\n" for line in text.splitlines() if line.startswith((">>> ", "... ")))
    run = partial(subprocess.run, cwd=tmp_path, env=environment(), capture_output=True, text=True, check=False)
    made = run([sys.executable, "-c", python])
    assert made.returncode == 0, made.stderr
    lines = [shlex.split(line) for line in re.findall(r"^kvarts (.*)$", text, re.MULTILINE)]
    assert [line[0] for line in lines] == ["put", "scan"]
    for line in lines:
        done = run([sys.executable, "-m", "kvarts", *line])
        assert done.returncode == 0, done.stderr
    assert done.stdout == 'banana\t{"kg":5}\ncherry\t{"kg":7}\ndate\t{"kg":2}\n'


def test_readme_has_two_screens() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 75


def test_guide_lists_every_command_and_only_those() -> None:
    text = (ROOT / "docs/guide/cli.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^\| `kvarts ([\w-]+)", text, re.MULTILINE)) == set(COMMANDS)


def test_example_indexes_and_finds(tmp_path: Path) -> None:
    (tmp_path / "one.txt").write_text("A tuple is not a list; a tuple stays.")
    (tmp_path / "two.txt").write_text("Tupperware lasts.")

    def run(*arguments: str) -> str:
        command = [sys.executable, str(ROOT / "examples/word_index.py"), "index", *arguments]
        done = subprocess.run(command, cwd=tmp_path, env=environment(), capture_output=True, text=True, check=True)
        return done.stdout

    assert run("one.txt", "two.txt") == "     5 words in one.txt\n     2 words in two.txt\n"
    assert run("--find", "tup").splitlines() == [
        "tuple                   2 × one.txt",
        "tupperware              1 × two.txt",
    ]
