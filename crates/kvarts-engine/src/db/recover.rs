//! Recovery: finds the tables that the manifest names, replays the logs into memtables, and flushes those.
use super::TreeInfo;
use super::manifest::{MANIFEST, tree_record};
use super::trees::{Mem, TreeShared};
use crate::compaction::{OutputContext, Retention, write_tables};
use crate::fs::Fs;
use crate::keys::Identity;
use crate::log::{Replayed, log_path, replay};
use crate::memtable::Memtable;
use crate::options::Options;
use crate::table::{BlockCache, Table, table_path};
use crate::version::{LEVELS, TableRef, Version, VersionEdit};
use crate::{Error, FileId, Result, Revision, TreeId};
use kvarts_formats::batch::{BatchView, Op};
use kvarts_formats::manifest::{Manifest, TableRecord, TreeRecord};
use std::cell::Cell;
use std::collections::{BTreeMap, HashMap};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A store being recovered. Nothing on disk changes but for new tables, until `open` puts a new manifest in place.
pub(super) struct Recovery<'a> {
    pub(super) fs: &'a Arc<dyn Fs>,
    pub(super) dir: &'a Path,
    pub(super) options: &'a Options,
    pub(super) cache: &'a Arc<BlockCache>,
    /// Unix milliseconds.
    pub(super) now_ms: u64,
    pub(super) store: Identity,
    pub(super) next_file: Cell<u64>,
    pub(super) next_tree: u32,
    /// Newest revision found.
    pub(super) last: Revision,
    /// The revision that the logs must reach.
    pub(super) reach: Revision,
    pub(super) trees: BTreeMap<TreeId, Recovering>,
}

/// Lengths of tables, as far as they were seen. One that was not whole then may be by now.
pub(super) type Lengths = HashMap<FileId, u64>;

/// A tree being recovered.
pub(super) struct Recovering {
    pub(super) info: TreeInfo,
    pub(super) version: Version,
    mem: Arc<Memtable>,
    newest: Revision,
}

impl Recovering {
    /// The tree with the rows of the logs in its memtable.
    pub(super) fn into_read_only(self) -> Arc<TreeShared> {
        TreeShared::with_rows(self.info, self.version, Mem::holding(self.mem, self.newest))
    }
}

/// What the replay found.
#[derive(Default)]
pub(super) struct Replay {
    pub(super) batches: u64,
    /// Where the logs end; `None` where the manifest names none.
    pub(super) end: Option<(PathBuf, u64)>,
    pub(super) torn: Option<(PathBuf, u64, u64)>,
}

impl Recovery<'_> {
    /// Gives out a file id.
    pub(super) fn new_file(&self) -> FileId {
        FileId(self.next_file.replace(self.next_file.get() + 1))
    }

    /// Takes over the trees of a manifest of format `format`. Errors: `Corruption` where it contradicts itself, or where a table
    /// is missing or cut short.
    pub(super) fn load(&mut self, trees: Vec<TreeRecord>, format: u32, lengths: &Lengths) -> Result<()> {
        for TreeRecord { id, name, key_codec, value_codec, compression, flushed, levels } in trees {
            let version = Version::new(self.find_tables(id, levels, format, lengths)?, flushed);
            let info = TreeInfo { id, name, key_codec, value_codec, compression };
            self.last = self.last.max(version.flushed);
            let tree = Recovering { info, version, mem: Memtable::new(), newest: Revision::ZERO };
            if id.0 >= self.next_tree || self.trees.insert(id, tree).is_some() {
                return Err(self.damaged(format!("tree {} is out of range or there twice", id.0)));
            }
        }
        Ok(())
    }

    /// Finds the tables of a tree. None is opened: who needs one first does, and is told what is wrong with it.
    fn find_tables(
        &self,
        tree: TreeId,
        levels: Vec<Vec<TableRecord>>,
        format: u32,
        lengths: &Lengths,
    ) -> Result<Vec<Vec<TableRef>>> {
        if levels.len() > LEVELS {
            return Err(self.damaged(format!("tree {} has {} levels", tree.0, levels.len())));
        }
        let (dir, mut found) = (Arc::from(self.dir), Vec::with_capacity(levels.len()));
        for records in levels {
            let mut tables = Vec::with_capacity(records.len());
            for record in records {
                if lengths.get(&record.file).is_none_or(|&bytes| bytes < record.bytes) {
                    self.check_length(&record)?;
                }
                let record = Arc::new(record);
                let table = Table::unopened(self.fs, &dir, &self.store, &record, format, self.cache);
                if self.store.keys().is_some() {
                    // Whoever has the keys is asked for all of them now, and told at once where one is missing.
                    table.check_key()?;
                }
                tables.push(TableRef { record, table });
            }
            found.push(tables);
        }
        Ok(found)
    }

    /// Makes sure that the file of a table is there and whole. Where nothing is written, only reads that need it fail.
    fn check_length(&self, record: &TableRecord) -> Result<()> {
        if self.options.read_only {
            return Ok(());
        }
        let path = table_path(self.dir, record.file);
        let what = match self.fs.length(&path) {
            Ok(bytes) if bytes >= record.bytes => return Ok(()),
            Ok(bytes) => format!("the file is cut short: {bytes} bytes are left of {}", record.bytes),
            Err(error) if error.kind() == ErrorKind::NotFound => "the file is missing".to_owned(),
            Err(error) => return Err(Error::io("looking at", &path, error)),
        };
        Err(Error::Corruption { file: path, offset: 0, what })
    }

    /// Replays `logs` (oldest first) and flushes what they hold.
    pub(super) fn replay(&mut self, logs: &[FileId]) -> Result<Replay> {
        if logs.is_empty() {
            return Ok(Replay::default());
        }
        let (fs, dir, store) = (Arc::clone(self.fs), self.dir, self.store.clone());
        let flushed = self.trees.values().map(|tree| tree.version.flushed).max().unwrap_or_default();
        let mut newest: Option<Revision> = None;
        let report = replay(&*fs, dir, store, logs, &mut |record| {
            newest = newest.max(Some(self.apply(&record)?));
            Ok(())
        })?;
        // Before a table counts, the log is durable up to its newest row, for the rows of other trees beside it.
        let least = newest.map_or(self.reach, |_| flushed.max(self.reach));
        if newest.unwrap_or_default() < least {
            let (file, offset) = report.end.unwrap_or((dir.join(MANIFEST), 0));
            let what = format!("records from here on, up to revision {}, were on stable storage", least.0);
            return Err(Error::Corruption { file, offset, what });
        }
        self.flush()?;
        Ok(Replay { batches: report.batches, end: report.end, torn: report.torn })
    }

    /// Applies a batch of the log. Returns its revision.
    fn apply(&mut self, record: &Replayed<'_>) -> Result<Revision> {
        let (dir, file) = (self.dir, record.file);
        let damaged = |error| Error::format(&log_path(dir, file), record.offset, error);
        let batch = BatchView::decode(record.payload).map_err(damaged)?;
        for op in batch.ops() {
            self.insert(&op.map_err(damaged)?, batch.revision, record)?;
        }
        self.last = self.last.max(batch.revision);
        if self.trees.values().map(|tree| tree.mem.bytes()).sum::<usize>() >= self.options.memory_bytes / 8 {
            self.flush()?;
        }
        Ok(batch.revision)
    }

    fn insert(&mut self, op: &Op<'_>, revision: Revision, record: &Replayed<'_>) -> Result<()> {
        match self.trees.get_mut(&op.tree) {
            Some(tree) if revision > tree.version.flushed => {
                tree.mem.insert(op.key, revision, op.kind, op.value);
                tree.newest = tree.newest.max(revision);
                Ok(())
            }
            // In tables already; or of a tree that was dropped.
            Some(_) => Ok(()),
            None if op.tree.0 < self.next_tree => Ok(()),
            None => Err(Error::Corruption {
                file: log_path(self.dir, record.file),
                offset: record.offset,
                what: format!("a batch names tree {}, which never was", op.tree.0),
            }),
        }
    }

    /// Writes the memtables into tables, unless the disk is to stay as it is.
    fn flush(&mut self) -> Result<()> {
        if self.options.read_only {
            return Ok(());
        }
        let retention = Retention::new([], self.last, self.now_ms);
        let mut trees = std::mem::take(&mut self.trees);
        for tree in trees.values_mut().filter(|tree| !tree.mem.is_empty()) {
            let mut rows = tree.mem.cursor();
            rows.seek_first()?;
            let context = OutputContext {
                fs: self.fs,
                dir: self.dir,
                store: &self.store,
                options: self.options,
                compression: tree.info.compression.as_ref().unwrap_or(&self.options.compression).at(0),
                cache: self.cache,
                next_file: &|| self.new_file(),
                stop: &|| false,
            };
            let added = write_tables(rows, &retention, &context)?.into_iter().map(|table| (0, table)).collect();
            let edit = VersionEdit { added, removed: Vec::new(), flushed: Some(tree.newest) };
            tree.version = tree.version.apply(&edit);
            tree.mem = Memtable::new();
        }
        self.trees = trees;
        Ok(())
    }

    /// The manifest of what was recovered.
    pub(super) fn manifest(&self, logs: Vec<FileId>) -> Manifest {
        Manifest {
            store: self.store.id,
            next_file: self.next_file.get(),
            next_tree: self.next_tree,
            last_revision: self.last,
            logs,
            trees: self.trees.values().map(|tree| tree_record(&tree.info, &tree.version)).collect(),
        }
    }

    fn damaged(&self, what: String) -> Error {
        Error::Corruption { file: self.dir.join(MANIFEST), offset: 0, what }
    }
}
