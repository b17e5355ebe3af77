"""`cluster plan`, `drain`, `replace`, `move-leader`, and what `remove --lost` waits for: where shards lie."""

import threading
from collections.abc import Mapping
from typing import Any

import click

from kvarts.cli.commands.options import json_option, uri_argument
from kvarts.cli.exits import NEGATIVE, OK
from kvarts.cli.help import Command
from kvarts.cli.output import print_json
from kvarts.cli.progress import Progress

node_argument = click.argument("node", type=click.IntRange(min=1))
no_wait_option = click.option("--no-wait", is_flag=True, help="Return at once; shards move in the background.")
POLL_S = 0.5


@click.command(
    cls=Command,
    negative=None,
    examples=[
        ("kvarts cluster plan kvarts://127.0.0.1:7421", "what is out of balance, and what moves"),
        ("kvarts cluster plan kvarts://127.0.0.1:7421 --drain 3", "what would move if node 3 were drained"),
        ("kvarts cluster plan kvarts://127.0.0.1:7421 --replace 3 5", "what would move if 5 took the place of 3"),
    ],
)
@uri_argument
@click.option("--drain", metavar="NODE", type=click.IntRange(min=1), help="Suppose that a node is drained.")
@click.option("--lost", metavar="NODE", type=click.IntRange(min=1), help="Suppose that a node never comes back.")
@click.option(
    "--replace",
    metavar="OLD NEW",
    nargs=2,
    type=click.IntRange(min=1),
    help="Suppose that a node takes another's place.",
)
@json_option
def plan(uri: str, drain: int | None, lost: int | None, replace: tuple[int, int] | None, as_json: bool) -> None:
    """Tell which replicas would move, and why, before anything does. Changes nothing."""
    found = _ask(uri, "plan", {"drain": drain or 0, "lost": lost or 0, "replace": list(replace or ()) or None})
    text = found.pop("text")
    if as_json:
        print_json(found)
        return
    for line in text:
        click.echo(line)
    for each in found["moving"]:
        click.echo(_under_way(each))


@click.command(
    cls=Command,
    negative="it keeps shards that cannot be moved; stderr says why",
    examples=[
        ("kvarts cluster drain kvarts://127.0.0.1:7421 3", "move all that node 3 keeps and leads to others"),
        ("kvarts cluster drain kvarts://127.0.0.1:7421 3 --stop", "it may keep shards again"),
    ],
)
@uri_argument
@node_argument
@click.option("--stop", is_flag=True, help="Drain it no longer.")
@no_wait_option
@json_option
@click.pass_context
def drain(ctx: click.Context, uri: str, node: int, *, stop: bool, no_wait: bool, as_json: bool) -> None:
    """Empty a node: what it leads is handed over, its shards move away; then it can be removed."""
    answer = _ask(uri, "drain", {"id": node, "stop": stop})
    if not stop and not no_wait:
        answer["shards"] = await_empty(uri, node)
    if as_json:
        print_json(answer)
    elif stop:
        click.echo(f"node {node} may keep shards again")
    else:
        click.echo(_told(answer["shards"], node))
    ctx.exit(OK if stop or no_wait or not answer["shards"] else NEGATIVE)


@click.command(
    cls=Command,
    negative="it keeps shards that cannot be moved; stderr says why",
    examples=[
        ("kvarts cluster replace kvarts://127.0.0.1:7421 3 5", "node 5 takes over what node 3 keeps"),
        ("kvarts cluster replace kvarts://127.0.0.1:7421 3 5 --lost", "the same, where node 3 never comes back"),
    ],
)
@uri_argument
@click.argument("old", type=click.IntRange(min=1))
@click.argument("new", type=click.IntRange(min=1))
@click.option("--lost", is_flag=True, help="The old node is gone for good.")
@no_wait_option
@json_option
@click.pass_context
def replace(ctx: click.Context, uri: str, old: int, new: int, *, lost: bool, no_wait: bool, as_json: bool) -> None:
    """Have node NEW, which has joined, take over all that node OLD keeps; then OLD can be removed."""
    answer = _ask(uri, "replace", {"old": old, "new": new, "lost": lost})
    if not no_wait:
        answer["shards"] = await_empty(uri, old)
    if as_json:
        print_json(answer)
    else:
        click.echo(_told(answer["shards"], old))
    ctx.exit(OK if no_wait or not answer["shards"] else NEGATIVE)


@click.command(
    "move-leader",
    cls=Command,
    negative=None,
    examples=[
        ("kvarts cluster move-leader kvarts://127.0.0.1:7421 4 2", "let node 2 lead shard 4"),
        ("kvarts cluster move-leader kvarts://127.0.0.1:7421 4", "let another voter lead it"),
    ],
)
@uri_argument
@click.argument("shard", type=click.IntRange(min=2))
@click.argument("node", type=click.IntRange(min=1), required=False)
@json_option
def move_leader(uri: str, shard: int, node: int | None, as_json: bool) -> None:
    """Let another voter lead a shard: NODE, or the one that is furthest. The spread of leaders may undo it later."""
    answer = _ask(uri, "move-leader", {"shard": shard, "to": node or 0})
    if as_json:
        print_json(answer)
    else:
        click.echo(f"node {answer['leader']} leads shard {answer['shard']}")


def remove_lost(uri: str, node: int) -> None:
    """Give a node up for lost, and wait until all that it kept is elsewhere."""
    if _of(_ask(uri, "plan"), node) is not None:
        _ask(uri, "lose", {"id": node})
        await_empty(uri, node)


def await_empty(uri: str, node: int) -> int:
    """Wait until a node keeps nothing, showing how far it is. Return what stays, which cannot be moved, and say why."""
    pause = threading.Event()
    with Progress(f"node {node}", unit="shards") as progress:
        first = None
        while True:
            found = _ask(uri, "plan")
            seen = _of(found, node) or {"keeps": 0, "duty": ""}
            left = int(seen["keeps"])
            first = left if first is None else max(first, left)
            progress.to(first - left, first)
            if not left:
                return 0
            waits = {each["why"] for each in found["blocked"] if each["from"] == node}
            if seen["duty"] == "away":
                waits.add(f"node {node} does not answer")
            if waits and not found["moves"] and not found["moving"]:
                for why in sorted(waits):
                    click.echo(f"cannot move on: {why}", err=True)
                return left
            pause.wait(POLL_S)


def _of(plan: Mapping[str, Any], node: int) -> dict[str, Any] | None:
    return next((each for each in plan["nodes"] if each["node"] == node), None)


def _told(left: int, node: int) -> str:
    return f"node {node} keeps {left} shards" if left else f"node {node} keeps no shard: it can be removed"


def _under_way(move: Mapping[str, Any]) -> str:
    ends = " -> ".join(f"n{move[end]}" if move[end] else "-" for end in ("from", "to"))
    votes = "votes" if move["votes"] else "learns" if move["behind"] is None else f"lacks {move['behind']:,} entries"
    return f"  s{move['shard']} {ends} under way: the newcomer {votes}" if move["to"] else f"  s{move['shard']} {ends}"


def _ask(uri: str, verb: str, arguments: Mapping[str, object] | None = None) -> dict[str, Any]:
    from kvarts.remote.admin import call

    answer = call(uri, verb, arguments)
    assert isinstance(answer, dict)
    return answer
