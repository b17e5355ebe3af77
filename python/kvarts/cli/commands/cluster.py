"""`status` and `cluster`: who is in a cluster, and changes of that."""

import click

from kvarts.cli.commands.checking import check, rebuild
from kvarts.cli.commands.copying import backup, restore
from kvarts.cli.commands.options import json_option, uri_argument
from kvarts.cli.commands.placing import drain, move_leader, plan, remove_lost, replace
from kvarts.cli.commands.splitting import limit_shards, split
from kvarts.cli.commands.tokens import token
from kvarts.cli.help import Command, Group
from kvarts.cli.output import print_json, print_table


@click.command(
    cls=Command,
    negative=None,
    examples=[
        ("kvarts status kvarts://127.0.0.1:7421", "nodes, roles, positions"),
        ("kvarts status kvarts://127.0.0.1:7421 --json | jq .leader", "one figure for a program"),
    ],
)
@uri_argument
@json_option
def status(uri: str, as_json: bool) -> None:
    """Tell who is in a cluster, who leads it and how far each group is."""
    from kvarts.remote.admin import call

    found = call(uri, "status")
    if as_json:
        print_json(found)
        return
    click.echo(f"node {found['node']} answers; term {found['term']}; leader {found['leader'] or 'unknown'}")
    for group, holders in found.get("fenced", {}).items():
        click.echo(f"shard {group} is fenced on node {', '.join(map(str, holders))}: its replica there differs")
    rows = [("node", "address", "votes", "leads", "shards", "state")]
    for node in found["nodes"]:
        votes = "yes" if node["voter"] else "learner" if node["learner"] else "no"
        state = "lost" if node.get("lost") else "drains" if node.get("draining") else ""
        kept = str(node.get("shards", ""))
        rows.append((str(node["id"]), node["address"] or "?", votes, "yes" if node["leader"] else "", kept, state))
    print_table(rows, header=True)
    click.echo()
    names = ("last", "committed", "applied")
    groups = [(str(each["group"]), each["role"], *(f"{each[name]:,}" for name in names)) for each in found["groups"]]
    print_table([("group", "role", *names), *groups], header=True)


@click.group(cls=Group)
def cluster() -> None:
    """Change who is in a cluster and what it keeps where, compare its replicas, copy it: all of it online."""


@cluster.command(
    cls=Command,
    negative=None,
    examples=[("kvarts cluster shards kvarts://127.0.0.1:7421", "who keeps which keys, and who leads")],
)
@uri_argument
@json_option
def shards(uri: str, as_json: bool) -> None:
    """List the shards of all keyspaces. Bounds are tokens, in hexadecimal; 0 leads where nobody is known to."""
    from kvarts.remote.admin import call

    found = call(uri, "shards")
    if as_json:
        print_json(found)
        return
    rows = [("shard", "keyspace", "from", "to", "epoch", "voters", "leader", "moves", "fenced")]
    for each in found["shards"]:
        bounds = each["start"] or "…", each["stop"] or "…"
        voters = ",".join(map(str, each["voters"]))
        move = "" if each.get("move") is None else " -> ".join(str(end or "-") for end in each["move"])
        fenced = ",".join(map(str, each.get("fenced", ())))
        ends = str(each["epoch"]), voters, str(each["leader"]), move, fenced
        rows.append((str(each["id"]), each["keyspace"], *bounds, *ends))
    print_table(rows, header=True)


@cluster.command(
    cls=Command,
    negative=None,
    examples=[("kvarts cluster join kvarts://127.0.0.1:7421 4 127.0.0.1:7424", "take in node 4, which runs and waits")],
)
@uri_argument
@click.argument("node", type=click.IntRange(min=1))
@click.argument("address")
@json_option
def join(uri: str, node: int, address: str, as_json: bool) -> None:
    """Take in a node: it learns, catches up, then votes. `kvarts serve --join` does it from the node's side."""
    _tell(uri, "add-node", {"id": node, "address": address}, f"node {node} votes", as_json=as_json)


@cluster.command(
    cls=Command,
    negative=None,
    examples=[
        ("kvarts cluster remove kvarts://127.0.0.1:7421 3", "node 3, which was drained, leaves for good"),
        ("kvarts cluster remove kvarts://127.0.0.1:7421 3 --lost", "node 3 is gone: make anew what it kept, elsewhere"),
    ],
)
@uri_argument
@click.argument("node", type=click.IntRange(min=1))
@click.option("--force", is_flag=True, help="Also where too few of the others answer.")
@click.option("--lost", is_flag=True, help="It never comes back: first make its replicas anew, where a quorum is left.")
@json_option
def remove(uri: str, node: int, force: bool, lost: bool, as_json: bool) -> None:
    """Let a node leave for good: its number is never used again. Refused while it keeps shards."""
    if lost:
        remove_lost(uri, node)
    _tell(uri, "remove-node", {"id": node, "force": force}, f"node {node} is removed", as_json=as_json)


@cluster.command(
    cls=Command,
    negative=None,
    examples=[
        ("kvarts cluster transfer kvarts://127.0.0.1:7421 2", "let node 2 lead"),
        ("kvarts cluster transfer kvarts://127.0.0.1:7421", "let another node lead"),
    ],
)
@uri_argument
@click.argument("node", type=click.IntRange(min=1), required=False)
@json_option
def transfer(uri: str, node: int | None, as_json: bool) -> None:
    """Let another voter lead: NODE, or the one that is furthest."""
    _tell(uri, "transfer", {"to": node or 0}, "the leadership was handed over", as_json=as_json)


def _tell(uri: str, verb: str, arguments: dict[str, object], done: str, *, as_json: bool) -> None:
    from kvarts.remote.admin import call

    answer = call(uri, verb, arguments)
    if as_json:
        print_json(answer)
    else:
        click.echo(done)


for _command in (
    status,
    token,
    plan,
    drain,
    replace,
    move_leader,
    split,
    limit_shards,
    check,
    rebuild,
    backup,
    restore,
):
    cluster.add_command(_command)
