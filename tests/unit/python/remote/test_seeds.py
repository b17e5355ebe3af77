"""Seeds may be names: all their addresses are ways to the cluster, and records in DNS say where its nodes are."""

from __future__ import annotations

import random
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

import kvarts
from kvarts.remote.names import Service, SystemNames
from kvarts.remote.seeds import are_known, in_order, seeds_of
from kvarts.remote.target import Target, parse, parse_seeds
from tests.unit.python.cli.conftest import environment
from tests.unit.python.remote.nameserver import name_server
from tests.unit.python.serve.nodes import cluster

TABLE = {
    ("two.example.", "A"): ["10.0.0.1", "10.0.0.2"],
    ("two.example.", "AAAA"): ["fd00::1"],
    ("six.example.", "AAAA"): ["fd00::6"],
    ("_kvarts._tcp.example.", "SRV"): ["20 0 7422 two.example.", "10 0 7421 six.example.", "10 0 7430 gone.example."],
    ("_kvarts._tcp.none.example.", "SRV"): ["0 0 0 ."],
    ("text.example.", "TXT"): ["nothing"],
}


def found(text: str, server: str, wait_s: float = 5.0) -> tuple[str, ...]:
    return seeds_of(parse_seeds(text, server), wait_s)


@pytest.mark.parametrize(
    ("text", "hosts"),
    [
        ("a:1,b", ("a:1", "b:7420")),
        ("srv:example.com", ("srv:_kvarts._tcp.example.com",)),
        ("srv:_db._tcp.service.consul., [::1]:5", ("srv:_db._tcp.service.consul", "[::1]:5")),
    ],
)
def test_seeds_are_hosts_and_names_of_services(text: str, hosts: tuple[str, ...]) -> None:
    assert parse_seeds(text).hosts == hosts


def test_a_uri_may_name_a_service() -> None:
    assert parse("kvarts+srv://example.com/words?timeout=3s&dns=127.0.0.1:5353") == Target(
        "kvarts+srv://example.com/words?timeout=3s&dns=127.0.0.1:5353",
        ("srv:_kvarts._tcp.example.com",),
        "words",
        {"timeout": "3s", "dns": "127.0.0.1:5353"},
        "127.0.0.1:5353",
    )
    assert parse("kvarts+srv://_kvarts._tcp.example.com/").hosts == ("srv:_kvarts._tcp.example.com",)


@pytest.mark.parametrize("text", ["", ",", "srv:", "srv:a:1", "srv:a b", "srv:a..b", "h:port", "srv:" + "a." * 120])
def test_seeds_that_cannot_be_are_refused_with_a_hint(text: str) -> None:
    with pytest.raises(kvarts.InvalidArgument) as caught:
        parse_seeds(text)
    assert caught.value.hint


@pytest.mark.parametrize("uri", ["kvarts+srv://a,b/", "kvarts+srv://a:1/", "kvarts+srv:///words", "kvarts+srv://u@a/"])
def test_a_service_is_one_name_without_a_port(uri: str) -> None:
    with pytest.raises(kvarts.InvalidArgument):
        kvarts.open(uri)


def test_a_name_is_all_its_addresses_of_both_kinds() -> None:
    with name_server(TABLE) as server:
        *both, six, last = found("two.example:5,10.0.0.9", server.address)
        # The server sends the records of one name in any order.
        assert (sorted(both), six, last) == (["10.0.0.1:5", "10.0.0.2:5"], "[fd00::1]:5", "10.0.0.9:7420")
        assert found("six.example", server.address) == ("[fd00::6]:7420",)


def test_records_of_a_service_are_tried_by_priority_and_what_is_not_there_is_left_out() -> None:
    with name_server(TABLE) as server:
        first, *others = found("srv:example", server.address)
        assert first == "[fd00::6]:7421"
        assert sorted(others) == ["10.0.0.1:7422", "10.0.0.2:7422", "[fd00::1]:7422"]
        assert "_kvarts._tcp.example. SRV" in server.asked


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("srv:none.example", "no such service"),
        ("srv:nowhere.example", "cannot look up _kvarts._tcp.nowhere.example"),
        ("srv:_x._tcp.text.example", "cannot look up"),
        ("text.example", "no records of type A or AAAA"),
        ("nowhere.example", "cannot look up nowhere.example"),
    ],
)
def test_what_cannot_be_found_is_unavailable_and_told(text: str, says: str) -> None:
    with name_server(TABLE) as server, pytest.raises(kvarts.Unavailable, match=says) as caught:
        found(text, server.address)
    assert caught.value.hint


def test_one_seed_that_can_be_found_is_enough() -> None:
    with name_server(TABLE) as server:
        assert found("nowhere.example,srv:none.example,six.example:1", server.address) == ("[fd00::6]:1",)


def test_a_name_server_that_says_nothing_is_not_waited_for_long() -> None:
    with name_server(TABLE, silent=True) as server:
        with pytest.raises(kvarts.Unavailable, match="nobody told within"):
            found("srv:example", server.address, 0.3)
        with pytest.raises(kvarts.Unavailable, match="nobody told within"):
            kvarts.open(f"kvarts+srv://example/words?timeout=0.6s&dns={server.address}")
        assert server.asked


@pytest.mark.parametrize("server", ["127.0.0.1:x", ":53", "127.0.0.1:0"])
def test_a_name_server_is_an_address(server: str) -> None:
    with pytest.raises(kvarts.InvalidArgument, match="no name server"):
        found("srv:example", server)


def test_the_machine_knows_its_own_names_and_an_unknown_one_is_left_to_the_connection() -> None:
    assert "127.0.0.1" in SystemNames().addresses("localhost", 5.0)
    places = seeds_of(parse_seeds("localhost:7"))
    assert places[-1] == "localhost:7"
    assert seeds_of(parse_seeds("no-such-host.invalid:7")) == ("no-such-host.invalid:7",)
    with pytest.raises(kvarts.Unavailable, match=r"no address of no-such-host\.invalid"):
        SystemNames().addresses("no-such-host.invalid", 5.0)


def test_addresses_are_not_looked_up() -> None:
    assert are_known(parse("kvarts://127.0.0.1,[::1]:5"))
    assert not are_known(parse("kvarts://127.0.0.1,h"))
    assert not are_known(parse("kvarts+srv://h"))


def test_records_of_one_priority_are_drawn_by_weight() -> None:
    services = [Service(1, 60, "a", 1), Service(1, 20, "b", 1), Service(1, 20, "c", 1), Service(0, 5, "z", 1)]
    draw = random.Random(7).randint
    orders = [[each.target for each in in_order(services, draw)] for _ in range(4000)]
    assert all(order[0] == "z" and sorted(order) == ["a", "b", "c", "z"] for order in orders)
    firsts = Counter(order[1] for order in orders)
    assert 0.55 < firsts["a"] / 4000 < 0.65
    assert 0.16 < firsts["b"] / 4000 < 0.24


def test_a_record_of_weight_0_is_rarely_the_first() -> None:
    services = [Service(1, 0, "a", 1), Service(1, 50, "b", 1)]
    draw = random.Random(7).randint
    firsts = Counter(next(in_order(services, draw)).target for _ in range(4000))
    assert 0 < firsts["a"] < 200
    assert [each.target for each in in_order([Service(1, 0, "a", 1), Service(1, 0, "b", 1)], draw)] == ["a", "b"]


def test_a_client_and_an_async_one_find_a_cluster_by_its_records(tmp_path: Path) -> None:
    import asyncio

    with cluster(tmp_path) as nodes:
        ports = [address.rpartition(":")[2] for address in nodes.addresses.values()]
        table = {
            ("_kvarts._tcp.example.", "SRV"): ["0 0 1 dead.example.", *(f"1 1 {port} n.example." for port in ports)],
            ("n.example.", "A"): ["127.0.0.1"],
            ("dead.example.", "A"): ["127.0.0.1"],
        }
        with name_server(table) as server:
            uri = f"kvarts+srv://example/words?timeout=30s&dns={server.address}"
            with kvarts.open(uri) as db:
                db[b"a"] = b"1"
            with kvarts.open("kvarts+srv://example/words", timeout=30, dns=server.address) as db:
                assert db[b"a"] == b"1"

            async def read() -> bytes | None:
                async with kvarts.open_async(uri) as opened:
                    value: bytes | None = await opened.get(b"a")
                    return value

            assert asyncio.run(read()) == b"1"


def test_without_dnspython_a_service_is_refused_with_what_to_install() -> None:
    program = (
        "import sys; sys.modules['dns'] = None; sys.modules['dns.exception'] = None\n"
        "import kvarts\n"
        "try: kvarts.open('kvarts+srv://example.invalid/words')\n"
        "except kvarts.InvalidArgument as error: print(error.hint)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=environment(), check=True
    )
    assert "pip install 'kvarts[dns]'" in done.stdout
