//! Closing: flush, end the threads, write a manifest without logs, free the lock.
use super::state::Shared;
use super::trees::TreeState;
use super::{Db, background};
use crate::{Error, FileId, Result, Revision};
use std::sync::atomic::Ordering;

impl Db {
    /// Flushes, syncs, ends the threads, writes a clean manifest, frees the lock. Idempotent; later calls fail with `Closed`.
    ///
    /// Calls in flight on other threads finish first. Live scans and snapshots keep their tables and can go on reading
    /// what they hold until dropped; they do not keep the lock.
    pub fn close(&self) -> Result<()> {
        // Held to the end: a second closer returns once the first is done.
        let mut threads = self.threads.lock();
        if !self.shared.set_closed() {
            return Ok(());
        }
        let clean = self.shared.drain();
        background::stop(&self.shared, std::mem::take(&mut threads));
        self.shared.drop_log();
        let closed = clean.and_then(|()| self.shared.write_clean_manifest());
        self.shared.let_go();
        closed
    }
}

impl Db {
    /// Closes the store without putting into tables what is not there yet: for one about to be removed. Idempotent.
    pub fn abandon(&self) -> Result<()> {
        self.shared.poison(Error::Poisoned("the store was abandoned".into()));
        self.close()
    }
}

impl Drop for Db {
    fn drop(&mut self) {
        // Nobody is left to tell; the logs hold what could not be flushed.
        let _ = self.close();
    }
}

impl Shared {
    /// Puts all rows into tables. A poisoned store is left as it is: recovery decides what counts.
    fn drain(&self) -> Result<()> {
        // Taking the lock waits for the writers in flight; later ones see that the store is closed.
        let mut write = self.write.lock();
        if self.leaves_disk_alone() {
            return Ok(());
        }
        self.seal_all(&mut write);
        drop(write);
        self.flush_all().or_else(|error| {
            // The logs stay and hold it all.
            self.sync_to(self.appended.load())?;
            Err(error)
        })
    }

    fn write_clean_manifest(&self) -> Result<()> {
        if self.leaves_disk_alone() {
            return Ok(());
        }
        let mut install = self.install.lock();
        self.place_manifest(&mut install, None, Vec::new(), Revision::ZERO)?;
        let logs: Vec<FileId> = self.logs.lock().drain(..).map(|(file, _)| file).collect();
        self.remove_logs(&logs);
        Ok(())
    }

    /// Lets go of memory, files and the lock. Scans keep what they hold.
    fn let_go(&self) {
        self.write.lock().let_go();
        self.syncer.close();
        for tree in self.live_trees() {
            tree.change(|_| TreeState::empty(&self.chunks));
        }
        let before = self.index_bytes.swap(0, Ordering::Relaxed);
        self.memory.indexes_took(before, 0, &self.cache);
        if !self.shares {
            self.chunks.keep_none();
            self.spares.keep_none();
            self.cache.set_capacity(0);
        }
        self.cache.hold_files();
        *self.lock.lock() = None;
        self.fs.release();
    }
}
