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
    /// Writes of clients to one group, in the order in which they came.
    Writes {
        /// The group.
        group: u64,
        /// Who wants what.
        writes: Vec<WaitingWrite>,
        /// Bytes of their commands.
        bytes: u64,
    },
    /// An entry's payload as another node has it.
    Payload(Bytes),
    /// A directory with a snapshot.
    Snapshot(PathBuf),
}

impl Held {
    fn bytes(&self) -> u64 {
        match self {
            Self::Writes { bytes, .. } => *bytes,
            Self::Payload(payload) => payload.len() as u64,
            Self::Snapshot(_) => 0,
        }
    }
}

#[derive(Default)]
struct Table {
    held: HashMap<u64, Held>,
    /// By group, the handle of the writes that take more.
    open: HashMap<u64, u64>,
}

/// All handles of a node. Handle 0 is none.
pub struct Handles {
    table: Mutex<Table>,
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
        self.table.lock().held.len()
    }

    /// Tells whether `size` more bytes are welcome.
    pub fn has_room(&self, size: usize) -> bool {
        self.bytes() + size as u64 <= self.bytes_max
    }

    /// Keeps something, and returns its handle.
    pub fn keep(&self, held: Held) -> u64 {
        let handle = self.last.fetch_add(1, Ordering::Relaxed) + 1;
        self.bytes.fetch_add(held.bytes(), Ordering::Relaxed);
        self.table.lock().held.insert(handle, held);
        handle
    }

    /// Adds a client's write to those of its group that wait, unless they would be more than `bytes_max` then. Returns the
    /// handle of new ones: Python must hear of it, and whatever comes until they are taken belongs to it.
    pub fn add_write(&self, group: u64, write: WaitingWrite, bytes_max: u64) -> Option<u64> {
        let size = write.command.len() as u64;
        self.bytes.fetch_add(size, Ordering::Relaxed);
        let mut table = self.table.lock();
        let Table { held, open } = &mut *table;
        if let Some(Held::Writes { writes, bytes, .. }) = open.get(&group).and_then(|handle| held.get_mut(handle))
            && *bytes + size <= bytes_max
        {
            writes.push(write);
            *bytes += size;
            return None;
        }
        let handle = self.last.fetch_add(1, Ordering::Relaxed) + 1;
        held.insert(handle, Held::Writes { group, writes: vec![write], bytes: size });
        open.insert(group, handle);
        Some(handle)
    }

    /// Bytes behind a handle at this moment.
    pub fn size(&self, handle: u64) -> u64 {
        self.table.lock().held.get(&handle).map_or(0, Held::bytes)
    }

    /// Lets go of a handle.
    pub fn take(&self, handle: u64) -> Option<Held> {
        let mut table = self.table.lock();
        let held = table.held.remove(&handle)?;
        if let Held::Writes { group, .. } = held
            && table.open.get(&group) == Some(&handle)
        {
            table.open.remove(&group);
        }
        self.bytes.fetch_sub(held.bytes(), Ordering::Relaxed);
        Some(held)
    }

    /// Answers writers whose time is over; their commands stay, since they may be proposed by now. Returns how many.
    pub fn expire(&self, now: Instant) -> usize {
        let mut late = Vec::new();
        for held in self.table.lock().held.values_mut() {
            if let Held::Writes { writes, .. } = held {
                let over = writes.iter_mut().filter(|write| write.deadline <= now);
                late.extend(over.filter_map(|write| write.answer.take()));
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
        table.held.into_values().collect()
    }
}
