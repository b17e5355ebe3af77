//! What reads lose because their rows lie in many places: it pays for compaction that no level asks for.
use std::sync::atomic::{AtomicU64, Ordering};

/// One get in so many is counted, for all of them: few enough for threads not to fight for the counter.
const SAMPLED: u64 = 64;
/// Bytes that compaction rewrites while a get asks a table in vain: the filter, and its share of wrong answers.
const PROBE_BYTES: u64 = 128;
/// The same while a scan finds its place in one more source.
const SEEK_BYTES: u64 = 4 << 10;

/// A counter of a tree. Nobody relies on its order.
#[derive(Debug, Default)]
pub(super) struct Waste(AtomicU64);

impl Waste {
    /// Counts tables that a get has asked in vain; `hash` is that of its key.
    #[inline]
    pub(super) fn add_probes(&self, hash: u64, tables: u64) {
        // Bits that neither filters nor memtables look at first.
        if tables > 0 && (hash >> 24).is_multiple_of(SAMPLED) {
            self.0.fetch_add(tables * SAMPLED * PROBE_BYTES, Ordering::Relaxed);
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
