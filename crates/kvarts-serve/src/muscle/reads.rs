//! Linearizable reads of a group: gathered into batches, each confirmed by one round, then served when applied far enough.
use super::pending::Answer;
use super::refusal;
use kvarts_engine::sync::Mutex;
use kvarts_wire::v1;
use std::collections::HashMap;
use std::mem;
use std::time::Instant;

/// What is to be read, and who waits for it.
pub enum Ask {
    /// Rows by key.
    Get(v1::GetRequest, Answer<v1::GetResponse>),
    /// One page of a scan.
    Scan(v1::ScanRequest, Answer<v1::ScanResponse>),
}

impl Ask {
    /// Refuses it.
    pub fn refuse(self, error: v1::Error) {
        match self {
            Self::Get(_, answer) => answer.refuse(error),
            Self::Scan(_, answer) => answer.refuse(error),
        }
    }
}

/// A read that waits.
pub struct WaitingRead {
    /// What for.
    pub ask: Ask,
    /// Until when.
    pub deadline: Instant,
}

/// Reads that are confirmed together.
pub type ReadBatch = Vec<WaitingRead>;

#[derive(Default)]
struct Table {
    /// Not yet seen by Python: takes more.
    open: Option<(u64, ReadBatch)>,
    /// Seen by Python, not yet confirmed.
    waiting: HashMap<u64, ReadBatch>,
    /// Confirmed at an index that is not yet applied.
    ready: Vec<(u64, ReadBatch)>,
}

/// The reads of one group.
#[derive(Default)]
pub struct Reads {
    table: Mutex<Table>,
}

impl Reads {
    /// Adds a read to the open batch. Returns true where `context` opened one: Python must hear of it.
    pub fn add(&self, read: WaitingRead, context: impl FnOnce() -> u64) -> Option<u64> {
        let mut table = self.table.lock();
        if let Some((_, batch)) = &mut table.open {
            batch.push(read);
            return None;
        }
        let context = context();
        table.open = Some((context, vec![read]));
        Some(context)
    }

    /// Python hears of a batch: it takes no more.
    pub fn close_batch(&self, context: u64) {
        let mut table = self.table.lock();
        if let Some((open, batch)) = table.open.take_if(|(open, _)| *open == context) {
            table.waiting.insert(open, batch);
        }
    }

    /// A batch is confirmed: returns it if `applied()` has reached `index`, else keeps it until [`Reads::reached`].
    pub fn confirm(&self, context: u64, index: u64, applied: impl FnOnce() -> u64) -> Option<ReadBatch> {
        let mut table = self.table.lock();
        let batch = table.waiting.remove(&context)?;
        // Read under the lock: whoever applies raises it first and looks here after.
        if applied() >= index {
            return Some(batch);
        }
        table.ready.push((index, batch));
        None
    }

    /// Keeps a read that needs no round until `index` is applied; gives it back if `applied()` has reached it.
    pub fn wait(&self, read: WaitingRead, index: u64, applied: impl FnOnce() -> u64) -> Option<WaitingRead> {
        let mut table = self.table.lock();
        if applied() >= index {
            return Some(read);
        }
        match table.ready.iter_mut().find(|(at, _)| *at == index) {
            Some((_, batch)) => batch.push(read),
            None => table.ready.push((index, vec![read])),
        }
        None
    }

    /// A batch is not confirmed.
    pub fn reject(&self, context: u64) -> Option<ReadBatch> {
        self.table.lock().waiting.remove(&context)
    }

    /// Returns the batches that may be served now that `applied` is.
    pub fn reached(&self, applied: u64) -> Vec<ReadBatch> {
        let mut table = self.table.lock();
        if table.ready.is_empty() {
            return Vec::new();
        }
        table.ready.extract_if(.., |(index, _)| *index <= applied).map(|(_, batch)| batch).collect()
    }

    /// Refuses reads whose time is over. Returns how many.
    pub fn expire(&self, now: Instant) -> usize {
        let mut late = Vec::new();
        let mut table = self.table.lock();
        let Table { open, waiting, ready } = &mut *table;
        let batches = open.iter_mut().map(|(_, batch)| batch).chain(waiting.values_mut());
        for batch in batches.chain(ready.iter_mut().map(|(_, batch)| batch)) {
            late.extend(batch.extract_if(.., |read| read.deadline <= now));
        }
        waiting.retain(|_, batch| !batch.is_empty());
        ready.retain(|(_, batch)| !batch.is_empty());
        drop(table);
        let count = late.len();
        for read in late {
            read.ask.refuse(refusal::deadline_exceeded());
        }
        count
    }

    /// Lets go of all.
    pub fn clear(&self) -> ReadBatch {
        let Table { open, waiting, ready } = mem::take(&mut *self.table.lock());
        let batches = open.into_iter().map(|(_, batch)| batch).chain(waiting.into_values());
        batches.chain(ready.into_iter().map(|(_, batch)| batch)).flatten().collect()
    }
}
