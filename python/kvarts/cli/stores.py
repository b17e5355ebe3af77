"""Opening a store of any codecs for work on its bytes."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from shlex import quote
from typing import Any

import click

from kvarts.base.api import Store
from kvarts.base.codecs import Bytes, Codec
from kvarts.base.encryption import EncryptionKey, KeyFile
from kvarts.base.errors import CodecMismatch, InvalidArgument, StoreNotFound
from kvarts.cli.text import Form, parse

CODECS = ("bytes", "str", "u64", "tuple", "json")
DEFAULT_KEYSPACE = "default"
KEY_FILES = "kvarts.key_files"
"""Where the context of a command keeps the key files that it was given."""
_MEMORY = ":memory:"
_CLUSTER = ("kvarts://", "kvarts+srv://")


class RawCodec:
    """Passes bytes through under another codec's name: the command line reads what any program wrote."""

    def __init__(self, name: str) -> None:
        self.name = name

    def encode(self, value: bytes, /) -> bytes:
        """Return it."""
        return value

    def decode(self, data: bytes, /) -> bytes:
        """Return it."""
        return data


@dataclass(frozen=True, slots=True)
class Target:
    """An open keyspace, as bytes, with the codecs' names, by which text is read and shown."""

    store: Store[bytes, bytes]
    key_codec: str
    value_codec: str
    form: Form

    def key(self, given: str) -> bytes:
        """Return the key that was written on the command line, or end with a usage error."""
        return self._parse(given, self.key_codec)

    def value(self, given: str) -> bytes:
        """Return the value that was written on the command line, or end with a usage error."""
        return self._parse(given, self.value_codec)

    def _parse(self, given: str, codec: str) -> bytes:
        try:
            return parse(given, self.form, codec)
        except ValueError as error:
            raise click.UsageError(str(error)) from None


@contextmanager
def opened(
    path: str,
    *,
    keyspace: str | None = None,
    form: Form = Form.TEXT,
    create: bool = False,
    codecs: tuple[str | None, str | None] = (None, None),
    read_only: bool = False,
    **options: Any,
) -> Iterator[Target]:
    """Open a store, and a keyspace of it, with the codecs it has; `codecs` are for new ones.

    `read_only` leaves every byte of a store on this machine as it is, and lets others read it meanwhile.
    """
    if read_only and "://" not in path:
        options["mode"] = "r"
    asked = (codecs[0] or "bytes", codecs[1] or "bytes")
    given = codecs != (None, None)
    root, names = _open_root(path, asked if keyspace is None else None, given and keyspace is None, create, options)
    with root:
        if keyspace is None:
            yield Target(root, *names, form)
            return
        keyspaces = root.keyspaces()
        if keyspace not in keyspaces and not create:
            raise _no_keyspace(path, keyspace, sorted(keyspaces))
        info = keyspaces.get(keyspace)
        if info is not None and not given:
            asked = (info.key, info.value)
        key, value = map(_codec, asked)
        try:
            view = root.keyspace(keyspace, key=key, value=value, create=create)
        except CodecMismatch as error:
            raise _in_words(error) from None
        with view:
            yield Target(view, *asked, form)


def _in_words(error: CodecMismatch) -> CodecMismatch:
    """Return the error with a hint for the command line in place of the one for Python."""
    key, value = error.stored
    error.hint = f"leave --key-codec and --value-codec out: the keyspace has its own, {key} and {value}"
    return error


def _no_keyspace(path: str, asked: str, names: list[str]) -> InvalidArgument:
    near = get_close_matches(asked, names, n=3)
    hint = f"did you mean {' or '.join(near)}? " if near else ""
    hint += f"`kvarts stats {quote(path)}` lists them; `kvarts put --keyspace` and `kvarts import --keyspace` make them"
    return InvalidArgument(f"no keyspace {asked!r} in {path}", hint=hint)


def _open_root(
    path: str, asked: tuple[str, str] | None, given: bool, create: bool, options: dict[str, Any]
) -> tuple[Store[bytes, bytes], tuple[str, str]]:
    import kvarts

    if path == _MEMORY:
        raise click.UsageError(f"{_MEMORY} ends with the command: give the path of a store")
    names = asked or ("bytes", "bytes")
    if not path.startswith(_CLUSTER):
        options = {"encryption_key": given_keys()} | options
    try:
        store = kvarts.open(path, key=_codec(names[0]), value=_codec(names[1]), create=create, **options)
    except StoreNotFound as error:
        if not create:
            error.hint = "check the path; `kvarts put` and `kvarts import` make stores"
        raise
    except CodecMismatch as error:
        if given:
            raise _in_words(error) from None
        names = error.stored
        store = kvarts.open(path, key=_codec(names[0]), value=_codec(names[1]), create=create, **options)
    return store, names


def given_keys() -> EncryptionKey | None:
    """Return the keys that --key-file, or the variable, names for the command that runs; None where it names none."""
    context = click.get_current_context(silent=True)
    files = context.meta.get(KEY_FILES, ()) if context else ()
    return [KeyFile(file) for file in files] or None


def _codec(name: str) -> Codec[bytes]:
    return Bytes if name == "bytes" else RawCodec(name)
