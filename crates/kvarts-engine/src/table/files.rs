//! Descriptors of tables: each file is opened at its first use, closed where others need the descriptor more, and opened again.
//!
//! The limit of open files is the process's, the files are a store's: each store closes its own, and a quarter of them where
//! the process lacks one for something else. Who reads holds what it reads from, so a file can be closed at any time.
use super::open::damaged;
use super::table_path;
use crate::fs::{Fs, Lender, ReadFile, offer};
use crate::sync::{Mutex, MutexGuard};
use crate::{Error, FileId, Result};
use arc_swap::{ArcSwapOption, Guard};
use kvarts_formats::header::{FileHeader, FileKind, HEADER_BYTES};
use rustix::process::{Resource, getrlimit};
use std::collections::VecDeque;
use std::io::ErrorKind;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock, Weak};

/// A store keeps so many however many others have.
const FLOOR: usize = 16;

/// Most that are worth keeping: each takes memory of the kernel.
const CEILING: usize = 1 << 16;

/// Descriptors of tables in this process.
static OPEN: AtomicUsize = AtomicUsize::new(0);

/// The open tables of a store. Its locks are leaves: no other is taken under them, and no file is touched.
pub(super) struct OpenFiles {
    /// Most that this store may have open.
    own_max: usize,
    /// Most that all stores of the process may.
    process_max: usize,
    /// Descriptors that this store has.
    open: AtomicUsize,
    /// Open files, those looked at for closing first in front.
    queue: Mutex<VecDeque<Weak<TableFile>>>,
    /// All files, and their number at which those that are gone are dropped.
    all: Mutex<(Vec<Weak<TableFile>>, usize)>,
    /// Set once: what is open stays open.
    is_held: AtomicBool,
}

impl OpenFiles {
    /// At most `own_max` are kept open, and at most three quarters of what the process may open.
    pub(super) fn new(own_max: usize) -> Arc<Self> {
        let soft = getrlimit(Resource::Nofile).current.map_or(CEILING, |soft| usize::try_from(soft).unwrap_or(CEILING));
        let files = Arc::new(Self {
            own_max: own_max.max(1),
            process_max: (soft - soft / 4).min(CEILING),
            open: AtomicUsize::new(0),
            queue: Mutex::default(),
            all: Mutex::default(),
            is_held: AtomicBool::new(false),
        });
        let lender: Arc<dyn Lender> = files.clone();
        offer(&lender);
        files
    }

    /// Descriptors held now.
    #[cfg(test)]
    pub(super) fn count(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// Opens what is still in use and keeps it open: soon nothing is found by its name any more. As far as the process has
    /// descriptors for tables: it goes on, and needs others.
    pub(super) fn hold(&self) {
        {
            let _closing = self.queue.lock(); // Who closes one looks at `is_held` under it.
            self.is_held.store(true, Ordering::Release);
        }
        let all = std::mem::take(&mut self.all.lock().0);
        for file in all.iter().filter_map(Weak::upgrade) {
            if file.reader().is_err_and(|error| error.may_pass() || matches!(error, Error::Closed)) {
                return;
            }
        }
    }

    /// Tells whether the process has no more for this store.
    fn is_spent(&self) -> bool {
        self.open.load(Ordering::Relaxed) >= FLOOR && OPEN.load(Ordering::Relaxed) >= self.process_max
    }

    fn register(&self, file: &Arc<TableFile>) {
        let mut all = self.all.lock();
        if all.0.len() >= all.1 {
            all.0.retain(|file| file.strong_count() > 0);
            all.1 = 2 * all.0.len() + 64;
        }
        all.0.push(Arc::downgrade(file));
    }

    /// Notes a file that was opened.
    fn push(&self, file: &Arc<TableFile>) {
        let mut queue = self.queue.lock();
        if queue.len() > 2 * self.open.load(Ordering::Relaxed) + 64 {
            queue.retain(|file| file.strong_count() > 0);
        }
        queue.push_back(Arc::downgrade(file));
    }

    /// Closes one, or two, where one more would be too many. Errors: `Closed` where what is open must stay so.
    fn make_room(&self) -> Result<()> {
        if self.is_held.load(Ordering::Acquire) {
            return if self.is_spent() { Err(Error::Closed) } else { Ok(()) };
        }
        let is_full = || self.open.load(Ordering::Relaxed) >= self.own_max || self.is_spent();
        let _ = (0..2).all(|_| is_full() && self.close_one());
        Ok(())
    }

    /// Closes one that was not used since it was last looked at, or any.
    fn close_one(&self) -> bool {
        self.close_one_of(self.queue.lock())
    }

    fn close_one_of(&self, mut queue: MutexGuard<'_, VecDeque<Weak<TableFile>>>) -> bool {
        if self.is_held.load(Ordering::Acquire) {
            return false;
        }
        // Dropped, and so closed, once the lock is free.
        let (mut seen, mut closed) = (Vec::new(), None);
        let mut spared = queue.len();
        while closed.is_none() {
            let Some(next) = queue.pop_front() else { break };
            let Some(file) = next.upgrade() else { continue };
            if spared > 0 && file.is_used.swap(false, Ordering::Relaxed) {
                spared -= 1;
                queue.push_back(next);
            } else {
                closed = Some(file.opened.swap(None));
            }
            seen.push(file);
        }
        drop(queue);
        closed.is_some()
    }
}

impl Lender for OpenFiles {
    /// Closes a quarter, and one at least. Waits for nobody: after a fork nobody may be left who would unlock.
    fn give_back(&self) -> bool {
        let close_one = || self.queue.try_lock().is_some_and(|queue| self.close_one_of(queue));
        (0..=self.open.load(Ordering::Relaxed) / 4).filter(|_| close_one()).count() > 0
    }
}

/// An open descriptor, counted.
struct Opened {
    file: Arc<dyn ReadFile>,
    files: Arc<OpenFiles>,
}

impl Opened {
    fn new(file: Arc<dyn ReadFile>, files: &Arc<OpenFiles>) -> Arc<Self> {
        files.open.fetch_add(1, Ordering::Relaxed);
        OPEN.fetch_add(1, Ordering::Relaxed);
        Arc::new(Self { file, files: Arc::clone(files) })
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        self.files.open.fetch_sub(1, Ordering::Relaxed);
        OPEN.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What reads go through. The file stays open as long as it is held.
pub(super) struct Reader(Guard<Option<Arc<Opened>>>);

impl Deref for Reader {
    type Target = dyn ReadFile;

    fn deref(&self) -> &Self::Target {
        &*self.0.as_ref().expect("a Reader holds a file").file
    }
}

/// The file of a table, open or not.
pub(super) struct TableFile {
    fs: Arc<dyn Fs>,
    dir: Arc<Path>,
    file: FileId,
    files: Arc<OpenFiles>,
    opened: ArcSwapOption<Opened>,
    /// Read from since it was last looked at for closing.
    is_used: AtomicBool,
    /// What it was found to be: one that is opened again must be the same.
    known: OnceLock<(FileHeader, u64)>,
}

impl TableFile {
    /// Returns a file that is not open.
    pub(super) fn new(fs: &Arc<dyn Fs>, dir: Arc<Path>, file: FileId, files: &Arc<OpenFiles>) -> Arc<Self> {
        let file = Arc::new(Self {
            fs: Arc::clone(fs),
            dir,
            file,
            files: Arc::clone(files),
            opened: ArcSwapOption::empty(),
            is_used: AtomicBool::new(false),
            known: OnceLock::new(),
        });
        files.register(&file);
        file
    }

    /// The file system it lies in.
    pub(super) fn fs(&self) -> &Arc<dyn Fs> {
        &self.fs
    }

    /// Where it lies.
    pub(super) fn path(&self) -> PathBuf {
        table_path(&self.dir, self.file)
    }

    /// Its number.
    pub(super) fn id(&self) -> FileId {
        self.file
    }

    /// Removes it. One that is open can be read on.
    pub(super) fn remove(&self) {
        // A file that stays behind is in no manifest: the next open removes it.
        let _ = self.fs.remove(&self.path());
    }

    /// Notes what it is, now that its header was checked.
    pub(super) fn know(&self, header: &FileHeader, bytes: u64) {
        let _ = self.known.set((header.clone(), bytes));
    }

    /// Returns the open file, opening it where it is not. Errors: `Corruption` where it is missing or another; `Io`.
    #[inline]
    pub(super) fn reader(self: &Arc<Self>) -> Result<Reader> {
        let opened = self.opened.load();
        if opened.is_none() {
            return self.open();
        }
        if !self.is_used.load(Ordering::Relaxed) {
            self.is_used.store(true, Ordering::Relaxed);
        }
        Ok(Reader(opened))
    }

    #[cold]
    fn open(self: &Arc<Self>) -> Result<Reader> {
        self.files.make_room()?;
        let path = self.path();
        let file = match self.fs.open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Err(self.missing()),
            Err(error) => return Err(Error::io("open", &path, error)),
        };
        self.check_same(&*file)?;
        let opened = Opened::new(file, &self.files);
        let before = self.opened.compare_and_swap(&None::<Arc<Opened>>, Some(Arc::clone(&opened)));
        if before.is_some() {
            return Ok(Reader(before));
        }
        self.files.push(self);
        Ok(Reader(Guard::from_inner(Some(opened))))
    }

    fn missing(&self) -> Error {
        if self.files.is_held.load(Ordering::Acquire) {
            return Error::Closed;
        }
        damaged(&self.path(), 0, "the file is missing")
    }

    /// Makes sure that a file opened again is the one that was known.
    fn check_same(&self, file: &dyn ReadFile) -> Result<()> {
        let Some((header, bytes)) = self.known.get() else { return Ok(()) };
        let mut now = [0; HEADER_BYTES];
        let is_same = file.len() == *bytes
            && file.read_exact_at(0, &mut now).is_ok()
            && FileHeader::decode(&now, FileKind::Table).is_ok_and(|now| now == *header);
        if is_same { Ok(()) } else { Err(damaged(&self.path(), 0, "the file has changed since it was opened")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::MemFs;

    #[test]
    fn what_is_held_stays_open_whoever_closes_meanwhile() {
        for _ in 0..if cfg!(miri) { 2 } else { 300 } {
            let fs: Arc<dyn Fs> = Arc::new(MemFs::new());
            let dir: Arc<Path> = Path::new("/").into();
            let files = OpenFiles::new(1000);
            let tables: Vec<_> = (0..40)
                .map(|number| {
                    drop(fs.create(&table_path(&dir, FileId(number))).unwrap());
                    TableFile::new(&fs, Arc::clone(&dir), FileId(number), &files)
                })
                .collect();
            assert!(tables.iter().all(|table| table.reader().is_ok()));
            std::thread::scope(|scope| {
                let lender = scope.spawn(|| while files.give_back() {});
                files.hold();
                lender.join().unwrap();
            });
            tables.iter().for_each(|table| table.remove());
            assert!(tables.iter().all(|table| table.reader().is_ok()), "one was closed after all were held");
        }
    }

    #[test]
    fn a_closed_store_leaves_descriptors_to_the_process() {
        let fs: Arc<dyn Fs> = Arc::new(MemFs::new());
        let dir: Arc<Path> = Path::new("/").into();
        let files = OpenFiles { process_max: 0, ..Arc::into_inner(OpenFiles::new(1)).unwrap() };
        let files = Arc::new(files);
        let tables: Vec<_> = (0..FLOOR + 4)
            .map(|number| {
                let file = FileId(number as u64);
                drop(fs.create(&table_path(&dir, file)).unwrap());
                TableFile::new(&fs, Arc::clone(&dir), file, &files)
            })
            .collect();
        assert!(tables.iter().all(|table| table.reader().is_ok()), "an open store closes one for the next");
        assert_eq!(files.count(), 1);
        files.hold();
        assert_eq!(files.count(), FLOOR);
        let readable = tables.iter().filter(|table| table.reader().is_ok()).count();
        assert_eq!(readable, FLOOR);
        assert!(tables.iter().all(|table| table.reader().err().is_none_or(|error| matches!(error, Error::Closed))));
    }
}
