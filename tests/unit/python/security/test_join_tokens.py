"""Join tokens: one node, one cluster, one time, and no other way in."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvarts.security.join_tokens import JoinClaims, JoinRefusal, JoinRefused, check, mint

KEY, OTHER_KEY = bytes(range(32)), bytes(32)
DRAWN = bytes(range(16))
TOKEN = mint(KEY, "c1", "node-4", 60_000, DRAWN)


def refusal(token: str = TOKEN, *, key: bytes = KEY, **changed: object) -> JoinRefusal | None:
    asked: dict[str, object] = {"cluster": "c1", "name": "node-4", "now_ms": 59_999, "spent": ()}
    try:
        check(key, token, **(asked | changed))  # type: ignore[arg-type]
    except JoinRefused as refused:
        return refused.refusal
    return None


def test_token_lets_its_node_in_until_it_expires_or_is_spent() -> None:
    said = check(KEY, TOKEN, cluster="c1", name="node-4", now_ms=0, spent={"another"})
    assert said == JoinClaims(cluster="c1", name="node-4", expires_ms=60_000, id=DRAWN.hex())
    assert refusal() is None
    assert refusal(now_ms=60_000) is JoinRefusal.EXPIRED
    assert refusal(spent={said.id}) is JoinRefusal.SPENT


def test_token_is_for_one_node_of_one_cluster() -> None:
    assert refusal(cluster="c2") is JoinRefusal.OTHER_CLUSTER
    assert refusal(name="node-5") is JoinRefusal.OTHER_NODE
    assert refusal(key=OTHER_KEY) is JoinRefusal.FORGED


def test_form_of_a_token_is_pinned() -> None:
    claims = (
        "eyJjbHVzdGVyIjoiYzEiLCJleHBpcmVzX21zIjo2MDAwMCwiaWQiOiIwMDAxMDIwMzA0MDUwNjA3MDgwOTBhMGIwYzBkMGUwZiIs"
        "Im5hbWUiOiJub2RlLTQifQ"
    )
    assert f"kvj1.{claims}.ibs7X3jE7YeXV12UWoObgOUrIogrH4bGFvcOLZfYqoU" == TOKEN


@pytest.mark.parametrize(
    "token",
    [
        "",
        "kvj1.",
        "kvj1..",
        "kvj1.a.b.c",
        "kvj2." + TOKEN[5:],
        TOKEN[:-1],
        TOKEN + "A",
        TOKEN + "=",
        TOKEN + "\n",
        "é" * 9,
    ],
)
def test_what_is_no_token_is_refused(token: str) -> None:
    assert refusal(token) is JoinRefusal.MALFORMED


@given(
    st.integers(5, len(TOKEN) - 1), st.sampled_from("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")
)
def test_token_with_one_other_character_is_refused(at: int, other: str) -> None:
    changed = TOKEN[:at] + other + TOKEN[at + 1 :]
    if changed != TOKEN:
        assert refusal(changed) in (JoinRefusal.FORGED, JoinRefusal.MALFORMED)


@given(st.text(max_size=60))
def test_any_text_is_refused(token: str) -> None:
    assert refusal(token) is not None
    assert refusal("kvj1." + token) is not None


@pytest.mark.parametrize(
    ("key", "cluster", "name", "drawn"),
    [(b"short", "c", "n", DRAWN), (KEY, "", "n", DRAWN), (KEY, "c", "n" * 256, DRAWN), (KEY, "c", "n", b"")],
)
def test_token_is_not_made_of_what_is_too_short_or_too_long(key: bytes, cluster: str, name: str, drawn: bytes) -> None:
    with pytest.raises(ValueError):
        mint(key, cluster, name, 1, drawn)
