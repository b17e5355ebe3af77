"""A node from its settings to its end: directory, muscle, replicator, pages, loop."""

from __future__ import annotations

import gc
import os
import random
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, Protocol, TextIO

from kvarts import _native
from kvarts.base.errors import InvalidArgument, ReplicaFenced, StorageFull
from kvarts.node.bootstrap import (
    Identity,
    check_identity,
    demand_free,
    find_identity,
    founding,
    parse_peers,
    save_identity,
    ticket_for,
    with_port,
)
from kvarts.node.codec import encode_membership
from kvarts.node.config import Setting
from kvarts.node.http import PROMETHEUS, PageServer, checks_page
from kvarts.node.log import MuscleLog
from kvarts.node.loop import Loop
from kvarts.node.metrics import loop_samples, replica_samples, text_of
from kvarts.node.news import News
from kvarts.node.room import Room
from kvarts.node.shards import META, features_text
from kvarts.raft.ids import LogIndex, NodeId
from kvarts.raft.membership import Membership
from kvarts.raft.options import RaftOptions, ReadMode
from kvarts.replication.events import GroupId, GroupOpened
from kvarts.replication.options import ReplicatorOptions
from kvarts.replication.replicator import Replicator

CONFIG_PREFIX = b"config/"
"""System keys that Python decides."""

ELECTION_TICKS = 10
PROMISE_TICKS = 6
"""A lease is two ticks shorter, and outlasts missed heartbeats. Where a process ended, another leads then."""
LOOPBACK = ("127.", "localhost:", "[::1]:")


class Join(Protocol):
    """Asks a cluster to take in a node at `address`; returns the cluster's id, the node's and the peers."""

    def __call__(
        self, seeds: str, address: str, *, token: str, ticket: str, dns: str
    ) -> tuple[str, int, dict[int, str]]:
        """`seeds`: as --join names them. By `ticket` the cluster knows a node that asks again with its `token`."""


def serve(
    settings: Mapping[str, Setting], out: TextIO, join: Join, ready: Callable[[Mapping[str, object]], None]
) -> str | None:
    """Run a node until it is told to stop. `ready` hears who and where it is. Returns why it gave up, if it did.

    What may pass ends only the node's service: it waits, and begins again from its directory as after a crash.
    """
    value = {name: setting.value for name, setting in settings.items()}
    for name in ("listen", "http"):
        _check_loopback(name, value[name], insecure=value["insecure"])
    # A node that was told nothing else listens where it listened before.
    moved = settings["listen"].source != "default" or value["advertise"]
    identity = _identity(value, Path(value["data"]), join, moved=bool(moved))
    listen = value["listen"] if value["advertise"] else identity.peers[identity.node]
    news = News(out, identity.node, lambda: time.time_ns() // 1_000_000)
    node = _Node(value, identity, news, listen, value["http"], Room(Path(value["data"])))
    node.heed_signals()
    _interrupt_nobody()
    reason, may_pass = node.live(ready)
    while reason is not None and may_pass:
        if not node.room.wait(reason, node.news, node.http):
            reason = None
            break
        try:
            reason, may_pass = node.live(lambda _: node.room.went_well())
        except StorageFull as error:
            reason = str(error)
    node.news.say("stopped", reason=reason)
    return reason


@dataclass(slots=True)
class _Node:
    """Who serves, and where: there again when it begins again."""

    value: Mapping[str, Any]
    identity: Identity
    news: News
    listen: str
    http: str
    room: Room
    wake: Callable[[], None] = lambda: None
    """Lets what runs see that a stop is wanted."""

    def heed_signals(self) -> None:
        """Have SIGTERM and SIGINT end the node well."""

        def ask(*_: object) -> None:
            self.room.stop.set()
            self.wake()

        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, ask)

    def live(self, ready: Callable[[Mapping[str, object]], None]) -> tuple[str | None, bool]:
        """Open the directory and serve. Return why it gives up, unless it is told to stop, and if that may pass."""
        identity = self.identity
        with _open_muscle(self.value, identity, self.listen) as muscle:
            loop = Loop(
                muscle,
                _replicator(self.value, identity, muscle),
                self.news,
                static_peers={NodeId(node): address for node, address in identity.peers.items()},
                cluster=identity.cluster,
                clock_ns=time.perf_counter_ns,
                random=random.SystemRandom(),
            )
            host, _, port = self.http.rpartition(":")
            pages = PageServer(host, int(port), _pages(loop, muscle, self.room))
            try:
                self.wake = lambda: _stop(loop, muscle)
                if self.room.stop.is_set():
                    self.wake()
                muscle.start()
                self.listen, self.http = muscle.address, pages.address
                place = {"address": self.listen, "http": self.http, "data": self.value["data"]}
                self.news.say("started", **place, cluster=identity.cluster)
                ready({"id": identity.node, **place, "cluster": identity.cluster})
                # What lives now lives as long as the loop: no collection needs to look at it again.
                gc.collect()
                gc.freeze()
                return loop.run(), loop.may_pass
            finally:
                self.wake = lambda: None
                gc.unfreeze()
                pages.close()


def _interrupt_nobody() -> None:
    """Have no thread of this process, when it wakes up, push another off its processor: it waits until that one rests.

    A turn of Python wakes threads that send, sync and apply; pushed off by each of them, it comes back to cold caches.
    Shares of the processors stay the same. Where the system knows nothing of it, nothing happens.
    """
    with suppress(AttributeError, OSError):
        if os.sched_getscheduler(0) == os.SCHED_OTHER:  # An operator's choice stands.
            os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))


def _stop(loop: Loop, muscle: _native.Muscle) -> None:
    loop.stop_wanted = True
    muscle.wake()


def _check_loopback(name: str, address: str, *, insecure: bool) -> None:
    if not address.startswith(LOOPBACK) and not insecure:
        raise InvalidArgument(
            f"{name}={address!r} is reached from other machines, and there are no users and no TLS yet",
            hint="listen on 127.0.0.1, or say --insecure",
        )


@contextmanager
def _open_muscle(value: Mapping[str, Any], identity: Identity, listen: str) -> Iterator[_native.Muscle]:
    muscle = _native.Muscle(
        {
            "data": value["data"],
            "node_id": identity.node,
            "cluster_id": identity.cluster,
            "listen": listen,
            "features": features_text(),
            "memory": value["memory"],
            "request_timeout_ms": value["request_timeout_ms"],
        }
    )
    try:
        if META in muscle.fences():
            raise ReplicaFenced(
                f"this node's replica of the meta group is fenced: {muscle.fences()[META]}",
                hint="remove the node from the cluster, and let it join again with an empty directory",
            )
        if META not in muscle.groups():
            voters = Membership() if identity.newcomer else Membership.of(*identity.peers)
            muscle.add_group(META, b"" if identity.newcomer else encode_membership(voters))
        yield muscle
    finally:
        muscle.stop()


def _identity(value: Mapping[str, Any], data: Path, join: Join, *, moved: bool) -> Identity:
    """Return who this node is: from its directory, from a cluster it joins, or as a founder of a new one."""
    peers = parse_peers(value["peers"])
    node = value["node"] or None
    address = value["advertise"] or value["listen"]
    found = find_identity(data)
    if found is not None:
        # Port 0 is any: the one that it had, by which the others know it.
        elsewhere = {found.node: address} if moved and not address.endswith(":0") else {}
        return check_identity(found, node, peers or elsewhere)
    if value["token"] and not value["join"]:
        raise InvalidArgument("a token is for a node that joins", hint="give --join too, or leave the token out")
    if value["join"]:
        if peers:
            raise InvalidArgument("a node joins a cluster or founds one", hint="give --join or --peers")
        demand_free(value["listen"])
        ticket = ""
        if value["token"]:
            drawn = ticket_for(data, address, random.SystemRandom())
            address, ticket = drawn.address, drawn.ticket
        address = with_port(address)
        cluster, number, known = join(value["join"], address, token=value["token"], ticket=ticket, dns=value["dns"])
        identity = Identity(cluster=cluster, node=number, peers={**known, number: address}, newcomer=True)
    else:
        address = with_port(address)
        identity = founding(node or 1, peers or {node or 1: address}, random.SystemRandom())
    save_identity(data, identity)
    return identity


def _replicator(value: Mapping[str, Any], identity: Identity, muscle: _native.Muscle) -> Replicator:
    lease = value["reads"] == "lease"
    raft = RaftOptions(
        node=NodeId(identity.node),
        election_ticks=ELECTION_TICKS,
        forward_proposals=False,
        eager_commit=False,
        empty_votes=False,
        read_mode=ReadMode.LEASE if lease else ReadMode.SAFE,
        promise_ticks=PROMISE_TICKS,
        # One that has never been told of a term has promised nothing.
        vote_quiet_ticks=PROMISE_TICKS if lease and any(_has_term(muscle, each) for each in muscle.groups()) else 0,
    )
    options = ReplicatorOptions(raft=raft, tick_ms=value["tick_ms"], keep_entries=value["keep_entries"])
    groups = [
        GroupOpened(
            GroupId(group),
            LogIndex(muscle.position(group)[0]),
            dict(muscle.system_scan(group, CONFIG_PREFIX)),
        )
        for group in muscle.groups()
    ]
    now_ms, _ = muscle.poll(0)
    return Replicator(options, MuscleLog(muscle), groups, lambda _group: random.SystemRandom(), now_ms=now_ms)


def _has_term(muscle: _native.Muscle, group: int) -> bool:
    hard = muscle.hard_state(group)
    return hard is not None and hard[0] > 0


def _pages(loop: Loop, muscle: _native.Muscle, room: Room) -> dict[str, Any]:
    def metrics(_verbose: bool) -> tuple[int, str, str]:
        replicas = (replica_samples(each) for each in loop.replicator.status())
        ours = text_of(chain(loop_samples(loop.figures), room.samples(paused=False), *replicas))
        return 200, PROMETHEUS, ours + muscle.metrics_text()

    def ready() -> dict[str, str]:
        status = loop.replicator.status()[0]
        behind = status.committed - status.applied
        return {
            "leader": "ok" if status.leader else "no leader known",
            "applied": "ok" if behind < 10_000 else f"{behind} entries behind",
        }

    return {
        "/metrics": metrics,
        "/livez": checks_page(lambda: {"loop": "ok"}),
        "/readyz": checks_page(ready),
    }
