//! The syncing end of the log: group commit.
use super::{LogPosition, log_path};
use crate::fs::LogSync;
use crate::sync::{Condvar, Mutex, panic_text};
use crate::{Error, FileId, Result};
use kvarts_formats::header::HEADER_BYTES;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A log file that is not yet wholly durable, or is still appended to.
pub(super) struct Segment {
    pub(super) file: FileId,
    sync: Arc<dyn LogSync>,
    /// Bytes appended. Stored by the appender after the bytes are in the kernel's hands.
    appended: AtomicU64,
    /// Bytes on stable storage; 0 while an older file is not wholly durable. Invariant: synced <= appended.
    synced: AtomicU64,
}

impl Segment {
    /// Returns a file of which the header was appended and synced; `synced` is 0 where older files are not durable yet.
    pub(super) fn new(file: FileId, sync: Arc<dyn LogSync>, synced: u64) -> Self {
        Self { file, sync, appended: AtomicU64::new(HEADER_BYTES as u64), synced: AtomicU64::new(synced) }
    }

    /// How much of this file is durable, with everything before it.
    pub(super) fn synced(&self) -> u64 {
        self.synced.load(Ordering::Acquire)
    }

    pub(super) fn set_appended(&self, offset: u64) {
        self.appended.store(offset, Ordering::Release);
    }
}

/// The syncing end of the log: group commit.
pub struct LogSyncer {
    dir: PathBuf,
    state: Mutex<State>,
    /// Signalled when a leader is done.
    done: Condvar,
}

struct State {
    /// Oldest first; the last is the one appended to. All others have their `End` record.
    segments: VecDeque<Arc<Segment>>,
    synced: LogPosition,
    /// A thread is syncing for all.
    led: bool,
    poisoned: Option<Arc<str>>,
    /// The files were let go.
    closed: bool,
    syncs: u64,
}

impl LogSyncer {
    pub(super) fn new(dir: &Path, first: Arc<Segment>) -> Self {
        let synced = LogPosition { file: first.file, offset: first.synced() };
        let segments = VecDeque::from([first]);
        let state = State { segments, synced, led: false, poisoned: None, closed: false, syncs: 0 };
        Self { dir: dir.to_owned(), state: Mutex::new(state), done: Condvar::default() }
    }

    /// Takes over a new file; the one before it has its `End` record.
    pub(super) fn push(&self, next: Arc<Segment>) {
        self.state.lock().segments.push_back(next);
    }

    /// Returns once everything before `position` is on stable storage. The first waiter syncs for all who wait;
    /// older files are synced before newer ones, so that what is durable is always a prefix.
    ///
    /// Errors: the first failed sync poisons the syncer; every later call fails with `Poisoned`, none retries. `Closed`.
    pub fn sync_to(&self, position: LogPosition) -> Result<()> {
        let mut led_here = false;
        let mut state = self.state.lock();
        loop {
            if let Some(cause) = &state.poisoned {
                return Err(Error::Poisoned(cause.clone()));
            }
            if state.synced >= position {
                return Ok(());
            }
            if state.closed {
                return Err(Error::Closed);
            }
            if state.led {
                self.done.wait(&mut state);
                continue;
            }
            assert!(!led_here, "only what was appended can be synced: {position:?}");
            led_here = true;
            state.led = true;
            let segments: Vec<_> = state.segments.iter().cloned().collect();
            drop(state);
            // A panic must not leave those who wait for the leader waiting for ever.
            let outcome = catch_unwind(AssertUnwindSafe(|| self.lead(&segments)));
            state = self.state.lock();
            state.led = false;
            state.poisoned = match &outcome {
                Ok(Ok(())) => None,
                Ok(Err(error)) => Some(error.to_string().into()),
                Err(panic) => Some(format!("a panic while the log was synced: {}", panic_text(&**panic)).into()),
            };
            self.done.notify_all();
            if let Err(panic) = outcome {
                drop(state);
                resume_unwind(panic);
            }
        }
    }

    /// Lets the files go, once nobody syncs them: what was not synced before never is.
    pub fn close(&self) {
        let mut state = self.state.lock();
        while state.led {
            self.done.wait(&mut state);
        }
        state.closed = true;
        state.segments.clear();
    }

    /// Everything before this position is on stable storage.
    pub fn synced(&self) -> LogPosition {
        self.state.lock().synced
    }

    /// Syncs of log files so far; those that made a file or a directory durable at its creation do not count.
    pub fn syncs(&self) -> u64 {
        self.state.lock().syncs
    }

    /// Syncs what is appended by now, oldest file first. No lock is held meanwhile: appends go on, and wait for the next.
    fn lead(&self, segments: &[Arc<Segment>]) -> Result<()> {
        for (at, segment) in segments.iter().enumerate() {
            // Read before the sync: what is appended while it runs may or may not be covered.
            let appended = segment.appended.load(Ordering::Acquire);
            if appended > segment.synced() {
                segment.sync.sync().map_err(|error| {
                    let path = log_path(&self.dir, segment.file);
                    Error::io("syncing the log", &path, error)
                })?;
            }
            self.publish(segment, appended, segments.get(at + 1));
        }
        Ok(())
    }

    /// Notes that a file is durable up to `offset`, and is done with where another follows.
    fn publish(&self, segment: &Segment, offset: u64, next: Option<&Arc<Segment>>) {
        let mut state = self.state.lock();
        state.syncs += u64::from(offset > segment.synced());
        segment.synced.store(offset, Ordering::Release);
        state.synced = LogPosition { file: segment.file, offset };
        if let Some(next) = next {
            state.segments.pop_front();
            // Its header was synced when it was made.
            next.synced.store(HEADER_BYTES as u64, Ordering::Release);
            state.synced = LogPosition { file: next.file, offset: HEADER_BYTES as u64 };
        }
        // Followers whose position is reached need not wait for newer files.
        self.done.notify_all();
    }
}
