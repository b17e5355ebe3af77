"""Reads our source files: which there are, how many lines of code they have, where functions begin and end."""

import ast
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
GENERATED = ("_pb2.py", "_pb2_grpc.py")


@dataclass(frozen=True)
class Function:
    """A function found in a file: where it starts and how many lines of code its text has."""

    path: str
    name: str
    line: int
    code_lines: int

    def __str__(self) -> str:
        return f"{self.path}:{self.line} {self.name}"


@cache
def tracked_files() -> tuple[str, ...]:
    """Every file of the project, relative to its root: tracked by git, or new and not ignored."""
    listing = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    done = subprocess.run(listing, cwd=ROOT, capture_output=True, text=True, check=True)
    return tuple(sorted({name for name in done.stdout.splitlines() if (ROOT / name).is_file()}))


def files(suffix: str, *under: str) -> list[str]:
    """Project files with that suffix, in one of the folders `under` (everywhere if none is named)."""
    return [
        name
        for name in tracked_files()
        if name.endswith(suffix) and not name.endswith(GENERATED) and (not under or name.startswith(under))
    ]


@cache
def read(path: str) -> str:
    """Text of a project file."""
    return (ROOT / path).read_text(encoding="utf-8")


def code_line_numbers(path: str) -> set[int]:
    """Numbers of the lines that carry code: not blank, not comment, not docstring."""
    text = read(path)
    if path.endswith(".rs"):
        return {number for number, line in enumerate(blank_rust(text).splitlines(), 1) if line.strip()}
    if path.endswith((".py", ".pyi")):
        return _python_code_lines(text)
    raise ValueError(f"no reader for {path}")


def functions(path: str) -> Iterator[Function]:
    """Functions of a file. Rust tests (`#[cfg(test)] mod`, `tests.rs`) are left out."""
    code = code_line_numbers(path)
    spans = _rust_functions(path) if path.endswith(".rs") else _python_functions(path)
    for name, first, last in spans:
        yield Function(path, name, first, sum(first <= number <= last for number in code))


def _python_code_lines(text: str) -> set[int]:
    prose: set[int] = set()
    for node in ast.walk(ast.parse(text)):
        is_text = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        if is_text and isinstance(node.value.value, str):  # type: ignore[attr-defined]
            prose.update(range(node.lineno, (node.end_lineno or node.lineno) + 1))  # type: ignore[attr-defined]
    return {
        number
        for number, line in enumerate(text.splitlines(), 1)
        if line.strip() and not line.lstrip().startswith("#") and number not in prose
    }


def _python_functions(path: str) -> Iterator[tuple[str, int, int]]:
    for node in ast.walk(ast.parse(read(path))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name, node.lineno, node.end_lineno or node.lineno


_RUST_NOT_CODE = re.compile(
    r"""
      //[^\n]*                                  # line comment, doc comment
    | /\*.*?\*/                                 # block comment (ours do not nest)
    | b?r(?P<hashes>\#*)".*?"(?P=hashes)        # raw string
    | b?"(?:\\.|[^"\\])*"                       # string
    | b?'(?:\\(?:u\{[0-9a-fA-F]+\}|x..|.)|[^'\\\n])'   # character; a lifetime has no closing quote
    """,
    re.VERBOSE | re.DOTALL,
)


def _blank(match: re.Match[str]) -> str:
    text = match.group()
    keep = "" if text.startswith("/") else '"'
    return keep + re.sub(r"[^\n]", " ", text[len(keep) :])


def blank_rust(text: str) -> str:
    """Replaces comments by spaces and literals by a quote and spaces; lines and columns stay where they were."""
    return _RUST_NOT_CODE.sub(_blank, text)


def blank_rust_tests(blanked: str) -> str:
    """Replaces the bodies of `#[cfg(test)] mod … { }` in a text that `blank_rust` returned."""
    for match in re.finditer(r"#\[cfg\(test\)\]\s*(?:pub\s+)?mod\s+\w+\s*(?=\{)", blanked):
        end = _closing_brace(blanked, match.end())
        blanked = blanked[: match.end()] + re.sub(r"[^\n]", " ", blanked[match.end() : end]) + blanked[end:]
    return blanked


def is_rust_test(path: str) -> bool:
    """Tells whether the whole file is tests."""
    return path.endswith("/tests.rs") or "/tests/" in path


def _rust_functions(path: str) -> Iterator[tuple[str, int, int]]:
    if is_rust_test(path):
        return
    blanked = blank_rust_tests(blank_rust(read(path)))
    for match in re.finditer(r"\bfn\s+(\w+)", blanked):
        opening = re.compile(r"[{;]").search(blanked, match.end())
        if opening is None or opening.group() == ";":
            continue
        end = _closing_brace(blanked, opening.start())
        yield match.group(1), blanked.count("\n", 0, match.start()) + 1, blanked.count("\n", 0, end) + 1


def _closing_brace(text: str, opening: int) -> int:
    depth = 0
    for match in re.compile(r"[{}]").finditer(text, opening):
        depth += 1 if match.group() == "{" else -1
        if depth == 0:
            return match.end()
    raise ValueError("a brace is not closed")
