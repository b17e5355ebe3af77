//! Locks that survive `fork`: std's, which on Linux and macOS keep their state in the lock itself.
//!
//! Locks with a table of waiting threads (parking_lot) are not for us: a forked child inherits the table with the
//! parent's threads in it, which do not exist there, and a store that the child opens then hangs.
//!
//! A panic while a lock is held does not poison it: `db` notes a panic itself and refuses later writes.
//!
//! [`atomic`] is what the memtable and the publication of revisions use: std's, and under the feature `model` those of loom,
//! which tries every order of threads and every value that a load may return.
use std::any::Any;
use std::ops::{Deref, DerefMut};
use std::sync::{self, PoisonError, TryLockError};
use std::time::Duration;

/// Atomics, as std has them.
pub mod atomic {
    #[cfg(feature = "model")]
    pub use loom::sync::atomic::*;
    #[cfg(not(feature = "model"))]
    pub use std::sync::atomic::*;
}

/// Marks bytes that are written without atomics and read by other threads. It takes no room, and is nothing, but in a model:
/// there a read that the write did not happen before is an error.
#[derive(Debug, Default)]
pub struct Witness {
    #[cfg(feature = "model")]
    cell: loom::cell::UnsafeCell<()>,
}

impl Witness {
    /// The bytes are written.
    #[inline]
    pub fn write(&self) {
        #[cfg(feature = "model")]
        self.cell.with_mut(|_| ());
    }

    /// The bytes are read.
    #[inline]
    pub fn read(&self) {
        #[cfg(feature = "model")]
        self.cell.with(|_| ());
    }
}

/// Places where a model may plant a bug, to show that it would be found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Plant {
    /// None.
    Nothing,
    /// A row is linked before it is known to be written.
    Link,
    /// A row of a key is noted before it is known to be written.
    Note,
    /// The row in a slot follows the tag that announces it.
    Slot,
    /// A larger table of keys is shown before it is known to be filled.
    Grow,
    /// A revision is shown before its rows are known to be there.
    Show,
    /// A state is counted before it is replaced.
    Count,
    /// A reader does not look again whether the state was replaced.
    Recheck,
}

#[cfg(feature = "model")]
static PLANTED: std::sync::atomic::AtomicU8 = std::sync::atomic::AtomicU8::new(0);

/// Plants a bug, until another one is planted.
#[cfg(feature = "model")]
pub fn plant(bug: Plant) {
    PLANTED.store(bug as u8, std::sync::atomic::Ordering::SeqCst);
}

/// Tells whether a bug is planted: never but in a model.
#[inline]
pub fn is_planted(_bug: Plant) -> bool {
    #[cfg(feature = "model")]
    return PLANTED.load(std::sync::atomic::Ordering::SeqCst) == _bug as u8;
    #[cfg(not(feature = "model"))]
    false
}

/// The order of a store that publishes: `Release`, or weaker where that is the planted bug.
#[inline]
pub fn publishing(bug: Plant) -> atomic::Ordering {
    if is_planted(bug) { atomic::Ordering::Relaxed } else { atomic::Ordering::Release }
}

/// Returns what a panic said.
pub fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no message".to_owned())
}

/// A mutual exclusion lock.
#[derive(Debug, Default)]
pub struct Mutex<T>(sync::Mutex<T>);

/// A held [`Mutex`].
#[derive(Debug)]
pub struct MutexGuard<'a, T>(Option<sync::MutexGuard<'a, T>>);

impl<T> Mutex<T> {
    /// Returns a free lock around `value`.
    pub const fn new(value: T) -> Self {
        Self(sync::Mutex::new(value))
    }

    /// Takes the lock, waiting for it.
    #[inline]
    pub fn lock(&self) -> MutexGuard<'_, T> {
        MutexGuard(Some(self.0.lock().unwrap_or_else(PoisonError::into_inner)))
    }

    /// Takes the lock if it is free.
    #[inline]
    pub fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
        match self.0.try_lock() {
            Ok(guard) => Some(MutexGuard(Some(guard))),
            Err(TryLockError::Poisoned(poisoned)) => Some(MutexGuard(Some(poisoned.into_inner()))),
            Err(TryLockError::WouldBlock) => None,
        }
    }
}

const HELD: &str = "a guard is empty only while its thread waits in Condvar::wait";

impl<T> Deref for MutexGuard<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        self.0.as_ref().expect(HELD)
    }
}

impl<T> DerefMut for MutexGuard<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        self.0.as_mut().expect(HELD)
    }
}

/// Lets threads wait for a change of what a [`Mutex`] guards.
#[derive(Debug, Default)]
pub struct Condvar(sync::Condvar);

impl Condvar {
    /// Frees the lock, waits to be told, and takes it again. May return for nothing.
    pub fn wait<T>(&self, guard: &mut MutexGuard<'_, T>) {
        let held = guard.0.take().expect(HELD);
        guard.0 = Some(self.0.wait(held).unwrap_or_else(PoisonError::into_inner));
    }

    /// The same for at most `timeout`. Returns true where that ran out.
    pub fn wait_for<T>(&self, guard: &mut MutexGuard<'_, T>, timeout: Duration) -> bool {
        let held = guard.0.take().expect(HELD);
        let (held, outcome) = self.0.wait_timeout(held, timeout).unwrap_or_else(PoisonError::into_inner);
        guard.0 = Some(held);
        outcome.timed_out()
    }

    /// Wakes one who waits.
    pub fn notify_one(&self) {
        self.0.notify_one();
    }

    /// Wakes all who wait.
    pub fn notify_all(&self) {
        self.0.notify_all();
    }
}

/// A lock for many readers or one writer.
#[derive(Debug, Default)]
pub struct RwLock<T>(sync::RwLock<T>);

impl<T> RwLock<T> {
    /// Returns a free lock around `value`.
    pub const fn new(value: T) -> Self {
        Self(sync::RwLock::new(value))
    }

    /// Takes the lock to read.
    pub fn read(&self) -> sync::RwLockReadGuard<'_, T> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the lock to write.
    pub fn write(&self) -> sync::RwLockWriteGuard<'_, T> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}
