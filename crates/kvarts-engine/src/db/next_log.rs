//! The next log file, made while the current one is filled: whoever ends that need not wait for the disk.
//!
//! No manifest and no record names it until the log goes on in it. What a crash leaves of it is a log without records behind
//! the last one, which recovery drops.
use super::state::Shared;
use crate::Result;
use crate::fs::LogMode;
use crate::keys::{Keys, MasterKey};
use crate::log::{PreparedLog, log_path};
use crate::options::{Durability, Options};

/// How the log of a store is written.
pub(super) fn log_mode(options: &Options) -> LogMode {
    match options.durability {
        Durability::Batch | Durability::None if options.log => LogMode::Mapped,
        _ => LogMode::Written,
    }
}

impl Shared {
    /// Makes the next log file where there is none. On a full disk, whoever ends the current one tries again and is told; any
    /// other failure poisons the store.
    pub(super) fn prepare_log(&self) -> Result<()> {
        // Held while the file is made: a file that is on its way when the master key changes would need the old one.
        let mut next = self.next_log.lock();
        if next.is_some() || self.check_writable().is_err() {
            return Ok(());
        }
        let (file, mode) = (self.new_file(), log_mode(&self.options));
        let path = log_path(&self.dir, file);
        match PreparedLog::create(&*self.fs, &path, &self.store, file, self.options.log_bytes, 0, mode) {
            Ok(made) => *next = Some(made),
            Err(passing) if passing.may_pass() => {}
            Err(error) => return Err(self.poison(error)),
        }
        Ok(())
    }

    /// Takes the next log file if it is there and has room for a record of `len` bytes; one that has not goes.
    pub(super) fn take_log(&self, len: usize) -> Option<PreparedLog> {
        let mut next = self.next_log.lock();
        if next.as_ref().is_some_and(|next| next.fits_record(len)) {
            return next.take();
        }
        self.discard(next.take());
        None
    }

    /// Makes `key` the first of the ring. No log that was made before goes on after.
    pub(super) fn put_key_first(&self, keys: &Keys, key: MasterKey) {
        let mut next = self.next_log.lock();
        keys.put_first(key);
        self.discard(next.take());
    }

    /// Closes the next log file, and removes it unless the disk is to be left alone. Called once the store is closed.
    pub(super) fn drop_log(&self) {
        let next = self.next_log.lock().take();
        if !self.leaves_disk_alone() {
            self.discard(next);
        }
    }

    fn discard(&self, next: Option<PreparedLog>) {
        if let Some(next) = next {
            self.remove_logs(&[next.file()]);
        }
    }
}
