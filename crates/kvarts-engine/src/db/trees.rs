//! Trees: their memtables and tables as one immutable state that readers load and writers replace.
use super::filtering::Filtering;
use super::publish;
use super::state::Shared;
use super::waste::Waste;
use super::{Db, Tree, TreeInfo};
use crate::log::LogPosition;
use crate::memtable::{Chunks, MemRow, Memtable};
use crate::options::Options;
use crate::sync::{Mutex, atomic};
use crate::version::Version;
use crate::{Error, FileId, Result, Revision, TreeId};
use arc_swap::{ArcSwap, ArcSwapOption};
use kvarts_formats::batch::Op;
use kvarts_formats::compress::{ByLevel, Compression};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Longest name of a tree, in bytes.
const NAME_BYTES_MAX: usize = 255;

/// A log position in one word, so that it is stored and loaded whole: 32 bits of file, 32 of offset in units of 8 bytes.
#[derive(Debug, Default)]
pub(super) struct AtomicPosition(AtomicU64);

impl AtomicPosition {
    /// Stores a position.
    pub(super) fn store(&self, position: LogPosition) {
        debug_assert!(position.offset.is_multiple_of(8), "records start at multiples of 8");
        assert!(position.file.0 >> 32 == 0 && position.offset >> 35 == 0, "log position out of range: {position:?}");
        self.0.store(position.file.0 << 32 | position.offset >> 3, Ordering::Release);
    }

    /// Loads a position.
    pub(super) fn load(&self) -> LogPosition {
        let word = self.0.load(Ordering::Acquire);
        LogPosition { file: FileId(word >> 32), offset: (word & u64::from(u32::MAX)) << 3 }
    }
}

/// A memtable and what the log knows of it. Changed only under the write lock, and not at all once sealed.
pub(super) struct Mem {
    /// The rows.
    pub(super) table: Arc<Memtable>,
    /// The first log that holds rows of it; `u64::MAX` while it has none.
    first_log: AtomicU64,
    /// Its newest revision.
    revision_max: AtomicU64,
    /// The log up to here holds all of its rows: synced before a flush of it counts.
    pub(super) end: AtomicPosition,
    /// Bytes it took when it was empty.
    empty_bytes: usize,
}

impl Mem {
    /// Returns an empty one, which shares its memory with those before and after it.
    pub(super) fn new(chunks: &Arc<Chunks>) -> Arc<Self> {
        let table = Memtable::drawing_on(chunks);
        Arc::new(Self {
            empty_bytes: table.bytes(),
            table,
            first_log: AtomicU64::new(u64::MAX),
            revision_max: AtomicU64::new(0),
            end: AtomicPosition::default(),
        })
    }

    /// Returns one that holds rows already, up to `newest`: none of them is in a log of ours.
    pub(super) fn holding(table: Arc<Memtable>, newest: Revision) -> Arc<Self> {
        Arc::new(Self {
            empty_bytes: table.bytes(),
            table,
            first_log: AtomicU64::new(u64::MAX),
            revision_max: AtomicU64::new(newest.0),
            end: AtomicPosition::default(),
        })
    }

    /// Inserts a row of a record that ends at `end`. Called with the write lock held.
    pub(super) fn insert(&self, op: &Op<'_>, revision: Revision, end: LogPosition) {
        self.note(end, revision);
        self.table.insert(op.key, revision, op.kind, op.value);
    }

    /// Returns the newest row of `key`, whose hash is `hash`, at or before `at`.
    pub(super) fn get(&self, key: &[u8], hash: u64, at: Revision) -> Option<MemRow<'_>> {
        self.table.get_hashed(key, hash, at)
    }

    fn note(&self, end: LogPosition, revision: Revision) {
        if self.first_log.load(Ordering::Relaxed) == u64::MAX {
            self.first_log.store(end.file.0, Ordering::Release);
        }
        self.revision_max.store(revision.0, Ordering::Release);
        self.end.store(end);
    }

    /// Bytes of memory it takes.
    pub(super) fn bytes(&self) -> usize {
        self.table.bytes()
    }

    /// Bytes that its rows take.
    pub(super) fn filled(&self) -> usize {
        self.table.bytes() - self.empty_bytes
    }

    /// The first log that holds rows of it.
    pub(super) fn first_log(&self) -> FileId {
        FileId(self.first_log.load(Ordering::Acquire))
    }

    /// Its newest revision.
    pub(super) fn revision_max(&self) -> Revision {
        Revision(self.revision_max.load(Ordering::Acquire))
    }
}

/// All rows of a tree at one moment: memtables and tables. Immutable but for the inserts into `active`.
pub(super) struct TreeState {
    /// Takes the writes.
    pub(super) active: Arc<Mem>,
    /// Wait for their flush, newest first.
    pub(super) sealed: Vec<Arc<Mem>>,
    /// The tables.
    pub(super) version: Arc<Version>,
    /// What reads lose in them. The tree's own.
    pub(super) waste: Arc<Waste>,
}

impl TreeState {
    /// Returns a state without rows.
    pub(super) fn empty(chunks: &Arc<Chunks>) -> Self {
        Self { active: Mem::new(chunks), sealed: Vec::new(), version: Arc::default(), waste: Arc::default() }
    }

    /// The memtables, newest first.
    pub(super) fn mems(&self) -> impl Iterator<Item = &Arc<Mem>> {
        std::iter::once(&self.active).chain(&self.sealed)
    }
}

/// A tree, shared by handles, writers and background work.
pub(super) struct TreeShared {
    id: TreeId,
    /// What is known of it. Replaced with `install` held.
    info: ArcSwap<TreeInfo>,
    /// Its rows.
    pub(super) state: ArcSwap<TreeState>,
    /// Counts the replacements of `state`: see `publish`.
    pub(super) generation: atomic::AtomicU64,
    /// Set before its rows go.
    pub(super) dropped: AtomicBool,
    /// Newest revision applied to it; changed under the write lock.
    pub(super) last: AtomicU64,
    /// Which rows compaction drops beside those that nobody can see.
    pub(super) filtering: ArcSwapOption<Filtering>,
    /// Held while `state` is replaced: a leaf in the lock order.
    swap: Mutex<()>,
}

impl TreeShared {
    /// Returns a tree with these tables and an empty memtable.
    pub(super) fn new(info: TreeInfo, version: Version, chunks: &Arc<Chunks>) -> Arc<Self> {
        Self::with_rows(info, version, Mem::new(chunks))
    }

    /// Returns a tree with these tables and this memtable.
    pub(super) fn with_rows(info: TreeInfo, version: Version, active: Arc<Mem>) -> Arc<Self> {
        let last = AtomicU64::new(version.flushed.max(active.revision_max()).0);
        let state = TreeState { active, sealed: Vec::new(), version: Arc::new(version), waste: Arc::default() };
        Arc::new(Self {
            id: info.id,
            info: ArcSwap::from_pointee(info),
            state: ArcSwap::from_pointee(state),
            generation: atomic::AtomicU64::new(0),
            dropped: AtomicBool::new(false),
            last,
            filtering: ArcSwapOption::empty(),
            swap: Mutex::new(()),
        })
    }

    /// Its number.
    pub(super) fn id(&self) -> TreeId {
        self.id
    }

    /// What is known of it.
    pub(super) fn info(&self) -> Arc<TreeInfo> {
        self.info.load_full()
    }

    /// How its tables of a level are compressed.
    pub(super) fn compression(&self, options: &Options, level: usize) -> Compression {
        self.info.load().compression.as_ref().unwrap_or(&options.compression).at(level)
    }

    /// Replaces the state. Replacements exclude each other; readers never wait.
    pub(super) fn change(&self, next: impl FnOnce(&TreeState) -> TreeState) {
        let _swap = self.swap.lock();
        let changed = Arc::new(next(&self.state.load()));
        publish::replace(&self.generation, || self.state.store(changed));
    }

    /// The error that calls on a dropped tree get.
    pub(super) fn gone(&self) -> Error {
        Error::invalid(format!("tree {:?} was dropped", self.info.load().name), "ask the store for its trees again")
    }
}

impl std::fmt::Debug for Tree {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "<Tree {} {:?}>", self.shared.id().0, self.shared.info.load().name)
    }
}

impl Tree {
    /// Its number: what the operations of a batch name.
    pub fn id(&self) -> TreeId {
        self.shared.id()
    }
}

impl Db {
    /// Returns the tree called `name`, if there is one.
    pub fn tree(&self, name: &str) -> Result<Option<Tree>> {
        self.shared.check_open()?;
        let install = self.shared.install.lock();
        let found = install.trees.values().find(|tree| tree.info.load().name == name);
        Ok(found.map(|tree| Tree { shared: Arc::clone(tree) }))
    }

    /// What is known of a tree.
    pub fn tree_info(&self, tree: &Tree) -> TreeInfo {
        (*tree.shared.info()).clone()
    }

    /// All trees, by name.
    pub fn trees(&self) -> Result<Vec<TreeInfo>> {
        self.shared.check_open()?;
        let install = self.shared.install.lock();
        let mut infos: Vec<TreeInfo> = install.trees.values().map(|tree| (*tree.info()).clone()).collect();
        infos.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(infos)
    }

    /// Makes a tree; durable on return. Errors: `InvalidArgument` where the name is taken or not 1 to 255 bytes.
    pub fn create_tree(&self, name: &str, key_codec: &str, value_codec: &str) -> Result<Tree> {
        if name.is_empty() || name.len() > NAME_BYTES_MAX {
            return Err(Error::invalid(
                format!("a tree's name takes 1 to {NAME_BYTES_MAX} bytes, this one has {}", name.len()),
                "choose a shorter name",
            ));
        }
        self.shared.create_tree(name, key_codec, value_codec).map(|shared| Tree { shared })
    }

    /// Says how tables of a tree are compressed that are written from now on (`None`: as the store's); durable on return.
    pub fn set_compression(&self, tree: &Tree, compression: Option<ByLevel>) -> Result<()> {
        self.shared.set_compression(&tree.shared, compression)
    }

    /// Drops a tree and its rows; durable on return. Reads through old handles then fail with `InvalidArgument`.
    pub fn drop_tree(&self, tree: &Tree) -> Result<()> {
        self.shared.drop_tree(&tree.shared)
    }
}

impl Shared {
    fn create_tree(&self, name: &str, key_codec: &str, value_codec: &str) -> Result<Arc<TreeShared>> {
        let mut write = self.write.lock();
        self.check_writable()?;
        // What was written before must not be lost where the tree is not: recovery is a prefix.
        self.sync_to(self.appended.load())?;
        let mut install = self.install.lock();
        if install.trees.values().any(|tree| tree.info.load().name == name) {
            return Err(Error::invalid(format!("there is a tree called {name:?}"), "choose another name"));
        }
        let info = TreeInfo {
            id: TreeId(install.next_tree),
            name: name.to_owned(),
            key_codec: key_codec.to_owned(),
            value_codec: value_codec.to_owned(),
            compression: None,
        };
        let tree = TreeShared::new(info, Version::default(), &self.chunks);
        install.next_tree += 1;
        install.trees.insert(tree.id(), Arc::clone(&tree));
        install.reach_all();
        if let Err(error) = self.write_manifest(&mut install, None) {
            install.trees.remove(&tree.id());
            return Err(error);
        }
        write.add_tree(Arc::clone(&tree));
        Ok(tree)
    }

    fn set_compression(&self, tree: &TreeShared, compression: Option<ByLevel>) -> Result<()> {
        self.check_writable()?;
        let mut install = self.install.lock();
        if tree.dropped.load(Ordering::Acquire) {
            return Err(tree.gone());
        }
        let before = tree.info();
        if before.compression == compression {
            return Ok(());
        }
        tree.info.store(Arc::new(TreeInfo { compression, ..(*before).clone() }));
        self.write_manifest(&mut install, None).inspect_err(|_| tree.info.store(before))
    }

    fn drop_tree(&self, tree: &Arc<TreeShared>) -> Result<()> {
        let mut write = self.write.lock();
        self.check_writable()?;
        if tree.dropped.load(Ordering::Acquire) {
            return Err(tree.gone());
        }
        self.sync_to(self.appended.load())?;
        let mut install = self.install.lock();
        install.reach_all();
        install.trees.remove(&tree.id());
        if let Err(error) = self.write_manifest(&mut install, None) {
            install.trees.insert(tree.id(), Arc::clone(tree));
            return Err(error);
        }
        // Readers load the state first and this flag after: no empty state is taken for an empty tree.
        tree.dropped.store(true, Ordering::Release);
        write.remove_tree(tree.id());
        let state = tree.state.load_full();
        self.sealed_gone(&state.sealed);
        tree.change(|_| TreeState::empty(&self.chunks));
        for table in state.version.levels.iter().flatten() {
            table.table.mark_obsolete();
        }
        self.installed(&mut install);
        Ok(())
    }
}
