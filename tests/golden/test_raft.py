"""Conversations of replicators against their scripts; the node's own muscle is to be run against the same."""

from pathlib import Path

import pytest

from tests.golden.conversation import Conversation
from tests.golden.scripts import GOLDEN, run_script


@pytest.mark.parametrize("path", sorted((GOLDEN / "raft").glob("*.txt")), ids=lambda path: path.stem)
def test_replicators_converse_as_the_script_says(path: Path) -> None:
    run_script(path, Conversation().do)
