"""The relay itself: packets pass, are cut one way, come late."""

import socket
import time
from collections.abc import Iterator

import pytest

from tests.cluster.network import Network, Weather, demand_root, in_namespace


@pytest.fixture
def network() -> Iterator[Network]:
    demand_root()
    net = Network(2, seed=1)
    yield net
    net.close()


def _pair(network: Network) -> tuple[socket.socket, socket.socket]:
    def make(number: int) -> socket.socket:
        host = network.host(number)

        def bound() -> socket.socket:
            made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            made.bind((host.address, 7000))
            made.settimeout(0.3)
            return made

        return in_namespace(host.namespace, bound)

    return make(1), make(2)


def _arrives(sender: socket.socket, receiver: socket.socket) -> bool:
    sender.sendto(b"hello", receiver.getsockname())
    try:
        return receiver.recv(100) == b"hello"
    except TimeoutError:
        return False


def test_packets_pass_and_a_cut_works_in_one_direction(network: Network) -> None:
    one, two = _pair(network)
    with one, two:
        assert _arrives(one, two)
        network.cuts.add((1, 2))
        assert not _arrives(one, two)
        assert _arrives(two, one)
        network.heal()
        assert _arrives(one, two)


def test_weather_delays_and_loses(network: Network) -> None:
    one, two = _pair(network)
    with one, two:
        network.weather = Weather(delay_s=(0.1, 0.1))
        began = time.monotonic()
        assert _arrives(one, two)
        assert time.monotonic() - began >= 0.1
        network.weather = Weather(loss=1.0)
        assert not _arrives(one, two)
