"""`cluster check` and `rebuild`: are the replicas of a cluster equal, and what becomes of one that is not."""

import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from kvarts.cli.commands.options import json_option, uri_argument
from kvarts.cli.exits import NEGATIVE, OK
from kvarts.cli.help import Command
from kvarts.cli.output import print_json, print_table
from kvarts.cli.progress import Progress
from kvarts.cli.text import size

if TYPE_CHECKING:
    from kvarts.remote.checking import Finding

POLL_S = 0.5


@click.command(
    cls=Command,
    negative="a replica differs, is fenced, or could not be compared; stdout and stderr say which",
    examples=[
        ("kvarts cluster check kvarts://127.0.0.1:7421", "compare all replicas of all shards"),
        ("kvarts cluster check kvarts://127.0.0.1:7421 --shard 5 --shard 6", "of two shards; 1 is the meta group"),
        ("kvarts cluster check kvarts://127.0.0.1:7421 --no-fence", "only tell"),
    ],
)
@uri_argument
@click.option("--shard", "shards", type=click.IntRange(min=1), multiple=True, help="Only this one; may be repeated.")
@click.option("--no-fence", is_flag=True, help="Leave a replica that differs as it is.")
@json_option
@click.pass_context
def check(ctx: click.Context, uri: str, shards: tuple[int, ...], *, no_fence: bool, as_json: bool) -> None:
    """Compare the replicas of all shards, while the cluster serves, and fence those that differ.

    Every replica digests its rows as of the same entry of its shard's log: keys, values, revisions and expiries, not
    how they lie on disk. One that most others contradict is fenced: it serves nobody, votes for nobody and leads
    nobody, also after a restart, until `kvarts cluster rebuild` makes it anew. Where no majority agrees nothing is
    fenced.
    """
    from kvarts.remote.checking import Outcome
    from kvarts.remote.checking import check as compare

    with Progress("comparing", unit="shards") as progress:
        found = list(compare(uri, groups=shards, fences=not no_fence, told=progress.to))
    if as_json:
        print_json({"groups": [each.told() for each in found]})
    else:
        _print(found)
    for each in found:
        for node, why in sorted(each.silent.items()):
            click.echo(f"{_name(each)}: node {node} was not compared: {why}", err=True)
        for node, why in sorted(each.fenced.items()):
            click.echo(f"{_name(each)}: node {node} is fenced: {why}", err=True)
    ctx.exit(OK if all(each.outcome is Outcome.EQUAL for each in found) else NEGATIVE)


def _print(found: "list[Finding]") -> None:
    rows = [("shard", "keyspace", "replicas", "rows", "size", "entry", "outcome")]
    for each in sorted(found, key=lambda finding: finding.group):
        outcome = each.outcome.value
        if each.differing:
            outcome += f": node {', '.join(map(str, each.differing))}"
        counts = f"{len(each.digests)} of {len(each.voters)}", f"{each.rows:,}", size(each.bytes), f"{each.index:,}"
        rows.append((str(each.group), each.keyspace or "(meta)", *counts, outcome))
    print_table(rows, header=True, left=(1, 6))


def _name(finding: "Finding") -> str:
    return f"shard {finding.group}" if finding.keyspace else "the meta group"


@click.command(
    cls=Command,
    negative=None,
    examples=[
        ("kvarts cluster rebuild kvarts://127.0.0.1:7421 5 3", "node 3's fenced replica of shard 5 is made anew")
    ],
)
@uri_argument
@click.argument("shard", type=click.IntRange(min=2))
@click.argument("node", type=click.IntRange(min=1))
@click.option("--no-wait", is_flag=True, help="Return at once; the replica is made in the background.")
@json_option
def rebuild(uri: str, shard: int, node: int, *, no_wait: bool, as_json: bool) -> None:
    """Give up NODE's fenced replica of SHARD and have one made anew, from the others: there, or where there is room."""
    from kvarts.remote.admin import call

    answer = call(uri, "rebuild", {"shard": shard, "node": node})
    if not no_wait:
        answer["voters"] = _await_whole(uri, shard, node)
    if as_json:
        print_json(answer)
    elif no_wait:
        click.echo(f"the replica of shard {shard} on node {node} leaves its group")
    else:
        click.echo(f"shard {shard} has replicas on nodes {', '.join(map(str, answer['voters']))}")


def _await_whole(uri: str, shard: int, node: int) -> list[int]:
    """Wait until the fenced replica is gone and the shard has as many as before. Return who keeps it."""
    before, pause, left = _of(uri, shard), threading.Event(), False
    wanted = len(before["voters"])
    with Progress(f"shard {shard}", wanted, unit="replicas") as progress:
        while True:
            now = _of(uri, shard)
            left = left or node not in now["voters"]
            progress.to(len(now["voters"]) - (not left))
            if left and now["move"] is None and len(now["voters"]) >= wanted and node not in now["fenced"]:
                voters: list[int] = now["voters"]
                return voters
            pause.wait(POLL_S)


def _of(uri: str, shard: int) -> Mapping[str, Any]:
    from kvarts.remote.admin import call

    return next(each for each in call(uri, "shards")["shards"] if each["id"] == shard)
