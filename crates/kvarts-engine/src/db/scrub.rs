//! Scrubbing: tables are read from disk past the cache at a bounded rate, so that damage is known before a reader meets it.
//!
//! What is found is noted in the numbers of the store, and that is all: reads of a damaged block fail by themselves, other reads
//! and all writes go on. One table is held at a time, so that one that compaction is done with can go.
use super::state::Shared;
use super::{Damage, Stats};
use crate::sync::Mutex;
use crate::version::TableRef;
use crate::{Error, FileId};
use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Wait between two rounds: a small store is not read again and again.
const ROUND_WAIT: Duration = Duration::from_secs(3600);

/// The rate holds for every stretch of this length.
const STRETCH: Duration = Duration::from_millis(100);

/// Damaged places that are kept at most.
const DAMAGE_MAX: usize = 1000;

/// What scrubbing has done and found.
#[derive(Default)]
pub(super) struct Scrubbed {
    found: Mutex<Found>,
}

#[derive(Default)]
struct Found {
    /// Bytes read.
    bytes: u64,
    /// Rounds that reached their end.
    rounds: u64,
    damage: Vec<Damage>,
}

impl Scrubbed {
    /// Tells what was done and found.
    pub(super) fn tell(&self, stats: &mut Stats) {
        let found = self.found.lock();
        (stats.scrubbed_bytes, stats.scrub_rounds) = (found.bytes, found.rounds);
        stats.damage.clone_from(&found.damage);
    }

    fn note(&self, damage: Vec<Damage>) {
        let mut found = self.found.lock();
        for one in damage {
            let is_known = found.damage.iter().any(|known| known.file == one.file && known.offset == one.offset);
            if !is_known && found.damage.len() < DAMAGE_MAX {
                found.damage.push(one);
            }
        }
    }

    /// Forgets damage of files that are no longer live.
    fn end_round(&self, is_live: impl Fn(&Path) -> bool) {
        let mut found = self.found.lock();
        found.rounds += 1;
        found.damage.retain(|one| is_live(&one.file));
    }
}

/// Scrubs until the store ends.
pub(super) fn scrub_loop(shared: &Shared) {
    let mut wait = STRETCH;
    while shared.next_job(|_| false, Some(wait)) {
        wait = if shared.scrub_round() { ROUND_WAIT } else { STRETCH };
    }
}

impl Shared {
    /// Reads every table there is once. False where it was told to end.
    fn scrub_round(&self) -> bool {
        let stop = FileId(self.next_file.load(Ordering::Relaxed));
        let mut next = FileId(0);
        while let Some(table) = self.next_table(next, stop) {
            if !self.scrub_table(&table) {
                return false;
            }
            next = FileId(table.record.file.0 + 1);
        }
        let live: Vec<_> = self.tables().iter().map(|table| table.table.path()).collect();
        self.scrubbed.end_round(|path| live.iter().any(|one| one == path));
        true
    }

    fn scrub_table(&self, table: &TableRef) -> bool {
        let stretch_bytes = self.options.scrub_bytes_per_s / (1000 / STRETCH.as_millis() as u64);
        let (mut owed, mut goes_on) = (0, true);
        let checked = table.table.check(&mut |bytes| {
            self.scrubbed.found.lock().bytes += bytes;
            owed += bytes;
            while owed > stretch_bytes && goes_on {
                owed -= stretch_bytes.max(1).min(owed);
                goes_on = self.next_job(|_| false, Some(STRETCH));
            }
            goes_on
        });
        let path = &table.table.path();
        let lost = match checked {
            Ok((_, lost)) => lost.into_iter().map(|lost| Damage::of(path, lost)).collect(),
            Err(error) => vec![unreadable(path, &error, table)],
        };
        self.scrubbed.note(lost);
        goes_on
    }

    /// All live tables.
    pub(super) fn tables(&self) -> Vec<TableRef> {
        let tables = |tree: &std::sync::Arc<super::trees::TreeShared>| tree.state.load().version.levels.concat();
        self.live_trees().iter().flat_map(tables).collect()
    }

    /// The live table with the lowest number from `next` on, below `stop`.
    fn next_table(&self, next: FileId, stop: FileId) -> Option<TableRef> {
        let live = self.tables().into_iter().filter(|table| (next..stop).contains(&table.record.file));
        live.min_by_key(|table| table.record.file)
    }
}

fn unreadable(path: &Path, error: &Error, table: &TableRef) -> Damage {
    let (smallest, largest) = (table.record.smallest.clone(), table.record.largest.clone());
    Damage { file: path.to_owned(), offset: 0, what: format!("it cannot be read: {error}"), smallest, largest }
}
