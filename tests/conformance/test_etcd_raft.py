"""The published scripts of etcd-io/raft judge the core."""

from pathlib import Path

import pytest

from kvarts_sim.etcd_scripts.datadriven import ScriptError, parse_script, read_script
from kvarts_sim.etcd_scripts.runner import run_file, structural_lines
from tests.conformance.corpora import absent, scripts


def _parameters(kind: str) -> list[object]:
    found = scripts("etcd-raft", kind)
    if not found:
        return [pytest.param(Path(), marks=pytest.mark.skip(reason=absent("etcd-raft", kind)))]
    return [pytest.param(path, id=path.stem) for path in found]


@pytest.mark.parametrize("path", _parameters("quorum"))
def test_quorum_script_holds_to_the_letter(path: Path) -> None:
    assert run_file(path)[1] is None


@pytest.mark.parametrize("path", _parameters("confchange"))
def test_confchange_script_holds_to_the_letter(path: Path) -> None:
    assert run_file(path)[1] is None


@pytest.mark.parametrize("path", _parameters("interaction"))
def test_interaction_script_holds_line_by_line(path: Path) -> None:
    assert run_file(path)[1] is None


@pytest.mark.parametrize("path", sorted((Path(__file__).parent / "interaction").glob("*.txt")), ids=lambda p: p.stem)
def test_interaction_script_of_ours_holds_line_by_line(path: Path) -> None:
    assert run_file(path)[1] is None


def test_corpus_has_all_its_quorum_cases() -> None:
    found = scripts("etcd-raft", "quorum")
    if not found:
        pytest.skip(absent("etcd-raft", "quorum"))
    assert sum(len(read_script(path)) for path in found) == 127


def test_wrong_expectation_is_found(tmp_path: Path) -> None:
    script = tmp_path / "wrong.txt"
    script.write_text("vote cfg=(1) votes=(y)\n----\nVoteWon\n\nvote cfg=(1) votes=(n)\n----\nVoteWon\n")
    passed, difference = run_file(script)
    assert passed == 1
    assert difference is not None
    assert (difference.case.line, difference.expected, difference.printed) == (5, "VoteWon", "VoteLost")


def test_script_reader_takes_lists_words_input_and_continuations() -> None:
    text = "# prose\nadd 3 voters=(1, 2 3) x=y \\\n  z=(_,_)\nin put\n----\none\ntwo\n\n"
    text += "bare\n----\n----\na\n\nb\n----\n----\n"
    first, second = parse_script(text)
    assert (first.line, first.command, first.words) == (2, "add", ("3",))
    assert (first.values("voters"), first.value("x"), first.values("z")) == (("1", "2", "3"), "y", ("_", "_"))
    assert (first.input, first.expected) == (("in put",), ("one", "two"))
    assert (second.command, second.expected) == ("bare", ("a", "", "b"))


def test_repeated_key_of_a_script_goes_on_with_its_list_and_replaces_its_value() -> None:
    (case,) = parse_script("add-nodes 1 voters=(1) index=3 voters=(2,3) index=4\n----\n")
    assert case.values("voters") == ("1", "2", "3")
    assert case.value("index") == "4"


def test_script_without_separator_is_refused() -> None:
    with pytest.raises(ScriptError, match="line 2"):
        list(parse_script("\nvote\n"))


SNAPSHOT_OF_NO_TERM = """add-nodes 2 voters=(1,2) index=3
----

send-snapshot 1 2
----
1->2 MsgSnap Term:0 Log:0/0
  Snapshot: Index:3 Term:1 ConfState:Voters:[1 2] VotersOutgoing:[] Learners:[] LearnersNext:[] AutoLeave:false

stabilize
----
"""


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("add-nodes 1\n----\n----\nok\n", "twice"),
        ("add-nodes 1 voters=(1) index=3 \\", "no ----"),
        ("add-nodes 1\n----\nok\n\ncampaign\n----\nok\n", "line 5: campaign"),
        ("add-nodes 1\n----\nok\n\ndeliver-msgs 1 type=MsgSong\n----\nok\n", "unknown message type MsgSong"),
        ("add-nodes 1 prevote=perhaps\n----\nok\n", "true or false"),
        ("add-nodes one\n----\nok\n", "line 1: add-nodes one"),
        (SNAPSHOT_OF_NO_TERM, "line 9: stabilize"),
    ],
)
def test_script_that_cannot_be_run_is_an_error_with_its_line(text: str, why: str, tmp_path: Path) -> None:
    script = tmp_path / "wrong.txt"
    script.write_text(text)
    with pytest.raises(ScriptError, match=why):
        run_file(script)


def test_only_structural_lines_count() -> None:
    assert structural_lines("ok\n  INFO 1 became leader\n> 1 handling Ready\n") == ["> 1 handling Ready"]
