"""What a node finds in its data directory when it starts, and how the directory comes to be.

`NODE` says to which cluster the directory belongs and which node it is: written once, durable before anything else.
Only a node that joins by a token writes `JOINING` before it, with the ticket by which the cluster knows it again.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Protocol

from kvarts.base.errors import InvalidArgument, NotAStore, StorageError, refused
from kvarts.base.private import make_private_directory, open_private

NODE_FILE = "NODE"
JOINING_FILE = "JOINING"
_BEFORE_NODE = frozenset({JOINING_FILE, f"{JOINING_FILE}.tmp", f"{NODE_FILE}.tmp"})
"""What a start that ended early may have left."""
FORMAT = 1
CLUSTER_BYTES = 16
TICKET_BYTES = 16


class RandomBytes(Protocol):
    """Where a new cluster's id comes from: `random.SystemRandom()`."""

    def randbytes(self, n: int, /) -> bytes:
        """Return n random bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Which node of which cluster a data directory belongs to. `peers`: addresses known at the start, ours included."""

    cluster: str
    node: int
    peers: Mapping[int, str] = field(default_factory=dict)
    newcomer: bool = False
    """It joined a cluster that was there: its groups begin empty."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ticket:
    """By what a cluster knows a node that asks to be let in, again if no answer came: a drawn text, its address."""

    address: str
    ticket: str = field(repr=False)


def parse_peers(text: str) -> dict[int, str]:
    """Return nodes and addresses of "1=host:port,2=host:port". Raises InvalidArgument."""
    peers: dict[int, str] = {}
    for part in filter(None, (each.strip() for each in text.split(","))):
        number, _, address = part.partition("=")
        if not number.isdecimal() or int(number) < 1 or not is_address(address):
            raise InvalidArgument(f"{part!r} is no node", hint="1=host:port,2=host:port,…")
        if int(number) in peers:
            raise InvalidArgument(f"node {number} is named twice", hint="each node has its own number, never reused")
        peers[int(number)] = address
    return peers


def with_port(address: str) -> str:
    """Return the address, with a free port instead of 0: what others are told must hold also later.

    Raises StorageError where no port of that host can be had.
    """
    host, _, port = address.rpartition(":")
    if port != "0":
        return address
    try:
        family, *_, place = socket.getaddrinfo(host.strip("[]"), 0, type=socket.SOCK_STREAM)[0]
        with socket.socket(family) as free:
            free.bind(place)
            return f"{host}:{free.getsockname()[1]}"
    except OSError as error:
        raise refused(f"looking for a free port of {host}", error, address) from error


def demand_free(address: str) -> None:
    """Raise InvalidArgument where nobody can listen at an address: before others are told of it."""
    if not is_address(address):
        raise InvalidArgument(f"{address!r} is no host:port", hint="--listen 127.0.0.1:7420")
    host, _, port = address.rpartition(":")
    try:
        family, *_, place = socket.getaddrinfo(host.strip("[]"), int(port), type=socket.SOCK_STREAM)[0]
        with socket.create_server(place[:2], family=family):
            pass
    except OSError as error:
        raise InvalidArgument(
            f"cannot listen at {address}: {error.strerror or error}", hint="--listen takes a free port of this machine"
        ) from error


def founding(node: int, peers: Mapping[int, str], random: RandomBytes) -> Identity:
    """Return the identity of a node of a new cluster. Nodes given the same peers agree on the cluster's id.

    Raises InvalidArgument.
    """
    if node not in peers:
        raise InvalidArgument(f"node {node} is not among the peers", hint="name this node with its own address too")
    if len(peers) == 1:
        cluster = random.randbytes(CLUSTER_BYTES)
    else:
        text = ",".join(f"{each}={peers[each]}" for each in sorted(peers))
        cluster = sha256(b"kvarts cluster\0" + text.encode()).digest()[:CLUSTER_BYTES]
    return Identity(cluster=cluster.hex(), node=node, peers=dict(peers))


def find_identity(data: Path) -> Identity | None:
    """Return whose the directory is; None where it is absent or empty. Raises NotAStore, StorageError."""
    path = data / NODE_FILE
    try:
        if not data.exists() or all(each.name in _BEFORE_NODE for each in data.iterdir()):
            return None
        if not path.exists():
            raise NotAStore(f"{data} holds other things", hint="give an empty directory", filename=str(data))
        fields = json.loads(path.read_text())
        if fields.pop("format") != FORMAT:
            raise NotAStore(f"{path} was written by a newer kvarts", hint="upgrade kvarts", filename=str(path))
        fields["peers"] = {int(node): address for node, address in fields["peers"].items()}
        return Identity(**fields)
    except OSError as error:
        if isinstance(error, StorageError):
            raise
        raise refused(f"reading {path}", error, str(path)) from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise NotAStore(f"{path} cannot be read: {error}", hint="is it a node's?", filename=str(path)) from None


def check_identity(found: Identity, node: int | None, peers: Mapping[int, str]) -> Identity:
    """Return the identity to start with: the directory's, with addresses as given now. Raises InvalidArgument."""
    if node is not None and node != found.node:
        raise InvalidArgument(f"the directory belongs to node {found.node}, not {node}", hint="give each node its own")
    return Identity(cluster=found.cluster, node=found.node, peers={**found.peers, **peers}, newcomer=found.newcomer)


def save_identity(data: Path, identity: Identity) -> None:
    """Make the directory if it is absent (0700) and write NODE (0600): durable on return. Raises StorageError."""
    _save(data, NODE_FILE, asdict(identity))
    try:
        (data / JOINING_FILE).unlink(missing_ok=True)
    except OSError as error:
        raise refused(f"tidying {data}", error, str(data)) from error


def ticket_for(data: Path, address: str, random: RandomBytes) -> Ticket:
    """Return the ticket of a node that joins from here: that of an earlier try, or a new one, durable on return.

    Port 0 of `address` is the one of the earlier try, or a free one. Raises NotAStore, StorageError.
    """
    path = data / JOINING_FILE
    try:
        if path.exists():
            fields = json.loads(path.read_text())
            fields.pop("format")
            found = Ticket(**fields)
            host, _, port = address.rpartition(":")
            return Ticket(
                address=found.address if port == "0" and found.address.rpartition(":")[0] == host else address,
                ticket=found.ticket,
            )
    except OSError as error:
        raise refused(f"reading {path}", error, str(path)) from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise NotAStore(f"{path} cannot be read: {error}", hint="remove it", filename=str(path)) from None
    made = Ticket(address=with_port(address), ticket=random.randbytes(TICKET_BYTES).hex())
    _save(data, JOINING_FILE, asdict(made))
    return made


def _save(data: Path, name: str, fields: Mapping[str, object]) -> None:
    path, temporary = data / name, data / f"{name}.tmp"
    try:
        make_private_directory(data)
        text = json.dumps({"format": FORMAT, **fields}, sort_keys=True)
        temporary.unlink(missing_ok=True)
        with os.fdopen(open_private(temporary), "w") as file:
            file.write(text + "\n")
            file.flush()
            os.fsync(file.fileno())
        temporary.rename(path)
        for directory in (data, data.absolute().parent):
            _sync(directory)
    except OSError as error:
        raise refused(f"making {data}", error, str(data)) from error


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def is_address(text: str) -> bool:
    """Return whether this is host:port."""
    host, _, port = text.rpartition(":")
    return bool(host) and port.isdecimal() and int(port) <= 65535
