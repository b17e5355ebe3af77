"""Where to begin: the hosts that a target names, looked up, so that each node behind a name is a way to the cluster."""

import random
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import groupby

from kvarts import _native
from kvarts.base.errors import Unavailable
from kvarts.remote.names import DnsNames, Names, Service, SystemNames, is_literal
from kvarts.remote.target import SERVICE, Target

WAIT_S = 5.0
"""Longest time for all lookups of a target."""

Draw = Callable[[int, int], int]
"""Draws a number from one to another, both included: random.Random(seed).randint."""


def client_of(target: Target, wait_s: float = WAIT_S) -> _native.Client:
    """Return a client that begins at the nodes of a target; none is connected to yet.

    Raises Unavailable, and InvalidArgument where dnspython is needed and is not there.
    """
    return _native.Client(list(seeds_of(target, min(wait_s, WAIT_S))))


def seeds_of(target: Target, wait_s: float = WAIT_S) -> tuple[str, ...]:
    """Return host:port of each way to begin. Looks names up, for `wait_s` together. Raises as client_of does."""
    names = DnsNames(target.dns) if target.dns else SystemNames()
    finder = _Finder(names, own=not target.dns, wait_s=wait_s, draw=random.SystemRandom().randint, clock=time.monotonic)
    return finder.find(target.hosts)


def are_known(target: Target) -> bool:
    """Return whether nothing is to be looked up."""
    return all(not each.startswith(SERVICE) and is_literal(_split(each)[0]) for each in target.hosts)


def in_order(services: Iterable[Service], draw: Draw) -> Iterator[Service]:
    """Yield services as they are to be tried: by priority, and by chance in proportion to weight. Source: RFC 2782."""
    for _, same in groupby(sorted(services), key=lambda each: each.priority):
        # Weight 0 stands in front: it is drawn only where nothing else is, or by the lot 0.
        left = sorted(same, key=lambda each: each.weight > 0)
        while left:
            lot = draw(0, sum(each.weight for each in left))
            at, run = 0, left[0].weight
            while run < lot:
                at += 1
                run += left[at].weight
            yield left.pop(at)


class _Finder:
    """One search. `own`: the names are those of this machine, so a connection can look them up again later."""

    def __init__(self, names: Names, *, own: bool, wait_s: float, draw: Draw, clock: Callable[[], float]) -> None:
        self._names = names
        self._own = own
        self._draw = draw
        self._clock = clock
        self._until_s = clock() + wait_s

    def find(self, hosts: Sequence[str]) -> tuple[str, ...]:
        """Return all that can be found; Raises Unavailable, with the first reason, where that is nothing."""
        found: dict[str, None] = {}
        reasons: list[Unavailable] = []
        for host in hosts:
            try:
                found |= dict.fromkeys(self._service(host) if host.startswith(SERVICE) else self._host(host))
            except Unavailable as error:
                reasons.append(error)
        if not found:
            raise reasons[0]
        return tuple(found)

    def _service(self, host: str) -> Iterator[str]:
        name = host.removeprefix(SERVICE)
        found: list[str] = []
        reason: Unavailable | None = None
        for each in in_order(self._names.services(name, self._left_s(name)), self._draw):
            try:
                found += self._host(_joined(each.target, each.port))
            except Unavailable as error:
                reason = error
        if not found and reason is not None:
            raise reason
        return iter(found)

    def _host(self, place: str) -> list[str]:
        host, port = _split(place)
        if is_literal(host):
            return [place]
        try:
            found = [_joined(each, port) for each in self._names.addresses(host, self._left_s(host))]
        except Unavailable:
            if not self._own:
                raise
            # It may be known by the time that it is needed.
            return [place]
        if not self._own:
            return found
        # The name stays: its nodes may have other addresses by the time that a connection is made anew.
        return [place] if len(found) < 2 else [*found, place]

    def _left_s(self, name: str) -> float:
        left_s = self._until_s - self._clock()
        if left_s <= 0:
            raise Unavailable(f"no time was left to look up {name}", hint="does the name server answer?")
        return left_s


def _split(place: str) -> tuple[str, int]:
    host, _, port = place.rpartition(":")
    return host.strip("[]"), int(port)


def _joined(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
