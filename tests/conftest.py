"""What all tests share: figures that a test measured and does not judge, printed at the end of the run."""

from collections.abc import Callable

import pytest

_FIGURES = pytest.StashKey[list[str]]()


@pytest.fixture
def figure(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """Takes a line to print after all tests: a count or a time that belongs in the record, not in an assertion."""
    return request.config.stash.setdefault(_FIGURES, []).append


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Prints the figures."""
    for line in config.stash.get(_FIGURES, []):
        terminalreporter.write_line(f"figure: {line}")
