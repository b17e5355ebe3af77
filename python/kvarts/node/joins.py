"""Verbs of the desk by which nodes are let in: a new node asks, with a token where one is needed; operators make them.

Nodes need no token until the first one is made: from then on they do, until an operator waives that.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping
from typing import Any

from kvarts.base.errors import InvalidArgument, JoinRefused
from kvarts.node.asker import Asker, CommandSays, Verb
from kvarts.node.bootstrap import is_address
from kvarts.node.features import agree
from kvarts.node.members import check_address, newcomer_at, take_in
from kvarts.node.rows import TOKENS
from kvarts.raft.ids import NODE_NONE, NodeId
from kvarts.replication.events import Event
from kvarts.security import join_tokens
from kvarts.security.join_tokens import ANY, ID_BYTES, JoinRefusal
from kvarts.statemachine import joins
from kvarts.statemachine.configuration import AdmitNode, encode
from kvarts.statemachine.joins import KEY_BYTES, join_key_in, spent_in
from kvarts.statemachine.rows import TOKENS_REQUIRED

TTL_MS = 3_600_000
TTL_MS_MAX = 30 * 86_400_000
MAKE, REQUIRE, OPEN, REVOKE = "make", "require", "open", "revoke"
ACTS = (MAKE, REQUIRE, OPEN, REVOKE)
HINT = "`kvarts cluster token URI` makes one; give it to `kvarts serve --join` as KVARTS_TOKEN or --token"

Steps = Generator[Iterable[Event], None, None]


def join(asker: Asker, arguments: Mapping[str, Any]) -> Verb:
    """A new node asks to be taken in: it gets its id and the members' addresses, then becomes a learner and a voter.

    `token`: a join token, where one is needed. `ticket`: what the node drew and keeps, by which it is known if it asks
    again since it heard no answer: it gets the same id.
    """
    asker.check_leads()
    address, token = str(arguments["address"]), str(arguments.get("token") or "")
    # The configuration gives the id, so that no two nodes ever get the same.
    known = newcomer_at(asker, address)
    if known == NODE_NONE:
        yield from check_address(asker, address, NODE_NONE)
    above = max([*asker.replica.raft.status().membership.members, *asker.static_peers])
    if token:
        command = _admission(asker, address, above, token, str(arguments.get("ticket") or ""))
    else:
        command = encode(AdmitNode(addresses=(address,), above=above))
    if known != NODE_NONE and not token and not _is_required(asker):
        # It asked before, and has not heard the answer.
        node = known
    else:
        node = NodeId((yield from _admitted(asker, command)) or 0)
    asker.begin(take_in(asker, node))
    members = {int(each): asker.address_of(each) for each in asker.replica.raft.status().membership.members}
    return {"cluster": asker.cluster, "id": node, "peers": members | {int(node): address}}


def token(asker: Asker, arguments: Mapping[str, Any]) -> Verb:
    """Make a join token for `ttl_ms`, for the node at `for` or for any one; or only say who needs one, as `do` tells.

    `do`: "make", from when on nodes need one; "require" makes none; "revoke" does so and voids all; "open" waives them.
    """
    asker.check_leads()
    act, name = str(arguments.get("do") or MAKE), str(arguments.get("for") or ANY)
    ttl_ms = int(arguments.get("ttl_ms") or TTL_MS)
    if act not in ACTS:
        raise InvalidArgument(f"do={act!r} is not one of them", hint=" | ".join(ACTS))
    if not 1 <= ttl_ms <= TTL_MS_MAX:
        raise InvalidArgument(f"a token cannot be good for {ttl_ms} ms", hint="at most 30 days")
    if name != ANY and not is_address(name):
        raise InvalidArgument(f"{name!r} is no host:port", hint="the address that the new node tells others")
    if act == OPEN:
        if _is_required(asker):
            yield from asker.command(joins.encode(joins.WaiveTokens()))
        return {"required": False}
    if act == REVOKE or not _is_required(asker):
        yield from agree(asker, TOKENS)
        drawn = asker.random.randbytes(KEY_BYTES).hex()
        yield from asker.command(joins.encode(joins.RequireTokens(key=drawn, renew=act == REVOKE)))
    key = join_key_in(asker.replica.system.rows)
    if act != MAKE or key is None:
        return {"required": True}
    expires_ms = asker.keeper.unix_ms() + ttl_ms
    made = join_tokens.mint(key, asker.cluster, name, expires_ms, asker.random.randbytes(ID_BYTES))
    return {"required": True, "token": made, "for": "" if name == ANY else name, "expires_ms": expires_ms}


def _is_required(asker: Asker) -> bool:
    return TOKENS_REQUIRED in asker.replica.system.rows


def _admission(asker: Asker, address: str, above: int, token: str, ticket: str) -> bytes:
    """Return the command that spends a token. Raises JoinRefused where it is no good now, by this node's clock."""
    rows, now_ms = asker.replica.system.rows, asker.keeper.unix_ms()
    key = join_key_in(rows)
    if not ticket:
        raise InvalidArgument("a token is given with a ticket", hint="`kvarts serve --join` draws one")
    try:
        if key is None:
            raise join_tokens.JoinRefused(JoinRefusal.FORGED)
        said = join_tokens.read(key, token, cluster=asker.cluster, name=address)
        spent = spent_in(rows)
        # Who was let in and did not hear so is known by its ticket, however late it asks again.
        if said.id not in spent or spent[said.id].ticket != ticket:
            join_tokens.check(key, token, cluster=asker.cluster, name=address, now_ms=now_ms, spent=spent)
    except join_tokens.JoinRefused as refused:
        raise _refused(refused.refusal) from None
    return joins.encode(
        joins.AdmitByToken(
            addresses=(address,),
            above=above,
            id=said.id,
            expires_ms=said.expires_ms,
            ticket=ticket,
            now_ms=now_ms,
            made_with=joins.fingerprint(key),
        )
    )


def _admitted(asker: Asker, command: bytes) -> Generator[Iterable[Event], None, int | None]:
    try:
        return (yield from asker.command(command))
    except CommandSays as says:
        if says.refusal == "token-needed":
            raise JoinRefused("this cluster lets a node in by a join token only", hint=HINT) from None
        if says.refusal == "token-spent":
            raise _refused(JoinRefusal.SPENT) from None
        if says.refusal == "token-revoked":
            raise _refused(JoinRefusal.FORGED) from None
        if says.refusal == "token-expired":
            raise _refused(JoinRefusal.EXPIRED) from None
        raise


def _refused(refusal: JoinRefusal) -> JoinRefused:
    hints = {
        JoinRefusal.MALFORMED: "a token is one word that begins with kvj1.",
        JoinRefusal.OTHER_NODE: "it must be what the node gives as --advertise, or else --listen",
    }
    return JoinRefused(refusal.value, hint=hints.get(refusal, HINT))
