//! The only place that reads the time.
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Tells the time.
pub trait Clock: Send + Sync + 'static {
    /// Unix time in milliseconds: what expiries are compared with.
    fn unix_ms(&self) -> u64;
    /// Nanoseconds since some start; never goes back.
    fn monotonic_ns(&self) -> u64;
}

/// The machine's clock.
#[derive(Debug)]
pub struct OsClock {
    start: Instant,
}

impl Default for OsClock {
    #[expect(clippy::disallowed_methods, reason = "this is the room that may read the time")]
    fn default() -> Self {
        Self { start: Instant::now() }
    }
}

impl Clock for OsClock {
    #[expect(clippy::disallowed_methods, reason = "this is the room that may read the time")]
    fn unix_ms(&self) -> u64 {
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
    }

    fn monotonic_ns(&self) -> u64 {
        self.start.elapsed().as_nanos() as u64
    }
}

/// A clock that stands still until it is told to move.
#[derive(Debug, Default)]
pub struct ManualClock {
    unix_ms: AtomicU64,
}

impl ManualClock {
    /// Returns a clock that shows `unix_ms`.
    pub fn new(unix_ms: u64) -> Self {
        Self { unix_ms: AtomicU64::new(unix_ms) }
    }

    /// Moves the clock forward.
    pub fn advance_ms(&self, by_ms: u64) {
        self.unix_ms.fetch_add(by_ms, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn unix_ms(&self) -> u64 {
        self.unix_ms.load(Ordering::SeqCst)
    }

    fn monotonic_ns(&self) -> u64 {
        self.unix_ms.load(Ordering::SeqCst) * 1_000_000
    }
}
