"""Paths and names from users: checked before the engine sees them, and what is wrong said in the user's words."""

import os
import re

from kvarts.base.errors import InvalidArgument, WrongType

_NAME_BYTES_MAX = 255
_PLAIN = re.compile(r"[\w./:-]+")


def text_path(given: object, argument: str) -> str:
    """Return a path as text; bytes that are no UTF-8 are in it as os.fsdecode has them.

    Raises WrongType, InvalidArgument.
    """
    if not isinstance(given, str | os.PathLike):
        hint = "os.fsdecode(path)" if isinstance(given, bytes) else "a path as text, or a pathlib.Path"
        raise WrongType(f"{argument} is a path, not {type(given).__name__}", hint=hint)
    try:
        text = os.fspath(given)
    except TypeError as error:  # Its __fspath__ returned something else.
        raise WrongType(f"{argument}: {error}", hint="a path as text") from error
    if not isinstance(text, str):
        raise WrongType(f"{argument} is a text path, not bytes", hint="os.fsdecode(path)")
    if "\0" in text:
        raise InvalidArgument(f"{argument} holds a NUL character", hint="no file's name can: take it out")
    try:
        os.fsencode(text)
    except UnicodeEncodeError as error:
        raise InvalidArgument(
            f"{argument} {text!r} can be no file's name", hint="os.fsdecode(bytes) gives text of any name"
        ) from error
    return text


def check_name(name: object) -> None:
    """Raise where `name` can be no keyspace's. Raises WrongType, InvalidArgument."""
    if not isinstance(name, str):
        raise WrongType(f"the name of a keyspace is a str, not {type(name).__name__}", hint="give text")
    try:
        size = len(name.encode())
    except UnicodeEncodeError as error:
        raise InvalidArgument(f"the name {name!r} has no UTF-8 form", hint="choose another") from error
    if not 1 <= size <= _NAME_BYTES_MAX:
        raise InvalidArgument(
            f"a keyspace's name takes 1 to {_NAME_BYTES_MAX} bytes, this one has {size}", hint="choose another"
        )


def shown(name: str) -> str:
    """Return a name as a repr of one line shows it: quoted unless it is plain."""
    return name if _PLAIN.fullmatch(name) else repr(name)
