"""What a kvarts:// target says, and what its options may be."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from difflib import get_close_matches
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from kvarts.base.errors import InvalidArgument, WrongType
from kvarts.base.options import Options
from kvarts.embedded.paths import check_name
from kvarts.embedded.store import DEFAULT_KEYSPACE

SCHEME, SERVICE_SCHEME = "kvarts", "kvarts+srv"
SERVICE = "srv:"
"""What a seed begins with that is the name of records of type SRV in DNS, and no host."""
_SERVICE_LABELS = "_kvarts._tcp."
PORT = 7420
TIMEOUT_MS = 5_000
_MS_MAX = 1000 * 86_400 * 365

LINEARIZABLE = "linearizable"
STALE = "stale"

_OPTIONS = ("create", "dns", "timeout", "consistency", "max_staleness", "shards", "partition", "ordered")
_URI_OPTIONS = ("dns", "timeout", "consistency", "max_staleness")
_DURATION = re.compile(r"(\d{1,12}(?:\.\d{1,6})?)\s*(ms|s|m|h|)", re.IGNORECASE)
_NAME = re.compile(r"(?:[A-Za-z0-9_-]{1,63}\.)*[A-Za-z0-9_-]{1,63}\.?")
_UNITS_MS = {"": 1000, "ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000}

Seconds = float | timedelta | str


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Checked options of a remote store."""

    dns: str = ""
    """host:port of the name server for the target's names; empty: the machine's own."""
    create: bool = True
    """Make the keyspace if there is none of that name."""
    timeout_ms: int = TIMEOUT_MS
    """Longest wait of a call, failover included."""
    stale: bool = False
    """Reads may be answered by any node, as it has the rows."""
    max_staleness_ms: int = 0
    """How far behind a node that answers a stale read may be; 0 = any."""
    shards: int | None = None
    partition: Any = None
    ordered: Any = False
    """What the keyspace is to be like if it is made: see RemoteStore.keyspace."""


@dataclass(frozen=True, slots=True)
class Target:
    """A parsed URI: host:port of each node, or srv:NAME of records that tell them, and the keyspace."""

    uri: str
    hosts: tuple[str, ...]
    keyspace: str
    options: Mapping[str, str]
    dns: str = ""
    """host:port of the name server to ask; empty: the machine's own."""


def is_uri(target: object) -> bool:
    """Tell whether a target names a cluster rather than a path."""
    return isinstance(target, str) and target.startswith((f"{SCHEME}://", f"{SERVICE_SCHEME}://"))


def parse(uri: str) -> Target:
    """Return what "kvarts://host1:7420,host2/keyspace?timeout=5s" says; a host without a port has 7420.

    "kvarts+srv://example.com/keyspace" names records of type SRV in DNS, of _kvarts._tcp.example.com; a name that
    begins with an underscore is taken as it is. Raises InvalidArgument.
    """
    example = f"{SCHEME}://host1:{PORT},host2:{PORT}/keyspace?timeout=5s"
    try:
        parts = urlsplit(uri)
    except ValueError as error:
        raise InvalidArgument(f"target {uri!r} is no URI: {error}", hint=example) from error
    if "@" in parts.netloc:
        raise InvalidArgument(f"target {uri!r} names a user", hint=f"users are not built yet: {example}")
    if parts.scheme == SERVICE_SCHEME and parts.netloc:
        hosts: tuple[str, ...] = (_service(parts.netloc, f"target {uri!r}"),)
    else:
        hosts = _hosts(parts.netloc, f"target {uri!r}")
    if not hosts:
        raise InvalidArgument(f"target {uri!r} names no host", hint=example)
    if parts.fragment:
        raise InvalidArgument(f"target {uri!r} has a #fragment", hint=example)
    keyspace = unquote(parts.path.removeprefix("/")) or DEFAULT_KEYSPACE
    check_name(keyspace)
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    for name in options:
        if name not in _URI_OPTIONS:
            raise _unknown(name, _URI_OPTIONS, f"target {uri!r} has no option")
    return Target(uri, hosts, keyspace, options, options.get("dns", ""))


def parse_seeds(text: str, dns: str = "") -> Target:
    """Return what "host1:7420,host2" or "srv:example.com" says, as a target. Raises InvalidArgument."""
    hosts = _hosts(text, f"seeds {text!r}")
    if not hosts:
        raise InvalidArgument(f"seeds {text!r} name no host", hint=f"host1:{PORT},host2:{PORT} or {SERVICE}NAME")
    return Target(text, hosts, DEFAULT_KEYSPACE, {}, dns)


def _hosts(text: str, what: str) -> tuple[str, ...]:
    """Return each seed between commas once."""
    named = (each.strip() for each in text.split(","))
    return tuple(dict.fromkeys(_seed(each, what) for each in named if each))


def _seed(given: str, what: str) -> str:
    return _service(given.removeprefix(SERVICE), what) if given.startswith(SERVICE) else _host(given, what)


def _service(name: str, what: str) -> str:
    """Return srv:NAME in full: a domain alone has the records of its service `kvarts`."""
    if _NAME.fullmatch(name) is None or len(name) > 200:
        raise InvalidArgument(f"{what}: {name!r} is no name of records in DNS", hint="one name, without a port")
    return SERVICE + (name if name.startswith("_") else _SERVICE_LABELS + name).removesuffix(".")


def settings(target: Target, given: Mapping[str, object]) -> Settings:
    """Return checked options: those given to open() before those in the URI. Raises InvalidArgument."""
    for name in given:
        if name in _OPTIONS:
            continue
        if name in Options.__dataclass_fields__:
            raise InvalidArgument(
                f"{name}= is for a store on this machine, not for {target.uri!r}",
                hint="the nodes of a cluster have their own: a write is on stable storage of a majority on return",
            )
        raise _unknown(name, _OPTIONS, "no option")
    values: dict[str, Any] = {**target.options, **given}
    create = values.get("create", True)
    if not isinstance(create, bool):
        raise WrongType(f"create={create!r} is not a bool", hint="True or False")
    timeout = values.get("timeout")
    stale, max_staleness_ms = freshness(values.get("consistency"), values.get("max_staleness"))
    return Settings(
        dns=str(values.get("dns") or ""),
        create=create,
        timeout_ms=TIMEOUT_MS if timeout is None else milliseconds(timeout, "timeout"),
        stale=stale,
        max_staleness_ms=max_staleness_ms,
        shards=values.get("shards"),
        partition=values.get("partition"),
        ordered=values.get("ordered", False),
    )


def freshness(consistency: object, max_staleness: object, stale: bool = False) -> tuple[bool, int]:
    """Return (stale, max_staleness_ms) of the two arguments; `stale` where consistency= is not given.

    Raises InvalidArgument.
    """
    if consistency is not None:
        if consistency not in (LINEARIZABLE, STALE):
            raise InvalidArgument(
                f"consistency={consistency!r} is not one of them", hint=f"{LINEARIZABLE!r} | {STALE!r}"
            )
        stale = consistency == STALE
    if max_staleness is None:
        return stale, 0
    if not stale:
        raise InvalidArgument("max_staleness= is for stale reads", hint=f"give consistency={STALE!r} too")
    return stale, milliseconds(max_staleness, "max_staleness")


def milliseconds(given: object, name: str) -> int:
    """Return a duration in whole milliseconds, above 0: seconds, a timedelta, or text such as "500ms" or "5s".

    Raises WrongType, InvalidArgument.
    """
    if isinstance(given, timedelta):
        ms = given.total_seconds() * 1000
    elif isinstance(given, str):
        match = _DURATION.fullmatch(given.strip())
        if match is None:
            raise InvalidArgument(
                f"{name}={given!r} is no duration", hint='seconds, or text such as "500ms", "5s", "2m"'
            )
        ms = float(match.group(1)) * _UNITS_MS[match.group(2).lower()]
    elif isinstance(given, int | float) and not isinstance(given, bool):
        ms = given * 1000
    else:
        raise WrongType(f"{name}={given!r} is no duration", hint="seconds, or a timedelta")
    if not 0 < ms <= _MS_MAX:
        raise InvalidArgument(f"{name}={given!r} is out of range", hint="above 0, at most a year")
    return math.ceil(ms)


def _host(given: str, what: str) -> str:
    try:
        parts = urlsplit(f"//{given}")
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise InvalidArgument(f"{what}: {given!r} is no host:port", hint=str(error)) from error
    if not host or port == 0:
        raise InvalidArgument(f"{what}: {given!r} is no host:port", hint=f"host:{PORT}")
    return f"[{host}]:{port or PORT}" if ":" in host else f"{host}:{port or PORT}"


def _unknown(name: str, known: tuple[str, ...], what: str) -> InvalidArgument:
    near = get_close_matches(name, known, n=1)
    return InvalidArgument(
        f"{what} {name}=", hint=f"did you mean {near[0]}=?" if near else f"options are {', '.join(known)}"
    )
