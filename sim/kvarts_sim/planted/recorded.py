"""From which seed each planted bug is caught; those without one are not caught yet."""

from __future__ import annotations

SEEDS: dict[str, int] = {
    "ack before the sync": 1,
    "half is a quorum": 1,
    "heartbeat commits what may differ": 3,
    "joint commit by the new half": 29,
    "late append cuts newer entries": 6,
    "lease survives a pause": 75,
    "lease without an end": 15,
    "no flush after a change": 1,
    "older term committed by counting": 6,
    "own ack before the sync": 1,
    "read before the first commit of the term": 4,
    "read without a round": 1,
    "retries run twice": 3,
    "snapshot acked before the sync": 1,
    "stale membership after a snapshot": 12,
    "stale membership in checkpoints": 1,
    "term not persisted": 1,
    "two votes in a term": 1,
    "vote for a shorter log": 1,
    "vote not persisted": 1,
}
