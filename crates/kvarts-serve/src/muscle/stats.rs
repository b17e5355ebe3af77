//! What a muscle counts, cheap enough for the hot path: relaxed counters and histograms by powers of two.
use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};

/// Histogram buckets: up to 1 µs, 2 µs, 4 µs … 33.6 s, and beyond.
const BUCKETS: usize = 27;

/// How long something takes.
#[derive(Debug, Default)]
pub struct Histogram {
    buckets: [AtomicU64; BUCKETS],
    sum_ns: AtomicU64,
}

impl Histogram {
    /// Notes one duration.
    pub fn note(&self, ns: u64) {
        self.note_many(ns, 1);
    }

    /// Notes the same duration for `count`.
    pub fn note_many(&self, ns: u64, count: u64) {
        let us = ns.div_ceil(1_000).max(1);
        let bucket = (u64::BITS - (us - 1).leading_zeros()) as usize;
        self.buckets[bucket.min(BUCKETS - 1)].fetch_add(count, Ordering::Relaxed);
        self.sum_ns.fetch_add(ns.saturating_mul(count), Ordering::Relaxed);
    }

    fn write(&self, out: &mut String, name: &str, labels: &str) {
        let mut count = 0;
        for (at, bucket) in self.buckets.iter().enumerate() {
            count += bucket.load(Ordering::Relaxed);
            let bound = if at == BUCKETS - 1 { "+Inf".to_owned() } else { seconds(1_000 << at) };
            let _ = writeln!(out, "{name}_bucket{{{labels},le=\"{bound}\"}} {count}");
        }
        let _ = writeln!(out, "{name}_sum{{{labels}}} {}", seconds(self.sum_ns.load(Ordering::Relaxed)));
        let _ = writeln!(out, "{name}_count{{{labels}}} {count}");
    }
}

fn seconds(ns: u64) -> String {
    format!("{}", ns as f64 / 1e9)
}

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// One more.
    pub fn one(&self) {
        self.add(1);
    }

    /// `count` more.
    pub fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    /// How many so far.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Figures of a muscle.
#[derive(Debug, Default)]
pub struct Stats {
    /// A write, from the door to the turn that appends it.
    pub queue: Histogram,
    /// One turn's append.
    pub append: Histogram,
    /// One sync of the log.
    pub sync: Histogram,
    /// An entry with writes of ours, from its append until its apply begins.
    pub quorum: Histogram,
    /// One entry's apply.
    pub apply: Histogram,
    /// Answering the writers of one entry.
    pub reply: Histogram,
    /// A write, from the door to its answer.
    pub write: Histogram,
    /// A read that a round confirmed, from the door to its answer.
    pub read: Histogram,
    /// Reads answered at once, under a gate or as this node has it.
    pub reads_at_once: Counter,
    /// Reads and writes refused.
    pub refused: Counter,
    /// Requests that waited too long.
    pub expired: Counter,
    /// Entries appended, and their bytes.
    pub entries: Counter,
    /// Bytes of the entries appended.
    pub entry_bytes: Counter,
    /// Messages handed to the streams.
    pub sent: Counter,
    /// Messages not sent: their entries were superseded, or the queue to the node was full.
    pub unsent: Counter,
    /// Messages that came.
    pub received: Counter,
    /// Messages dropped because too many bytes wait here.
    pub dropped: Counter,
    /// Flushes of state machines.
    pub flushes: Counter,
    /// Snapshots sent, and installed.
    pub snapshots_sent: Counter,
    /// Snapshots installed.
    pub snapshots_installed: Counter,
}

/// A gauge's value at one moment.
pub struct Gauge {
    /// Its name, without the prefix.
    pub name: &'static str,
    /// What it is.
    pub help: &'static str,
    /// Its value.
    pub value: u64,
}

impl Stats {
    fn stages(&self) -> [(&'static str, &Histogram); 8] {
        [
            ("queue", &self.queue),
            ("append", &self.append),
            ("fsync", &self.sync),
            ("quorum", &self.quorum),
            ("apply", &self.apply),
            ("reply", &self.reply),
            ("write", &self.write),
            ("read", &self.read),
        ]
    }

    /// Counters by name.
    pub fn counters(&self) -> [(&'static str, &'static str, u64); 12] {
        [
            ("reads_at_once", "Reads answered without a round.", self.reads_at_once.get()),
            ("refused", "Requests refused.", self.refused.get()),
            ("expired", "Requests that waited too long.", self.expired.get()),
            ("entries", "Log entries appended.", self.entries.get()),
            ("entry_bytes", "Bytes of log entries appended.", self.entry_bytes.get()),
            ("messages_sent", "Messages handed to the streams.", self.sent.get()),
            ("messages_unsent", "Messages superseded before they left, or without a way.", self.unsent.get()),
            ("messages_received", "Messages that came.", self.received.get()),
            ("messages_dropped", "Messages dropped for want of memory.", self.dropped.get()),
            ("flushes", "Flushes of state machines.", self.flushes.get()),
            ("snapshots_sent", "Snapshots sent.", self.snapshots_sent.get()),
            ("snapshots_installed", "Snapshots installed.", self.snapshots_installed.get()),
        ]
    }

    /// All of it, and `gauges`, in the text format of Prometheus.
    pub fn text(&self, gauges: &[Gauge]) -> String {
        let mut out = String::new();
        let name = "kvarts_stage_seconds";
        let _ = writeln!(out, "# HELP {name} How long each stage of a request takes.\n# TYPE {name} histogram");
        for (stage, histogram) in self.stages() {
            histogram.write(&mut out, name, &format!("stage=\"{stage}\""));
        }
        for (name, help, value) in self.counters() {
            let name = format!("kvarts_muscle_{name}_total");
            let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} counter\n{name} {value}");
        }
        for Gauge { name, help, value } in gauges {
            let name = format!("kvarts_muscle_{name}");
            let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} gauge\n{name} {value}");
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_falls_into_the_first_bucket_that_holds_it() {
        for (ns, bucket) in [(0, 0), (1_000, 0), (1_001, 1), (2_000, 1), (2_001, 2), (u64::MAX / 2, BUCKETS - 1)] {
            let histogram = Histogram::default();
            histogram.note(ns);
            assert_eq!(histogram.buckets[bucket].load(Ordering::Relaxed), 1, "{ns} ns");
        }
    }

    #[test]
    fn text_counts_buckets_up_and_ends_in_infinity() {
        let stats = Stats::default();
        stats.apply.note_many(1_500, 3);
        let text = stats.text(&[Gauge { name: "requests", help: "Requests that wait.", value: 2 }]);
        assert!(text.contains("kvarts_stage_seconds_bucket{stage=\"apply\",le=\"0.000001\"} 0\n"), "{text}");
        assert!(text.contains("kvarts_stage_seconds_bucket{stage=\"apply\",le=\"0.000002\"} 3\n"), "{text}");
        assert!(text.contains("kvarts_stage_seconds_bucket{stage=\"apply\",le=\"+Inf\"} 3\n"), "{text}");
        assert!(text.contains("kvarts_stage_seconds_count{stage=\"apply\"} 3\n"), "{text}");
        assert!(text.contains("\nkvarts_muscle_requests 2\n"), "{text}");
    }
}
