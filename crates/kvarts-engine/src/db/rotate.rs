//! Moving a store to another master key while it is used.
//!
//! From the first step on every new file is wrapped by the new key. What the old one wraps is replaced: the log by rotation
//! and a flush, each table by a copy under a key of its own, the manifest by the next one. Each step is an edit like any
//! other, so it may end at any of them; who goes on later opens the store with both keys.
use super::manifest::MANIFEST;
use super::state::Shared;
use super::trees::TreeShared;
use super::{Db, Rotation};
use crate::keys::{KeyId, Keys, MasterKey};
use crate::version::{TableRef, VersionEdit};
use crate::{Error, Result};
use std::sync::Arc;

/// A table that another key wraps, and where it is.
struct Stale {
    tree: Arc<TreeShared>,
    level: usize,
    table: TableRef,
}

impl Db {
    /// Makes `key` the master key, and has all that others wrap written anew. Reads and writes go on meanwhile. On return no
    /// file that the manifest names needs another key, and the others are forgotten; tables that open snapshots and scans
    /// still read go with these. `progress` gets (bytes done, bytes in all).
    ///
    /// Where it fails, or the process ends, the store needs both keys; the next call with the same key goes on.
    /// Errors: `NotEncrypted`, `StorageFull`, `Corruption`, `Io`, `Poisoned`, `Closed`.
    pub fn rotate_key(&self, key: MasterKey, progress: &mut dyn FnMut(u64, u64)) -> Result<Rotation> {
        let shared = &*self.shared;
        shared.check_writable()?;
        let keys = shared.store.keys().ok_or_else(|| Error::NotEncrypted(shared.dir.join(MANIFEST)))?;
        let id = key.id();
        let _rotating = shared.rotating.lock();
        shared.put_key_first(keys, key);
        shared.renew_log()?;
        let done = shared.renew_tables(id, progress)?;
        shared.renew_manifest(keys)?;
        Ok(done)
    }
}

impl Shared {
    /// Goes on in a new log, and puts all that stands in older ones into tables.
    fn renew_log(&self) -> Result<()> {
        {
            let mut write = self.write.lock();
            self.check_writable()?;
            self.rotate(&mut write, 0)?;
            self.seal_all(&mut write);
        }
        // A flush that was under way has ended when this returns: later ones are wrapped by the new key.
        self.flush_all()
    }

    /// Replaces the tables that other keys wrap, one after another.
    fn renew_tables(&self, id: KeyId, progress: &mut dyn FnMut(u64, u64)) -> Result<Rotation> {
        let mut done = Rotation::default();
        loop {
            self.check_writable()?;
            // Held for one table at a time: compaction has a turn between two.
            let _compacting = self.compacting.lock();
            let stale = self.stale_tables(id)?;
            let Some(next) = stale.first() else { return Ok(done) };
            let left: u64 = stale.iter().map(|stale| stale.table.record.bytes).sum();
            progress(done.bytes, done.bytes + left);
            self.renew_table(next)?;
            done.tables += 1;
            done.bytes += next.table.record.bytes;
        }
    }

    fn stale_tables(&self, id: KeyId) -> Result<Vec<Stale>> {
        let mut stale = Vec::new();
        for tree in self.live_trees() {
            let version = Arc::clone(&tree.state.load().version);
            for (level, tables) in version.levels.iter().enumerate() {
                for table in tables {
                    if table.table.key()? != Some(id) {
                        stale.push(Stale { tree: Arc::clone(&tree), level, table: table.clone() });
                    }
                }
            }
        }
        Ok(stale)
    }

    fn renew_table(&self, stale: &Stale) -> Result<()> {
        let Stale { tree, level, table } = stale;
        let file = self.new_file();
        let copy = table.table.reseal(&self.dir, &self.store, file)?;
        if let Err(error) = self.fs.sync_dir(&self.dir) {
            copy.mark_obsolete();
            return Err(Error::io("syncing", &self.dir, error));
        }
        let edit = VersionEdit {
            added: vec![(*level, TableRef::of(copy))],
            removed: vec![(*level, table.record.file)],
            flushed: None,
        };
        self.install(tree, &edit, None)
    }

    /// Writes the manifest once more, which removes the logs that are no longer needed, and forgets the other keys.
    fn renew_manifest(&self, keys: &Keys) -> Result<()> {
        let mut install = self.install.lock();
        self.write_manifest(&mut install, None)?;
        keys.keep_first();
        Ok(())
    }
}
