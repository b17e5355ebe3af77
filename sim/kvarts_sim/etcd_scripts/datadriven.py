"""Reads scripts of the datadriven form: a command with arguments, input lines, `----`, the output expected."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

_ARGUMENT = re.compile(r"(?P<key>[^\s=]+)(?:=(?:\((?P<list>[^)]*)\)|(?P<value>\S+)))?")
_SEPARATOR = "----"


class ScriptError(Exception):
    """The script says something that this reader or this runner does not understand."""


@dataclass(frozen=True)
class Case:
    """One command of a script and what it should print."""

    line: int
    command: str
    arguments: tuple[tuple[str, tuple[str, ...]], ...] = ()
    input: tuple[str, ...] = ()
    expected: tuple[str, ...] = ()
    raw: str = field(default="", compare=False)

    @property
    def words(self) -> tuple[str, ...]:
        """Arguments without a value, in order."""
        return tuple(key for key, values in self.arguments if not values)

    def values(self, key: str) -> tuple[str, ...] | None:
        """Return the values of `key=…`, or None if it is not given. A key that is repeated goes on with its list."""
        return tuple(value for name, values in self.arguments if name == key for value in values) or None

    def value(self, key: str) -> str | None:
        """Return the only value of `key=…`, or None if it is not given. Of a key that is repeated the last counts."""
        given = [values for name, values in self.arguments if name == key and values]
        if given and len(given[-1]) != 1:
            raise ScriptError(f"line {self.line}: {key} takes one value")
        return given[-1][0] if given else None


def read_script(path: Path) -> list[Case]:
    """Return the commands of a script file."""
    return list(parse_script(path.read_text(encoding="utf-8")))


def parse_script(text: str) -> Iterator[Case]:
    """Yield the commands of a script."""
    lines = text.splitlines()
    at = 0
    while at < len(lines):
        if not lines[at].strip() or lines[at].lstrip().startswith("#"):
            at += 1
            continue
        start = at
        directive = lines[at]
        while directive.rstrip().endswith("\\") and at + 1 < len(lines):
            at += 1
            directive = directive.rstrip()[:-1] + " " + lines[at].strip()
        at, given = _input(lines, at + 1, start)
        at, expected = _expected(lines, at)
        yield _case(start + 1, directive, given, expected)


def _input(lines: list[str], at: int, start: int) -> tuple[int, tuple[str, ...]]:
    try:
        end = lines.index(_SEPARATOR, at)
    except ValueError:
        raise ScriptError(f"line {start + 1}: no {_SEPARATOR} follows") from None
    return end + 1, tuple(lines[at:end])


def _expected(lines: list[str], at: int) -> tuple[int, tuple[str, ...]]:
    """Output ends at a blank line; output with blank lines in it stands between doubled separators."""
    if lines[at : at + 1] == [_SEPARATOR]:
        end = at + 1
        while lines[end : end + 2] != [_SEPARATOR, _SEPARATOR]:
            if end == len(lines):
                raise ScriptError(f"line {at}: the output does not end with {_SEPARATOR} twice")
            end += 1
        return end + 2, tuple(lines[at + 1 : end])
    end = at
    while end < len(lines) and lines[end].strip():
        end += 1
    return end, tuple(lines[at:end])


def _case(line: int, directive: str, given: tuple[str, ...], expected: tuple[str, ...]) -> Case:
    command, _, rest = directive.strip().partition(" ")
    arguments = []
    for match in _ARGUMENT.finditer(rest):
        listed = match["list"] if match["list"] is not None else match["value"]
        arguments.append((match["key"], tuple(re.split(r"[,\s]+", listed.strip())) if listed else ()))
    return Case(line, command, tuple(arguments), given, expected, directive.strip())
