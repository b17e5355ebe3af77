//! Flush: sealed memtables become tables of level 0.
use super::Db;
use super::state::Shared;
use super::trees::{Mem, TreeShared};
use crate::compaction::{OutputContext, write_tables};
use crate::log::LogPosition;
use crate::version::{TableRef, VersionEdit};
use crate::{FileId, Result};
use kvarts_formats::compress::Compression;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::{Builder, ScopedJoinHandle};

/// A memtable to flush, with its tree.
pub(super) type Sealed = (Arc<TreeShared>, Arc<Mem>);

impl Db {
    /// Writes all memtables into tables and waits for it.
    pub fn flush(&self) -> Result<()> {
        self.shared.check_writable()?;
        self.shared.seal_now()?;
        self.shared.flush_all()
    }
}

impl Shared {
    /// Seals all memtables that have rows.
    pub(super) fn seal_now(&self) -> Result<()> {
        let mut write = self.write.lock();
        self.check_writable()?;
        self.seal_all(&mut write);
        Ok(())
    }

    /// Flushes every memtable that is sealed.
    pub(super) fn flush_all(&self) -> Result<()> {
        let _flushing = self.flushing.lock();
        while self.flush_next()? {}
        Ok(())
    }

    /// Flushes the sealed memtable that pins the oldest log. Returns false where none waits. Called with `flushing` held.
    pub(super) fn flush_next(&self) -> Result<bool> {
        match self.sealed_mems().into_iter().min_by_key(|(_, mem)| mem.first_log()) {
            Some((tree, mem)) => self.flush_mem(&tree, &mem).map(|()| true),
            None => Ok(false),
        }
    }

    /// Sealed memtables: of each tree the oldest first.
    pub(super) fn sealed_mems(&self) -> Vec<Sealed> {
        let install = self.install.lock();
        let mut mems = Vec::new();
        for tree in install.trees.values() {
            let state = tree.state.load();
            mems.extend(state.sealed.iter().rev().map(|mem| (Arc::clone(tree), Arc::clone(mem))));
        }
        mems
    }

    /// Writes one memtable, the oldest of its tree, into tables and installs them. Called with `flushing` held.
    ///
    /// Its rows are durable in the log before a manifest names the tables: otherwise they would outlive older rows of
    /// other trees, and what a crash leaves would not be a prefix. A table that no manifest names counts for nothing, so
    /// it may be written, and be durable, before the log is.
    pub(super) fn flush_mem(&self, tree: &TreeShared, mem: &Arc<Mem>) -> Result<()> {
        // Here and not where memtables grow: a writer should not wait for blocks to be let go.
        self.cache.shrink();
        let outputs = self.while_syncing(mem.end.load(), || {
            let mut rows = mem.table.cursor();
            rows.seek_first()?;
            self.with_outputs(tree.compression(&self.options, 0), &|| false, |context| {
                write_tables(rows, &self.retention(), context)
            })
        })?;
        let bytes: u64 = outputs.iter().map(|table| table.record.bytes).sum();
        let edit = VersionEdit {
            added: outputs.into_iter().map(|table| (0, table)).collect(),
            removed: Vec::new(),
            flushed: Some(mem.revision_max()),
        };
        self.install(tree, &edit, Some(mem))?;
        self.counters.flushes.fetch_add(1, Ordering::Relaxed);
        self.counters.flush_bytes.fetch_add(bytes, Ordering::Relaxed);
        self.set_failure(None);
        self.ask(|work| work.compact = true);
        Ok(())
    }

    /// Writes tables by `job` and syncs the log up to `end`, at the same time where the store has threads: one waits for the
    /// disk while the other computes. Where either fails the tables go again.
    fn while_syncing(&self, end: LogPosition, job: impl FnOnce() -> Result<Vec<TableRef>>) -> Result<Vec<TableRef>> {
        let (synced, outputs) = if self.options.background && self.syncer.synced() < end {
            std::thread::scope(|scope| {
                let sync = Builder::new().name("kvarts-flush-sync".into()).spawn_scoped(scope, || self.sync_to(end));
                let outputs = job();
                // Where no thread is to be had, the sync comes after.
                (sync.map_or_else(|_| self.sync_to(end), join), outputs)
            })
        } else {
            let outputs = job();
            (self.sync_to(end), outputs)
        };
        let outputs = outputs?;
        if let Err(error) = synced {
            outputs.iter().for_each(|output| output.table.mark_obsolete());
            return Err(error);
        }
        Ok(outputs)
    }

    /// Calls `job` with where its outputs go, and how they are compressed.
    pub(super) fn with_outputs<R>(
        &self,
        compression: Compression,
        stop: &dyn Fn() -> bool,
        job: impl FnOnce(&OutputContext<'_>) -> R,
    ) -> R {
        let next_file: &dyn Fn() -> FileId = &|| self.new_file();
        job(&OutputContext {
            fs: &self.fs,
            dir: &self.dir,
            store: &self.store,
            options: &self.options,
            compression,
            cache: &self.cache,
            next_file,
            stop,
        })
    }
}

/// Returns what a thread has returned; a panic of it goes on here.
fn join<T>(thread: ScopedJoinHandle<'_, T>) -> T {
    thread.join().unwrap_or_else(|panic| resume_unwind(panic))
}
