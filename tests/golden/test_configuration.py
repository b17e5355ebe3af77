"""Configuration commands against their script: bytes in the log, decisions, and the rows that are left."""

import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvarts.raft.ids import NodeId
from kvarts.statemachine.configuration import (
    ConfigCommand,
    Configuration,
    CreateKeyspace,
    DropKeyspace,
    RemoveNode,
    SetFeature,
    SetNode,
    decode,
    encode,
)
from kvarts.statemachine.python_commands import CommandKind, UnreadableCommand, pack_command, unpack_command
from kvarts.statemachine.system_keys import SystemKeys
from tests.golden import configurations
from tests.golden.scripts import GOLDEN, run_script


class Machine:
    """Understands: COMMAND NAME=VALUE…, log COMMAND…, raw BYTES, rows, restart."""

    def __init__(self) -> None:
        self.keys = SystemKeys({})

    def do(self, line: str) -> list[str]:
        match shlex.split(line):
            case ["rows"]:
                return [f"{key.decode()} = {value.decode()}" for key, value in sorted(self.keys.rows.items())]
            case ["restart"]:
                self.keys = SystemKeys(dict(self.keys.rows))
                return []
            case ["log", *words]:
                return [repr(configurations.encoded(words))]
            case ["raw", text]:
                return self._apply(text.encode().decode("unicode_escape").encode("latin-1"))
            case words:
                return self._apply(configurations.encoded(words))

    def _apply(self, command: bytes) -> list[str]:
        try:
            decision = self.keys.apply(command)
        except UnreadableCommand as error:
            return [f"unreadable: {error}"]
        value = "" if decision.value is None else f" {decision.value}"
        if decision.refusal:
            return [f"refused {decision.refusal}{value}"]
        return [f"done{value}", *(f"  {key.decode()} = {new and new.decode()}" for key, new in decision.writes)]


def test_configuration_behaves_as_its_script_says() -> None:
    run_script(GOLDEN / "statemachine" / "config.txt", Machine().do)


NAMES = st.text(st.characters(categories=("L", "N", "S")), min_size=1, max_size=60)
NUMBERS = st.integers(1, 2**63 - 1)
COMMANDS = st.one_of(
    st.builds(
        SetNode,
        node=NUMBERS.map(NodeId),
        addresses=st.lists(NAMES, max_size=3).map(tuple),
        features=st.dictionaries(NAMES, NUMBERS, max_size=3),
    ),
    st.builds(RemoveNode, node=NUMBERS.map(NodeId)),
    st.builds(
        CreateKeyspace,
        name=NAMES,
        key=NAMES,
        value=NAMES,
        options=st.dictionaries(NAMES, st.text('ab"\\é', max_size=9) | st.integers() | st.booleans(), max_size=3),
    ),
    st.builds(DropKeyspace, name=NAMES, id=NUMBERS),
    st.builds(SetFeature, name=NAMES, level=NUMBERS),
)


@given(COMMANDS)
def test_commands_are_read_as_they_were_written(command: ConfigCommand) -> None:
    packed = encode(command)
    kind, fields = unpack_command(packed)
    assert kind is CommandKind.CONFIGURATION
    assert decode(fields) == command
    assert encode(decode(fields)) == packed


@given(st.lists(COMMANDS, max_size=12))
def test_rows_are_all_that_a_restart_needs(commands: list[ConfigCommand]) -> None:
    kept, restarted = SystemKeys({}), SystemKeys({})
    for command in commands:
        restarted = SystemKeys(dict(restarted.rows))
        assert kept.apply(encode(command)) == restarted.apply(encode(command))
    assert kept.rows == restarted.rows


@given(st.binary(max_size=60) | st.binary(max_size=60).map(lambda tail: b"\x01\x01" + tail))
def test_bytes_that_are_no_command_are_refused_and_change_nothing(command: bytes) -> None:
    keys = SystemKeys({})
    with pytest.raises(UnreadableCommand):
        keys.apply(command)
    assert not keys.rows


@pytest.mark.parametrize(
    "fields",
    [
        {"do": "remove-node", "node": True},
        {"do": "remove-node", "node": 0},
        {"do": "remove-node", "node": 1.0},
        {"do": "remove-node"},
        {"do": "remove-node", "node": 1, "more": 1},
        {"do": "fly", "node": 1},
        {"do": "set-feature", "name": "x" * 256, "level": 1},
        {"do": "set-node", "node": 1, "addresses": ["a", 1], "features": {}},
    ],
    ids=["bool", "zero", "float", "missing", "more", "unknown", "long", "mixed"],
)
def test_fields_that_do_not_fit_are_refused(fields: dict[str, object]) -> None:
    with pytest.raises(UnreadableCommand):
        SystemKeys({}).apply(pack_command(CommandKind.CONFIGURATION, fields))


def test_a_command_that_could_not_be_read_is_not_written() -> None:
    with pytest.raises(UnreadableCommand):
        encode(RemoveNode(node=NodeId(0)))
    with pytest.raises(UnreadableCommand):
        encode(CreateKeyspace(name="a\n", key="bytes", value="bytes"))


def test_configuration_is_what_the_rows_say() -> None:
    keys = SystemKeys({})
    node = SetNode(node=NodeId(7), addresses=("localhost:1",), features={"leases": 2})
    keyspace = CreateKeyspace(name="users", key="str", value="json", options={"shards": 8})
    for command in (node, keyspace, SetFeature(name="leases", level=1)):
        keys.apply(encode(command))
    seen = Configuration(keys.rows)
    assert (seen.nodes, seen.keyspaces) == ({7: node}, {"users": (1, keyspace)})
    assert seen.features == {"leases": 1}
