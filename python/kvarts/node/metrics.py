"""What a node's loop and replicas count, as Prometheus text; the muscle adds its own."""

from __future__ import annotations

from collections.abc import Iterator

from kvarts.node.loop import LoopFigures
from kvarts.replication.replica import ReplicaStatus

Sample = tuple[str, str, str, str, float]
"""Name, type, help, labels, value."""


def loop_samples(figures: LoopFigures) -> Iterator[Sample]:
    """Return the loop's figures."""
    yield "kvarts_loop_turns_total", "counter", "Turns of the loop.", "", figures.turns
    yield "kvarts_loop_events_total", "counter", "Events taken.", "", figures.events
    yield "kvarts_loop_busy_seconds_total", "counter", "Time spent in turns.", "", figures.busy_ns / 1e9
    yield "kvarts_loop_lag_seconds", "gauge", "How late the latest turn was.", "", figures.lag_ms / 1e3
    text = "Replicas that serve nobody, since they differ from the others."
    yield "kvarts_fenced_replicas", "gauge", text, "", float(figures.fenced)
    yield "kvarts_loop_lag_max_seconds", "gauge", "How late a turn ever was.", "", figures.lag_max_ms / 1e3


def room_samples(*, paused: bool, free_bytes: int) -> Iterator[Sample]:
    """Return whether the node waits for room, and what there is."""
    yield "kvarts_node_paused", "gauge", "1 while the node waits for room and serves nothing.", "", float(paused)
    yield "kvarts_disk_free_bytes", "gauge", "Bytes that the disk has left for the node.", "", float(free_bytes)


def replica_samples(status: ReplicaStatus) -> Iterator[Sample]:
    """Return a replica's figures."""
    label = f'{{group="{status.group}"}}'
    fields = (
        ("role", "0 follower, 1 pre-candidate, 2 candidate, 3 leader.", status.role),
        ("term", "Current term.", status.term),
        ("leader", "Id of the leader, 0 where unknown.", status.leader),
        ("last_index", "Last entry of the log.", status.last),
        ("commit_index", "Last entry known to be committed.", status.committed),
        ("applied_index", "Last entry applied.", status.applied),
        ("waiting_entries", "Entries committed and not yet applied.", status.waiting),
    )
    for name, text, value in fields:
        yield f"kvarts_raft_{name}", "gauge", text, label, float(value)


def text_of(samples: Iterator[Sample]) -> str:
    """Return the Prometheus text format of samples."""
    lines: list[str] = []
    told: set[str] = set()
    for name, kind, text, labels, value in samples:
        if name not in told:
            told.add(name)
            lines += [f"# HELP {name} {text}", f"# TYPE {name} {kind}"]
        lines.append(f"{name}{labels} {value:.9g}")
    return "\n".join(lines) + "\n"
