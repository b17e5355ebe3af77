//! Open files that fail as the plan says.
use super::{Fault, FsOp, Shared, error, flip};
use crate::fs::{LogFile, LogSync, ReadFile, WriteFile};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

pub(super) struct FaultReadFile {
    pub(super) file: Arc<dyn ReadFile>,
    pub(super) path: PathBuf,
    pub(super) shared: Arc<Shared>,
}

impl ReadFile for FaultReadFile {
    fn read_exact_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        match self.shared.meet(FsOp::ReadAt, &self.path) {
            None => self.file.read_exact_at(offset, buf),
            Some((Fault::Flip, mut chance)) => {
                self.file.read_exact_at(offset, buf)?;
                flip(buf, &mut chance);
                Ok(())
            }
            Some((Fault::Short, mut chance)) => {
                let part = chance.below(buf.len() + 1);
                self.file.read_exact_at(offset, &mut buf[..part])?;
                Err(io::ErrorKind::UnexpectedEof.into())
            }
            Some((fault, _)) => Err(error(fault)),
        }
    }

    fn len(&self) -> u64 {
        self.file.len()
    }
}

pub(super) struct FaultWriteFile {
    pub(super) file: Box<dyn WriteFile>,
    pub(super) path: PathBuf,
    pub(super) shared: Arc<Shared>,
    pub(super) sync_failed: bool,
}

impl WriteFile for FaultWriteFile {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let met = self.shared.meet(FsOp::Append, &self.path);
        let before = self.shared.swap_stray(bytes);
        match met {
            None => self.file.append(bytes),
            Some((Fault::Short, mut chance)) => {
                self.file.append(&bytes[..chance.below(bytes.len() + 1)])?;
                Err(error(Fault::Short))
            }
            Some((fault @ (Fault::Flip | Fault::Lost | Fault::Misdirected), mut chance)) => {
                let mut written = bytes.to_vec();
                spoil(&mut written, fault, &before, &mut chance);
                self.file.append(&written)
            }
            Some((fault, _)) => Err(error(fault)),
        }
    }

    fn sync(&mut self) -> io::Result<()> {
        match self.shared.meet(FsOp::Sync, &self.path) {
            None if self.sync_failed => Ok(()),
            None => self.file.sync(),
            Some((fault, _)) => {
                if fault == Fault::Late {
                    self.file.sync()?;
                }
                self.sync_failed = true;
                Err(error(fault))
            }
        }
    }
}

pub(super) struct FaultLog {
    pub(super) log: Box<dyn LogFile>,
    pub(super) path: PathBuf,
    pub(super) shared: Arc<Shared>,
    pub(super) sync_failed: Arc<AtomicBool>,
    /// Where a part of a record lies that failed: the log below takes no more behind it.
    pub(super) torn_at: Option<u64>,
}

impl LogFile for FaultLog {
    fn append_with(&mut self, len: usize, fill: &mut dyn FnMut(&mut [u8])) -> io::Result<()> {
        let met = self.shared.meet(FsOp::AppendLog, &self.path);
        if self.torn_at.is_some() {
            return Err(error(Fault::Short));
        }
        let (fault, mut chance) = match met {
            None => return self.append_and_note(len, fill),
            Some(met) => met,
        };
        match fault {
            Fault::Short => {
                let (whole, part) = (self.log.len(), chance.below(len));
                let mut bytes = vec![0; len];
                fill(&mut bytes);
                self.log.append_with(part, &mut |out| out.copy_from_slice(&bytes[..part]))?;
                self.torn_at = Some(whole);
                Err(error(fault))
            }
            Fault::Flip | Fault::Lost | Fault::Misdirected => {
                let mut bytes = vec![0; len];
                fill(&mut bytes);
                let before = self.shared.swap_stray(&bytes);
                spoil(&mut bytes, fault, &before, &mut chance);
                self.log.append_with(len, &mut |out| out.copy_from_slice(&bytes))
            }
            _ => Err(error(fault)),
        }
    }

    fn len(&self) -> u64 {
        self.torn_at.unwrap_or_else(|| self.log.len())
    }

    fn capacity(&self) -> u64 {
        self.log.capacity()
    }

    fn copies(&self, len: usize) -> bool {
        self.log.copies(len)
    }

    fn syncer(&self) -> Arc<dyn LogSync> {
        Arc::new(FaultSync {
            sync: self.log.syncer(),
            path: self.path.clone(),
            shared: Arc::clone(&self.shared),
            failed: Arc::clone(&self.sync_failed),
        })
    }
}

impl FaultLog {
    fn append_and_note(&mut self, len: usize, fill: &mut dyn FnMut(&mut [u8])) -> io::Result<()> {
        let shared = &self.shared;
        self.log.append_with(len, &mut |out| {
            fill(out);
            shared.swap_stray(out);
        })
    }
}

struct FaultSync {
    sync: Arc<dyn LogSync>,
    path: PathBuf,
    shared: Arc<Shared>,
    /// A sync of this file failed: what it had to make durable is in doubt for good.
    failed: Arc<AtomicBool>,
}

impl LogSync for FaultSync {
    fn sync(&self) -> io::Result<()> {
        match self.shared.meet(FsOp::SyncLog, &self.path) {
            None if self.failed.load(Ordering::SeqCst) => Ok(()),
            None => self.sync.sync(),
            Some((fault, _)) => {
                if fault == Fault::Late {
                    self.sync.sync()?;
                }
                self.failed.store(true, Ordering::SeqCst);
                Err(error(fault))
            }
        }
    }
}

/// Makes of `bytes` what lies in their place after a silent fault.
fn spoil(bytes: &mut [u8], fault: Fault, before: &[u8], chance: &mut super::Chance) {
    match fault {
        Fault::Flip => flip(bytes, chance),
        Fault::Lost => bytes.fill(0),
        _ => {
            let len = before.len().min(bytes.len());
            bytes[..len].copy_from_slice(&before[..len]);
        }
    }
}
