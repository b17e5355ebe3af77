"""A name server on loopback that answers from a table, over UDP, with messages of dnspython."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.rrset

Table = Mapping[tuple[str, str], list[str]]
"""Records by name and type: ("a.example.", "A"): ["127.0.0.1"]."""


class NameServer:
    """Answers what the table has; of names that it has not at all, that there are none. `silent`: answers nothing."""

    def __init__(self, table: Table, *, silent: bool = False) -> None:
        self._table = table
        self._silent = silent
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self.asked: list[str] = []
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    @property
    def address(self) -> str:
        """host:port."""
        host, port = self._socket.getsockname()
        return f"{host}:{port}"

    def close(self) -> None:
        """End it."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as last:
            last.sendto(b"", self._socket.getsockname())
        self._thread.join(10)
        self._socket.close()

    def _serve(self) -> None:
        while True:
            packet, source = self._socket.recvfrom(4096)
            if not packet:
                return
            query = dns.message.from_wire(packet)
            question = query.question[0]
            name, kind = question.name.to_text(), dns.rdatatype.to_text(question.rdtype)
            self.asked.append(f"{name} {kind}")
            if self._silent:
                continue
            answer = dns.message.make_response(query)
            answer.flags |= dns.flags.RA
            records = self._table.get((name, kind))
            if records:
                answer.answer.append(dns.rrset.from_text(name, 60, "IN", kind, *records))
            elif not any(known == name for known, _ in self._table):
                answer.set_rcode(dns.rcode.NXDOMAIN)
            self._socket.sendto(answer.to_wire(), source)


@contextmanager
def name_server(table: Table, *, silent: bool = False) -> Iterator[NameServer]:
    """Return one that runs; it ends with the block."""
    server = NameServer(table, silent=silent)
    try:
        yield server
    finally:
        server.close()
