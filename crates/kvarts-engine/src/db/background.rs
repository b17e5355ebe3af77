//! The threads of a store: flush, compaction, and the timer that syncs. They wait without waking up for nothing.
use super::compact::Quiet;
use super::scrub::scrub_loop;
use super::state::{Shared, Work};
use crate::sync::panic_text;
use crate::{Error, Result};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

/// Wait before flush or compaction is tried again on a full disk, or without file descriptors.
const RETRY: Duration = Duration::from_secs(1);

/// Wait between looks for expired rows, where any table has rows that expire.
const EXPIRY_CHECK: Duration = Duration::from_secs(60);

/// What a thread does until the store ends.
type Job = fn(&Shared);

/// Starts the threads of a store.
pub(super) fn start(shared: &Arc<Shared>) -> Result<Vec<JoinHandle<()>>> {
    let mut jobs: Vec<(&str, Job)> =
        vec![("kvarts-flush", flush_loop), ("kvarts-compact", compact_loop), ("kvarts-sync", sync_loop)];
    if shared.options.scrub_bytes_per_s > 0 {
        jobs.push(("kvarts-scrub", scrub_loop));
    }
    let mut threads = Vec::new();
    for (name, job) in jobs {
        let own = Arc::clone(shared);
        match Builder::new().name(name.to_owned()).spawn(move || job(&own)) {
            Ok(thread) => threads.push(thread),
            Err(error) => {
                stop(shared, threads);
                return Err(Error::io("starting a thread for", Path::new(&shared.dir), error));
            }
        }
    }
    Ok(threads)
}

/// Ends the threads and waits for them.
pub(super) fn stop(shared: &Shared, threads: Vec<JoinHandle<()>>) {
    shared.ask(|work| work.stop = true);
    for thread in threads {
        // A panic was caught inside and has poisoned the store.
        let _ = thread.join();
    }
}

fn flush_loop(shared: &Shared) {
    let mut retry = None;
    while shared.next_job(|work| work.flush || work.log, retry) {
        let (flush, log) = shared.take_jobs();
        if log {
            let _ = shared.attempt(Shared::prepare_log);
        }
        if flush || retry.is_some() {
            retry = shared.attempt(Shared::flush_all);
        }
    }
}

fn compact_loop(shared: &Shared) {
    let (mut wait, mut quiet) = (None, Quiet::default());
    while shared.next_job(|work| std::mem::take(&mut work.compact), wait) {
        wait = shared.attempt(Shared::compact_pending);
        if wait.is_none() {
            let _ = shared.attempt(|shared| {
                wait = shared.compact_resting(&mut quiet)?;
                Ok(())
            });
            wait = wait.or_else(|| shared.expires().then_some(EXPIRY_CHECK));
        }
    }
}

fn sync_loop(shared: &Shared) {
    let interval = Duration::from_millis(shared.options.sync_interval_ms);
    while shared.next_job(|work| std::mem::take(&mut work.sync), None) {
        while shared.next_job(|_| false, Some(interval)) {
            let _ = shared.attempt(|shared| shared.sync_to(shared.appended.load()));
            if shared.is_poisoned() || shared.try_rest() {
                break;
            }
        }
    }
}

impl Shared {
    /// Waits until `take` finds work, or `timeout` is over. Returns false where the thread is to end.
    pub(super) fn next_job(&self, take: impl Fn(&mut Work) -> bool, timeout: Option<Duration>) -> bool {
        let mut work = self.signals.work.lock();
        loop {
            if work.stop {
                return false;
            }
            if take(&mut work) {
                return true;
            }
            match timeout {
                None => self.signals.work_changed.wait(&mut work),
                Some(timeout) => {
                    if self.signals.work_changed.wait_for(&mut work, timeout) {
                        return !work.stop;
                    }
                }
            }
        }
    }

    /// Takes what the flush thread is asked to do.
    fn take_jobs(&self) -> (bool, bool) {
        let mut work = self.signals.work.lock();
        (std::mem::take(&mut work.flush), std::mem::take(&mut work.log))
    }

    /// Runs a job and settles how it failed, if it did. Returns the wait before it is worth trying again by itself.
    pub(super) fn attempt(&self, job: impl FnOnce(&Self) -> Result<()>) -> Option<Duration> {
        if self.is_poisoned() {
            return None;
        }
        match catch_unwind(AssertUnwindSafe(|| job(self))) {
            Ok(Ok(())) => None,
            Ok(Err(error)) => self.settle(error),
            Err(panic) => {
                self.poison(Error::Poisoned(format!("a panic in the background: {}", panic_text(&*panic)).into()));
                None
            }
        }
    }

    /// A full disk, or too few file descriptors, leave everything in memory and are tried again; all else ends the writes.
    fn settle(&self, error: Error) -> Option<Duration> {
        match error {
            Error::Closed => None,
            passing if passing.may_pass() => {
                self.set_failure(Some(passing));
                Some(RETRY)
            }
            other => {
                self.poison(other);
                None
            }
        }
    }

    /// In a store without threads: flushes what is full and compacts, in the caller.
    pub(super) fn maintain(&self) {
        let _ = self.attempt(|shared| {
            {
                let mut write = shared.write.lock();
                if write.active_bytes >= shared.options.memtable_bytes {
                    shared.seal_largest(&mut write);
                }
            }
            if shared.take_jobs().1 {
                shared.prepare_log()?;
            }
            if shared.sealed.load(Ordering::Acquire) == 0 {
                return Ok(());
            }
            shared.flush_all()?;
            shared.compact_pending()
        });
    }

    /// In a store without threads: tries again to flush what a full disk has kept in memory.
    pub(super) fn relieve(&self) {
        if !self.options.background && self.sealed.load(Ordering::Acquire) > 0 {
            self.maintain();
        }
    }
}
