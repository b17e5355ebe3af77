//! Writing sorted rows into tables.
use super::cut::Cutter;
use super::retain::{Collector, Verdict};
use super::{CompactionFilter, Retention};
use crate::fs::Fs;
use crate::iter::BoxCursor;
use crate::keys::Identity;
use crate::options::Options;
use crate::sync::Mutex;
use crate::table::{BlockCache, Table, TableWriter, Unsynced, table_path};
use crate::version::TableRef;
use crate::{Error, FileId, Kind, Result, Revision};
use kvarts_formats::compress::Compression;
use std::panic::resume_unwind;
use std::path::Path;
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};

/// Where outputs go.
pub struct OutputContext<'a> {
    /// The file system.
    pub fs: &'a Arc<dyn Fs>,
    /// The store's directory.
    pub dir: &'a Path,
    /// The store.
    pub store: &'a Identity,
    /// Options of the store.
    pub options: &'a Options,
    /// How blocks are compressed, of the level and tree they are for.
    pub compression: Compression,
    /// The cache that output tables will use.
    pub cache: &'a Arc<BlockCache>,
    /// Gives out file ids.
    pub next_file: &'a dyn Fn() -> FileId,
    /// Asked every few rows; true stops the job, which then removes its outputs and returns `Closed`.
    pub stop: &'a dyn Fn() -> bool,
}

/// Writes `rows` (sorted, all sources merged) into tables of about `options.table_bytes`, leaving out what `retention`
/// lets go but no tombstones: older rows may lie in other tables. For flushes; compactions go by [`run`](super::run).
/// Syncs the tables and the directory. Rows of one key never straddle two tables. On error no outputs are left.
pub fn write_tables(rows: BoxCursor, retention: &Retention, context: &OutputContext<'_>) -> Result<Vec<TableRef>> {
    write_rows(rows, Collector::new(retention, false), None, Vec::new(), context)
}

/// Rows between two looks at `OutputContext::stop`.
const STOP_ROWS: u64 = 256;

/// Writes what `filter` and `collector` keep of `rows` into tables, cut with regard to `grandparents`.
pub(super) fn write_rows(
    mut rows: BoxCursor,
    mut collector: Collector<'_>,
    filter: Option<&dyn CompactionFilter>,
    grandparents: Vec<TableRef>,
    context: &OutputContext<'_>,
) -> Result<Vec<TableRef>> {
    let mut outputs = Outputs::new(context, grandparents);
    let mut read: u64 = 0;
    rows.seek_first()?;
    while rows.valid() {
        if read.is_multiple_of(STOP_ROWS) && (context.stop)() {
            return Err(Error::Closed);
        }
        read += 1;
        if filter.is_some_and(|filter| !filter.keeps(rows.key())) {
            rows.next()?;
            continue;
        }
        let (key, revision, kind) = (rows.key(), rows.revision(), rows.kind());
        let verdict = collector.judge(key, revision, kind, rows.value());
        if verdict != Verdict::Skip {
            outputs.cut_before(key)?;
            for held in collector.take_held() {
                outputs.add(key, held, Kind::Delete, &[])?;
            }
        }
        match verdict {
            Verdict::Skip => {}
            Verdict::Row => outputs.add(key, revision, kind, rows.value())?,
            Verdict::Tombstone => outputs.add(key, revision, Kind::Delete, &[])?,
        }
        rows.next()?;
    }
    outputs.finish()
}

/// A table on its way to stable storage, on a thread of its own.
type Syncing = JoinHandle<Result<()>>;

/// The tables of one job: those done, and the one being written. Dropped unfinished, it removes them all.
///
/// One is synced while the next is computed: the disk and the processor wait for each other at the end only.
struct Outputs<'a, 'c> {
    context: &'a OutputContext<'c>,
    cutter: Cutter<TableRef>,
    /// The table being written.
    current: Option<(FileId, TableWriter)>,
    /// Key of the row added last.
    key: Vec<u8>,
    done: Vec<TableRef>,
    /// The sync of the table that was done last; the others are durable.
    syncing: Option<Syncing>,
}

impl<'a, 'c> Outputs<'a, 'c> {
    fn new(context: &'a OutputContext<'c>, grandparents: Vec<TableRef>) -> Self {
        let cutter = Cutter::new(context.options, grandparents);
        Self { context, cutter, current: None, key: Vec::new(), done: Vec::new(), syncing: None }
    }

    /// Ends the current table where it is full and `key` is not the one added last. Rows of one key stay together.
    fn cut_before(&mut self, key: &[u8]) -> Result<()> {
        if self.current.is_some() && self.key == key {
            return Ok(());
        }
        let bytes = self.current.as_ref().map_or(0, |(_, writer)| writer.bytes_estimate());
        if self.cutter.cuts_before(key, bytes) {
            self.end_current()?;
        }
        self.key.clear();
        self.key.extend_from_slice(key);
        Ok(())
    }

    fn add(&mut self, key: &[u8], revision: Revision, kind: Kind, value: &[u8]) -> Result<()> {
        if self.current.is_none() {
            let OutputContext { fs, dir, store, options, compression, next_file, .. } = *self.context;
            let file = next_file();
            self.current = Some((file, TableWriter::create(&**fs, dir, store, file, options, compression)?));
        }
        let (_, writer) = self.current.as_mut().expect("made above");
        writer.add(key, revision, kind, value)
    }

    fn end_current(&mut self) -> Result<()> {
        let Some((file, writer)) = self.current.take() else { return Ok(()) };
        let OutputContext { fs, dir, store, cache, .. } = *self.context;
        let written = writer.finish_unsynced().and_then(|(_, _, unsynced)| {
            self.sync(unsynced)?;
            Table::open(fs, dir, store, file, cache)
        });
        let table = written.inspect_err(|_| remove(self.context, file))?;
        self.done.push(TableRef::of(table));
        Ok(())
    }

    /// Syncs a table: where the store has threads on one of them, once the table before is durable.
    fn sync(&mut self, unsynced: Unsynced) -> Result<()> {
        self.join()?;
        if !self.context.options.background {
            return unsynced.sync();
        }
        let handed = Arc::new(Mutex::new(Some(unsynced)));
        let taken = Arc::clone(&handed);
        let take = |table: &Mutex<Option<Unsynced>>| table.lock().take();
        let job = move || take(&taken).map_or(Ok(()), Unsynced::sync);
        let name = format!("{}-table", std::thread::current().name().unwrap_or("kvarts"));
        match Builder::new().name(name).spawn(job) {
            Ok(thread) => self.syncing = Some(thread),
            // Where no thread is to be had, it is done here.
            Err(_) => take(&handed).map_or(Ok(()), Unsynced::sync)?,
        }
        Ok(())
    }

    /// Waits for the sync that is under way.
    fn join(&mut self) -> Result<()> {
        match self.syncing.take() {
            Some(thread) => thread.join().unwrap_or_else(|panic| resume_unwind(panic)),
            None => Ok(()),
        }
    }

    fn finish(mut self) -> Result<Vec<TableRef>> {
        self.end_current()?;
        self.join()?;
        let OutputContext { fs, dir, .. } = *self.context;
        if !self.done.is_empty() {
            fs.sync_dir(dir).map_err(|error| Error::io("syncing", dir, error))?;
        }
        Ok(std::mem::take(&mut self.done))
    }
}

impl Drop for Outputs<'_, '_> {
    fn drop(&mut self) {
        if let Some(thread) = self.syncing.take() {
            // The table goes anyhow; but no file of a closed store stays open.
            let _ = thread.join();
        }
        if let Some((file, _)) = self.current.take() {
            remove(self.context, file);
        }
        self.done.iter().for_each(|output| output.table.mark_obsolete());
    }
}

/// Removes a half-made table. One that stays behind, for all we do, is removed when the store is next opened.
fn remove(context: &OutputContext<'_>, file: FileId) {
    let _ = context.fs.remove(&table_path(context.dir, file));
}
