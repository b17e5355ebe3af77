"""What the shards of a new keyspace are to be like, checked before a node is asked."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from kvarts.base.codecs import Codec
from kvarts.base.errors import InvalidArgument, WrongType
from kvarts.remote.coding import encoder
from kvarts.shardmap.space import SHARDS_MAX

Fields = tuple[int, str, bool, list[bytes]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """How many shards, which keys lie together, and where ordered shards begin. 0 shards: as many as bounds make."""

    shards: int = 0
    partition: str = ""
    ordered: bool = False
    bounds: tuple[bytes, ...] = ()

    @property
    def fields(self) -> Fields:
        """The fields of a request."""
        return self.shards, self.partition, self.ordered, list(self.bounds)


def layout_of(shards: object, partition: object, ordered: object, key: Codec[Any]) -> Layout | None:
    """Return what the arguments of keyspace() ask for; None where they ask for nothing. Raises InvalidArgument."""
    if shards is None and partition is None and ordered is False:
        return None
    if shards is not None and (type(shards) is not int or not 1 <= shards <= SHARDS_MAX):
        raise InvalidArgument(f"shards={shards!r} is out of range", hint=f"1 to {SHARDS_MAX}")
    text = "" if partition is None else _text(partition)
    bounds: tuple[bytes, ...] = ()
    if not isinstance(ordered, bool):
        if not isinstance(ordered, Sequence):
            raise WrongType("ordered= is True, or the keys at which shards begin")
        bounds = tuple(map(encoder(key), ordered))
    if ordered is not False and text:
        raise InvalidArgument("partition= has no meaning in an ordered keyspace", hint="leave one of them out")
    return Layout(shards=shards or 0, partition=text, ordered=ordered is not False, bounds=bounds)


def _text(partition: object) -> str:
    text = getattr(partition, "text", None)
    if not isinstance(text, str):
        raise WrongType(f"expected partition= Until(bytes), Prefix(8) or FirstItem, got {type(partition).__name__}")
    return text
