"""How errors look: one tidy block on stderr, or with --json one object there."""

import json
import shutil
import sys

import click

from kvarts.base.errors import KvartsError


def error_object(error: KvartsError) -> dict[str, object]:
    """Return what --json prints of an error."""
    fields: dict[str, object] = {
        "code": error.code,
        "name": type(error).__name__,
        "what": error.message,
        "hint": error.hint,
        "explain": f"kvarts explain {error.code}",
        "retryable": error.retryable,
        "maybe_applied": error.maybe_applied,
    }
    return {"error": fields}


def error_block(error: KvartsError) -> str:
    """Return what a person sees of an error."""
    lines = [f"error {error.code} {type(error).__name__}", f"  what  {error.message}"]
    if error.hint:
        lines.append(f"  hint  {error.hint}")
    return "\n".join([*lines, f"  more  kvarts explain {error.code}"])


def report_kvarts_error(error: KvartsError, *, as_json: bool) -> None:
    """Print an error of kvarts on stderr."""
    if as_json:
        click.echo(json.dumps(error_object(error)), err=True)
        return
    first, *rest = error_block(error).split("\n")
    click.secho(first, fg="red", bold=True, err=True)
    for line in rest:
        click.echo(_wrapped(line), err=True)


def _wrapped(line: str) -> str:
    """Return a line of the block as a terminal shows it well; elsewhere it stays one line."""
    if not sys.stderr.isatty():
        return line
    return click.wrap_text(line.lstrip(), shutil.get_terminal_size().columns, "  ", " " * 8)


def report_failure(kind: str, what: str, *, as_json: bool) -> None:
    """Print an error that has no code: of usage, of input, of the system."""
    if as_json:
        click.echo(json.dumps({"error": {"code": None, "name": kind, "what": what, "hint": None}}), err=True)
        return
    click.secho("error", fg="red", bold=True, nl=False, err=True)
    click.echo(f" {what}", err=True)
