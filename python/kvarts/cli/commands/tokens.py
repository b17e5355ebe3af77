"""`cluster token`: makes the token that lets one node in, and says whether nodes need one."""

import time

import click

from kvarts.cli.commands.options import Duration, json_option, uri_argument
from kvarts.cli.help import Command
from kvarts.cli.output import print_json


@click.command(
    cls=Command,
    negative=None,
    examples=[
        (
            "kvarts cluster token kvarts://127.0.0.1:7421",
            "lets one node in within the hour; stdout has the token alone",
        ),
        ("kvarts cluster token kvarts://127.0.0.1:7421 --for 10.0.0.4:7420 --ttl 10m", "only the node at this address"),
        ("kvarts cluster token kvarts://127.0.0.1:7421 --revoke", "no token made until now lets anybody in"),
        ("kvarts cluster token kvarts://127.0.0.1:7421 --open", "nodes join without a token again"),
    ],
)
@uri_argument
@click.option("--for", "name", metavar="HOST:PORT", help="Only for the node that tells others this address.")
@click.option("--ttl", type=Duration(), help="How long it is good: 10m, 2h, at most 30d. [default: 1h]")
@click.option(
    "--require", "act", flag_value="require", default=None, help="Make none, but let nodes in by tokens only."
)
@click.option("--revoke", "act", flag_value="revoke", help="Make none; void all tokens that were made and not used.")
@click.option("--open", "act", flag_value="open", help="Make none; let nodes in without one.")
@json_option
def token(uri: str, name: str | None, ttl: float | None, act: str | None, as_json: bool) -> None:
    """Make a token by which one node joins, once. From the first one on the cluster lets nodes in by tokens only."""
    from kvarts.remote.admin import call

    if act and (name or ttl is not None):
        raise click.UsageError(f"--{act} makes no token: leave --for and --ttl out")
    arguments: dict[str, object] = {"do": act or "make", "for": name or ""}
    if ttl is not None:
        arguments["ttl_ms"] = max(1, round(ttl * 1000))
    answer = call(uri, "token", arguments)
    if as_json:
        print_json(answer)
    elif "token" in answer:
        click.echo(answer["token"])
        until = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(answer["expires_ms"] / 1000))
        whom = f"the node at {answer['for']}" if answer["for"] else "one node"
        click.echo(f"lets {whom} in, once, until {until}: KVARTS_TOKEN=… kvarts serve --join HOST:PORT", err=True)
    else:
        click.echo("nodes join without a token" if not answer["required"] else "nodes join by a token only")
