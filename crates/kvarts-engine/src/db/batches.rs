//! A scan in batches of columns, filled by the caller or ahead of it by threads of its own.
//!
//! With threads, the range is parted into pieces of about one batch at keys that the indexes name. Threads take pieces in
//! order and fill their batches; the caller gets them in order. No thread is more than `threads + 1` pieces ahead, and none
//! has more than `PIECE_BATCHES` batches of a piece waiting, which bounds the memory. The threads end when all is read, or when
//! the reader is dropped.
use super::Scan;
use super::scan::Parts;
use super::spares::{ColumnOf, Spares};
use crate::iter::{Bounds, Columns, Limits, Wanted};
use crate::sync::{Condvar, Mutex};
use crate::{Error, Result};
use std::collections::VecDeque;
use std::sync::Arc;
use std::thread::{self, Builder};

/// Batches of one piece that may wait for the reader.
const PIECE_BATCHES: usize = 2;
/// Fewest pieces per thread that are worth starting it.
const PIECES_PER_THREAD: u64 = 4;
/// Rows of the smallest piece.
const PIECE_ROWS_MIN: u64 = 4096;
/// Threads by default, at most.
const THREADS_MAX: usize = 4;
/// By default a smaller range is read by the caller alone.
const PARALLEL_ROWS_MIN: u64 = 200_000;

/// Rows that say how large the others will be.
const PROBE_ROWS: usize = 1024;

/// Columns whose offsets take 32 bits and begin with 0.
pub type Batch = Columns<i32>;

/// How a scan is read in batches.
#[derive(Clone, Copy, Debug)]
pub struct BatchOptions {
    /// Which columns.
    pub wanted: Wanted,
    /// Rows of a batch, at most.
    pub rows_max: usize,
    /// Bytes of a batch, about, at most: a larger row has a batch of its own. Below 1 GiB.
    pub bytes_max: usize,
    /// Rows in all, at most.
    pub limit: Option<usize>,
    /// Threads that fill batches ahead; 1 = none but the caller's; `None` = by the size of the range.
    pub threads: Option<usize>,
}

/// A scan in batches.
pub struct Batches {
    options: BatchOptions,
    source: Source,
    spares: Arc<Spares>,
}

enum Source {
    Alone(Box<Scan>),
    Threads(Arc<Shop>),
}

/// What the threads of a scan share with its reader.
struct Shop {
    parts: Parts,
    pieces: Vec<Bounds>,
    options: BatchOptions,
    spares: Arc<Spares>,
    ahead: usize,
    counter: Mutex<Counter>,
    changed: Condvar,
}

#[derive(Default)]
struct Counter {
    /// The next piece to take.
    next: usize,
    /// The piece that is read.
    reading: usize,
    /// What was filled of the pieces from `reading` on.
    filled: VecDeque<Piece>,
    stopped: bool,
}

#[derive(Default)]
struct Piece {
    batches: VecDeque<Result<Batch>>,
    is_done: bool,
}

impl Batches {
    /// Reads `scan`, of which no row was taken yet.
    pub fn new(scan: Scan, options: BatchOptions) -> Self {
        let options = BatchOptions { bytes_max: options.bytes_max.clamp(1, 1 << 30), ..options };
        let spares = scan.spares();
        let source = match threads_of(&scan, &options) {
            Some((pieces, threads)) => start(scan, pieces, threads, options),
            None => Source::Alone(Box::new(scan)),
        };
        Self { options, source, spares }
    }

    /// Threads that were started for it.
    pub fn threads(&self) -> usize {
        match &self.source {
            Source::Alone(_) => 0,
            Source::Threads(shop) => shop.ahead - 1,
        }
    }

    /// Where the memory of its batches goes when nobody reads them any more: see [`Spares::give`].
    pub fn spares(&self) -> &Arc<Spares> {
        &self.spares
    }

    /// Returns the next batch, in key order, or `None` at the end.
    pub fn next_batch(&mut self) -> Result<Option<Batch>> {
        match &mut self.source {
            Source::Threads(shop) => shop.take(),
            Source::Alone(scan) => {
                let mut batch = fresh(&self.spares, self.options.wanted);
                let limit = self.options.limit.unwrap_or(usize::MAX);
                let limits = Limits { rows_max: self.options.rows_max.min(limit), bytes_max: self.options.bytes_max };
                let rows = fill(scan, &mut batch, limits, self.options.wanted)?;
                self.options.limit = self.options.limit.map(|limit| limit - rows);
                Ok((rows > 0).then_some(batch))
            }
        }
    }
}

impl Drop for Batches {
    fn drop(&mut self) {
        if let Source::Threads(shop) = &self.source {
            let mut counter = shop.counter.lock();
            counter.stopped = true;
            counter.filled.clear();
            drop(counter);
            shop.changed.notify_all();
        }
    }
}

/// The pieces that a scan is parted into and the number of threads, where it is to have any.
fn threads_of(scan: &Scan, options: &BatchOptions) -> Option<(Vec<Bounds>, usize)> {
    let cores = || thread::available_parallelism().map_or(1, usize::from);
    let wished = options.threads.unwrap_or_else(|| cores().min(THREADS_MAX));
    if wished < 2 || options.limit.is_some() || scan.is_reverse() {
        return None;
    }
    let (_, rows) = scan.parted(u64::MAX);
    if options.threads.is_none() && rows < PARALLEL_ROWS_MIN {
        return None;
    }
    let most = (options.rows_max as u64).max(1);
    let piece_rows = (rows / (PIECES_PER_THREAD * wished as u64)).clamp(PIECE_ROWS_MIN.min(most), most);
    let (pieces, _) = scan.parted(piece_rows);
    (pieces.len() > 1).then_some((pieces, wished))
}

fn start(scan: Scan, pieces: Vec<Bounds>, threads: usize, options: BatchOptions) -> Source {
    let threads = threads.min(pieces.len());
    let shop = Arc::new(Shop {
        parts: scan.parts(),
        spares: scan.spares(),
        pieces,
        options,
        ahead: threads + 1,
        counter: Mutex::default(),
        changed: Condvar::default(),
    });
    let work = |shop: &Arc<Shop>| {
        let shop = Arc::clone(shop);
        Builder::new().name("kvarts-scan".to_owned()).spawn(move || shop.work())
    };
    let started = (0..threads).filter(|_| work(&shop).is_ok()).count();
    if started == 0 { Source::Alone(Box::new(scan)) } else { Source::Threads(shop) }
}

impl Shop {
    /// Fills pieces until there are no more, or nobody reads them.
    fn work(&self) {
        while let Some(at) = self.claim() {
            let ending = Ending { shop: self, at };
            self.fill(at);
            drop(ending);
        }
    }

    /// Takes the next piece, once it is not too far ahead.
    fn claim(&self) -> Option<usize> {
        let mut counter = self.counter.lock();
        loop {
            if counter.stopped || counter.next == self.pieces.len() {
                return None;
            }
            if counter.next < counter.reading + self.ahead {
                counter.next += 1;
                counter.filled.push_back(Piece::default());
                return Some(counter.next - 1);
            }
            self.changed.wait(&mut counter);
        }
    }

    fn fill(&self, at: usize) {
        let BatchOptions { wanted, rows_max, bytes_max, .. } = self.options;
        let mut scan = match self.parts.scan(self.pieces[at].clone()) {
            Ok(scan) => scan,
            Err(error) => {
                self.hand_over(at, Err(error));
                return;
            }
        };
        while !scan.is_at_end() {
            let mut batch = fresh(&self.spares, wanted);
            let filled = fill(&mut scan, &mut batch, Limits { rows_max, bytes_max }, wanted);
            let failed = filled.is_err();
            if !self.hand_over(at, filled.map(|_| batch)) || failed {
                return;
            }
        }
    }

    /// Adds a batch to a piece, once there is room. Returns false where nobody reads any more.
    fn hand_over(&self, at: usize, batch: Result<Batch>) -> bool {
        let mut counter = self.counter.lock();
        loop {
            if counter.stopped {
                return false;
            }
            let place = at - counter.reading;
            if counter.filled[place].batches.len() < PIECE_BATCHES {
                counter.filled[place].batches.push_back(batch);
                break;
            }
            self.changed.wait(&mut counter);
        }
        drop(counter);
        self.changed.notify_all();
        true
    }

    /// Returns the next batch.
    fn take(&self) -> Result<Option<Batch>> {
        let mut counter = self.counter.lock();
        loop {
            if counter.reading == self.pieces.len() || counter.stopped {
                return Ok(None);
            }
            let piece = counter.filled.front_mut();
            if let Some(batch) = piece.and_then(|piece| piece.batches.pop_front()) {
                counter.stopped = batch.is_err();
                drop(counter);
                self.changed.notify_all();
                return batch.map(Some);
            }
            if counter.filled.front().is_some_and(|piece| piece.is_done) {
                counter.filled.pop_front();
                counter.reading += 1;
                self.changed.notify_all();
            } else {
                self.changed.wait(&mut counter);
            }
        }
    }
}

/// Says that a piece has all its batches, also where filling it panicked.
struct Ending<'a> {
    shop: &'a Shop,
    at: usize,
}

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        let mut counter = self.shop.counter.lock();
        if !counter.stopped {
            let place = self.at - counter.reading;
            if thread::panicking() {
                let why = Error::invalid("a thread of the scan panicked", "report it: it is a bug");
                counter.filled[place].batches.push_back(Err(why));
            }
            counter.filled[place].is_done = true;
        }
        drop(counter);
        self.shop.changed.notify_all();
    }
}

/// Fills an empty batch. The first rows say how much memory it will take: grown by doubling it would have up to twice that, and
/// be copied on the way.
fn fill(scan: &mut Scan, batch: &mut Batch, limits: Limits, wanted: Wanted) -> Result<usize> {
    if limits.rows_max <= PROBE_ROWS {
        return scan.append_batch(batch, limits, wanted);
    }
    let rows = scan.append_batch(batch, Limits { rows_max: PROBE_ROWS, ..limits }, wanted)?;
    let (rows_left, bytes_left) = (limits.rows_max - rows, limits.bytes_max.saturating_sub(batch.bytes()));
    if rows < PROBE_ROWS || bytes_left == 0 || scan.is_at_end() {
        return Ok(rows);
    }
    let each = batch.bytes().div_ceil(rows).max(1);
    let more = rows_left.min(bytes_left.div_ceil(each));
    batch.keys.reserve(roomy(batch.keys.len().div_ceil(rows) * more));
    batch.values.reserve(roomy(batch.values.len().div_ceil(rows) * more));
    let limits = Limits { rows_max: rows_left, bytes_max: bytes_left };
    Ok(rows + scan.append_batch(batch, limits, wanted)?)
}

/// A little more than what is expected.
fn roomy(bytes: usize) -> usize {
    bytes + bytes / 16
}

/// An empty batch, in memory that was used before where there is any.
fn fresh(spares: &Spares, wanted: Wanted) -> Batch {
    let mut batch = Batch::default();
    if wanted.keys {
        (batch.key_ends, batch.keys) = spares.take(ColumnOf::Keys);
        batch.key_ends.push(0);
    }
    if wanted.values {
        (batch.value_ends, batch.values) = spares.take(ColumnOf::Values);
        batch.value_ends.push(0);
    }
    batch
}
