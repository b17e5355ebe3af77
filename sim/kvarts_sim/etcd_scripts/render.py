"""Writes what the core does in the words of the scripts."""

from __future__ import annotations

from kvarts.raft.ids import NodeId
from kvarts.raft.progress import Progress, ProgressState
from kvarts.raft.tracker import Tracker

PROGRESS_WORDS = {
    ProgressState.PROBE: "StateProbe",
    ProgressState.REPLICATE: "StateReplicate",
    ProgressState.SNAPSHOT: "StateSnapshot",
}


def describe_all_progress(tracker: Tracker) -> str:
    """One line for each member."""
    return "".join(f"{node}: {describe_progress(tracker, node)}\n" for node in tracker.progress).rstrip("\n")


def describe_progress(tracker: Tracker, node: NodeId) -> str:
    """One member's progress on a line."""
    progress: Progress = tracker.progress[node]
    words = [PROGRESS_WORDS[progress.state], f"match={progress.match}", f"next={progress.next}"]
    words += ["learner"] if tracker.is_learner(node) else []
    words += ["paused"] if progress.is_paused else []
    words += [f"pendingSnap={progress.snapshot_pending}"] if progress.snapshot_pending else []
    words += [] if progress.recently_active else ["inactive"]
    if len(progress.inflights):
        words.append(f"inflight={len(progress.inflights)}{'[full]' if progress.inflights.is_full else ''}")
    return " ".join(words)
