"""`serve` and `config explain`: one node, and where its settings come from."""

import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import click

from kvarts.base.errors import StoreFailed
from kvarts.cli.commands.options import json_option
from kvarts.cli.help import Command, Group
from kvarts.cli.output import print_json, print_table
from kvarts.node.config import TABLE, Setting, settle

F = TypeVar("F", bound=Callable[..., Any])


def setting_options(function: F) -> F:
    """Add a flag for every setting of a node, and --config."""
    for spec in reversed(TABLE):
        if isinstance(spec.default, bool):
            option = click.option(spec.flag, spec.name, is_flag=True, default=None, help=spec.help)
        else:
            shown = f" [default: {spec.default}]" if spec.default not in ("", 0) else ""
            option = click.option(spec.flag, spec.name, metavar="VALUE", default=None, help=spec.help + shown)
        function = option(function)
    return click.option(
        "--config", "file", type=click.Path(dir_okay=False, path_type=Path), help="TOML file of settings."
    )(function)


@click.command(
    cls=Command,
    negative=None,
    examples=[
        ("kvarts serve --data ./n1", "a node alone, on 127.0.0.1:7420"),
        (
            "kvarts serve --data ./n1 --node 1 --peers 1=127.0.0.1:7421,2=127.0.0.1:7422,3=127.0.0.1:7423",
            "one of three",
        ),
        ("kvarts serve --data ./n4 --listen 127.0.0.1:7424 --join 127.0.0.1:7421", "join a cluster that runs"),
        ("kvarts serve --data ./n4 --join srv:example.com --token kvj1.…", "by a token, found in DNS"),
    ],
)
@setting_options
@json_option
def serve(file: Path | None, as_json: bool, **flags: object) -> None:
    """Run a node until Ctrl-C or SIGTERM; it hands over what it leads first. Events go to stderr, one JSON a line."""
    from kvarts.node.loop import WAS_REMOVED
    from kvarts.node.serve import serve as run
    from kvarts.remote.admin import join

    def ready(place: Mapping[str, object]) -> None:
        if as_json:
            print_json(place)
        else:
            click.echo(f"node {place['id']} listens on {place['address']}; kvarts.open('kvarts://{place['address']}')")
        sys.stdout.flush()

    reason = run(settle(flags, os.environ, file), sys.stderr, join, ready)
    if reason is not None:
        again = "start it with an empty directory and --join: it gets another number"
        hint = again if WAS_REMOVED in reason else "see the events above; start it again"
        raise StoreFailed(f"the node stopped: {reason}", hint=hint)


@click.group(cls=Group)
def config() -> None:
    """Settings of a node."""


@config.command(
    cls=Command,
    negative=None,
    examples=[
        ("kvarts config explain", "every setting, its value and where it comes from"),
        ("kvarts config explain --config node.toml --memory 1GiB", "as `kvarts serve` would see them"),
    ],
)
@setting_options
@json_option
def explain(file: Path | None, as_json: bool, **flags: object) -> None:
    """Print each setting with its value and source. A flag wins over KVARTS_* variables, those over the file."""
    settings = settle(flags, os.environ, file).values()
    if as_json:
        print_json([_object(setting) for setting in settings])
        return
    rows = [("setting", "value", "from", "environment")]
    rows += [(each.spec.name, str(each.shown), each.source, each.spec.variable) for each in settings]
    print_table(rows, header=True)


def _object(setting: Setting) -> dict[str, object]:
    spec = setting.spec
    return {
        "name": spec.name,
        "value": setting.shown,
        "source": setting.source,
        "flag": spec.flag,
        "variable": spec.variable,
        "help": spec.help,
    }
