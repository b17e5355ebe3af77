"""What a kvarts:// URI says, and what open() takes beside it."""

from datetime import timedelta
from typing import Any

import pytest

import kvarts
from kvarts.remote.target import milliseconds, parse, settings


@pytest.mark.parametrize(
    ("uri", "hosts", "keyspace"),
    [
        ("kvarts://h", ("h:7420",), "default"),
        ("kvarts://h/", ("h:7420",), "default"),
        ("kvarts://h1:1,h2:2,h3/words", ("h1:1", "h2:2", "h3:7420"), "words"),
        ("kvarts://h1:1,h1:1,/words", ("h1:1",), "words"),
        ("kvarts://[::1]:5,127.0.0.1/a%20b", ("[::1]:5", "127.0.0.1:7420"), "a b"),
    ],
)
def test_hosts_and_keyspace(uri: str, hosts: tuple[str, ...], keyspace: str) -> None:
    target = parse(uri)
    assert (target.hosts, target.keyspace) == (hosts, keyspace)


@pytest.mark.parametrize(
    ("uri", "says"),
    [
        ("kvarts://", "names no host"),
        ("kvarts:///words", "names no host"),
        ("kvarts://h:port/words", "no host:port"),
        ("kvarts://h:99999/words", "no host:port"),
        ("kvarts://h:0/words", "no host:port"),
        ("kvarts://[::1/words", "no URI"),
        ("kvarts://user@h/words", "users are not built yet"),
        ("kvarts://h/words#x", "fragment"),
        ("kvarts://h/words?timeuot=5", "did you mean timeout="),
        ("kvarts://h/words?tls=1", "options are"),
        ("kvarts://h/words?timeout=soon", "no duration"),
        ("kvarts://h/words?consistency=often", "'linearizable' | 'stale'"),
        ("kvarts://h/words?max_staleness=1s", "consistency='stale'"),
        ("kvarts://h/" + "n" * 256, "1 to 255 bytes"),
    ],
)
def test_uri_that_cannot_be(uri: str, says: str) -> None:
    with pytest.raises(kvarts.InvalidArgument) as caught:
        kvarts.open(uri)
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"durability": "sync"}, "stable storage of a majority"),
        ({"memory": "1GiB"}, "memory= is for a store on this machine"),
        ({"timeuot": 5}, "did you mean timeout="),
        ({"timeout": 0}, "out of range"),
        ({"timeout": -1}, "out of range"),
        ({"timeout": True}, "no duration"),
        ({"create": 1}, "create=1"),
        ({"consistency": "stale", "max_staleness": "0s"}, "out of range"),
    ],
    ids=str,
)
def test_option_that_cannot_be(options: dict[str, Any], says: str) -> None:
    with pytest.raises(kvarts.InvalidArgument) as caught:
        kvarts.open("kvarts://127.0.0.1:1", **options)
    assert says in str(caught.value)


def test_option_of_a_cluster_on_a_path(tmp_path: Any) -> None:
    with pytest.raises(kvarts.InvalidArgument, match="timeout= is for a cluster"):
        kvarts.open(tmp_path / "s", timeout=5)
    assert not (tmp_path / "s").exists()


def test_argument_beats_uri_beats_default() -> None:
    target = parse("kvarts://h/words?timeout=7s&consistency=stale&max_staleness=250ms")
    told = settings(target, {})
    assert (told.timeout_ms, told.stale, told.max_staleness_ms) == (7000, True, 250)
    assert settings(target, {"timeout": timedelta(seconds=1)}).timeout_ms == 1000
    assert settings(parse("kvarts://h"), {}).timeout_ms == 5000


@pytest.mark.parametrize(
    ("given", "ms"),
    [(5, 5000), (0.0001, 1), ("5", 5000), ("5s", 5000), ("1.5 m", 90_000), ("20MS", 20), ("1h", 3_600_000)],
)
def test_durations(given: Any, ms: int) -> None:
    assert milliseconds(given, "timeout") == ms


def test_path_has_no_async_face(tmp_path: Any) -> None:
    untyped: Any = kvarts.open_async
    for target in (tmp_path, str(tmp_path), ":memory:", None):
        with pytest.raises(kvarts.InvalidArgument, match=r"kvarts\.open\(\)"):
            untyped(target)
