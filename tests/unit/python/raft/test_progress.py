"""Flow control of one follower."""

from kvarts.raft.ids import LogIndex
from kvarts.raft.inflights import Inflights
from kvarts.raft.progress import Progress, ProgressState


def _progress(*, match: int = 0, count_max: int = 2, bytes_max: int | None = None) -> Progress:
    progress = Progress(LogIndex(match + 1), Inflights(count_max, bytes_max))
    progress.match = LogIndex(match)
    return progress


def test_probe_sends_one_append_and_waits() -> None:
    progress = _progress(match=3)
    progress.sent(2, 10)
    assert progress.is_paused
    assert progress.next == 4


def test_replicate_sends_ahead_until_its_window_is_full() -> None:
    progress = _progress(match=3)
    progress.become_replicate()
    progress.sent(1, 10)
    assert not progress.is_paused
    progress.sent(2, 10)
    assert progress.is_paused
    assert progress.next == 7
    progress.inflights.free_to(LogIndex(4))
    assert progress.acknowledge(LogIndex(4))
    assert not progress.is_paused


def test_window_is_bounded_in_bytes_but_takes_one_message_of_any_size() -> None:
    window = Inflights(100, bytes_max=10)
    window.add(LogIndex(1), 999)
    assert window.is_full
    window.free_to(LogIndex(1))
    assert (window.bytes, window.is_full) == (0, False)


def test_probe_after_a_snapshot_begins_behind_it() -> None:
    progress = _progress(match=2)
    progress.become_snapshot(LogIndex(9))
    assert progress.is_paused
    progress.become_probe()
    assert (progress.next, progress.state) == (10, ProgressState.PROBE)


def test_old_news_changes_nothing() -> None:
    progress = _progress(match=5)
    assert not progress.acknowledge(LogIndex(5))
    assert not progress.refuse(LogIndex(3), LogIndex(1))
    progress.become_replicate()
    assert not progress.refuse(LogIndex(5), LogIndex(1))


def test_refused_probe_goes_back_to_the_hint_and_never_below_match() -> None:
    progress = _progress(match=2)
    progress.next = LogIndex(9)
    assert progress.refuse(LogIndex(8), LogIndex(4))
    assert progress.next == 5
    assert progress.refuse(LogIndex(4), LogIndex(0))
    assert progress.next == 3
