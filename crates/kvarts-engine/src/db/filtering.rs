//! Rows of a tree that belong to somebody else now: they go as compaction comes by, and compaction comes by for them.
use super::state::Shared;
use super::trees::TreeShared;
use super::{Db, Tree};
use crate::compaction::{CompactionFilter, CompactionPlan, filtering_plan, is_unfiltered, sampled_keys};
use crate::sync::Mutex;
use crate::version::{TableRef, Version};
use crate::{FileId, Result, Revision};
use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// Tables that are looked at, at most, before others have a turn.
const LOOKED_MAX: usize = 16;

/// The filter of a tree.
pub(super) struct Filtering {
    filter: Arc<dyn CompactionFilter>,
    /// Who reads as of this revision or later reads no row that the filter drops; nor is any such row newer.
    since: Revision,
    /// Tables that were looked at, and whether they hold such rows. Used by who compacts.
    looked: Mutex<HashMap<FileId, bool>>,
}

/// What there is to do for a filter.
pub(super) enum Wanted {
    /// Tables to rewrite.
    Step(CompactionPlan),
    /// Other tables are still to be looked at.
    Look,
    /// Nothing.
    Nothing,
}

impl Db {
    /// Has compaction drop all rows of a tree whose keys `filter` does not keep, and rewrites tables that hold such rows,
    /// without haste. It takes the place of an earlier filter; like that, it is forgotten when the store is closed.
    ///
    /// The caller promises: no such row is newer than `since`, no read as of `since` or later looks at one, and the reason
    /// for it is durable in tables. Snapshots and scans that are older are waited for. Rows are dropped from history too.
    pub fn set_compaction_filter(&self, tree: &Tree, filter: Arc<dyn CompactionFilter>, since: Revision) {
        let filtering = Filtering { filter, since, looked: Mutex::default() };
        tree.shared.filtering.store(Some(Arc::new(filtering)));
        if self.shared.options.background {
            self.shared.ask(|work| work.compact = true);
        }
    }

    /// Returns the bytes of each table of a tree with what `of` makes of about thirty of its keys: read once, `known` keeps it.
    pub fn sample_tables<T: Clone>(
        &self,
        tree: &Tree,
        known: &mut HashMap<FileId, T>,
        of: impl Fn(Vec<Vec<u8>>) -> T,
    ) -> Result<Vec<(u64, T)>> {
        let (state, _) = self.shared.read_at(&tree.shared, None)?;
        let live: HashSet<FileId> = state.version.tables().map(|(_, table)| table.record.file).collect();
        known.retain(|file, _| live.contains(file));
        let mut found = Vec::with_capacity(live.len());
        for (_, table) in state.version.tables() {
            let what = match known.entry(table.record.file) {
                Entry::Occupied(known) => known.get().clone(),
                Entry::Vacant(free) => free.insert(of(sampled_keys(table)?)).clone(),
            };
            found.push((table.record.bytes, what));
        }
        Ok(found)
    }
}

impl Shared {
    /// The filter that applies to a tree now. Once one does, it does for good.
    pub(super) fn filter_of(&self, tree: &TreeShared) -> Option<Arc<Filtering>> {
        let filtering = tree.filtering.load_full()?;
        // In this order: who registers meanwhile reads at what is visible.
        let has_come = self.visible() >= filtering.since;
        let waits = self.oldest_held().is_some_and(|oldest| oldest < filtering.since);
        (has_come && !waits).then_some(filtering)
    }

    /// Returns what is to be done so that tables hold no rows that the tree's filter drops: known tables first. A table that
    /// cannot be read is left as it is: it harms who needs it, and nobody needs this.
    pub(super) fn filtering_wanted(&self, tree: &TreeShared, version: &Version) -> Wanted {
        let Some(filtering) = self.filter_of(tree) else { return Wanted::Nothing };
        let mut looked = filtering.looked.lock();
        let live: HashSet<FileId> = version.tables().map(|(_, table)| table.record.file).collect();
        looked.retain(|file, _| live.contains(file));
        if !looked.values().any(|&holds| holds) {
            let mut unknown = version.tables().filter(|(_, table)| !looked.contains_key(&table.record.file));
            let some: Vec<_> = unknown.by_ref().take(LOOKED_MAX).map(|(_, table)| table).collect();
            let more = unknown.next().is_some();
            for table in some {
                if self.is_closed() {
                    return Wanted::Nothing;
                }
                let holds = is_unfiltered(table, &*filtering.filter, filtering.since).unwrap_or(false);
                looked.insert(table.record.file, holds);
            }
            if more && !looked.values().any(|&holds| holds) {
                return Wanted::Look;
            }
        }
        let holds = |table: &TableRef| looked.get(&table.record.file) == Some(&true);
        filtering_plan(version, &self.options, holds).map_or(Wanted::Nothing, Wanted::Step)
    }
}

impl Filtering {
    pub(super) fn filter(&self) -> &dyn CompactionFilter {
        &*self.filter
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::ManualClock;
    use crate::fs::{Fs, MemFs};
    use crate::options::Options;
    use crate::sync::atomic::{AtomicUsize, Ordering};
    use kvarts_formats::batch::Batch;
    use std::path::Path;
    use std::time::Duration;

    /// Keeps keys of one first byte.
    struct Only(u8, AtomicUsize);

    impl CompactionFilter for Only {
        fn keeps(&self, key: &[u8]) -> bool {
            self.1.fetch_add(1, Ordering::Relaxed);
            key[0] == self.0
        }

        fn keeps_any(&self, smallest: &[u8], largest: &[u8]) -> bool {
            smallest[0] <= self.0 && self.0 <= largest[0]
        }
    }

    fn only(first: u8) -> Arc<Only> {
        Arc::new(Only(first, AtomicUsize::new(0)))
    }

    /// A store of a thousand rows each of `a…`, `b…` and `c…`, in tables of a few KiB.
    fn store() -> (Arc<Db>, Tree, Arc<ManualClock>) {
        let (fs, clock): (Arc<dyn Fs>, _) = (Arc::new(MemFs::volatile()), Arc::new(ManualClock::new(1_000)));
        let options = Options {
            create: true,
            background: false,
            block_bytes: 512,
            table_bytes: 16 << 10,
            level_base_bytes: 64 << 10,
            ..Options::default()
        };
        let db = Db::open(fs, Arc::clone(&clock) as Arc<_>, Path::new("/"), "test", options).unwrap();
        let tree = db.create_tree("rows", "", "").unwrap();
        for first in *b"abc" {
            let mut batch = Batch::new();
            for row in 0..1000u32 {
                batch.put(tree.id(), &[&[first], &row.to_be_bytes()[..]].concat(), &[first; 60]);
            }
            db.write(&mut batch).unwrap();
        }
        db.compact(None).unwrap();
        (db, tree, clock)
    }

    /// Rows in tables, whoever may see them.
    fn table_rows(db: &Db) -> u64 {
        db.stats().trees[0].table_rows
    }

    #[test]
    fn what_is_not_kept_goes_when_the_store_is_compacted() {
        let (db, tree, _) = store();
        assert_eq!(table_rows(&db), 3000);
        let filter = only(b'b');
        db.set_compaction_filter(&tree, Arc::clone(&filter) as Arc<_>, db.revision());
        db.compact(None).unwrap();
        assert_eq!(table_rows(&db), 1000);
        assert!(db.get(&tree, b"b\0\0\0\x07", None, |row| row.is_some()).unwrap());
        assert!(filter.1.load(Ordering::Relaxed) < 2500, "tables of which nothing is kept are not read");
    }

    #[test]
    fn it_goes_by_itself_where_nobody_compacts() {
        let (db, tree, clock) = store();
        db.set_compaction_filter(&tree, only(b'a'), db.revision());
        let mut quiet = super::super::compact::Quiet::default();
        let mut steps = 0;
        while let Some(wait) = db.shared.compact_resting(&mut quiet).unwrap() {
            assert!(steps < 1000, "it never ends");
            steps += 1;
            clock.advance_ms(wait.max(Duration::from_millis(1)).as_millis() as u64);
        }
        assert_eq!(table_rows(&db), 1000);
    }

    #[test]
    fn keys_of_each_table_are_sampled_once() {
        let (db, tree, _) = store();
        let (looks, mut known) = (AtomicUsize::new(0), HashMap::new());
        let mut part = || {
            let tables = db.sample_tables(&tree, &mut known, |keys| {
                looks.fetch_add(1, Ordering::Relaxed);
                (keys.iter().filter(|key| key[0] == b'b').count(), keys.len())
            });
            let tables = tables.unwrap();
            assert!(tables.iter().all(|(_, (_, keys))| (20..100).contains(keys)), "{tables:?}");
            let part = |&(bytes, (of, keys)): &(u64, (usize, usize))| bytes as f64 * of as f64 / keys as f64;
            (tables.len(), tables.iter().map(|(bytes, _)| bytes).sum::<u64>(), tables.iter().map(part).sum::<f64>())
        };
        let (tables, all, third) = part();
        assert!(tables > 2 && all == db.stats().table_bytes);
        assert!((0.25..0.42).contains(&(third / all as f64)), "{third} of {all}");
        assert_eq!(part(), (tables, all, third));
        assert_eq!(looks.load(Ordering::Relaxed), tables);
    }

    #[test]
    fn who_reads_as_of_before_sees_it_to_the_end() {
        let (db, tree, _) = store();
        let before = db.snapshot().unwrap();
        let mut batch = Batch::new();
        batch.put(tree.id(), b"b", b"newer");
        db.write(&mut batch).unwrap();
        db.set_compaction_filter(&tree, only(b'b'), db.revision());
        db.compact(None).unwrap();
        assert_eq!(table_rows(&db), 3001, "a snapshot is older");
        assert!(db.get(&tree, b"a\0\0\0\x07", Some(&before), |row| row.is_some()).unwrap());
        let after = db.snapshot().unwrap();
        drop(before);
        db.compact(None).unwrap();
        assert_eq!(table_rows(&db), 1001, "one that is not older is not waited for");
        drop(after);
    }

    #[test]
    fn a_filter_from_a_revision_to_come_waits_for_it() {
        let (db, tree, _) = store();
        db.set_compaction_filter(&tree, only(b'b'), Revision(db.revision().0 + 1));
        db.compact(None).unwrap();
        assert_eq!(table_rows(&db), 3000);
    }
}
