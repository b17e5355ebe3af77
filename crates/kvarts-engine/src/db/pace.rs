//! How much slower writers go, the more there is still to be done behind them. Pure.
//!
//! A writer that is let run until something is full, and then waits until it is not, stops for as long as a compaction takes.
//! So each byte written costs a wait that grows with the debt: writers and background work meet where they are equally fast,
//! and nobody notices but by the rate.
use crate::compaction::Debt;
use crate::options::Options;

/// Wait per byte written, in nanoseconds, where the product of the curve below is 1: 100 MB/s.
const NS_PER_BYTE: f64 = 10.0;
/// The last part of the way to a full stop adds nothing to the wait.
const PRESSURE_MAX: f64 = 0.98;
/// Part of the memory for memtables that writers may fill at full speed.
const FREE_PART: f64 = 0.5;

/// From where on one kind of debt slows writers, and where it stops them.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Range {
    soft: f64,
    hard: f64,
}

impl Range {
    fn pressure(self, debt: f64) -> f64 {
        ((debt - self.soft) / (self.hard - self.soft)).max(0.0)
    }
}

/// What slows and stops the writers of a store with these options.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Pace {
    runs: Range,
    bytes: Range,
}

impl Pace {
    pub(super) fn new(options: &Options) -> Self {
        let merged = crate::compaction::runs_merged(options) as f64;
        let base = options.level_base_bytes.max(1) as f64;
        Self {
            // Picking keeps the runs below twice as many as are merged at once, as soon as it has a turn.
            runs: Range { soft: 2.0 * merged, hard: 5.0 * merged },
            bytes: Range { soft: base / 4.0, hard: base * 2.0 },
        }
    }

    /// How near compaction is to having to stop writers: 0 is far, from 1 on they wait.
    pub(super) fn of_compaction(&self, debt: Debt) -> f64 {
        self.runs.pressure(debt.runs as f64).max(self.bytes.pressure(debt.bytes as f64))
    }
}

/// How near flush is to that, by the part of the memory for memtables that is filled.
pub(super) fn of_flush(filled: f64) -> f64 {
    Range { soft: FREE_PART, hard: 1.0 }.pressure(filled)
}

/// What writing so many bytes costs, in nanoseconds of waiting.
pub(super) fn wait_ns(bytes: usize, pressure: f64) -> u64 {
    let pressure = pressure.min(PRESSURE_MAX);
    (bytes as f64 * NS_PER_BYTE * pressure * pressure / (1.0 - pressure)) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pace() -> Pace {
        Pace::new(&Options::default())
    }

    #[test]
    fn without_debt_nobody_waits() {
        assert_eq!(pace().of_compaction(Debt::default()), 0.0);
        assert_eq!(pace().of_compaction(Debt { runs: 16, bytes: 256 << 20 }), 0.0);
        assert_eq!(of_flush(0.5), 0.0);
        assert_eq!(wait_ns(1 << 20, 0.0), 0);
    }

    #[test]
    fn the_worst_debt_counts() {
        let runs = Debt { runs: 28, bytes: 0 };
        assert_eq!(pace().of_compaction(runs), 0.5);
        assert_eq!(pace().of_compaction(Debt { bytes: 2 << 30, ..runs }), 1.0);
        assert_eq!(of_flush(0.75), 0.5);
    }

    #[test]
    fn the_wait_grows_without_a_step() {
        let waits: Vec<u64> = (0..=100).map(|percent| wait_ns(1000, f64::from(percent) / 100.0)).collect();
        assert!(waits.windows(2).all(|two| two[0] <= two[1]));
        // Each hundredth of the way less than doubles what a write takes, with the microsecond that it takes anyway.
        assert!(waits.windows(2).all(|two| two[1] + 1000 < 2 * (two[0] + 1000)), "{waits:?}");
        assert_eq!(waits[50], 5_000);
    }
}
