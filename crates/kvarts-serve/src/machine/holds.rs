//! History that is kept for readers that take longer than the retention window: backups.
//!
//! A hold names a time; as long as it is renewed, no machine of the node forgets rows that a read at that time, or later, can
//! see. One that is not renewed ends by itself, so a reader that dies holds nothing for long.
use kvarts_engine::sync::Mutex;
use std::collections::BTreeMap;
use std::time::Instant;

/// Holds by the numbers that their owners gave them. Shared by all machines of a node.
#[derive(Debug, Default)]
pub struct Holds(Mutex<BTreeMap<u64, (u64, Instant)>>);

impl Holds {
    /// Keeps all that is seen at `since_ms` (Unix milliseconds) or later, until then. Renews a hold of this number.
    pub fn hold(&self, number: u64, since_ms: u64, until: Instant) {
        self.0.lock().insert(number, (since_ms, until));
    }

    /// Ends a hold.
    pub fn release(&self, number: u64) {
        self.0.lock().remove(&number);
    }

    /// Ends those that were not renewed in time.
    pub fn expire(&self, now: Instant) {
        self.0.lock().retain(|_, (_, until)| *until > now);
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.0.lock().len()
    }

    /// The earliest time that is held.
    pub(super) fn floor_ms(&self) -> u64 {
        self.0.lock().values().map(|(since_ms, _)| *since_ms).min().unwrap_or(u64::MAX)
    }
}
