"""Commands on who may join: the key that tokens are made with, whether nodes need one, and each one's one use.

Pure, and without a clock: the leader judges whether a token has expired before it proposes, and says what time it was.
The ids of spent tokens are dropped once they have expired by that time. So that a leader whose clock is behind lets no
dropped id in again, the latest expiry that was ever dropped stays: no token that expired by then is taken. A new key
begins anew: tokens of the one before let nobody in, whoever had checked them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import sha256

from kvarts.base.canonical import pack_json
from kvarts.raft.ids import NodeId
from kvarts.statemachine.configuration import are_names, new_node
from kvarts.statemachine.python_commands import CommandKind, Decision, SystemWrite
from kvarts.statemachine.rows import JOIN_KEY, NODE, SPENT, SPENT_FORGOTTEN, TOKENS_REQUIRED, Rows, numbered, under
from kvarts.statemachine.vocabulary import Vocabulary, is_id, is_name

KEY_BYTES = 32
ID_BYTES = 16
PRINT_BYTES = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class RequireTokens:
    """From here on a node needs a token. `key`, in hexadecimal, is taken if there is none yet, or if `renew`.

    A new key voids every token that was made with the old one.
    """

    key: str = field(repr=False)
    renew: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class WaiveTokens:
    """From here on a node needs no token. The key stays, so that tokens are good again once they are required."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AdmitByToken:
    """A node joins and spends a token. Answers with the node's id, again for whoever asks again with its `ticket`.

    `ticket`: what the newcomer drew and kept before it asked. `id`, `expires_ms`: the token's; `now_ms`: when it asked.
    `made_with`: the `fingerprint` of the key that the token was checked with: there may be another by now.
    """

    addresses: tuple[str, ...]
    above: int
    id: str
    expires_ms: int
    ticket: str = field(repr=False)
    now_ms: int
    made_with: str


JoinCommand = RequireTokens | WaiveTokens | AdmitByToken

COMMANDS: Mapping[str, type[JoinCommand]] = {
    "require-tokens": RequireTokens,
    "waive-tokens": WaiveTokens,
    "admit-by-token": AdmitByToken,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """What became of a token: whom it let in."""

    node: NodeId
    ticket: str
    expires_ms: int


def encode(command: JoinCommand) -> bytes:
    """Return a command as it stands in the log. Raises UnreadableCommand if it could not be read there."""
    return _WORDS.encode(command)


def decide(rows: Rows, record: Mapping[str, object]) -> Decision:
    """Return what a command comes to on these rows. Raises UnreadableCommand."""
    match _WORDS.decode(record):
        case RequireTokens(key=key, renew=renew):
            taken = ((JOIN_KEY, key.encode()),) if renew or JOIN_KEY not in rows else ()
            old = _all_spent(rows) if taken else ()
            return Decision(((TOKENS_REQUIRED, b"{}"), *taken, *old))
        case WaiveTokens():
            return Decision(((TOKENS_REQUIRED, None),) if TOKENS_REQUIRED in rows else ())
        case AdmitByToken() as command:
            return _admit(rows, command)


def join_key_in(rows: Rows) -> bytes | None:
    """Return the key that tokens are made with, once there is one. Never to be shown."""
    row = rows.get(JOIN_KEY)
    return None if row is None else bytes.fromhex(row.decode())


def fingerprint(key: bytes) -> str:
    """Return what tells a join key from others, in hexadecimal, and does not show it."""
    return sha256(b"kvarts join key\0" + key).digest()[:PRINT_BYTES].hex()


def spent_in(rows: Rows) -> dict[str, Spent]:
    """Return the tokens that were spent and are not forgotten, by their ids."""
    return {
        name: Spent(node=NodeId(row["node"]), ticket=row["ticket"], expires_ms=row["expires_ms"])
        for name, row in under(rows, SPENT)
    }


def _admit(rows: Rows, command: AdmitByToken) -> Decision:
    before = spent_in(rows).get(command.id)
    if before is not None:
        # The answer was lost. Only the newcomer itself knows its ticket: a second node never gets the first one's id.
        again = before.ticket == command.ticket and _is_at(rows, before.node, command.addresses)
        return Decision(value=before.node) if again else Decision(refusal="token-spent")
    key = join_key_in(rows)
    if key is None or command.made_with != fingerprint(key):
        return Decision(refusal="token-revoked")
    if command.expires_ms <= int(rows.get(SPENT_FORGOTTEN, b"0")):
        return Decision(refusal="token-expired")
    node, listed = new_node(rows, command.addresses, command.above)
    row = {"expires_ms": command.expires_ms, "node": node, "ticket": command.ticket}
    spent = SPENT + command.id.encode(), pack_json(row)
    return Decision((*_forgotten(rows, command.now_ms), listed, spent), value=node)


def _is_at(rows: Rows, node: NodeId, addresses: tuple[str, ...]) -> bool:
    row = rows.get(numbered(NODE, node))
    return row is not None and tuple(json.loads(row)["addresses"]) == addresses


def _all_spent(rows: Rows) -> Iterator[SystemWrite]:
    """Yield what drops all that is known of spent tokens: none that was made before is good any more."""
    if SPENT_FORGOTTEN in rows:
        yield SPENT_FORGOTTEN, None
    yield from ((SPENT + id.encode(), None) for id in spent_in(rows))


def _forgotten(rows: Rows, now_ms: int) -> Iterator[SystemWrite]:
    """Yield what drops the tokens that have expired, and keeps the latest of their expiries."""
    over = {id: each.expires_ms for id, each in spent_in(rows).items() if each.expires_ms <= now_ms}
    if over:
        latest = max(int(rows.get(SPENT_FORGOTTEN, b"0")), *over.values())
        yield SPENT_FORGOTTEN, b"%d" % latest
        yield from ((SPENT + id.encode(), None) for id in over)


def _is_hex(size: int, value: object) -> bool:
    try:
        return isinstance(value, str) and bytes.fromhex(value).hex() == value and len(value) == 2 * size
    except ValueError:
        return False


_WORDS: Vocabulary[JoinCommand] = Vocabulary(
    CommandKind.JOIN,
    "join",
    COMMANDS,
    {
        "key": lambda value: _is_hex(KEY_BYTES, value),
        "renew": lambda value: isinstance(value, bool),
        "addresses": are_names,
        "above": is_id,
        "id": lambda value: _is_hex(ID_BYTES, value),
        "expires_ms": is_id,
        "ticket": is_name,
        "now_ms": is_id,
        "made_with": lambda value: _is_hex(PRINT_BYTES, value),
    },
)
