"""Commands on configuration and shards against their scripts: bytes in the log, decisions, the rows that are left."""

import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvarts.raft.ids import NodeId
from kvarts.shardmap.map import EMPTY, ShardMap
from kvarts.shardmap.shard import Epoch, KeyspaceId, ShardId
from kvarts.statemachine import shards
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
from kvarts.statemachine.rows import SHARD, SPACE, shard_map_in
from kvarts.statemachine.system_keys import SystemKeys
from tests.golden import configurations
from tests.golden.scripts import GOLDEN, OF_PYTHON, run_script


class Machine:
    """Understands: COMMAND NAME=VALUE…, log COMMAND…, raw BYTES, rows, owner KEYSPACE KEY, restart."""

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
            case ["owner", keyspace, key]:
                shard = shard_map_in(self.keys.rows).lookup(KeyspaceId(int(keyspace)), key.encode())
                return [f"s{shard.id} epoch {shard.epoch} at {','.join(map(str, shard.voters))}"]
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
        shard_map_in(self.keys.rows)  # Raises MapBroken where a token has no owner, or two.
        digest = f" digest {decision.check}" if decision.check else ""
        return [f"done{value}{digest}", *(f"  {key.decode()} = {new and new.decode()}" for key, new in decision.writes)]


@pytest.mark.parametrize("name", OF_PYTHON)
def test_configuration_behaves_as_its_script_says(name: str) -> None:
    run_script(GOLDEN / "statemachine" / f"{name}.txt", Machine().do)


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


FEW = st.integers(1, 4)
NODES = FEW.map(NodeId)
IDS = st.integers(2, 8).map(ShardId)
EPOCHS = st.integers(1, 3).map(Epoch)
BOUNDS = st.integers(1, 15).map(lambda first: f"{first << 60:016x}")
SHARD_COMMANDS = st.one_of(
    st.builds(
        shards.CreateShards,
        keyspace=st.integers(1, 2).map(KeyspaceId),
        bounds=st.just(("8000000000000000",)),
        voters=st.lists(st.sets(NODES, min_size=1).map(sorted).map(tuple), min_size=2, max_size=2).map(tuple),
        partition=st.sampled_from(["whole", "first-item", "prefix:4"]),
    ),
    st.builds(shards.BeginSplit, shard=IDS, epoch=EPOCHS, at=BOUNDS),
    st.builds(shards.FinishSplit, shard=IDS, child=IDS),
    st.builds(shards.CancelSplit, shard=IDS, child=IDS),
    st.builds(shards.BeginMove, shard=IDS, epoch=EPOCHS, source=NODES, target=NODES),
    st.builds(shards.PromoteMove, shard=IDS, epoch=EPOCHS, target=NODES),
    st.builds(shards.FinishMove, shard=IDS, epoch=EPOCHS, source=NODES, target=NODES),
    st.builds(shards.CancelMove, shard=IDS, epoch=EPOCHS, source=NODES, target=NODES),
    st.builds(shards.SettleMove, shard=IDS, epoch=EPOCHS, source=NODES, target=NODES),
    st.builds(shards.RaiseEpoch, shard=IDS, epoch=EPOCHS),
    st.builds(shards.LimitShards, keyspace=st.integers(1, 2).map(KeyspaceId), bytes=st.integers(0, 2**40)),
    st.builds(shards.DrainNode, node=NODES, draining=st.booleans(), successor=NODES, lost=st.booleans()),
)
START = [
    *(encode(SetNode(node=NodeId(each), addresses=())) for each in range(1, 5)),
    encode(CreateKeyspace(name="one", key="str", value="json")),
    encode(CreateKeyspace(name="two", key="str", value="json")),
    shards.encode(
        shards.CreateShards(keyspace=KeyspaceId(1), bounds=("8000000000000000",), voters=((NodeId(1),), (NodeId(2),)))
    ),
]
BESIDE = st.one_of(
    NODES.map(lambda node: RemoveNode(node=node)),
    st.sampled_from([DropKeyspace(name="one", id=1), DropKeyspace(name="two", id=2)]),
)


@given(COMMANDS)
def test_commands_are_read_as_they_were_written(command: ConfigCommand) -> None:
    packed = encode(command)
    kind, fields = unpack_command(packed)
    assert kind is CommandKind.CONFIGURATION
    assert decode(fields) == command
    assert encode(decode(fields)) == packed


@given(SHARD_COMMANDS)
def test_commands_on_shards_are_read_as_they_were_written(command: shards.ShardCommand) -> None:
    packed = shards.encode(command)
    kind, fields = unpack_command(packed)
    assert kind is CommandKind.SHARD_MAP
    assert shards.decode(fields) == command
    assert shards.encode(shards.decode(fields)) == packed


@given(st.lists(COMMANDS.map(encode) | SHARD_COMMANDS.map(shards.encode), max_size=12))
def test_rows_are_all_that_a_restart_needs(commands: list[bytes]) -> None:
    kept, restarted = SystemKeys({}), SystemKeys({})
    for command in START + commands:
        restarted = SystemKeys(dict(restarted.rows))
        assert kept.apply(command) == restarted.apply(command)
    assert kept.rows == restarted.rows


@given(st.lists(SHARD_COMMANDS.map(shards.encode) | BESIDE.map(encode), max_size=40))
def test_whatever_is_asked_for_every_token_keeps_one_owner_on_nodes_that_there_are(commands: list[bytes]) -> None:
    keys = SystemKeys({})
    for command in START:
        keys.apply(command)
    before = shard_map_in(keys.rows)
    for command in commands:
        decision = keys.apply(command)
        after = shard_map_in(keys.rows)  # Raises MapBroken where a token has no owner, or two.
        touched = any(key.startswith((SHARD, SPACE)) for key, _ in decision.writes)
        assert after.version - before.version == touched
        assert not decision.refusal or not decision.writes
        _compare(before, after)
        nodes = Configuration(keys.rows).nodes
        assert all(node in nodes for each in after.shards for node in (*each.voters, each.learner) if node)
        before = after


def _compare(before: ShardMap, after: ShardMap) -> None:
    """Of every keyspace that is left, no token's owner has a lower epoch, and a new owner a higher one."""
    for keyspace in before.spaces.keys() & after.spaces.keys():
        for token in (bytes([first]) + bytes(7) for first in range(8, 256, 16)):
            old, new = before.owner(keyspace, token), after.owner(keyspace, token)
            assert new.epoch >= old.epoch
            assert new.epoch > old.epoch or (new.id, new.voters) == (old.id, old.voters)


def test_map_and_drains_are_what_the_rows_say() -> None:
    keys = SystemKeys({})
    for command in [*START, shards.encode(shards.DrainNode(node=NodeId(1), successor=NodeId(3)))]:
        keys.apply(command)
    seen = Configuration(keys.rows)
    assert seen.draining == {1: 3}
    assert seen.shard_map.version == 1
    assert [(each.id, each.voters) for each in seen.shard_map.shards] == [(2, (1,)), (3, (2,))]
    # A client that has nothing gets all there is as a difference.
    assert EMPTY.patched(EMPTY.difference(seen.shard_map)) == seen.shard_map


@given(
    st.binary(max_size=60)
    | st.binary(max_size=60).map(lambda tail: b"\x01\x01" + tail)
    | st.binary(max_size=60).map(lambda tail: b"\x02\x01" + tail)
)
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
