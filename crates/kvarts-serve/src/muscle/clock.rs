//! The clocks of a muscle: one that never stops (leases, ticks), the wall's (stamps), and the deadlines of callers.
use std::time::Instant;

/// Tells the time to a muscle.
pub trait Time: Send + Sync + 'static {
    /// Nanoseconds of a clock that also runs while the machine sleeps; never goes back.
    fn boot_ns(&self) -> u64;
    /// Unix time in microseconds.
    fn unix_us(&self) -> u64;
    /// What deadlines of requests are compared with.
    fn now(&self) -> Instant;

    /// [`Time::boot_ns`] in milliseconds.
    fn boot_ms(&self) -> u64 {
        self.boot_ns() / 1_000_000
    }
}

/// The machine's clocks.
#[derive(Clone, Copy, Debug, Default)]
pub struct OsTime;

impl Time for OsTime {
    fn boot_ns(&self) -> u64 {
        nanoseconds(BOOT)
    }

    fn unix_us(&self) -> u64 {
        nanoseconds(rustix::time::ClockId::Realtime) / 1_000
    }

    #[expect(clippy::disallowed_methods, reason = "this is the room's clock, and comes in through the constructor")]
    fn now(&self) -> Instant {
        Instant::now()
    }
}

#[cfg(target_os = "linux")]
const BOOT: rustix::time::ClockId = rustix::time::ClockId::Boottime;
// There it goes on while the machine sleeps.
#[cfg(not(target_os = "linux"))]
const BOOT: rustix::time::ClockId = rustix::time::ClockId::Monotonic;

fn nanoseconds(clock: rustix::time::ClockId) -> u64 {
    let read = rustix::time::clock_gettime(clock);
    read.tv_sec as u64 * 1_000_000_000 + read.tv_nsec as u64
}
