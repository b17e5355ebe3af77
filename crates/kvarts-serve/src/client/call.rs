//! What callers ask, what they get, and where the answer is put.
use super::cursor::{Cursor, Wish};
use super::signal::Signal;
use bytes::Bytes;
use kvarts_wire::v1;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// How a call ends. The error's `kind` is the name of a class in `kvarts.base.errors`.
pub type Outcome = Result<Answer, Box<v1::Error>>;

/// What a node is asked.
#[allow(missing_docs, reason = "fields whose names say it: a keyspace, the bounds of a range")]
#[derive(Clone)]
pub enum Request {
    /// Reads keys.
    Get(v1::GetRequest),
    /// Reads keys of one shard as a scan sees them.
    GetAt(v1::GetRequest, Arc<Cursor>),
    /// Does a command, once. The driver adds the session.
    Write { command: v1::Command, span: Span },
    /// Reads the next page of a scan.
    Page(Arc<Cursor>, Wish),
    /// Reads one page of one shard's rows.
    Scan(v1::ScanRequest),
    /// Tells the newest revision, and the time, of the shards that may hold rows of a range: of all the latest.
    Moment { keyspace: u32, start: Bytes, stop: Bytes, span: Span, freshness: Option<v1::Freshness> },
    /// Tells which shards may hold rows of a range.
    Shards { keyspace: u32, start: Bytes, stop: Bytes },
    /// A call outside the stream.
    Unary(Unary),
}

/// How many shards a request may touch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Span {
    /// One: it takes place as a whole.
    One,
    /// Any number: in each as a whole.
    Any,
}

impl Request {
    /// The keyspace that it is about; the first, of a command.
    pub(super) fn keyspace(&self) -> Option<u32> {
        use v1::operation::Kind;
        Some(match self {
            Self::Get(get) | Self::GetAt(get, _) => get.keyspace,
            Self::Scan(scan) => scan.keyspace,
            Self::Page(cursor, _) => cursor.range().0,
            Self::Moment { keyspace, .. } | Self::Shards { keyspace, .. } => *keyspace,
            Self::Write { command, .. } => match command.operations.first()?.kind.as_ref()? {
                Kind::Put(put) => put.keyspace,
                Kind::Delete(delete) => delete.keyspace,
                Kind::DeleteRange(range) => range.keyspace,
                Kind::Incr(incr) => incr.keyspace,
            },
            Self::Unary(_) => return None,
        })
    }

    /// The keyspace, where the shards of a range of it are to be found.
    pub(super) fn range_of(&self) -> Option<u32> {
        use v1::operation::Kind;
        let ranges = match self {
            Self::Page(cursor, _) => !cursor.has_begun(),
            Self::Scan(_) | Self::Moment { .. } | Self::Shards { .. } => true,
            Self::Write { command, .. } => {
                command.operations.iter().any(|operation| matches!(operation.kind, Some(Kind::DeleteRange(_))))
            }
            Self::Get(_) | Self::GetAt(..) | Self::Unary(_) => false,
        };
        self.keyspace().filter(|_| ranges)
    }

    /// How many keys it reads.
    pub(super) fn keys(&self) -> usize {
        if let Self::Get(get) = self { get.keys.len() } else { 0 }
    }
}

/// Calls outside the stream: rare ones.
#[derive(Clone, Debug)]
pub enum Unary {
    /// Lists the keyspaces.
    Keyspaces,
    /// Finds or makes a keyspace.
    MakeKeyspace(v1::MakeKeyspaceRequest),
    /// What operators ask for.
    Admin(v1::AdminRequest),
    /// Who is in the cluster, as one node sees it.
    Describe,
}

/// Which node a request is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Aim {
    /// The leader.
    Leader,
    /// Any node that answers; the leader if that one refuses.
    Any,
    /// The node at this address, and no other.
    Node(String),
}

/// What a node answers.
#[derive(Clone, Debug)]
pub enum Answer {
    /// To `Get`, `GetAt` and `Moment`.
    Get(v1::GetResponse),
    /// To `Shards`.
    Shards(Vec<u64>),
    /// To `Write`.
    Write(v1::Result),
    /// To `Page`.
    Scan(v1::ScanResponse),
    /// To `Keyspaces`, and one to `MakeKeyspace`.
    Keyspaces(Vec<v1::Keyspace>),
    /// To `Admin`: JSON.
    Text(String),
    /// To `Describe`.
    Describe(v1::DescribeResponse),
}

/// A call on its way to the driver.
pub(super) struct Call {
    pub request: Request,
    pub aim: Aim,
    pub deadline: Instant,
    pub done: Completion,
}

/// Where an outcome goes.
pub(super) enum Completion {
    Slot(Arc<Slot>),
    Queue(Arc<Queue>, u64),
    /// To another call, of which this one is a part; and when that was cut.
    Part(u64, u64, Part),
}

/// Where in the whole a part belongs.
pub(super) enum Part {
    /// Its rows have these places.
    Places(Vec<u32>),
    /// It is a page of this source of a scan.
    Source(usize),
    /// It counts as it is.
    Whole,
}

/// One waiting thread's place: filled once per call.
#[derive(Default)]
pub struct Slot {
    outcome: Mutex<Option<Outcome>>,
    filled: Condvar,
}

impl Slot {
    /// Takes the outcome, waiting for it no longer than `patience`.
    pub fn wait(&self, patience: Duration) -> Option<Outcome> {
        let outcome = self.outcome.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.filled.wait_timeout_while(outcome, patience, |outcome| outcome.is_none());
        waited.unwrap_or_else(PoisonError::into_inner).0.take()
    }

    pub(super) fn fill(&self, outcome: Outcome) {
        *self.outcome.lock().unwrap_or_else(PoisonError::into_inner) = Some(outcome);
        self.filled.notify_one();
    }
}

/// Outcomes of calls that nobody waits for in a thread: an event loop watches the descriptor and takes all at once.
pub struct Queue {
    outcomes: Mutex<Vec<(u64, Outcome)>>,
    signal: Signal,
}

impl Queue {
    /// Makes an empty one. Errors: no descriptor left.
    pub fn new() -> io::Result<Arc<Self>> {
        Ok(Arc::new(Self { outcomes: Mutex::default(), signal: Signal::new()? }))
    }

    /// Descriptor that is readable while outcomes are there.
    pub fn descriptor(&self) -> i32 {
        self.signal.descriptor()
    }

    /// Takes all outcomes, each with the number its call was given.
    pub fn drain(&self) -> Vec<(u64, Outcome)> {
        self.signal.clear();
        std::mem::take(&mut *self.outcomes())
    }

    /// Adds an outcome and returns whether the reader must be told.
    pub(super) fn add(&self, number: u64, outcome: Outcome) -> bool {
        let mut outcomes = self.outcomes();
        outcomes.push((number, outcome));
        outcomes.len() == 1
    }

    pub(super) fn tell(&self) {
        self.signal.raise();
    }

    fn outcomes(&self) -> MutexGuard<'_, Vec<(u64, Outcome)>> {
        self.outcomes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
