//! Opening to read: nothing on disk changes, others may read too, and what is damaged fails only the reads that need it.
//!
//! Tables are opened when they are needed, as ever. Logs are replayed into memtables and stay there, whatever they
//! take: at most what the writer had not flushed. A damaged manifest or log is an error: what is newest cannot be told then.
use super::floor::Floor;
use super::manifest::{Install, MANIFEST};
use super::memory::Memory;
use super::open::{LOCK, check_cut_short, list, recover};
use super::recover::Recovering;
use super::state::{Parts, Shared};
use super::write::WriteState;
use super::{Db, OpenReport};
use crate::clock::Clock;
use crate::fs::{Fs, Guarded, LockOutcome, LogMode, MemFs};
use crate::keys::Identity;
use crate::log::LogWriter;
use crate::options::Options;
use crate::{Error, FileId, Result, Revision};
use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;

impl Db {
    pub(super) fn open_to_read(
        fs: Arc<dyn Fs>,
        clock: Arc<dyn Clock>,
        keys: Identity,
        dir: &Path,
        options: Options,
        seen: Guarded,
    ) -> Result<Arc<Self>> {
        let options = Options { background: false, create: false, ..options };
        let lock = lock(&*fs, dir)?;
        let names = list(&*fs, dir)?;
        if !names.iter().any(|name| name == MANIFEST) {
            check_cut_short(&*fs, dir, &names)?;
            return Err(Error::NotFound(dir.to_owned()));
        }
        let memory = Memory::of(&options);
        let cache = memory.cache(options.open_files);
        let (recovery, replay, created) = recover(&fs, &*clock, keys, dir, &options, &cache, (&names, &seen.files))?;
        let unclean = replay.end.map(|(file, offset)| (file, offset, recovery.last));
        let report =
            OpenReport { replayed: replay.batches, unclean, torn: replay.torn, created, exposed: seen.exposed };

        let trees = recovery.trees.into_values().map(Recovering::into_read_only);
        let install = Install {
            trees: trees.map(|tree| (tree.id(), tree)).collect(),
            next_tree: recovery.next_tree,
            floor: Floor::default(),
            reached: (FileId(0), Revision::ZERO),
        };
        let (next_file, revision, store) = (recovery.next_file.get(), recovery.last, recovery.store);
        // A log in memory that nothing is appended to: what writers own has to be there.
        let log =
            LogWriter::create(Arc::new(MemFs::volatile()), Path::new("/"), &store, FileId(0), 0, LogMode::Written)?;
        let (write, dir) = (WriteState::new(log), dir.to_owned());
        let shares = false;
        let parts =
            Parts { fs, clock, dir, options, store, cache, memory, shares, next_file, revision, write, install, lock };
        let shared = Shared::new(parts);
        shared.logs.lock().clear();
        Self::start(Arc::new(shared), report)
    }
}

/// Shares the lock with other readers. A store without a lock file, such as a copy, was never opened: nobody holds it.
pub(super) fn lock(fs: &dyn Fs, dir: &Path) -> Result<Box<dyn Send + Sync>> {
    match fs.lock_shared(&dir.join(LOCK)) {
        Ok(LockOutcome::Taken(lock)) => Ok(lock),
        Ok(LockOutcome::Held(holder)) => Err(Error::Locked { holder, path: dir.to_owned() }),
        Err(error) if error.kind() == ErrorKind::NotFound => match fs.exists(dir) {
            Ok(true) => Ok(Box::new(())),
            _ => Err(Error::NotFound(dir.to_owned())),
        },
        Err(error) => Err(Error::io("locking", dir, error)),
    }
}
