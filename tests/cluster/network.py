"""A network of namespaces whose packets all pass through this process, which may cut, lose, delay and reorder them.

Each host is a network namespace with one TUN device. The relay reads IP packets from one and writes them to another; no
kernel module for shaping is needed. Root only.
"""

import ctypes
import fcntl
import heapq
import os
import random
import selectors
import struct
import subprocess
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import pytest

T = TypeVar("T")

CLONE_NEWNET = 0x40000000
TUNSETIFF = 0x400454CA
IFF_TUN_NO_PI = 0x1001
DEVICE = b"kv0"
MTU = 16_000
PACKET_BYTES_MAX = 1 << 16
BURST = 64
"""Packets read from one host before the others have their turn."""


def demand_root() -> None:
    """Skip where namespaces cannot be made; never in CI, which must be able to."""
    if os.geteuid() != 0 and not os.environ.get("CI"):
        pytest.skip("network namespaces need root")


@dataclass(frozen=True)
class Host:
    """One namespace."""

    number: int
    namespace: str
    tun: int

    @property
    def address(self) -> str:
        """Its IP address."""
        return f"10.77.0.{self.number}"


@dataclass
class Weather:
    """What happens to packets: chances per packet; delay in seconds, uniform between the two."""

    loss: float = 0.0
    duplicate: float = 0.0
    reorder: float = 0.0
    """Chance of an extra delay of up to 50 ms, so that later packets overtake."""
    delay_s: tuple[float, float] = (0.0, 0.0)


@dataclass
class Network:
    """Hosts 1 to n. `cuts` holds (sender, receiver) pairs between which nothing passes."""

    hosts: int
    seed: int
    cuts: set[tuple[int, int]] = field(default_factory=set)
    weather: Weather = field(default_factory=Weather)

    def __post_init__(self) -> None:
        self._rng = random.Random(self.seed)
        self._late: list[tuple[float, int, int, bytes]] = []
        self._count = 0
        self._selector = selectors.DefaultSelector()
        self._wake, self._waker = os.pipe()
        os.set_blocking(self._wake, False)
        self._selector.register(self._wake, selectors.EVENT_READ, None)
        self._by_address: dict[bytes, Host] = {}
        self.all: list[Host] = []
        self._stop = False
        try:
            for number in range(1, self.hosts + 1):
                self.all.append(self._add(number))
        except BaseException:
            self._remove()
            raise
        self._thread = threading.Thread(target=self._relay, name="relay", daemon=True)
        self._thread.start()

    def host(self, number: int) -> Host:
        """Return a host, from 1 on."""
        return self.all[number - 1]

    def cut(self, a: int, b: int) -> None:
        """Let nothing pass between two hosts."""
        self.cuts |= {(a, b), (b, a)}

    def isolate(self, number: int, others: range | None = None) -> None:
        """Cut a host off from `others`, or from all."""
        for other in others or range(1, self.hosts + 1):
            if other != number:
                self.cut(number, other)

    def heal(self) -> None:
        """Let everything pass, in good weather."""
        self.cuts = set()
        self.weather = Weather()

    def close(self) -> None:
        """Stop the relay and remove the namespaces."""
        self._stop = True
        os.write(self._waker, b"x")
        self._thread.join()
        self._remove()

    def _add(self, number: int) -> Host:
        name = f"kv{os.getpid()}-{number}"
        _ip("netns", "add", name)
        tun = in_namespace(name, _open_tun)
        os.set_blocking(tun, False)
        host = Host(number, name, tun)
        device = DEVICE.decode()
        _ip("-n", name, "addr", "add", f"{host.address}/24", "dev", device)
        _ip("-n", name, "link", "set", device, "mtu", str(MTU), "up")
        _ip("-n", name, "link", "set", "lo", "up")
        self._by_address[bytes(map(int, host.address.split(".")))] = host
        self._selector.register(tun, selectors.EVENT_READ, host)
        return host

    def _remove(self) -> None:
        for host in self.all:
            os.close(host.tun)
            _ip("netns", "del", host.namespace)
        os.close(self._wake)
        os.close(self._waker)
        self._selector.close()

    def _relay(self) -> None:
        while not self._stop:
            now = time.monotonic()
            wait = max(0.0, self._late[0][0] - now) if self._late else None
            for key, _ in self._selector.select(wait):
                if key.data is None:
                    with suppress(BlockingIOError):
                        os.read(self._wake, 100)
                else:
                    self._read(key.data)
            now = time.monotonic()
            while self._late and self._late[0][0] <= now:
                _, _, tun, packet = heapq.heappop(self._late)
                _write(tun, packet)

    def _read(self, sender: Host) -> None:
        for _ in range(BURST):
            try:
                packet = os.read(sender.tun, PACKET_BYTES_MAX)
            except BlockingIOError:
                return
            receiver = self._by_address.get(packet[16:20])
            if packet[0] >> 4 == 4 and receiver is not None and (sender.number, receiver.number) not in self.cuts:
                self._pass(receiver, packet)

    def _pass(self, receiver: Host, packet: bytes) -> None:
        weather, chance = self.weather, self._rng.random
        if weather.loss and chance() < weather.loss:
            return
        copies = 2 if weather.duplicate and chance() < weather.duplicate else 1
        for _ in range(copies):
            delay = self._rng.uniform(*weather.delay_s) if weather.delay_s[1] else 0.0
            if weather.reorder and chance() < weather.reorder:
                delay += self._rng.uniform(0.0, 0.05)
            if delay:
                self._count += 1
                heapq.heappush(self._late, (time.monotonic() + delay, self._count, receiver.tun, packet))
            else:
                _write(receiver.tun, packet)


def in_namespace(name: str, action: Callable[[], T]) -> T:
    """Call on a thread of its own inside a namespace; what it opens, and threads that it starts, stay there."""
    outcome: list[T | BaseException] = []

    def run() -> None:
        try:
            enter(name)
            outcome.append(action())
        except BaseException as error:
            outcome.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    found = outcome[0]
    if isinstance(found, BaseException):
        raise found
    return found


def enter(name: str) -> None:
    """Move the calling thread into a namespace."""
    with Path(f"/run/netns/{name}").open("rb") as file:
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.setns(file.fileno(), CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), f"entering namespace {name}")


def _open_tun() -> int:
    tun = os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC)
    fcntl.ioctl(tun, TUNSETIFF, struct.pack("16sH22x", DEVICE, IFF_TUN_NO_PI))
    return tun


def _write(tun: int, packet: bytes) -> None:
    # A full or closed queue loses packets, as networks do.
    with suppress(OSError):
        os.write(tun, packet)


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)
