//! A file system that fails at an operation of the test's choice, over any other one.
//!
//! Every call counts as one operation, those on open files too. [`FaultFs::fail_at`] names the first operation that goes
//! wrong and how; what the operation cannot meet (a read finds no full disk) it does not. A sync that fails leaves
//! what was written in doubt for good, as a kernel does that drops the pages: later syncs of that file succeed, and do nothing.
//!
//! What a power loss leaves is for the file system below: [`MemFs::crash`](super::MemFs::crash).
use super::chance::Chance;
use super::{Access, Fs, LockOutcome, LogFile, LogMode, ReadFile, WriteFile};
use crate::sync::{Condvar, Mutex};
use rustix::io::Errno;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

mod handle;
#[cfg(test)]
mod tests;

use handle::{FaultLog, FaultReadFile, FaultWriteFile};

/// How an operation goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// EIO: nothing is done.
    Io,
    /// ENOSPC of what takes space, a sync among it: nothing is done.
    NoSpace,
    /// EMFILE of what opens a file: nothing is done.
    NoDescriptor,
    /// A part is read or written, then it fails: with EIO a write, with `UnexpectedEof` a read.
    Short,
    /// It is done, and reported as failed with EIO.
    Late,
    /// One bit is not what was written, or not what is there, and nobody says so.
    Flip,
    /// Zeros lie where the bytes should be, and nobody says so.
    Lost,
    /// The bytes that the write before carried to wherever it went lie where these should be, and nobody says so.
    Misdirected,
}

/// What is asked of a file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "named after the calls")]
pub enum FsOp {
    CreateDir,
    Exists,
    Length,
    List,
    SyncDir,
    Read,
    Open,
    Create,
    CreateLog,
    Rename,
    Remove,
    RemoveDir,
    Link,
    Lock,
    Hold,
    Access,
    SetMode,
    ReadAt,
    Append,
    Sync,
    AppendLog,
    SyncLog,
}

impl FsOp {
    fn is_sync(self) -> bool {
        matches!(self, Self::Sync | Self::SyncDir | Self::SyncLog)
    }

    /// Tells whether a fault can befall it.
    pub fn meets(self, fault: Fault) -> bool {
        use FsOp::*;
        let writes = matches!(self, Append | AppendLog);
        match fault {
            Fault::Io => true,
            Fault::NoSpace => {
                let takes_entry = matches!(self, CreateDir | Create | CreateLog | Rename | Link | Lock);
                writes || takes_entry || matches!(self, Sync | SyncDir | SyncLog)
            }
            Fault::NoDescriptor => matches!(self, List | SyncDir | Read | Open | Create | CreateLog | Lock | Hold),
            Fault::Short | Fault::Flip => writes || matches!(self, Read | ReadAt),
            Fault::Late => matches!(self, CreateDir | SyncDir | Rename | Remove | RemoveDir | Link | Sync | SyncLog),
            Fault::Lost | Fault::Misdirected => writes,
        }
    }
}

/// An operation that went wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Met {
    /// Its number: so many were before it.
    pub number: u64,
    /// What was asked.
    pub op: FsOp,
    /// Of which file.
    pub path: PathBuf,
}

/// A file system that fails as it is told to. A clone is another handle to the same plan.
#[derive(Clone)]
pub struct FaultFs {
    fs: Arc<dyn Fs>,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    ops: u64,
    plan: Option<Plan>,
    /// Operations that went wrong.
    met: Vec<Met>,
    /// Syncs are slow: a seed, and the longest that one takes.
    slow: Option<(u64, Duration)>,
    /// The bytes written last, where a plan may misdirect them.
    stray: Vec<u8>,
}

#[derive(Clone, Copy)]
struct Plan {
    at: u64,
    fault: Fault,
    lasts: bool,
}

impl FaultFs {
    /// Returns `fs`, with nothing going wrong yet.
    pub fn new(fs: Arc<dyn Fs>) -> Self {
        Self { fs, shared: Arc::default() }
    }

    /// Makes operation `at` (the first is 0) go wrong, or what follows it first and can; where the fault `lasts`, all that follow too.
    pub fn fail_at(&self, at: u64, fault: Fault, lasts: bool) {
        self.shared.state.lock().plan = Some(Plan { at, fault, lasts });
    }

    /// Makes the disk slow: each sync takes between half of `longest` and all of it, as `seed` has it.
    pub fn slow_syncs(&self, seed: u64, longest: Duration) {
        self.shared.state.lock().slow = Some((seed, longest));
    }

    /// Lets all go well from now on.
    pub fn heal(&self) {
        self.shared.state.lock().plan = None;
    }

    /// Operations so far.
    pub fn ops(&self) -> u64 {
        self.shared.state.lock().ops
    }

    /// What went wrong so far.
    pub fn met(&self) -> Vec<Met> {
        self.shared.state.lock().met.clone()
    }

    /// Runs an operation that is done or not.
    fn run<R>(&self, op: FsOp, path: &Path, act: impl FnOnce() -> io::Result<R>) -> io::Result<R> {
        match self.shared.meet(op, path) {
            None => act(),
            Some((Fault::Late, _)) => act().and_then(|_| Err(error(Fault::Late))),
            Some((fault, _)) => Err(error(fault)),
        }
    }
}

impl Shared {
    /// Counts an operation. Returns what befalls it, and the choices that go with it.
    fn meet(&self, op: FsOp, path: &Path) -> Option<(Fault, Chance)> {
        let mut state = self.state.lock();
        let number = state.ops;
        state.ops += 1;
        if let Some((seed, longest)) = state.slow.filter(|_| op.is_sync()) {
            drop(state);
            wait(longest / 2 + longest / 200 * Chance(seed ^ number).below(100) as u32);
            state = self.state.lock();
        }
        let plan = state.plan.filter(|plan| number >= plan.at && op.meets(plan.fault))?;
        if !plan.lasts {
            // Operations that cannot meet the fault have passed by: one that can is hit, once.
            state.plan = None;
        }
        state.met.push(Met { number, op, path: path.to_owned() });
        Some((plan.fault, Chance(number)))
    }

    /// Remembers what was written, where it may be asked for. Returns what was written before.
    fn swap_stray(&self, bytes: &[u8]) -> Vec<u8> {
        let mut state = self.state.lock();
        std::mem::replace(&mut state.stray, bytes.to_vec())
    }
}

/// Lets some time pass, with no lock held.
fn wait(time: Duration) {
    let nobody = Mutex::new(());
    Condvar::default().wait_for(&mut nobody.lock(), time);
}

fn error(fault: Fault) -> io::Error {
    match fault {
        Fault::NoSpace => Errno::NOSPC.into(),
        Fault::NoDescriptor => Errno::MFILE.into(),
        _ => Errno::IO.into(),
    }
}

/// Flips one bit, if there is any.
fn flip(bytes: &mut [u8], chance: &mut Chance) {
    if !bytes.is_empty() {
        bytes[chance.below(bytes.len())] ^= 1 << chance.below(8);
    }
}

impl Fs for FaultFs {
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.run(FsOp::CreateDir, path, || self.fs.create_dir(path))
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        self.run(FsOp::Exists, path, || self.fs.exists(path))
    }

    fn length(&self, path: &Path) -> io::Result<u64> {
        self.run(FsOp::Length, path, || self.fs.length(path))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        self.run(FsOp::List, dir, || self.fs.list(dir))
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.run(FsOp::SyncDir, dir, || self.fs.sync_dir(dir))
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        match self.shared.meet(FsOp::Read, path) {
            None => self.fs.read(path),
            Some((Fault::Flip, mut chance)) => {
                let mut bytes = self.fs.read(path)?;
                flip(&mut bytes, &mut chance);
                Ok(bytes)
            }
            Some((Fault::Short, _)) => Err(io::ErrorKind::UnexpectedEof.into()),
            Some((fault, _)) => Err(error(fault)),
        }
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn ReadFile>> {
        let file = self.run(FsOp::Open, path, || self.fs.open(path))?;
        Ok(Arc::new(FaultReadFile { file, path: path.to_owned(), shared: Arc::clone(&self.shared) }))
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn WriteFile>> {
        let file = self.run(FsOp::Create, path, || self.fs.create(path))?;
        let shared = Arc::clone(&self.shared);
        Ok(Box::new(FaultWriteFile { file, path: path.to_owned(), shared, sync_failed: false }))
    }

    fn create_log(&self, path: &Path, capacity: u64, mode: LogMode) -> io::Result<Box<dyn LogFile>> {
        let log = self.run(FsOp::CreateLog, path, || self.fs.create_log(path, capacity, mode))?;
        let sync_failed = Arc::new(AtomicBool::new(false));
        let shared = Arc::clone(&self.shared);
        Ok(Box::new(FaultLog { log, path: path.to_owned(), shared, sync_failed, torn_at: None }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.run(FsOp::Rename, to, || self.fs.rename(from, to))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.run(FsOp::Remove, path, || self.fs.remove(path))
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        self.run(FsOp::RemoveDir, path, || self.fs.remove_dir(path))
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.run(FsOp::Link, to, || self.fs.link(from, to))
    }

    fn lock(&self, path: &Path, holder: &str) -> io::Result<LockOutcome> {
        self.run(FsOp::Lock, path, || self.fs.lock(path, holder))
    }

    fn lock_shared(&self, path: &Path) -> io::Result<LockOutcome> {
        self.run(FsOp::Lock, path, || self.fs.lock_shared(path))
    }

    fn hold(&self, dir: &Path) -> io::Result<Option<Arc<dyn Fs>>> {
        let held = self.run(FsOp::Hold, dir, || self.fs.hold(dir))?;
        Ok(held.map(|fs| Arc::new(Self { fs, shared: Arc::clone(&self.shared) }) as Arc<dyn Fs>))
    }

    fn release(&self) {
        self.fs.release();
    }

    fn access(&self, dir: &Path) -> io::Result<Option<Access>> {
        self.run(FsOp::Access, dir, || self.fs.access(dir))
    }

    fn set_mode(&self, path: &Path, mode: u32) -> io::Result<()> {
        self.run(FsOp::SetMode, path, || self.fs.set_mode(path, mode))
    }
}

impl std::fmt::Debug for FaultFs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let state = self.shared.state.lock();
        write!(f, "FaultFs(ops={} met={:?})", state.ops, state.met)
    }
}
