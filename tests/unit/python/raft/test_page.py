"""The transcripts of the page on Raft are what happens."""

import re
from pathlib import Path

from kvarts_sim.etcd_scripts.datadriven import parse_script
from kvarts_sim.etcd_scripts.interaction_scripts import InteractionScript

PAGE = Path(__file__).resolve().parents[4] / "docs/internals/raft.md"


def test_transcripts_of_the_page_are_what_happens() -> None:
    blocks = re.findall(r"^```raft\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    cases = [case for block in blocks for case in parse_script(block)]
    assert len(cases) > 20
    assert cases[0].command == "add-nodes"
    script = InteractionScript()
    for case in cases:
        if case.command == "add-nodes":
            script = InteractionScript()
        assert script.run(case).splitlines() == list(case.expected), case.raw
