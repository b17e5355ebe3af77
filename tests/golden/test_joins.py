"""Whatever leaders' clocks say and however often it is asked: a token lets one node in."""

from hypothesis import given
from hypothesis import strategies as st

from kvarts.raft.ids import NodeId
from kvarts.statemachine import joins
from kvarts.statemachine.configuration import AdmitNode, Configuration, RemoveNode, encode
from kvarts.statemachine.joins import AdmitByToken, RequireTokens, WaiveTokens
from kvarts.statemachine.system_keys import SystemKeys

TOKENS = st.integers(1, 4)
ADMISSIONS = st.builds(
    lambda token, ticket, host, now_ms: AdmitByToken(
        addresses=(f"{host}:1",),
        above=1,
        id=f"{token:032x}",
        expires_ms=token * 100,
        ticket=ticket,
        now_ms=now_ms,
        made_with=joins.fingerprint(bytes.fromhex("ab" * 32)),
    ),
    TOKENS,
    st.sampled_from("abc"),
    st.sampled_from("xy"),
    st.integers(1, 500),
)
REMOVALS = st.integers(2, 5).map(lambda node: RemoveNode(node=NodeId(node)))


@given(st.lists(ADMISSIONS | REMOVALS, max_size=30))
def test_a_token_lets_one_node_in(steps: list[AdmitByToken | RemoveNode]) -> None:
    keys = SystemKeys({})
    keys.apply(joins.encode(RequireTokens(key="ab" * 32)))
    let_in: dict[str, set[tuple[int | None, str, tuple[str, ...]]]] = {}
    for step in steps:
        if isinstance(step, RemoveNode):
            keys.apply(encode(step))
            continue
        before = set(Configuration(keys.rows).nodes)
        decision = keys.apply(joins.encode(step))
        if decision.refusal is None:
            assert step.id not in let_in or decision.value in before
            let_in.setdefault(step.id, set()).add((decision.value, step.ticket, step.addresses))
    assert all(len(each) == 1 for each in let_in.values())
    ids = [node for each in let_in.values() for node, _, _ in each]
    assert len(set(ids)) == len(ids)


@given(st.lists(st.sampled_from(["make", "waive", "join"]), max_size=12))
def test_a_node_comes_in_without_a_token_only_while_none_is_required(steps: list[str]) -> None:
    keys, required = SystemKeys({}), False
    for step in steps:
        if step == "join":
            decision = keys.apply(encode(AdmitNode(addresses=("h:1",), above=1)))
            assert decision.refusal == ("token-needed" if required else None)
            continue
        required = step == "make"
        keys.apply(joins.encode(RequireTokens(key="ab" * 32) if required else WaiveTokens()))


def test_what_is_said_of_a_command_does_not_tell_the_key() -> None:
    assert "ab" * 32 not in repr(RequireTokens(key="ab" * 32))
