//! A skip list in an arena. This is an unsafe room: its invariants, and who upholds each:
//!
//! 1. *Rows stay*: a row is never moved, changed or freed before the list drops. The arena keeps its pieces until then, and
//!    no code writes to a row after [`SkipList::insert`] linked it, but for its atomics. So no epochs are needed.
//! 2. *Published whole*: a row is written in full, its own links included, before any link to it is stored (`Release`);
//!    links are loaded with `Acquire`. So whoever finds a row sees all of it. Level 0 is linked first, then upwards.
//! 3. *One writer*: `writing` is taken by a swap and a second writer panics, so [`Writer`] is never aliased.
//! 4. *Levels*: a row is reachable on a level only if its height is above that level.
//! 5. *Lifetimes*: rows leave this module only as slices borrowed from the list, or inside [`MemtableCursor`], which keeps
//!    the memtable alive.
//!
//! A reader that walks backwards may miss a row whose insert is not finished; a commit becomes visible only after that.
//! Source: Pugh 1990; the publication order is that of LevelDB's skip list.
#![allow(unsafe_code)]

mod arena;
mod chunks;
mod cursor;
mod lookup;
mod node;
mod tail;

use crate::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use crate::sync::{Plant, publishing};
use crate::{Kind, Revision};
use arena::Arena;
pub use chunks::Chunks;
pub use cursor::MemtableCursor;
use kvarts_formats::hash::key_hash;
use lookup::Lookup;
use node::{HEIGHT_MAX, Node, Row, Target};
use std::cell::UnsafeCell;
use std::fmt;
use std::sync::Arc;
use tail::Tail;

/// The rows. See the module for the invariants.
pub(super) struct SkipList {
    /// A row before all others, with an empty key; never handed out.
    head: Row,
    /// Levels in use. A reader that sees an old value only searches a little longer.
    height: AtomicUsize,
    rows: AtomicUsize,
    bytes: AtomicUsize,
    /// True while an insert runs. Invariant 3.
    writing: AtomicBool,
    /// The first row of each key. Invariant: a row is noted there after it is linked, or stands in the tail.
    lookup: Lookup,
    /// Rows that are not linked yet.
    tail: Tail,
    writer: UnsafeCell<Writer>,
}

/// So many rows of a key are walked before a search is cheaper.
const WALK_MAX: usize = 8;

/// What only the writer touches.
struct Writer {
    arena: Arena,
    random: u64,
    /// Per level, the last row before or at the row inserted last: where an ascending insert goes on.
    finger: [Row; HEIGHT_MAX],
}

// SAFETY: everything it holds lies in its own arena; no thread is named in it.
unsafe impl Send for SkipList {}
// SAFETY: invariants 1 to 3: readers touch only published rows and atomics; `writer` is guarded by `writing`.
unsafe impl Sync for SkipList {}

/// Ends an insert, also when it panics.
struct Writing<'a>(&'a AtomicBool);

impl Drop for Writing<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

impl SkipList {
    pub(super) fn new(source: Arc<Chunks>) -> Self {
        let mut arena = Arena::new(source);
        let head = Node::allocate(&mut arena, HEIGHT_MAX, &[], Revision::MAX, Kind::Delete, &[]);
        // SAFETY: just allocated, in the arena that this list owns.
        let head = unsafe { Row::new(head) };
        let lookup = Lookup::new(&mut arena);
        Self {
            head,
            lookup,
            tail: Tail::new(),
            height: AtomicUsize::new(1),
            rows: AtomicUsize::new(0),
            bytes: AtomicUsize::new(arena.bytes()),
            writing: AtomicBool::new(false),
            // The seed is fixed: the same inserts build the same towers.
            writer: UnsafeCell::new(Writer { arena, random: 0x9e37_79b9_7f4a_7c15, finger: [head; HEIGHT_MAX] }),
        }
    }

    pub(super) fn rows(&self) -> usize {
        self.rows.load(Ordering::Relaxed)
    }

    #[inline]
    fn height(&self) -> usize {
        self.height.load(Ordering::Relaxed)
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Inserts a row before all rows at or after it. Panics where another insert is running.
    pub(super) fn insert(&self, key: &[u8], revision: Revision, kind: Kind, value: &[u8]) {
        assert!(!self.writing.swap(true, Ordering::Acquire), "two threads insert into one memtable");
        let _writing = Writing(&self.writing);
        // SAFETY: invariant 3: `writing` is ours until the end of this function.
        let writer = unsafe { &mut *self.writer.get() };
        let hash = key_hash(key);
        self.lookup.prefetch(hash);
        let height = random_height(&mut writer.random);
        let node = Node::allocate(&mut writer.arena, height, key, revision, kind, value);
        // SAFETY: just allocated, in the arena that this list owns.
        let row = unsafe { Row::new(node) };
        let is_next = self.tail.is_empty() && follows(writer.finger[0], &Target::new(key, revision));
        let is_full = if is_next {
            self.link(row, height, &mut writer.finger);
            false
        } else {
            self.tail.push(row)
        };
        self.lookup.note(&mut writer.arena, hash, row);
        if is_full {
            self.link_tail(writer);
        }
        self.rows.store(self.rows.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        self.bytes.store(writer.arena.bytes(), Ordering::Relaxed);
    }

    /// Links `row` behind the `finger` of each level below `height`, and moves the finger onto it.
    fn link(&self, row: Row, height: usize, finger: &mut [Row; HEIGHT_MAX]) {
        for (level, before) in finger.iter().enumerate().take(height) {
            row.link(level).store(before.link(level).load(Ordering::Relaxed), Ordering::Relaxed);
        }
        row.prev_link().store(finger[0].as_ptr(), Ordering::Relaxed);
        for (level, before) in finger.iter_mut().enumerate().take(height) {
            before.link(level).store(row.as_ptr(), publishing(Plant::Link));
            *before = row;
        }
        if let Some(after) = row.next(0) {
            after.prev_link().store(row.as_ptr(), publishing(Plant::Link));
        }
        if height > self.height.load(Ordering::Relaxed) {
            self.height.store(height, Ordering::Relaxed);
        }
    }

    /// Returns the last row before the target (which may be the head) and the first at or after it.
    #[inline]
    fn find(&self, target: &Target<'_>) -> (Row, Option<Row>) {
        let mut at = (self.head, None);
        for level in (0..self.height()).rev() {
            at = advance(at.0, level, target, at.1);
        }
        at
    }

    /// Returns the last row, or the head where there is none.
    fn last(&self) -> Row {
        let mut row = self.head;
        for level in (0..self.height()).rev() {
            while let Some(next) = row.next(level) {
                row = next;
            }
        }
        row
    }

    /// Fetches the place of a hash.
    #[inline]
    pub(super) fn prefetch(&self, hash: u64) {
        self.lookup.prefetch(hash);
    }

    /// Returns the newest row of `key`, whose hash is `hash`, at or before `at`.
    #[inline]
    pub(super) fn get(&self, key: &[u8], hash: u64, at: Revision) -> Option<(Revision, Kind, &[u8])> {
        let mut row = self.lookup.first(key, hash)?;
        if row.revision() <= at {
            return Some((row.revision(), row.kind(), row.value()));
        }
        // Asked after the row was found: an empty tail says that it is linked.
        if !self.tail.is_empty() {
            return self.search(key, at);
        }
        for _ in 0..WALK_MAX {
            row = row.next(0).filter(|row| row.key() == key)?;
            if row.revision() <= at {
                return Some((row.revision(), row.kind(), row.value()));
            }
        }
        self.search(key, at)
    }

    /// The same by a search of the tail, then of the list.
    #[cold]
    fn search(&self, key: &[u8], at: Revision) -> Option<(Revision, Kind, &[u8])> {
        self.newest(self.tail.find(key, at), key, at)
    }

    /// The newest of `waiting`, which was found in the tail, and what is found in the list after that.
    fn newest(&self, waiting: Option<Row>, key: &[u8], at: Revision) -> Option<(Revision, Kind, &[u8])> {
        let linked = self.find(&Target::new(key, at)).1.filter(|row| row.key() == key);
        let found = match (waiting, linked) {
            (Some(waiting), Some(linked)) if linked.revision() > waiting.revision() => linked,
            (waiting, linked) => waiting.or(linked)?,
        };
        Some((found.revision(), found.kind(), found.value()))
    }
}

/// Walks right on `level` from `row`, which is before the target. Returns the last row before it and the one after that.
///
/// `bound` is a row that is known not to be before the target: it needs no second comparison.
#[inline]
fn advance(mut row: Row, level: usize, target: &Target<'_>, bound: Option<Row>) -> (Row, Option<Row>) {
    loop {
        let next = row.next(level);
        match next {
            Some(next) if Some(next) != bound && next.is_before(target) => row = next,
            _ => return (row, next),
        }
    }
}

/// Tells whether the target belongs right behind `finger` (not the head), so that every finger is right.
#[inline]
fn follows(finger: Row, target: &Target<'_>) -> bool {
    let is_head = finger.prev().as_ptr().is_null();
    !is_head && finger.is_before(target) && finger.next(0).is_none_or(|next| !next.is_before(target))
}

/// Returns a height: 1, and with probability 1/4 each one more.
#[inline]
fn random_height(state: &mut u64) -> usize {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    (1 + (*state >> 32).trailing_zeros() as usize / 2).min(HEIGHT_MAX)
}

impl fmt::Debug for SkipList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<SkipList rows={} bytes={}>", self.rows(), self.bytes())
    }
}
