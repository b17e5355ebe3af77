"""The views that keys(), values() and items() of any store return: each pass is one scan, not a get per key."""

from collections.abc import ItemsView, Iterator, KeysView, ValuesView
from typing import Any, TypeVar

from kvarts.base.api import Store

K = TypeVar("K")
V = TypeVar("V")


class StoreKeys(KeysView[K]):
    """Keys of a store."""

    def __reversed__(self) -> Iterator[K]:
        return reversed(self._mapping)  # type: ignore[attr-defined]


class StoreValues(ValuesView[V]):
    """Values of a store, by one scan."""

    _mapping: Store[Any, V]

    def __iter__(self) -> Iterator[V]:
        return iter(self._mapping.scan().values())

    def __reversed__(self) -> Iterator[V]:
        return iter(self._mapping.scan(reverse=True).values())

    def __contains__(self, value: object) -> bool:
        return any(value is found or value == found for found in self)


class StoreItems(ItemsView[K, V]):
    """Pairs of a store, by one scan."""

    _mapping: Store[K, V]

    def __iter__(self) -> Iterator[tuple[K, V]]:
        return iter(self._mapping.scan())

    def __reversed__(self) -> Iterator[tuple[K, V]]:
        return iter(self._mapping.scan(reverse=True))
