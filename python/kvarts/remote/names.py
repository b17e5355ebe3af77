"""Looks names up: addresses by the machine's own means or by a name server, services by records of type SRV in DNS.

Each lookup ends in time. Services need dnspython (`pip install 'kvarts[dns]'`); the standard library cannot ask for
them.
"""

import ipaddress
import queue
import socket
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from kvarts.base.errors import InvalidArgument, Unavailable

if TYPE_CHECKING:
    from dns.resolver import Resolver

DNS_PORT = 53
_NO_LIBRARY_HINT = "pip install 'kvarts[dns]'; or name the nodes by host:port"


@dataclass(frozen=True, slots=True, order=True)
class Service:
    """One record of type SRV: where a service is to be had. Lower priorities go first. Source: RFC 2782."""

    priority: int
    weight: int
    target: str
    port: int


class Names(Protocol):
    """What is asked of those who know names."""

    def addresses(self, host: str, wait_s: float) -> Sequence[str]:
        """Return the addresses of a host, best first. Raises Unavailable."""

    def services(self, name: str, wait_s: float) -> Sequence[Service]:
        """Return where a service is. Raises Unavailable, and InvalidArgument where that cannot be asked."""


class SystemNames:
    """As this machine looks names up: its hosts file, its name servers."""

    def addresses(self, host: str, wait_s: float) -> Sequence[str]:
        """Return the addresses of a host, in the order that the machine prefers. Raises Unavailable."""
        # The system's own lookup has no limit that a caller could set: what comes too late is not waited for.
        answers: queue.SimpleQueue[list[str] | OSError] = queue.SimpleQueue()
        threading.Thread(target=_look_up, args=(host, answers), name="kvarts lookup", daemon=True).start()
        try:
            found = answers.get(timeout=wait_s)
        except queue.Empty:
            raise _silent(host, wait_s) from None
        if isinstance(found, OSError):
            raise Unavailable(f"no address of {host}: {found.strerror or found}", hint="is the name right?")
        return found

    def services(self, name: str, wait_s: float) -> Sequence[Service]:
        """Return where a service is. Raises Unavailable, InvalidArgument."""
        return DnsNames().services(name, wait_s)


class DnsNames:
    """As a name server says, by dnspython: the one at `server` (host:port), or those of this machine."""

    def __init__(self, server: str = "") -> None:
        self._server = server

    def addresses(self, host: str, wait_s: float) -> Sequence[str]:
        """Return the addresses of a host, of IPv4 and IPv6. Raises Unavailable, InvalidArgument."""
        from_one = self._answers(host, wait_s, "A", "AAAA")
        return [record.address for record in from_one]

    def services(self, name: str, wait_s: float) -> Sequence[Service]:
        """Return where a service is. Raises Unavailable, InvalidArgument."""
        found = [
            Service(record.priority, record.weight, record.target.to_text(omit_final_dot=True), record.port)
            for record in self._answers(name, wait_s, "SRV")
        ]
        # A lone root as the target says: this service is not to be had here.
        if [each.target for each in found] == ["."] or not found:
            raise Unavailable(f"{name} says that there is no such service", hint="see its records of type SRV")
        return found

    def _answers(self, name: str, wait_s: float, *kinds: str) -> list[Any]:
        resolver = self._resolver(wait_s)
        from dns.exception import DNSException, Timeout
        from dns.resolver import NoAnswer

        found: list[Any] = []
        try:
            for kind in kinds:
                try:
                    found += resolver.resolve(name, kind, lifetime=wait_s / len(kinds))
                except NoAnswer:
                    continue
        except Timeout:
            raise _silent(name, wait_s) from None
        except DNSException as error:
            why = str(error) or type(error).__name__
            raise Unavailable(f"cannot look up {name}: {why}", hint="are name and name server right?") from error
        if not found:
            raise Unavailable(f"{name} has no records of type {' or '.join(kinds)}", hint="is the name right?")
        return found

    def _resolver(self, wait_s: float) -> "Resolver":
        try:
            from dns.exception import DNSException
            from dns.resolver import Resolver
        except ImportError:
            raise InvalidArgument("to look this up takes dnspython", hint=_NO_LIBRARY_HINT) from None
        if not self._server:
            try:
                return Resolver()
            except (DNSException, OSError) as error:
                raise Unavailable(f"no name server: {error}", hint="see /etc/resolv.conf, or give dns=") from error
        host, port = _place(self._server)
        resolver = Resolver(configure=False)
        resolver.nameservers = [host if is_literal(host) else SystemNames().addresses(host, wait_s)[0]]
        resolver.port = port
        return resolver


def is_literal(host: str) -> bool:
    """Return whether this is an address, which need not be looked up."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _place(server: str) -> tuple[str, int]:
    if is_literal(server):
        return server, DNS_PORT
    host, colon, port = server.rpartition(":")
    if not colon:
        return server, DNS_PORT
    if not host or not port.isdecimal() or not 1 <= int(port) <= 65535:
        raise InvalidArgument(f"dns={server!r} is no name server", hint="host:port, such as 127.0.0.1:8600")
    return host.strip("[]"), int(port)


def _look_up(host: str, answers: "queue.SimpleQueue[list[str] | OSError]") -> None:
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError as error:
        answers.put(error)
    except UnicodeError as error:
        answers.put(OSError(0, str(error)))
    else:
        answers.put(list(dict.fromkeys(str(place[0]) for *_, place in found)))


def _silent(name: str, wait_s: float) -> Unavailable:
    return Unavailable(f"nobody told within {wait_s:.1f} s what {name} is", hint="does the name server answer?")
