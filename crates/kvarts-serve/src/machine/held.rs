//! An open store of a shard with what is known of it: the newest position, what is in tables, and how far back one can read.
use super::handle::MachineOptions;
use super::holds::Holds;
use super::range::{RANGE, Range};
use super::rows::{APPLIED, MEMBERSHIP, Position, SESSIONS, prefix_bounds, system_key};
use super::size::Sample;
use super::{Error, Result};
use arc_swap::ArcSwapOption;
use kvarts_engine::clock::{Clock, OsClock};
use kvarts_engine::db::{Db, Entry, Memory, ReadAt, RowChunk, Tree};
use kvarts_engine::fs::Fs;
use kvarts_engine::options::{Durability, Options};
use kvarts_engine::sync::Mutex;
use kvarts_engine::{FileId, Revision};
use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

/// Rows of sessions counted at once.
const SESSION_ROWS: usize = 1024;

/// The one tree of a shard.
const TREE: &str = "shard";

/// The clock by which compaction drops expired rows: the stamp of what is in tables, less the retention window, or the
/// earliest time that is held. So a row is dropped only when it is expired for every read that is still answered, whichever
/// replica drops it.
#[derive(Default)]
struct HorizonClock {
    unix_ms: AtomicU64,
    holds: Arc<Holds>,
    os: OsClock,
}

impl Clock for HorizonClock {
    fn unix_ms(&self) -> u64 {
        self.unix_ms.load(Ordering::Acquire).min(self.holds.floor_ms())
    }

    fn monotonic_ns(&self) -> u64 {
        self.os.monotonic_ns()
    }
}

/// A position with the membership at it.
#[derive(Clone, Debug, Default)]
pub(super) struct Mark {
    pub(super) position: Position,
    pub(super) membership: Arc<[u8]>,
}

/// An open store. Lock order: `flushed`, then `looking`; `newest` is a leaf.
pub(super) struct Held {
    pub(super) db: Arc<Db>,
    pub(super) tree: Tree,
    /// The number of its directory.
    pub(super) number: u64,
    clock: Arc<HorizonClock>,
    retention_ms: u64,
    newest: Mutex<Mark>,
    /// How many sessions there are.
    pub(super) sessions: AtomicI64,
    /// What is the shard's own, if it was split.
    range: ArcSwapOption<Range>,
    /// Held while the range is read and set: a leaf.
    looking: Mutex<()>,
    /// What is in tables, and the revision up to which it was looked at.
    flushed: Mutex<(Revision, Mark)>,
    /// Since which revision tables say what is the shard's own, as compaction was told; zero where they do not.
    split: AtomicU64,
    /// Tokens of a few keys of each table, as of an epoch of the range that they were looked up for.
    samples: Mutex<(u64, HashMap<FileId, Sample>)>,
}

impl Held {
    /// Opens the store in `path`, or makes it where `create` says so.
    pub(super) fn open(
        fs: &Arc<dyn Fs>,
        path: &Path,
        number: u64,
        options: &MachineOptions,
        memory: Option<&Arc<Memory>>,
        create: bool,
    ) -> Result<Self> {
        let clock = Arc::new(HorizonClock { holds: Arc::clone(&options.holds), ..HorizonClock::default() });
        let engine =
            Options { durability: Durability::None, log: false, keep_history: true, create, ..options.engine.clone() };
        let (fs, horizon, holder) = (Arc::clone(fs), Arc::clone(&clock) as _, &options.holder);
        let db = match memory {
            Some(memory) => Db::open_sharing(memory, fs, horizon, path, holder, engine)?,
            None => Db::open(fs, horizon, path, holder, engine)?,
        };
        let tree = match db.tree(TREE)? {
            Some(tree) => tree,
            None if create => db.create_tree(TREE, "", "")?,
            None => return Err(Error::NotAShard(format!("{} holds no shard", path.display()))),
        };
        let retention_ms = options.retention_ms;
        let sessions = AtomicI64::new(count_sessions(&db, &tree)?);
        let (newest, flushed) = (Mutex::default(), Mutex::default());
        let (range, looking, split) = (ArcSwapOption::empty(), Mutex::default(), AtomicU64::new(0));
        let samples = Mutex::default();
        let held =
            Self { db, tree, number, clock, retention_ms, newest, sessions, range, looking, flushed, split, samples };
        let newest = held.mark_at(ReadAt { revision: None, now_ms: 0 })?;
        *held.newest.lock() = newest;
        held.look_at_range()?;
        held.look_at_tables()?;
        Ok(held)
    }

    /// The newest position.
    pub(super) fn position(&self) -> Position {
        self.newest.lock().position
    }

    /// The newest membership.
    pub(super) fn membership(&self) -> Arc<[u8]> {
        Arc::clone(&self.newest.lock().membership)
    }

    /// Notes a new position, and the membership where that changed too.
    pub(super) fn moved(&self, position: Position, membership: Option<&[u8]>) {
        let mut newest = self.newest.lock();
        newest.position = position;
        if let Some(membership) = membership {
            newest.membership = membership.into();
        }
    }

    /// What is the shard's own, if it was split. Look before rows are read, and see afterwards that nothing has changed
    /// (`check_unsplit`).
    pub(super) fn range(&self) -> Option<Arc<Range>> {
        self.range.load_full()
    }

    /// Makes sure that the range is what it was when `known` was looked at. Then rows that were read since, or that a scan
    /// holds, are all there: what a split takes away goes only afterwards, and not while an older scan lives.
    ///
    /// Errors: `WrongShard`: whoever asked asks again.
    pub(super) fn check_unsplit(&self, known: Option<&Arc<Range>>) -> Result<()> {
        let now = self.range.load();
        let same = match (&*now, known) {
            (None, None) => true,
            (Some(now), Some(known)) => Arc::ptr_eq(now, known),
            _ => false,
        };
        if same { Ok(()) } else { Err(Error::WrongShard) }
    }

    /// Sees what the row of the range says now.
    pub(super) fn look_at_range(&self) -> Result<()> {
        let _looking = self.looking.lock();
        let mut row = None;
        let key = system_key(RANGE);
        self.db.get_many_at(&self.tree, &[&key], ReadAt { revision: None, now_ms: 0 }, &mut |_, entry| {
            row = entry.map(|entry| entry.value.to_vec());
        })?;
        let found = row.map(|row| Range::decode(&row).map(Arc::new)).transpose()?;
        // Who reads just now compares pointers.
        if *self.range.load() != found {
            self.range.store(found);
        }
        Ok(())
    }

    /// What is in tables. Looks only where a flush has brought something new; then lets go what the window has left behind,
    /// and what a split has taken away.
    pub(super) fn look_at_tables(&self) -> Result<Mark> {
        let mut flushed = self.flushed.lock();
        if self.db.flushed_revision(&self.tree) != flushed.0 || flushed.0 == Revision::ZERO {
            let (mut rows, mut range) = ([None, None], None);
            let key = system_key(RANGE);
            let keys = [APPLIED, MEMBERSHIP, &key];
            let value_of = |entry: &Entry<'_>| (entry.value.to_vec(), entry.revision);
            let revision = self.db.get_many_flushed(&self.tree, &keys, &mut |at, entry| match rows.get_mut(at) {
                Some(row) => *row = entry.map(|entry| entry.value.to_vec()),
                None => range = entry.as_ref().map(value_of),
            })?;
            let mark = mark(rows)?;
            if let Some((row, since)) = range {
                self.drop_foreign(&row, since)?;
            }
            *flushed = (revision, mark);
            let horizon_ms = (flushed.1.position.stamp_us / 1000).saturating_sub(self.retention_ms);
            self.clock.unix_ms.fetch_max(horizon_ms, Ordering::AcqRel);
            self.db.set_retain_from(Revision(horizon_ms.min(self.clock.holds.floor_ms()) * 1000));
        }
        Ok(flushed.1.clone())
    }

    /// Has compaction drop rows that are not the shard's own, by a row of the range that is in tables: whatever crashes, this
    /// shard will never have them again, and the copy for the other half was made before the row was written.
    fn drop_foreign(&self, row: &[u8], since: Revision) -> Result<()> {
        if self.split.load(Ordering::Acquire) != since.0 {
            // Readers first.
            self.look_at_range()?;
            self.db.set_compaction_filter(&self.tree, Arc::new(Range::decode(row)?), since);
            self.split.store(since.0, Ordering::Release);
        }
        Ok(())
    }

    /// The bytes of each table with a sample of its keys.
    pub(super) fn samples(&self, range: &Range) -> Result<Vec<(u64, Sample)>> {
        let mut samples = self.samples.lock();
        if samples.0 != range.epoch() {
            *samples = (range.epoch(), HashMap::new());
        }
        Ok(self.db.sample_tables(&self.tree, &mut samples.1, |keys| Sample::of(range, &keys))?)
    }

    /// Position and membership as of a revision.
    pub(super) fn mark_at(&self, at: ReadAt) -> Result<Mark> {
        let mut rows = [None, None];
        self.db.get_many_at(&self.tree, &[APPLIED, MEMBERSHIP], at, &mut |at, entry| {
            rows[at] = entry.map(|entry| entry.value.to_vec());
        })?;
        mark(rows)
    }
}

fn count_sessions(db: &Db, tree: &Tree) -> Result<i64> {
    let mut scan = db.scan_at(tree, prefix_bounds(SESSIONS), false, ReadAt { revision: None, now_ms: 0 })?;
    let (mut count, mut more) = (0, true);
    while more {
        let mut chunk = RowChunk::default();
        more = scan.fill(&mut chunk, SESSION_ROWS, usize::MAX, false)?;
        count += chunk.key_ends.len() as i64;
    }
    Ok(count)
}

fn mark([applied, membership]: [Option<Vec<u8>>; 2]) -> Result<Mark> {
    let position = applied.map_or(Ok(Position::default()), |row| Position::decode(&row))?;
    Ok(Mark { position, membership: membership.unwrap_or_default().into() })
}
