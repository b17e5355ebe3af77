"""Verbs about keyspaces, views and care, as coroutines; with them a view has every verb."""

import json
from collections.abc import Callable
from dataclasses import fields
from typing import Any, Self

from kvarts import _native
from kvarts.base import codecs
from kvarts.base.codecs import Codec, check_codec
from kvarts.base.errors import CrossShard, InvalidArgument, KvartsError, ReadOnlyError, Unavailable, WrongType
from kvarts.base.types import Damage, KeyspaceInfo, KeyspaceStats, Report, Revision, Stats
from kvarts.embedded.paths import check_name
from kvarts.remote.layout import Layout, layout_of
from kvarts.remote.space import Connection, K, Moment, Space, Timeout, V
from kvarts.remote.writing import Writing

Listed = tuple[int, str, str, str]
"""(id, name, key codec, value codec)"""

_READ = ("files", "blocks", "bytes")
"""What a replica counts as it verifies."""


class Verbs(Writing[K, V]):
    """Every verb of a keyspace, or view. A subclass says how requests are sent."""

    def _view(self, space: Space) -> Self:
        """Return the verbs of another space of the same connection."""
        return type(self)(space)

    def prefixed(self, prefix: K, /) -> Self:
        """Return a view of the keys that begin with `prefix`, which it adds and takes away."""
        self._check_open()
        if not codecs.has_prefixes(self._space.key):
            name = self._space.key.name
            raise InvalidArgument(f"prefixed() needs Bytes, Str or Tuple keys, these are {name}", hint="use a keyspace")
        return self._view(self._space.within(self._encode_key(prefix)))

    async def _take_snapshot(self, *, timeout: Timeout = None) -> Self:
        """Return a read-only view that stays at the newest revision as of now."""
        self._check_open()
        if self._space.moment is not None:
            return self._view(self._space)
        patience = self._patience(timeout)
        listed = await self._send(_native.Request.keyspaces(), patience)
        range_ = self._whole().half_open()
        revision, now_ms = await self._send(_native.Request.moment(self._id, *range_, True), patience)
        shard = (await self._send(_native.Request.shards(self._id, *range_), patience))[0]
        return self._view(self._space.at(Moment(Revision(revision), now_ms, tuple(listed), shard)))

    async def _in_keyspace(
        self,
        name: str,
        key: Any,
        value: Any,
        *,
        create: bool = True,
        timeout: Timeout = None,
        layout: Layout | None = None,
    ) -> Self:
        """Return a view of another keyspace, made if absent; on a snapshot, of an existing one at its revision."""
        self._check_open()
        check_codec(key, "key")
        check_codec(value, "value")
        check_name(name)
        patience = self._patience(timeout)
        stored = await self._find(name, key, value, create=create, patience=patience, layout=layout)
        if self._space.moment is not None:
            await self._check_shard(stored, self._space.moment, patience)
        return self._view(_checked(self._space.connection, stored, key, value, self._space.moment))

    async def keyspaces(self, *, timeout: Timeout = None) -> dict[str, KeyspaceInfo]:
        """Return the keyspaces of the cluster by name, with the names of their codecs."""
        self._check_open()
        moment = self._space.moment
        listed: Any = moment.keyspaces if moment else None
        if listed is None:
            listed = await self._send(_native.Request.keyspaces(), self._patience(timeout))
        return {name: KeyspaceInfo(name, key, value) for _, name, key, value in listed}

    async def flush(self, *, timeout: Timeout = None) -> None:
        """Have every replica write what its memory holds into tables, and wait. One out of reach is passed over."""
        await self._care("flush", timeout)

    async def compact(self, *, timeout: Timeout = None) -> None:
        """Have every replica rewrite its tables into their deepest level, and wait; as flush."""
        await self._care("compact", timeout)

    async def verify(self, *, progress: Callable[[int, int], object] | None = None, timeout: Timeout = None) -> Report:
        """Have every replica read its tables and check them. `progress` is called once, at the end.

        Raises Unavailable where no damage was found and a replica could not be asked.
        """
        if progress is not None and not callable(progress):
            raise WrongType(f"progress is a function, not {type(progress).__name__}", hint="progress(done, total)")
        answers, missed = await self._care("verify", timeout)
        damage = tuple(
            Damage(
                file=f"{address}:{each['file']}",
                offset=each["offset"],
                what=each["what"],
                smallest=bytes.fromhex(each["smallest"]),
                largest=bytes.fromhex(each["largest"]),
            )
            for address, answer in answers.items()
            for each in answer.get("damage", ())
        )
        if missed and not damage:
            raise next(iter(missed.values()))
        numbers = {name: sum(answer.get(name, 0) for answer in answers.values()) for name in _READ}
        if progress is not None:
            progress(numbers["bytes"], numbers["bytes"])
        return Report(**numbers, damage=damage)

    async def stats(self, *, timeout: Timeout = None) -> Stats:
        """Return numbers about the engines of the node that leads the meta group."""
        self._check_open()
        answer = json.loads(await self._send(_native.Request.admin("stats"), self._patience(timeout)))
        numbers = {field.name: answer.get(field.name, 0) for field in fields(Stats) if field.name != "keyspaces"}
        spaces = tuple(
            KeyspaceStats(
                name=each["name"],
                table_rows=each["table_rows"],
                memtable_rows=each["memtable_rows"],
                levels=tuple((tables, size) for tables, size in each["levels"]),
            )
            for each in answer.get("keyspaces", ())
        )
        return Stats(**numbers, keyspaces=spaces)

    def close(self) -> None:
        """Let go of the view; the store that was opened also ends its connections. Idempotent."""
        self._released = True
        if self._owner:
            self._space.connection.client.close()

    @property
    def closed(self) -> bool:
        """True after close()."""
        return self._released or self._space.connection.client.closed

    async def _care(self, verb: str, timeout: Timeout) -> tuple[dict[str, Any], dict[str, Unavailable]]:
        """Ask all replicas, one after another. Return what each said, and why some could not be asked, by address.

        Raises what another error one had, once all were asked; Unavailable where nobody answered.
        """
        self._check_open()
        if self._space.moment is not None and verb != "verify":
            raise ReadOnlyError(f"{verb}() on a snapshot", hint="call it on the store")
        patience = self._patience(timeout)
        _, _, _, _, nodes, _ = await self._send(_native.Request.describe(), patience)
        answers: dict[str, Any] = {}
        missed: dict[str, Unavailable] = {}
        failed: list[KvartsError] = []
        for _, address, voter, learner in nodes:
            if not (voter or learner):
                continue
            try:
                answers[address] = json.loads(await self._send(_native.Request.admin(verb, "{}", address), patience))
            except Unavailable as error:
                what = f"{verb}(): the replica at {address} cannot be asked: {error.message}"
                missed[address] = Unavailable(what, hint="ask again when it is back")
            except KvartsError as error:
                failed.append(error)
        if failed or not answers:
            raise [*failed, *missed.values()][0]
        return answers, missed

    async def _check_shard(self, stored: Listed, moment: Moment, patience: int) -> None:
        """Raise CrossShard unless a keyspace lies where a snapshot was taken: a revision is of one shard."""
        shards = await self._send(_native.Request.shards(stored[0], b"", b""), patience)
        if shards != [moment.shard]:
            raise CrossShard(
                f"the snapshot is of shard {moment.shard}, keyspace {stored[1]!r} lies elsewhere",
                hint="take a snapshot of each keyspace",
                shards=(moment.shard, *shards),
            )

    async def _find(
        self,
        name: str,
        key: Codec[Any],
        value: Codec[Any],
        *,
        create: bool,
        patience: int,
        layout: Layout | None = None,
    ) -> Listed:
        moment = self._space.moment
        if moment is not None:
            for listed in moment.keyspaces:
                if listed[1] == name:
                    return listed
            raise InvalidArgument(f"the snapshot has no keyspace {name!r}", hint="its keyspaces() lists those it has")
        more = () if layout is None else layout.fields
        request = _native.Request.make_keyspace(name, key.name, value.name, create, *more)
        found: list[Listed] = await self._send(request, patience)
        return found[0]


async def first_space(
    verbs_of: type[Verbs[Any, Any]], connection: Connection, key: Any, value: Any, **more: Any
) -> Space:
    """Return the keyspace that the target names, made if absent and `create`. Raises CodecMismatch, Unavailable."""
    codecs.check_codec(key, "key")
    codecs.check_codec(value, "value")
    name, create = connection.target.keyspace, connection.settings.create
    asker = verbs_of(Space(connection, 0, name, key, value), **more)
    settings = connection.settings
    layout = layout_of(settings.shards, settings.partition, settings.ordered, key)
    stored = await asker._find(name, key, value, create=create, patience=settings.timeout_ms, layout=layout)
    return _checked(connection, stored, key, value, None)


def _checked(
    connection: Connection, stored: Listed, key: Codec[Any], value: Codec[Any], moment: Moment | None
) -> Space:
    number, name, key_name, value_name = stored
    if (key_name, value_name) != (key.name, value.name):
        raise codecs.mismatch(name, (key_name, value_name), (key.name, value.name))
    return Space(connection, number, name, key, value, moment=moment)
