//! What handles stand for: writes of clients, entries of other nodes, snapshots. Python names them; the bytes are here.
use super::pending::Answer;
use super::refusal;
use bytes::Bytes;
use kvarts_engine::sync::Mutex;
use kvarts_wire::v1;
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// A client's write.
pub struct WaitingWrite {
    /// The encoded command, its length before it.
    pub command: Bytes,
    /// Who waits, unless that took too long.
    pub answer: Option<Answer<v1::WriteResponse>>,
    /// Until when.
    pub deadline: Instant,
}

/// What a handle stands for.
pub enum Held {
    /// A client's write.
    Write(WaitingWrite),
    /// An entry's payload as another node has it.
    Payload(Bytes),
    /// A directory with a snapshot.
    Snapshot(PathBuf),
}

impl Held {
    fn bytes(&self) -> u64 {
        match self {
            Self::Write(write) => write.command.len() as u64,
            Self::Payload(payload) => payload.len() as u64,
            Self::Snapshot(_) => 0,
        }
    }
}

/// All handles of a node. Handle 0 is none.
pub struct Handles {
    table: Mutex<HashMap<u64, Held>>,
    last: AtomicU64,
    bytes: AtomicU64,
    bytes_max: u64,
}

impl Handles {
    /// None yet; at most about `bytes_max` behind them.
    pub fn new(bytes_max: u64) -> Self {
        Self { table: Mutex::default(), last: AtomicU64::new(0), bytes: AtomicU64::new(0), bytes_max }
    }

    /// Bytes behind all handles.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.table.lock().len()
    }

    /// Tells whether `size` more bytes are welcome.
    pub fn has_room(&self, size: usize) -> bool {
        self.bytes() + size as u64 <= self.bytes_max
    }

    /// Keeps something, and returns its handle.
    pub fn keep(&self, held: Held) -> u64 {
        let handle = self.last.fetch_add(1, Ordering::Relaxed) + 1;
        self.bytes.fetch_add(held.bytes(), Ordering::Relaxed);
        self.table.lock().insert(handle, held);
        handle
    }

    /// Lets go of a handle.
    pub fn take(&self, handle: u64) -> Option<Held> {
        let held = self.table.lock().remove(&handle);
        if let Some(held) = &held {
            self.bytes.fetch_sub(held.bytes(), Ordering::Relaxed);
        }
        held
    }

    /// Answers writers whose time is over; their commands stay, since they may be proposed by now. Returns how many.
    pub fn expire(&self, now: Instant) -> usize {
        let mut late = Vec::new();
        for held in self.table.lock().values_mut() {
            if let Held::Write(write) = held
                && write.deadline <= now
            {
                late.extend(write.answer.take());
            }
        }
        let count = late.len();
        for answer in late {
            answer.refuse(refusal::commit_unknown("not answered in time"));
        }
        count
    }

    /// Lets go of all.
    pub fn clear(&self) -> Vec<Held> {
        self.bytes.store(0, Ordering::Relaxed);
        let table = std::mem::take(&mut *self.table.lock());
        table.into_values().collect()
    }
}
