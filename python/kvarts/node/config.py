"""Options of a node: one table. A flag wins over the environment (KVARTS_*), that over the TOML file."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kvarts.base.errors import InvalidArgument, refused
from kvarts.base.options import parse_bytes

HIDDEN = "(set)"


@dataclass(frozen=True, slots=True)
class OptionSpec:
    """One option: its name as a keyword, how text becomes its value, its default and what it is for."""

    name: str
    parse: Callable[[str, object], object]
    default: object
    help: str
    secret: bool = False
    """Its value is shown to nobody."""

    @property
    def variable(self) -> str:
        """Its environment variable."""
        return f"KVARTS_{self.name.upper()}"

    @property
    def flag(self) -> str:
        """Its flag."""
        return "--" + self.name.replace("_", "-")


@dataclass(frozen=True, slots=True)
class Setting:
    """The value of an option and where it comes from: "flag", "environment", "file" or "default"."""

    spec: OptionSpec
    value: Any = field(repr=False)
    source: str

    @property
    def shown(self) -> Any:
        """Its value, or only whether there is one."""
        return HIDDEN if self.spec.secret and self.value else self.value


def _text(_name: str, value: object) -> str:
    return str(value)


def _number(name: str, value: object) -> int:
    try:
        return int(str(value))
    except ValueError:
        raise InvalidArgument(f"{name}={value!r} is no number", hint="give digits") from None


def _switch(name: str, value: object) -> bool:
    if isinstance(value, bool):
        return value
    known = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}
    try:
        return known[str(value).lower()]
    except KeyError:
        raise InvalidArgument(f"{name}={value!r} is neither true nor false", hint="true or false") from None


def _choice(*choices: str) -> Callable[[str, object], str]:
    def parse(name: str, value: object) -> str:
        if str(value) not in choices:
            raise InvalidArgument(f"{name}={value!r} is not one of them", hint=" | ".join(choices))
        return str(value)

    return parse


TABLE = (
    OptionSpec("data", _text, "kvarts-data", "Directory of this node: made if absent, its own alone."),
    OptionSpec("node", _number, 0, "Number of this node in --peers; 0: 1 if alone, else what the directory says."),
    OptionSpec("listen", _text, "127.0.0.1:7420", "host:port of the front door; port 0 takes a free one."),
    OptionSpec("advertise", _text, "", "host:port that others reach this node at. [default: where it listens]"),
    OptionSpec("peers", _text, "", "All nodes of a new cluster, this one too: 1=host:port,2=host:port,…"),
    OptionSpec(
        "join", _text, "", "Nodes of a cluster to join, any of them: host:port,… or srv:NAME for records in DNS."
    ),
    OptionSpec("token", _text, "", "Join token; better in KVARTS_TOKEN, since others see flags.", secret=True),
    OptionSpec("dns", _text, "", "host:port of the name server for --join. [default: the system's]"),
    OptionSpec("memory", parse_bytes, 256 << 20, "Bytes for memtables, caches, indexes: 256MiB, 2GB."),
    OptionSpec("http", _text, "127.0.0.1:0", "host:port of /metrics, /livez, /readyz; port 0 takes a free one."),
    OptionSpec("insecure", _switch, False, "Listen beyond loopback although there are no users and no TLS yet."),
    OptionSpec("tick_ms", _number, 80, "Milliseconds of one tick; ten without a heartbeat make an election."),
    OptionSpec("reads", _choice("safe", "lease"), "lease", "How a leader confirms reads: a round, or a lease."),
    OptionSpec("keep_entries", _number, 10_000, "Log entries kept for followers that are a little late."),
    OptionSpec("request_timeout_ms", _number, 10_000, "Longest wait of a request that names no deadline."),
)
BY_NAME = {spec.name: spec for spec in TABLE}


def settle(flags: Mapping[str, object], environment: Mapping[str, str], file: Path | None = None) -> dict[str, Setting]:
    """Return every option with its value and source. Raises InvalidArgument, StorageError."""
    written = _read(file) if file is not None else {}
    unknown = sorted(set(written) - set(BY_NAME))
    if unknown:
        raise InvalidArgument(f"{file}: no option {unknown[0]!r}", hint=f"options are {', '.join(BY_NAME)}")
    return {spec.name: _setting(spec, flags, environment, written) for spec in TABLE}


def _setting(
    spec: OptionSpec, flags: Mapping[str, object], environment: Mapping[str, str], written: Mapping[str, object]
) -> Setting:
    given = flags.get(spec.name)
    if given is not None:
        return Setting(spec, spec.parse(spec.flag, given), "flag")
    if spec.variable in environment:
        return Setting(spec, spec.parse(spec.variable, environment[spec.variable]), "environment")
    if spec.name in written:
        return Setting(spec, spec.parse(spec.name, written[spec.name]), "file")
    return Setting(spec, spec.default, "default")


def _read(file: Path) -> dict[str, object]:
    try:
        with file.open("rb") as source:
            return {name.replace("-", "_"): value for name, value in tomllib.load(source).items()}
    except OSError as error:
        raise refused(f"reading {file}", error, str(file)) from error
    except tomllib.TOMLDecodeError as error:
        raise InvalidArgument(
            f"{file} is no TOML: {error}", hint="`kvarts config explain` lists the settings"
        ) from None
