"""A data directory belongs to one node of one cluster, and says so."""

import os
import random
from pathlib import Path

import pytest

from kvarts import InvalidArgument
from kvarts.base.errors import NotAStore, StorageError
from kvarts.node.bootstrap import (
    JOINING_FILE,
    NODE_FILE,
    Identity,
    check_identity,
    find_identity,
    founding,
    parse_peers,
    save_identity,
    ticket_for,
    with_port,
)

PEERS = {1: "127.0.0.1:1", 2: "127.0.0.1:2", 3: "[::1]:3"}


def test_peers_are_numbers_and_addresses() -> None:
    assert parse_peers("1=127.0.0.1:1, 2=127.0.0.1:2,3=[::1]:3") == PEERS
    assert parse_peers("") == {}


@pytest.mark.parametrize("text", ["1", "0=h:1", "x=h:1", "1=h", "1=h:99999", "1=:1", "1=h:1,1=h:2"])
def test_what_is_no_list_of_peers_is_refused_with_a_hint(text: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        parse_peers(text)
    assert caught.value.hint


def test_founders_given_the_same_peers_agree_on_the_cluster() -> None:
    rng = random.Random(1)
    ids = {founding(node, PEERS, rng).cluster for node in PEERS}
    assert len(ids) == 1
    assert founding(1, {1: "127.0.0.1:9"}, rng).cluster != founding(1, {1: "127.0.0.1:9"}, rng).cluster


def test_an_identity_is_found_as_it_was_saved(tmp_path: Path) -> None:
    data = tmp_path / "n1"
    assert find_identity(data) is None
    identity = Identity(cluster="ab" * 16, node=2, peers=PEERS, newcomer=True)
    save_identity(data, identity)
    assert find_identity(data) == identity
    assert os.stat(data).st_mode & 0o777 == 0o700
    assert os.stat(data / NODE_FILE).st_mode & 0o777 == 0o600


def test_the_directory_of_another_node_is_refused(tmp_path: Path) -> None:
    identity = Identity(cluster="ab" * 16, node=2, peers=PEERS)
    with pytest.raises(InvalidArgument, match="belongs to node 2"):
        check_identity(identity, 1, {})
    moved = check_identity(identity, None, {2: "127.0.0.1:22"})
    assert moved.peers[2] == "127.0.0.1:22"
    assert moved.peers[1] == PEERS[1]


def test_a_directory_with_other_things_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("dear")
    with pytest.raises(NotAStore):
        find_identity(tmp_path)
    assert os.listdir(tmp_path) == ["letter.txt"]


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": 1}', '{"format": 2, "cluster": "a", "node": 1}'])
def test_a_node_file_that_cannot_be_read_is_told(tmp_path: Path, text: str) -> None:
    (tmp_path / NODE_FILE).write_text(text)
    with pytest.raises(NotAStore):
        find_identity(tmp_path)


def test_port_0_becomes_one_that_is_free_since_others_are_told_it() -> None:
    assert with_port("10.0.0.1:7420") == "10.0.0.1:7420"
    host, _, port = with_port("127.0.0.1:0").rpartition(":")
    assert (host, 1024 <= int(port) <= 65535) == ("127.0.0.1", True)
    with pytest.raises(StorageError, match=r"free port of 192\.0\.2\.1"):
        with_port("192.0.2.1:0")  # an address of no machine


def test_a_node_that_asks_again_is_known_by_its_ticket(tmp_path: Path) -> None:
    data = tmp_path / "n"
    first = ticket_for(data, "127.0.0.1:0", random.Random(1))
    assert not first.address.endswith(":0")
    assert first.ticket not in repr(first)
    assert find_identity(data) is None
    assert ticket_for(data, "127.0.0.1:0", random.Random(2)) == first
    assert ticket_for(data, "127.0.0.1:5", random.Random(2)).address == "127.0.0.1:5"
    assert (data / JOINING_FILE).stat().st_mode & 0o777 == 0o600
    save_identity(data, Identity(cluster="00" * 16, node=4))
    assert not (data / JOINING_FILE).exists()


def test_a_ticket_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    (tmp_path / JOINING_FILE).write_text("{")
    with pytest.raises(NotAStore, match="cannot be read"):
        ticket_for(tmp_path, "127.0.0.1:1", random.Random(1))
