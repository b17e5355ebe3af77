//! Opening: the directory, the lock, what is found there, recovery, and the first log.
use super::background;
use super::floor::{self, Floor};
use super::manifest::{Install, MANIFEST, MANIFEST_TMP, place, read_manifest, tables_format};
use super::memory::Memory;
use super::next_log::log_mode;
use super::recover::{Recovering, Recovery, Replay};
use super::state::{Parts, Shared};
use super::trees::TreeShared;
use super::write::WriteState;
use super::{Db, OpenReport};
use crate::clock::Clock;
use crate::fs::{Finding, Fs, Guarded, LockOutcome, Owned, guard, hold, mend, survey};
use crate::keys::{Identity, Keys};
use crate::log::LogWriter;
use crate::options::Options;
use crate::sync::Mutex;
use crate::table::BlockCache;
use crate::{Error, FileId, Result, Revision};
use kvarts_formats::header::{FileHeader, FileKind, HEADER_BYTES};
use kvarts_formats::manifest::Manifest;
use std::cell::Cell;
use std::collections::{BTreeMap, HashSet};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Name of the lock file.
pub(super) const LOCK: &str = "LOCK";

/// File ids lie below this, so that a position in a log fits in one word.
const FILE_IDS_END: u64 = 1 << 32;

/// So many must be left when a store is opened. No store gets near; a manifest or a file name may claim to.
const FILE_IDS_SPARE: u64 = 1 << 20;

/// What a file in a store's directory is, by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Named {
    /// The manifest, or one being written, or the lock.
    Own,
    /// A log.
    Log(FileId),
    /// A table.
    Table(FileId),
    /// What is known to have been in place.
    Floor,
    /// None of ours.
    Foreign,
}

/// Tells what the file called `name` is.
pub(super) fn named(name: &str) -> Named {
    if matches!(name, MANIFEST | MANIFEST_TMP | LOCK) {
        return Named::Own;
    }
    if floor::parse(name).is_some() {
        return Named::Floor;
    }
    let numbered = |suffix: &str| {
        let id = name.strip_suffix(suffix).and_then(parse_digits);
        id.filter(|&id| id < FILE_IDS_END).map(FileId)
    };
    match (numbered(".log"), numbered(".table")) {
        (Some(file), _) => Named::Log(file),
        (_, Some(file)) => Named::Table(file),
        _ => Named::Foreign,
    }
}

/// Reads a number of at least six digits.
pub(super) fn parse_digits(digits: &str) -> Option<u64> {
    let all = digits.len() >= 6 && digits.bytes().all(|byte| byte.is_ascii_digit());
    if all { digits.parse().ok() } else { None }
}

pub(super) fn is_ours(name: &str) -> bool {
    named(name) != Named::Foreign
}

/// Returns what others than the owner may do to the store in `dir`; with `mends`, what is left of it once modes are set.
/// Opens nothing. Errors: `Io`.
pub fn permissions(fs: &Arc<dyn Fs>, dir: &Path, mends: bool) -> Result<Vec<Finding>> {
    let fs = hold(fs, dir)?;
    if mends {
        mend(&*fs, dir, &is_ours)?;
    }
    survey(&*fs, dir, &is_ours)
}

/// The directory that holds `path`.
pub(super) fn parent(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => PathBuf::from("."),
        Some(parent) => parent.to_owned(),
        None => path.to_owned(),
    }
}

impl Db {
    /// Opens the store in `dir` and recovers it. `holder` is what a second opener is told about us.
    ///
    /// Errors: `NotFound` (no store and `create` is false; or no parent directory), `Locked`, `Unsafe`, `Corruption`,
    /// `NewerFormat`, `StorageFull`, `Io`, `InvalidArgument`.
    pub fn open(
        fs: Arc<dyn Fs>,
        clock: Arc<dyn Clock>,
        dir: &Path,
        holder: &str,
        options: Options,
    ) -> Result<Arc<Self>> {
        Self::open_with(fs, clock, None, dir, holder, options)
    }

    /// The same of a store that is encrypted where there are `keys`. A new one is made so.
    ///
    /// Errors: also `KeyMissing`, `WrongKey`, `NotEncrypted`; nothing was changed then, not even the text of the lock where
    /// the manifest shows it.
    pub fn open_with(
        fs: Arc<dyn Fs>,
        clock: Arc<dyn Clock>,
        keys: Option<Arc<Keys>>,
        dir: &Path,
        holder: &str,
        options: Options,
    ) -> Result<Arc<Self>> {
        Self::open_in(None, fs, clock, keys, dir, holder, options)
    }

    /// The same of a store that takes its memory from a budget that other stores take part in.
    pub fn open_sharing(
        memory: &Arc<Memory>,
        fs: Arc<dyn Fs>,
        clock: Arc<dyn Clock>,
        dir: &Path,
        holder: &str,
        options: Options,
    ) -> Result<Arc<Self>> {
        Self::open_in(Some(memory), fs, clock, None, dir, holder, memory.shared_by(options))
    }

    fn open_in(
        shared: Option<&Arc<Memory>>,
        fs: Arc<dyn Fs>,
        clock: Arc<dyn Clock>,
        keys: Option<Arc<Keys>>,
        dir: &Path,
        holder: &str,
        options: Options,
    ) -> Result<Arc<Self>> {
        let options = options.validate()?;
        let store = Identity::new([0; 16], keys);
        make_directory(&*fs, dir, options.create && !options.read_only)?;
        let fs = hold(&fs, dir)?;
        let Guarded { exposed, files } = guard_directory(&*fs, dir, &options)?;
        if options.read_only {
            check_keys(&*fs, dir, &store)?;
            return Self::open_to_read(fs, clock, store, dir, options, Guarded { exposed, files });
        }
        find_store(&*fs, dir, options.create)?;
        check_keys(&*fs, dir, &store)?;
        let lock = match fs.lock(&dir.join(LOCK), holder).map_err(|error| Error::io("locking", dir, error))? {
            LockOutcome::Taken(lock) => lock,
            LockOutcome::Held(holder) => return Err(Error::Locked { holder, path: dir.to_owned() }),
        };
        let names = list(&*fs, dir)?;
        let (shares, memory) = (shared.is_some(), shared.map_or_else(|| Memory::of(&options), Arc::clone));
        let cache = memory.cache(options.open_files);
        let seen = (&names[..], &files[..]);
        let (recovery, replay, created) = recover(&fs, &*clock, store, dir, &options, &cache, seen)?;
        let mut floor = Floor::find(&names);
        let log = begin(&recovery, &mut floor)?;
        let unclean = replay.end.map(|(file, offset)| (file, offset, recovery.last));
        let report = OpenReport { replayed: replay.batches, unclean, torn: replay.torn, created, exposed };
        remove_leftovers(&recovery, &names);

        let revived = |tree: Recovering| TreeShared::new(tree.info, tree.version, &memory.chunks);
        let trees: Vec<Arc<TreeShared>> = recovery.trees.into_values().map(revived).collect();
        let mut write = WriteState::new(log);
        trees.iter().for_each(|tree| write.add_tree(Arc::clone(tree)));
        let install = Install {
            trees: trees.into_iter().map(|tree| (tree.id(), tree)).collect(),
            next_tree: recovery.next_tree,
            floor,
            reached: (FileId(0), Revision::ZERO),
        };
        let (next_file, revision, store) = (recovery.next_file.get(), recovery.last, recovery.store);
        let dir = dir.to_owned();
        let parts =
            Parts { fs, clock, dir, options, store, cache, memory, shares, next_file, revision, write, install, lock };
        Self::start(Arc::new(Shared::new(parts)), report)
    }

    /// What opening found.
    pub fn open_report(&self) -> &OpenReport {
        &self.report
    }

    pub(super) fn start(shared: Arc<Shared>, report: OpenReport) -> Result<Arc<Self>> {
        shared.installed(&mut shared.install.lock());
        let threads = if shared.options.background {
            shared.ask(|work| work.compact = true);
            background::start(&shared)?
        } else {
            Vec::new()
        };
        Ok(Arc::new(Self { shared, report, threads: Mutex::new(threads) }))
    }
}

/// Makes `dir` if there is none.
fn make_directory(fs: &dyn Fs, dir: &Path, create: bool) -> Result<()> {
    let exists = |path: &Path| fs.exists(path).map_err(|error| Error::io("looking for", path, error));
    if exists(dir)? {
        return Ok(());
    }
    let parent = parent(dir);
    if !create || !exists(&parent)? {
        return Err(Error::NotFound(if create { parent } else { dir.to_owned() }));
    }
    let made = fs.create_dir(dir).and_then(|()| fs.sync_dir(&parent));
    made.map_err(|error| Error::io("making the directory", dir, error))
}

/// Refuses `dir` where others can change what lies in it; returns what they can read, and what there is. From an empty one, made by hand with
/// whatever umask, that right is taken without being asked: nobody has used it yet.
fn guard_directory(fs: &dyn Fs, dir: &Path, options: &Options) -> Result<Guarded> {
    let guarded = guard(fs, dir, &is_ours, options.fix_permissions && !options.read_only);
    let is_sound = guarded.as_ref().is_ok_and(|guarded| guarded.exposed.is_none());
    if is_sound || options.read_only || !options.create || !list(fs, dir)?.is_empty() {
        return guarded;
    }
    guard(fs, dir, &is_ours, true)
}

/// Makes sure that `dir` holds a store, or nothing but what a creation that was cut short leaves.
fn find_store(fs: &dyn Fs, dir: &Path, create: bool) -> Result<()> {
    let manifest = dir.join(MANIFEST);
    if fs.exists(&manifest).map_err(|error| Error::io("looking for", &manifest, error))? {
        return Ok(());
    }
    let names = list(fs, dir)?;
    if !create {
        check_cut_short(fs, dir, &names)?;
        return Err(Error::NotFound(dir.to_owned()));
    }
    if let Some(name) = names.iter().find(|name| named(name) == Named::Foreign) {
        return Err(Error::invalid(
            format!("{} has no store but other files, such as {name:?}", dir.display()),
            "give an empty directory, or one that does not exist",
        ));
    }
    check_cut_short(fs, dir, &names)?;
    // Whoever made the directory, a creation cut short or a user, may not have synced its entry.
    let parent = parent(dir);
    fs.sync_dir(&parent).map_err(|error| Error::io("syncing", &parent, error))
}

/// The header of a file of ours, if it is whole: of MANIFEST, a table or a log.
pub(super) fn header_of(fs: &dyn Fs, dir: &Path, name: &str) -> Option<FileHeader> {
    let kind = match named(name) {
        Named::Own if name == MANIFEST => FileKind::Manifest,
        Named::Table(_) => FileKind::Table,
        Named::Log(_) => FileKind::Log,
        _ => return None,
    };
    let mut bytes = [0; HEADER_BYTES];
    fs.open(&dir.join(name)).and_then(|file| file.read_exact_at(0, &mut bytes)).ok()?;
    FileHeader::decode(&bytes, kind).ok()
}

/// Makes sure that the keys fit the manifest, before anything is touched. What is damaged is said later.
fn check_keys(fs: &dyn Fs, dir: &Path, store: &Identity) -> Result<()> {
    let path = dir.join(MANIFEST);
    let Some(header) = header_of(fs, dir, MANIFEST) else { return Ok(()) };
    match (&header.key, store.keys()) {
        (Some(wrapped), None) => Err(Error::KeyMissing { path, needed: wrapped.id }),
        (None, Some(_)) => Err(Error::NotEncrypted(path)),
        _ => store.open(&path, &header).map(|_| ()),
    }
}

/// A creation that a crash cut short leaves a lock, an unfinished manifest and a log, but never a table or a record:
/// where there are any, the manifest of a store with data is lost, and nothing may be removed. Errors: `Corruption`.
pub(super) fn check_cut_short(fs: &dyn Fs, dir: &Path, names: &[String]) -> Result<()> {
    for name in names {
        let path = dir.join(name);
        let holds_data = match named(name) {
            Named::Table(_) | Named::Floor => true,
            Named::Log(_) => {
                let bytes = fs.read(&path).map_err(|error| Error::io("reading", &path, error))?;
                bytes.iter().skip(HEADER_BYTES).any(|&byte| byte != 0)
            }
            Named::Own | Named::Foreign => false,
        };
        if holds_data {
            let what = format!("it is missing, although {name} holds data of a store");
            return Err(Error::Corruption { file: dir.join(MANIFEST), offset: 0, what });
        }
    }
    Ok(())
}

pub(super) fn list(fs: &dyn Fs, dir: &Path) -> Result<Vec<String>> {
    fs.list(dir).map_err(|error| Error::io("listing", dir, error))
}

/// Recovers what the directory holds: trees with their tables, all logs replayed and flushed. `names` are of now, `files` were
/// seen before the lock was taken.
pub(super) fn recover<'a>(
    fs: &'a Arc<dyn Fs>,
    clock: &dyn Clock,
    store: Identity,
    dir: &'a Path,
    options: &'a Options,
    cache: &'a Arc<BlockCache>,
    (names, files): (&[String], &[(String, Owned)]),
) -> Result<(Recovery<'a>, Replay, bool)> {
    let path = dir.join(MANIFEST);
    let manifest = if names.iter().any(|name| name == MANIFEST) {
        let bytes = fs.read(&path).map_err(|error| Error::io("reading", &path, error))?;
        Some(read_manifest(&path, &bytes, &store)?)
    } else {
        None
    };
    let created = manifest.is_none();
    let (file, format, mut manifest) = match manifest {
        Some((header, manifest)) => (header.file, header.version, manifest),
        None => (FileId(u64::MAX), 0, Manifest { store: new_store_id(clock), ..Manifest::default() }),
    };
    let reach = Floor::find(names).check(dir, file)?;
    let used = names.iter().filter_map(|name| match named(name) {
        Named::Log(file) | Named::Table(file) => Some(file.0 + 1),
        Named::Own | Named::Floor | Named::Foreign => None,
    });
    let next_file = used.chain([manifest.next_file, 1]).max().unwrap_or(1);
    if next_file > FILE_IDS_END - FILE_IDS_SPARE {
        let what = format!("it, or the name of a file beside it, says that file {} was used", next_file - 1);
        return Err(Error::Corruption { file: path, offset: HEADER_BYTES as u64, what });
    }
    let mut recovery = Recovery {
        fs,
        dir,
        options,
        cache,
        now_ms: clock.unix_ms(),
        store: Identity::new(manifest.store, store.keys().cloned()),
        next_file: Cell::new(next_file),
        next_tree: manifest.next_tree,
        last: manifest.last_revision,
        reach,
        trees: BTreeMap::new(),
    };
    let lengths = files.iter().filter_map(|(name, file)| match named(name) {
        Named::Table(table) => Some((table, file.bytes)),
        Named::Log(_) | Named::Own | Named::Floor | Named::Foreign => None,
    });
    recovery.load(std::mem::take(&mut manifest.trees), format, &lengths.collect())?;
    let replay = recovery.replay(&logs_to_replay(&manifest, names))?;
    Ok((recovery, replay, created))
}

/// The logs that the manifest names, and those begun after it was written.
pub(super) fn logs_to_replay(manifest: &Manifest, names: &[String]) -> Vec<FileId> {
    let mut logs = manifest.logs.clone();
    // A clean close names none: what is there then was begun by an open that went no further, and is empty.
    if let Some(&last) = logs.last() {
        let found = names.iter().filter_map(|name| match named(name) {
            Named::Log(file) if file > last => Some(file),
            _ => None,
        });
        logs.extend(found);
        logs.sort_unstable();
    }
    logs
}

/// Begins the first log after recovery, and puts a manifest in place that names it and everything recovered.
fn begin(recovery: &Recovery<'_>, floor: &mut Floor) -> Result<LogWriter> {
    let options = recovery.options;
    // A store without a log has an empty one: the manifest names it, and recovery finds nothing in it.
    let (mode, bytes) = (log_mode(options), if options.log { options.log_bytes } else { 0 });
    let file = recovery.new_file();
    let (fs, dir) = (Arc::clone(recovery.fs), recovery.dir);
    let log = LogWriter::create(fs, dir, &recovery.store, file, bytes, mode)?;
    let manifest_file = recovery.new_file();
    let manifest = recovery.manifest(vec![file]);
    let format = tables_format(recovery.trees.values().map(|tree| &tree.version));
    place(&**recovery.fs, dir, &manifest, &recovery.store, (manifest_file, format), floor, Revision::ZERO)
        .map_err(|failure| failure.error)?;
    Ok(log)
}

/// Removes files that were there before and that the manifest does not name. One that stays is removed by a later open.
fn remove_leftovers(recovery: &Recovery<'_>, names: &[String]) {
    let live: HashSet<FileId> = recovery
        .trees
        .values()
        .flat_map(|tree| tree.version.levels.iter().flatten())
        .map(|table| table.record.file)
        .collect();
    for name in names {
        let goes = match named(name) {
            Named::Log(_) => true,
            Named::Table(file) => !live.contains(&file),
            // The highest was renamed; others are what a rename that a crash cut short left of itself.
            Named::Floor => true,
            Named::Own | Named::Foreign => false,
        };
        if goes {
            let _ = recovery.fs.remove(&recovery.dir.join(name));
        }
    }
}

/// A number that no other store has: the operating system's randomness (through std's hasher keys), and the time.
pub(super) fn new_store_id(clock: &dyn Clock) -> [u8; 16] {
    let half = |salt: u64| {
        let mut hasher = RandomState::new().build_hasher();
        hasher.write_u64(salt);
        hasher.write_u64(clock.unix_ms());
        hasher.write_u64(clock.monotonic_ns());
        hasher.finish().to_le_bytes()
    };
    let mut id = [0; 16];
    id[..8].copy_from_slice(&half(1));
    id[8..].copy_from_slice(&half(2));
    id
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_what_files_are() {
        assert_eq!(named("000012.log"), Named::Log(FileId(12)));
        assert_eq!(named("1234567.table"), Named::Table(FileId(1_234_567)));
        assert_eq!(named("4294967295.log"), Named::Log(FileId(FILE_IDS_END - 1)));
        assert_eq!(named("MANIFEST"), Named::Own);
        for foreign in ["12.log", "00001a.log", "000012.logs", "notes.txt", "", ".log", "4294967296.log"] {
            assert_eq!(named(foreign), Named::Foreign, "{foreign}");
        }
    }

    #[test]
    fn logs_after_the_manifest_are_replayed_and_older_ones_are_not() {
        let names = ["000003.log", "000005.log", "000007.log", "000009.table"].map(str::to_owned);
        let named =
            |logs: &[u64]| Manifest { logs: logs.iter().map(|&id| FileId(id)).collect(), ..Manifest::default() };
        assert_eq!(logs_to_replay(&named(&[5]), &names), [FileId(5), FileId(7)]);
        assert_eq!(logs_to_replay(&named(&[]), &names), []);
    }

    #[test]
    fn store_ids_differ() {
        let clock = crate::clock::ManualClock::new(1);
        assert_ne!(new_store_id(&clock), new_store_id(&clock));
    }
}
