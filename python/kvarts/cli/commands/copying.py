"""`cluster backup` and `restore`: all rows of a serving cluster, into a directory and back into one of any size."""

from pathlib import Path

import click

from kvarts.cli.commands.options import json_option, uri_argument
from kvarts.cli.help import Command
from kvarts.cli.output import print_json, print_table
from kvarts.cli.progress import Progress
from kvarts.cli.text import counted, size

folder_type = click.Path(file_okay=False, path_type=Path)


@click.command(
    cls=Command,
    negative=None,
    examples=[
        ("kvarts cluster backup kvarts://127.0.0.1:7421 ./monday", "copy all keyspaces into a new directory"),
        ("kvarts scan ./monday/rows --keyspace users", "look into it: the rows are an ordinary store"),
    ],
)
@uri_argument
@click.argument("folder", metavar="DIR", type=folder_type)
@json_option
def backup(uri: str, folder: Path, *, as_json: bool) -> None:
    """Copy a serving cluster into DIR: all keyspaces with their options, all rows with their expiries.

    The rows of each shard are as of one moment; those of different shards are as of moments that lie close together,
    not as of one. Splits, moves and elections may go on. A backup that is interrupted leaves nothing that can be
    restored; started again, it begins anew.
    """
    from kvarts.remote.backing_up import backup as copy

    with Progress("copying") as progress:
        manifest = copy(uri, folder, told=lambda rows, _size: progress.to(rows))
    if as_json:
        keyspaces = [{"keyspace": each.name, "rows": each.rows, "bytes": each.size} for each in manifest.keyspaces]
        print_json({"folder": str(folder), "rows": manifest.rows, "bytes": manifest.size, "keyspaces": keyspaces})
        return
    spaces = counted(len(manifest.keyspaces), "keyspace")
    click.echo(f"{folder} holds {counted(manifest.rows, 'row')} of {spaces}, {size(manifest.size)}")


@click.command(
    cls=Command,
    negative=None,
    examples=[
        ("kvarts cluster restore ./monday kvarts://127.0.0.1:7421", "into keyspaces that are absent or empty"),
        ("kvarts cluster restore ./monday kvarts://127.0.0.1:7421 --shards 16", "with other numbers of shards"),
        ("kvarts cluster restore ./monday kvarts://127.0.0.1:7421 --keyspace users --replace", "one, as it was"),
    ],
)
@click.argument("folder", metavar="DIR", type=folder_type)
@uri_argument
@click.option("--keyspace", "keyspaces", metavar="NAME", multiple=True, help="Only this one; may be repeated.")
@click.option(
    "--shards",
    metavar="[NAME=]N",
    multiple=True,
    help="How many shards keyspaces are made with: one, or all that had some.",
)
@click.option("--into-existing", is_flag=True, help="Put rows beside, and over, those that a keyspace has.")
@click.option("--replace", is_flag=True, help="Remove the rows that a keyspace has first.")
@json_option
def restore(
    folder: Path,
    uri: str,
    *,
    keyspaces: tuple[str, ...],
    shards: tuple[str, ...],
    into_existing: bool,
    replace: bool,
    as_json: bool,
) -> None:
    """Put the backup in DIR into a cluster of any size.

    All of the backup is read and checked first. Keyspaces are made as they were, or with --shards; one that exists
    keeps its shards, and must be empty unless told otherwise. A row that expires does so when it would have; rows whose
    time is over are left out. At the end the rows are counted.
    """
    from kvarts.remote.restoring import Wish
    from kvarts.remote.restoring import restore as put

    if into_existing and replace:
        raise click.UsageError("--into-existing keeps the rows that --replace removes: give one of them")
    wish = Wish(keyspaces=keyspaces, shards=_shards(shards), into_existing=into_existing, replace=replace)
    with Progress("checking", unit="B") as checking, Progress("restoring") as progress:

        def told(what: str, done: int, total: int) -> None:
            (checking if what == "verifying" else progress).to(done, total)

        found = put(folder, uri, wish, told=told)
    if as_json:
        print_json({"folder": str(folder), "keyspaces": [each.told() for each in found]})
        return
    rows = [("keyspace", "rows", "expired", "shards")]
    rows += [(each.name, f"{each.rows:,}", f"{each.expired:,}", str(each.shards or "(meta)")) for each in found]
    print_table(rows, header=True)


def _shards(given: tuple[str, ...]) -> dict[str, int]:
    from kvarts.remote.restoring import ALL

    found = {}
    for text in given:
        name, _, count = text.rpartition("=")
        if not count.isdecimal():
            raise click.UsageError(f"--shards {text}: a number, or NAME=NUMBER")
        found[name or ALL] = int(count)
    return found
