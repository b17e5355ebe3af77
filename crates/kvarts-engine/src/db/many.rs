//! Point reads of many keys at one revision: what their steps touch is fetched ahead for a group of keys at a time, so that
//! the waits for memory overlap; reads from disk go in key order, over several threads where they are many.
use super::read::{Lookup, Row, find, with_entry};
use super::trees::TreeState;
use super::{Attempt, Db, Entry, Snapshot, Tree};
use crate::clock::Clock;
use crate::table::{Located, Table};
use crate::{Result, Revision, prefetch};
use kvarts_formats::hash::key_hash;
use std::sync::Arc;
use std::thread;

/// Keys on their way at once: enough to hide the memory's latency, few enough for what they fetch to stay near.
const GROUP: usize = 16;

/// Keys that are worth a thread of their own.
const KEYS_PER_THREAD: usize = 512;

/// Most threads that a call takes of its own accord.
const THREADS_MAX: usize = 4;

/// One revision of a tree held for reading, with all that it takes.
pub struct ReadPoint {
    state: Arc<TreeState>,
    revision: Revision,
    /// When expiry is judged, where a snapshot says so.
    at_ms: Option<u64>,
    clock: Arc<dyn Clock>,
}

/// Values of a part of the keys, copied.
#[derive(Default)]
pub struct Gathered {
    /// The values, one after another.
    pub bytes: Vec<u8>,
    /// Of each key that is there: its position among all keys, and where its value starts and ends.
    pub spans: Vec<(usize, usize, usize)>,
}

impl Gathered {
    fn add(&mut self, position: usize, entry: Option<Entry<'_>>) {
        if let Some(entry) = entry {
            let start = self.bytes.len();
            self.bytes.extend_from_slice(entry.value);
            self.spans.push((position, start, self.bytes.len()));
        }
    }
}

/// Where the next step of a key goes on.
enum Step<'a> {
    /// In a memtable; or nowhere.
    Done(Option<Row<'a>>),
    /// In this block, if it is anywhere newer than in tables that come later.
    Block(&'a Table, u32),
    /// Where nothing was fetched: in a table that is not in memory.
    Search,
}

impl Db {
    /// Holds the newest revision of a tree, or that of a snapshot, for [`ReadPoint::find_many`].
    pub fn read_point(&self, tree: &Tree, at: Option<&Snapshot>) -> Result<ReadPoint> {
        let (state, revision) = self.shared.read_at(&tree.shared, at)?;
        let at_ms = at.map(|snapshot| snapshot.held.now_ms);
        Ok(ReadPoint { state: Arc::clone(&state), revision, at_ms, clock: Arc::clone(&self.shared.clock) })
    }

    /// Looks up many keys at one revision. `each` gets the position of the key in `keys` and its entry, in any order.
    pub fn get_many(
        &self,
        tree: &Tree,
        keys: &[&[u8]],
        at: Option<&Snapshot>,
        each: &mut dyn FnMut(usize, Option<Entry<'_>>),
    ) -> Result<()> {
        let point = self.read_point(tree, at)?;
        let mut left = Vec::new();
        point.try_find_many(keys, &mut |position, found| match found {
            Attempt::Done(entry) => each(position, entry),
            Attempt::WouldBlock => left.push(position),
        })?;
        point.find_rest(keys, &mut left, each)
    }
}

impl ReadPoint {
    /// Looks up many keys, from memory only and without waiting. `each` gets the position of the key in `keys` and its entry,
    /// or that it takes a read; in the order of `keys`.
    pub fn try_find_many(&self, keys: &[&[u8]], each: &mut dyn FnMut(usize, Attempt<Option<Entry<'_>>>)) -> Result<()> {
        let fetch = |keys: &[&[u8]]| keys.iter().for_each(|key| prefetch::line(key.as_ptr()));
        let mut groups = keys.chunks(GROUP).enumerate().peekable();
        fetch(&keys[..keys.len().min(GROUP)]);
        while let Some((group, keys)) = groups.next() {
            // Keys of Python lie anywhere.
            if let Some((_, next)) = groups.peek() {
                fetch(next);
            }
            self.find_group(group * GROUP, keys, each)?;
        }
        Ok(())
    }

    /// Looks up the keys at `positions`, on disk too, in key order: neighbours share blocks.
    pub fn find_rest(
        &self,
        keys: &[&[u8]],
        positions: &mut [usize],
        each: &mut dyn FnMut(usize, Option<Entry<'_>>),
    ) -> Result<()> {
        positions.sort_unstable_by_key(|&position| keys[position]);
        self.find_sorted(keys, positions, each)
    }

    /// The same, copied, over `threads` threads; `None` takes as many as pay where most keys take a read.
    pub fn gather(&self, keys: &[&[u8]], positions: &mut [usize], threads: Option<usize>) -> Result<Vec<Gathered>> {
        positions.sort_unstable_by_key(|&position| keys[position]);
        let threads = threads.unwrap_or_else(|| threads_for(positions.len())).clamp(1, positions.len().max(1));
        let mut parts = positions.chunks(positions.len().div_ceil(threads).max(1));
        let first = parts.next().unwrap_or_default();
        thread::scope(|scope| {
            let start = |part| (part, spawn(scope, move || self.gather_part(keys, part)));
            let others: Vec<_> = parts.map(start).collect();
            let mut all = vec![self.gather_part(keys, first)?];
            for (part, other) in others {
                // Where the system gives no thread the work is done here.
                let gathered = other.map(|other| other.join().expect("a search does not panic"));
                all.push(gathered.unwrap_or_else(|| self.gather_part(keys, part))?);
            }
            Ok(all)
        })
    }

    fn gather_part(&self, keys: &[&[u8]], positions: &[usize]) -> Result<Gathered> {
        let (mut gathered, mut left) = (Gathered::default(), Vec::new());
        let part: Vec<&[u8]> = positions.iter().map(|&position| keys[position]).collect();
        self.try_find_many(&part, &mut |at, found| match found {
            Attempt::Done(entry) => gathered.add(positions[at], entry),
            Attempt::WouldBlock => left.push(positions[at]),
        })?;
        self.find_sorted(keys, &left, &mut |position, entry| gathered.add(position, entry))?;
        Ok(gathered)
    }

    fn find_sorted(
        &self,
        keys: &[&[u8]],
        positions: &[usize],
        each: &mut dyn FnMut(usize, Option<Entry<'_>>),
    ) -> Result<()> {
        for &position in positions {
            let row = match find(&self.state, keys[position], self.revision, true)? {
                Lookup::Found(row) => Some(row),
                Lookup::Absent => None,
                Lookup::NeedsRead => unreachable!("Table::get reads what it needs"),
            };
            with_entry(row, || self.now_ms(), |entry| each(position, entry));
        }
        Ok(())
    }

    /// Takes the keys of a group one step at a time.
    fn find_group(
        &self,
        first: usize,
        keys: &[&[u8]],
        each: &mut dyn FnMut(usize, Attempt<Option<Entry<'_>>>),
    ) -> Result<()> {
        let mut hashes = [0; GROUP];
        for (hash, key) in hashes.iter_mut().zip(keys) {
            *hash = key_hash(key);
            self.state.mems().for_each(|mem| mem.table.prefetch(*hash));
            self.state.version.candidates(key).for_each(|candidate| candidate.table.prefetch_filter(*hash));
        }
        let mut steps: [Step<'_>; GROUP] = std::array::from_fn(|_| Step::Done(None));
        for ((step, key), &hash) in steps.iter_mut().zip(keys).zip(&hashes) {
            *step = self.start(key, hash);
        }
        for step in &steps[..keys.len()] {
            if let Step::Block(table, block) = step {
                table.prefetch_block(*block);
            }
        }
        let mut blocks: [_; GROUP] = std::array::from_fn(|_| None);
        for (held, step) in blocks.iter_mut().zip(&steps[..keys.len()]) {
            if let Step::Block(table, block) = step {
                // Longer than a BlockRef: a thread has eight cheap ones.
                *held = table.cached(*block).map(|block| block.into_arc());
            }
        }
        let mut rows: [_; GROUP] = std::array::from_fn(|_| None);
        for (at, key) in keys.iter().enumerate() {
            rows[at] = blocks[at].as_ref().and_then(|block| Table::find_in(block, key, hashes[at], self.revision));
        }
        for (at, (step, block)) in steps.into_iter().zip(blocks).take(keys.len()).enumerate() {
            let found = match (step, block, rows[at]) {
                (Step::Done(row), ..) => row.map_or(Lookup::Absent, Lookup::Found),
                (Step::Block(..), Some(block), Some(row)) => Lookup::Found(Row::Block(block.into(), row)),
                // Not where it was looked for first: seldom, so the whole way again.
                _ => find(&self.state, keys[at], self.revision, false)?,
            };
            self.tell(first + at, found, each);
        }
        Ok(())
    }

    /// Looks in memtables and finds the first block that may hold the key.
    #[inline]
    fn start<'a>(&'a self, key: &[u8], hash: u64) -> Step<'a> {
        for mem in self.state.mems() {
            if let Some(row) = mem.get(key, hash, self.revision) {
                return Step::Done(Some(Row::Mem(row)));
            }
        }
        for (vain, candidate) in self.state.version.candidates(key).enumerate() {
            match candidate.table.locate(key, hash, self.revision) {
                Located::Nowhere => {}
                Located::Block(block) => {
                    self.state.waste.add_probes(vain as u64);
                    candidate.table.prefetch_slot(block);
                    return Step::Block(&candidate.table, block);
                }
                Located::Unknown => return Step::Search,
            }
        }
        Step::Done(None)
    }

    #[inline]
    fn tell(&self, at: usize, found: Lookup<'_>, each: &mut dyn FnMut(usize, Attempt<Option<Entry<'_>>>)) {
        let row = match found {
            Lookup::Found(row) => Some(row),
            Lookup::Absent => None,
            Lookup::NeedsRead => return each(at, Attempt::WouldBlock),
        };
        with_entry(row, || self.now_ms(), |entry| each(at, Attempt::Done(entry)));
    }

    /// The time by which expiry is judged.
    fn now_ms(&self) -> u64 {
        self.at_ms.unwrap_or_else(|| self.clock.unix_ms())
    }
}

fn spawn<'scope, T: Send + 'scope>(
    scope: &'scope thread::Scope<'scope, '_>,
    run: impl FnOnce() -> T + Send + 'scope,
) -> Option<thread::ScopedJoinHandle<'scope, T>> {
    thread::Builder::new().name("kvarts-search".to_owned()).spawn_scoped(scope, run).ok()
}

/// Threads for so many keys that take reads.
fn threads_for(keys: usize) -> usize {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    (keys / KEYS_PER_THREAD).clamp(1, cores.min(THREADS_MAX))
}
