"""`cluster split` and `cluster limit-shards`: more shards for a keyspace, online, by hand and by themselves."""

from typing import Any

import click

from kvarts.cli.commands.options import json_option, uri_argument
from kvarts.cli.help import Command
from kvarts.cli.output import print_json
from kvarts.cli.progress import Progress


@click.command(
    cls=Command,
    negative=None,
    examples=[
        ("kvarts cluster split kvarts://127.0.0.1:7421 users --into 16", "until the keyspace has 16 shards"),
        ("kvarts cluster split kvarts://127.0.0.1:7421 users --shard 5", "halve one shard"),
        ("kvarts cluster split kvarts://127.0.0.1:7421 logs --at 2026-11", "cut an ordered keyspace before a key"),
    ],
)
@uri_argument
@click.argument("keyspace")
@click.option("--shard", type=click.IntRange(min=2), help="Split this one only; `cluster shards` lists them.")
@click.option("--into", type=click.IntRange(min=2), help="How many shards there are to be; twice as many if left out.")
@click.option("--at", help="Cut once, before this key; 0x… gives it in hexadecimal.")
@json_option
def split(uri: str, keyspace: str, *, shard: int | None, into: int | None, at: str | None, as_json: bool) -> None:
    """Split shards of KEYSPACE while it is in use, and wait until all is done.

    Nothing is copied at once and nobody is refused: each half begins with the files of the whole. Asked again after
    an interruption, it goes on where it stopped. Shards of an ordered keyspace are cut where half of their bytes are.
    """
    line = _line(uri, keyspace)
    wish: dict[str, object] = {"keyspace": keyspace}
    if shard is not None:
        found = [each for each in line if each["id"] == shard]
        if not found:
            raise click.UsageError(
                f"shard {shard} is none of keyspace {keyspace!r}: `kvarts cluster shards` lists them"
            )
        wish |= {"start": found[0]["start"], "stop": found[0]["stop"]}
        line = found
    if at is not None:
        if into is not None:
            raise click.UsageError("--at cuts once: leave --into out")
        wish["at"] = _key(at).hex()
        count = len(line) + 1
    else:
        count = 2 * len(line) if into is None else into
        wish["into"] = count
    if at is None and line and line[0].get("ordered"):
        line = _halved(uri, keyspace, wish, count)
    else:
        line = _until(uri, keyspace, wish, count)
    if as_json:
        print_json({"keyspace": keyspace, "shards": line})
    else:
        click.echo(f"{keyspace} has {len(line)} shards")


@click.command(
    "limit-shards",
    cls=Command,
    negative=None,
    examples=[
        ("kvarts cluster limit-shards kvarts://127.0.0.1:7421 users 10GiB", "split what grows beyond it"),
        ("kvarts cluster limit-shards kvarts://127.0.0.1:7421 users off", "no longer"),
        ("kvarts cluster limit-shards kvarts://127.0.0.1:7421 users", "what holds now"),
    ],
)
@uri_argument
@click.argument("keyspace")
@click.argument("size", required=False)
@json_option
def limit_shards(uri: str, keyspace: str, size: str | None, as_json: bool) -> None:
    """Split shards of KEYSPACE by themselves, once one has more than SIZE in a node's tables.

    Rows that a split gave away, and compaction has yet to drop, do not count. Each is cut where half of its bytes are.
    From then on a batch or a snapshot of keys on both sides is refused as CrossShard, so nothing splits by itself
    unless it is asked for here.
    """
    from kvarts.base.options import parse_bytes
    from kvarts.remote.admin import call

    wish: dict[str, object] = {"keyspace": keyspace}
    if size is not None:
        # A size below one byte is no way to say "off".
        wish["bytes"] = 0 if size.lower() == "off" else max(1, parse_bytes("SIZE", size))
    told = call(uri, "limit-shards", wish)
    if as_json:
        print_json(told)
    elif told["bytes"]:
        click.echo(f"shards of {keyspace} are split beyond {told['bytes']:,} bytes")
    else:
        click.echo(f"shards of {keyspace} are not split by themselves")


def _until(uri: str, keyspace: str, wish: dict[str, object], count: int) -> list[dict[str, Any]]:
    """Ask until it is done; return the keyspace's shards."""
    from kvarts.remote.admin import call

    with Progress("splitting", count, unit="shards") as progress:
        told = call(uri, "split", wish)
        while told["splitting"] or ("into" in wish and told["shards"] < count):
            progress.to(told["shards"])
            told = call(uri, "split", {**wish, "watch": "at" in wish})
        progress.to(count)
    return _line(uri, keyspace)


def _halved(uri: str, keyspace: str, wish: dict[str, object], count: int) -> list[dict[str, Any]]:
    """Cut the fullest shard of an ordered keyspace in its middle until there are enough; return all."""
    from kvarts.remote.admin import call
    from kvarts.remote.halving import fullest
    from kvarts.remote.operator import operator

    start, stop = str(wish.get("start") or ""), str(wish.get("stop") or "")
    with operator(uri) as cluster, Progress("splitting", count, unit="shards") as progress:
        while True:
            told = call(uri, "split", {**wish, "watch": True})
            if told["splitting"]:
                continue
            if told["shards"] >= count:
                break
            progress.to(told["shards"])
            within = [
                each
                for each in _line(uri, keyspace)
                if each["start"] >= start and (not stop or (each["stop"] and each["stop"] <= stop))
            ]
            key = fullest(cluster, within)
            call(uri, "split", {"keyspace": keyspace, "at": key.hex()})
        progress.to(count)
    return _line(uri, keyspace)


def _line(uri: str, keyspace: str) -> list[dict[str, Any]]:
    from kvarts.remote.admin import call

    return [each for each in call(uri, "shards")["shards"] if each["keyspace"] == keyspace]


def _key(text: str) -> bytes:
    if not text.startswith("0x"):
        return text.encode()
    try:
        return bytes.fromhex(text[2:])
    except ValueError:
        raise click.UsageError(f"{text} is no key in hexadecimal") from None
