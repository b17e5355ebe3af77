//! How many stores of one budget compact at once: each has a thread for it, and a node has a store for each shard.
use crate::sync::{Condvar, Mutex};
use std::thread::available_parallelism;
use std::time::Duration;

/// So that a small compaction does not wait for a large one, also where there is but one processor.
const TURNS_MIN: usize = 2;

/// How often who waits looks whether it still wants a turn.
const LOOK: Duration = Duration::from_millis(50);

/// Turns to compact: as many as there are processors.
pub(super) struct Turns {
    free: Mutex<usize>,
    freed: Condvar,
}

/// A turn, given back when it is dropped.
pub(super) struct Turn<'t>(&'t Turns);

impl Turns {
    pub(super) fn new() -> Self {
        Self::of(available_parallelism().map_or(TURNS_MIN, usize::from).max(TURNS_MIN))
    }

    fn of(count: usize) -> Self {
        Self { free: Mutex::new(count), freed: Condvar::default() }
    }

    /// Waits for a turn; `None` once it is not wanted any more.
    pub(super) fn take(&self, wanted: impl Fn() -> bool) -> Option<Turn<'_>> {
        let mut free = self.free.lock();
        while *free == 0 {
            if !wanted() {
                return None;
            }
            self.freed.wait_for(&mut free, LOOK);
        }
        *free -= 1;
        Some(Turn(self))
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        *self.0.free.lock() += 1;
        self.0.freed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::thread;

    #[test]
    fn no_more_have_a_turn_at_once_than_there_are() {
        let (turns, now, most) = (Turns::of(2), AtomicUsize::new(0), AtomicUsize::new(0));
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..50 {
                        let _turn = turns.take(|| true).unwrap();
                        most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                        thread::yield_now();
                        now.fetch_sub(1, Ordering::SeqCst);
                    }
                });
            }
        });
        assert_eq!(most.load(Ordering::SeqCst), 2);
        assert_eq!(*turns.free.lock(), 2);
    }

    #[test]
    fn who_wants_none_any_more_waits_no_longer() {
        let turns = Turns::of(1);
        let turn = turns.take(|| false).expect("there is one");
        assert!(turns.take(|| false).is_none());
        drop(turn);
        assert!(turns.take(|| false).is_some());
    }
}
