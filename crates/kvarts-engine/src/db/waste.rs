//! What reads lose because their rows lie in many places: it pays for compaction that no level asks for.
use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};

/// Of the gets of a thread that asked in vain one in so many is counted, for all of them: few enough for threads not to fight
/// for the counter. Which ones is not for their keys to say: one that is asked for again and again would pay for all others.
const SAMPLED: u32 = 64;
/// Bytes that compaction rewrites while a get asks a table in vain: the filter, and its share of wrong answers.
const PROBE_BYTES: u64 = 128;
/// The same while a scan finds its place in one more source.
const SEEK_BYTES: u64 = 4 << 10;

/// A counter of a tree. Nobody relies on its order.
#[derive(Debug, Default)]
pub(super) struct Waste(AtomicU64);

impl Waste {
    /// Counts tables that a get has asked in vain.
    #[inline]
    pub(super) fn add_probes(&self, tables: u64) {
        if tables > 0 && is_sampled() {
            self.0.fetch_add(tables * u64::from(SAMPLED) * PROBE_BYTES, Ordering::Relaxed);
        }
    }

    /// Counts the sources of a scan beyond the first.
    pub(super) fn add_seeks(&self, sources: usize) {
        if sources > 0 {
            self.0.fetch_add(sources as u64 * SEEK_BYTES, Ordering::Relaxed);
        }
    }

    /// Bytes that are worth rewriting by now.
    pub(super) fn bytes(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Takes away what a compaction has cost.
    pub(super) fn spend(&self, bytes: u64) {
        let _ = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |have| Some(have.saturating_sub(bytes)));
    }
}

/// Tells whether this is the one of [`SAMPLED`] that counts on this thread.
#[inline]
fn is_sampled() -> bool {
    thread_local! {
        static ASKED: Cell<u32> = const { Cell::new(0) };
    }
    let asked = ASKED.get().wrapping_add(1);
    ASKED.set(asked);
    asked.is_multiple_of(SAMPLED)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_get_pays_for_its_own_probes_whatever_its_key() {
        let waste = Waste::default();
        for gets in [64, 6_400] {
            let before = waste.bytes();
            (0..gets).for_each(|_| waste.add_probes(2));
            assert_eq!(waste.bytes() - before, gets * 2 * PROBE_BYTES);
        }
        waste.spend(waste.bytes() + 1);
        assert_eq!(waste.bytes(), 0);
        (0..1_000).for_each(|_| waste.add_probes(0));
        assert_eq!(waste.bytes(), 0, "nothing was asked in vain");
    }
}
