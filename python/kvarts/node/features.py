"""Features: what all nodes must know before it is used, by the names under which they tell each other."""

from __future__ import annotations

from collections.abc import Generator, Iterable

from kvarts.base.errors import InvalidArgument
from kvarts.node.asker import Asker
from kvarts.node.rows import lacking
from kvarts.node.shards import FEATURES
from kvarts.replication.events import Event
from kvarts.statemachine.configuration import SetFeature, encode

NOTHING: Iterable[Event] = ()
AGREE_MS = 5_000
"""How long nodes have to tell what they know."""


def agree(asker: Asker, feature: str) -> Generator[Iterable[Event], None, None]:
    """See to it that a feature may be used. Raises InvalidArgument where a node is too old."""
    level, since_ms = FEATURES[feature], asker.now_ms
    while asker.configuration.features.get(feature, 0) < level:
        members = asker.replica.raft.status().membership.members
        missing = lacking(feature, level, asker.configuration, members)
        if missing and asker.now_ms > since_ms + AGREE_MS:
            raise InvalidArgument(
                f"node {missing[0]} does not know {feature}, or does not answer",
                hint="upgrade or start every node first; `kvarts cluster remove` takes out one that never came",
            )
        if missing:
            asker.check_leads()
            yield NOTHING
        else:
            yield from asker.command(encode(SetFeature(name=feature, level=level)))
