"""One-time tokens by which a new node proves that an operator let it in.

A token is `kvj1.`, its claims and their tag, both in URL-safe base64: the cluster, the node's name (the address that it
tells others), when it expires, and an id that is drawn at random. The tag is HMAC-SHA-256 of all before it under the
cluster's join key, which only the meta group has. A token is spent by its id: whoever admits a node keeps the ids of
used tokens until they expire.
"""

from __future__ import annotations

import base64
import hmac
import json
from collections.abc import Collection
from dataclasses import dataclass
from enum import Enum

from kvarts.base.canonical import pack_json

PREFIX = "kvj1."
KEY_BYTES_MIN = 32
ID_BYTES = 16
TAG_BYTES = 32
TOKEN_CHARS_MAX = 2048
NAME_BYTES_MAX = 255
ANY = "*"
"""The name in a token that is for whichever node has it."""


class JoinRefusal(Enum):
    """Why a token lets nobody in."""

    MALFORMED = "this is no join token, or a part of one: copy it whole"
    FORGED = "this join token was not made by this cluster, or was changed"
    OTHER_CLUSTER = "this join token is for another cluster"
    OTHER_NODE = "this join token is for a node at another address"
    EXPIRED = "this join token has expired: make another"
    SPENT = "this join token was used before: each lets one node in"


class JoinRefused(Exception):  # noqa: N818  # an answer, not a failure of this program
    """The node may not join."""

    def __init__(self, refusal: JoinRefusal) -> None:
        super().__init__(refusal.value)
        self.refusal = refusal


@dataclass(frozen=True, slots=True, kw_only=True)
class JoinClaims:
    """What a token says. `id` is what is spent when it is used."""

    cluster: str
    name: str
    expires_ms: int
    id: str


def mint(key: bytes, cluster: str, name: str, expires_ms: int, drawn: bytes) -> str:
    """Return a token for one node, or for ANY one. `drawn`: 16 bytes that nobody can guess. Raises ValueError."""
    if len(key) < KEY_BYTES_MIN or len(drawn) != ID_BYTES:
        raise ValueError(f"a join key has {KEY_BYTES_MIN} bytes or more, and {ID_BYTES} bytes are drawn for a token")
    if not all(1 <= len(each.encode()) <= NAME_BYTES_MAX for each in (cluster, name)):
        raise ValueError(f"names of clusters and nodes have 1 to {NAME_BYTES_MAX} bytes")
    claims = pack_json({"cluster": cluster, "expires_ms": expires_ms, "id": drawn.hex(), "name": name})
    return f"{PREFIX}{_text(claims)}.{_text(_tag(key, claims))}"


def check(key: bytes, token: str, *, cluster: str, name: str, now_ms: int, spent: Collection[str]) -> JoinClaims:
    """Return what a token says, if it lets this node into this cluster now. The caller spends its id, once and for all.

    Raises JoinRefused.
    """
    said = read(key, token, cluster=cluster, name=name)
    if now_ms >= said.expires_ms:
        raise JoinRefused(JoinRefusal.EXPIRED)
    if said.id in spent:
        raise JoinRefused(JoinRefusal.SPENT)
    return said


def read(key: bytes, token: str, *, cluster: str, name: str) -> JoinClaims:
    """Return what a token for this node of this cluster says, be it expired or spent.

    Raises JoinRefused. The tag is compared in constant time and before anything that it covers is looked at.
    """
    claims, tag = _parts(token)
    if not hmac.compare_digest(_tag(key, claims), tag):
        raise JoinRefused(JoinRefusal.FORGED)
    said = JoinClaims(**json.loads(claims))
    checks = (
        (said.cluster == cluster, JoinRefusal.OTHER_CLUSTER),
        (said.name in (ANY, name), JoinRefusal.OTHER_NODE),
    )
    for holds, refusal in checks:
        if not holds:
            raise JoinRefused(refusal)
    return said


def _parts(token: str) -> tuple[bytes, bytes]:
    words = token.removeprefix(PREFIX).split(".") if token.startswith(PREFIX) else []
    if len(words) != 2 or len(token) > TOKEN_CHARS_MAX:
        raise JoinRefused(JoinRefusal.MALFORMED)
    try:
        claims, tag = map(_bytes, words)
    except ValueError:
        raise JoinRefused(JoinRefusal.MALFORMED) from None
    if len(tag) != TAG_BYTES or (_text(claims), _text(tag)) != tuple(words):
        raise JoinRefused(JoinRefusal.MALFORMED)
    return claims, tag


def _tag(key: bytes, claims: bytes) -> bytes:
    return hmac.digest(key, PREFIX.encode() + claims, "sha256")


def _text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def _bytes(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
