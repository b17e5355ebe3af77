//! What the tests share: a seeded source of choices, small options, and a model of what a store holds.
use kvarts_engine::clock::ManualClock;
use kvarts_engine::db::{Db, Entry, RowChunk, Scan, Snapshot, Tree};
use kvarts_engine::formats::batch::Batch;
use kvarts_engine::fs::{Fs, MemFs};
use kvarts_engine::iter::Bounds;
use kvarts_engine::keys::Keys;
use kvarts_engine::options::{Durability, Options};
use kvarts_engine::{Result, Revision};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A directory of the machine's disk that goes when dropped.
pub struct Temp(pub PathBuf);

impl Temp {
    pub fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("kvarts-{name}-{}", std::process::id()));
        std::fs::remove_dir_all(&path).ok();
        Self(path)
    }
}

impl Drop for Temp {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).ok();
    }
}

/// Where the stores of these tests lie.
pub const DIR: &str = "/store";

/// A stream of choices made from a seed (splitmix64).
pub struct Chance(pub u64);

impl Chance {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    pub fn one_in(&mut self, of: u64) -> bool {
        self.below(of) == 0
    }

    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len() as u64) as usize]
    }

    pub fn key(&mut self, keys: u64) -> Vec<u8> {
        let number = self.below(keys);
        // Some keys are prefixes of others, some share long prefixes.
        match number % 4 {
            0 => format!("k{}", number / 4).into_bytes(),
            1 => format!("k{}/tail", number / 4).into_bytes(),
            2 => format!("a-long-common-prefix/{:05}", number / 4).into_bytes(),
            _ => vec![(number % 256) as u8, 0, 255, (number / 256) as u8],
        }
    }

    pub fn value(&mut self, bytes_max: u64) -> Vec<u8> {
        let len = if self.one_in(4) { self.below(bytes_max + 1) } else { self.below(24) };
        let byte = self.next() as u8;
        (0..len).map(|i| byte.wrapping_add(i as u8)).collect()
    }
}

/// Options so small that a few writes reach every level.
pub fn tiny(durability: Durability) -> Options {
    Options {
        durability,
        memory_bytes: 1 << 20,
        memtable_bytes: 4 << 10,
        block_bytes: 256,
        table_bytes: 4 << 10,
        level_base_bytes: 16 << 10,
        level_growth: 3,
        level0_tables: 2,
        log_bytes: 64 << 10,
        background: false,
        ..Options::default()
    }
}

/// Opens the store in `DIR`.
pub fn open(fs: &MemFs, clock: &Arc<ManualClock>, options: Options) -> Result<Arc<Db>> {
    open_on(Arc::new(fs.clone()), clock, options)
}

/// Opens the store in `DIR` of any file system.
pub fn open_on(fs: Arc<dyn Fs>, clock: &Arc<ManualClock>, options: Options) -> Result<Arc<Db>> {
    open_at(fs, clock, Path::new(DIR), options)
}

/// Opens a store, with the keys of [`encrypted`] where that is under way.
pub fn open_at(fs: Arc<dyn Fs>, clock: &Arc<ManualClock>, dir: &Path, options: Options) -> Result<Arc<Db>> {
    let keys = KEYS.with_borrow(Clone::clone);
    Db::open_with(fs, Arc::clone(clock) as _, keys, dir, "test", options)
}

thread_local! {
    /// What stores are encrypted with that this thread opens.
    static KEYS: RefCell<Option<Arc<Keys>>> = const { RefCell::new(None) };
}

/// Runs a test with all of its stores encrypted.
pub fn encrypted<R>(keys: Keys, test: impl FnOnce() -> R) -> R {
    struct Guard;
    impl Drop for Guard {
        fn drop(&mut self) {
            KEYS.set(None);
        }
    }
    KEYS.set(Some(Arc::new(keys)));
    let _guard = Guard;
    test()
}

/// Opens a store with a clock that stands still.
pub fn open_still(fs: &MemFs, options: Options) -> Result<Arc<Db>> {
    open(fs, &Arc::new(ManualClock::new(1_000)), options)
}

/// A live entry, owned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    pub value: Vec<u8>,
    pub revision: Revision,
    pub expiry_ms: Option<u64>,
}

impl Found {
    pub fn of(entry: Entry<'_>) -> Self {
        Self { value: entry.value.to_vec(), revision: entry.revision, expiry_ms: entry.expiry_ms }
    }
}

/// The value of a key, or `None`.
pub fn get(db: &Db, tree: &Tree, key: &[u8]) -> Option<Vec<u8>> {
    db.get(tree, key, None, |entry| entry.map(|entry| entry.value.to_vec())).unwrap()
}

/// Writes one value.
pub fn put(db: &Db, tree: &Tree, key: &[u8], value: &[u8]) -> Result<Revision> {
    let mut batch = Batch::new();
    batch.put(tree.id(), key, value);
    db.write(&mut batch)
}

/// Everything a scan yields, in its order: (key, value, revision).
pub fn drain(mut scan: Scan, rows_max: usize) -> Vec<(Vec<u8>, Vec<u8>, Revision)> {
    let mut rows = Vec::new();
    loop {
        let mut chunk = RowChunk::default();
        let more = scan.fill(&mut chunk, rows_max, 1 << 20, true).unwrap();
        let (mut key_start, mut value_start) = (0, 0);
        for i in 0..chunk.key_ends.len() {
            rows.push((
                chunk.keys[key_start..chunk.key_ends[i]].to_vec(),
                chunk.values[value_start..chunk.value_ends[i]].to_vec(),
                chunk.revisions[i],
            ));
            (key_start, value_start) = (chunk.key_ends[i], chunk.value_ends[i]);
        }
        if !more {
            return rows;
        }
        assert!(!chunk.key_ends.is_empty(), "a fill that has more must make progress");
    }
}

/// All rows of a tree, forward.
pub fn rows(db: &Db, tree: &Tree, at: Option<&Snapshot>) -> Vec<(Vec<u8>, Vec<u8>, Revision)> {
    drain(db.scan(tree, Bounds::default(), false, at).unwrap(), 7)
}

/// What was said about a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    Put(Vec<u8>),
    Expiring(u64, Vec<u8>),
    Delete,
}

impl Said {
    pub fn add_to(&self, batch: &mut Batch, tree: &Tree, key: &[u8]) {
        match self {
            Self::Put(value) => batch.put(tree.id(), key, value),
            Self::Expiring(expiry_ms, value) => batch.put_expiring(tree.id(), key, *expiry_ms, value),
            Self::Delete => batch.delete(tree.id(), key),
        }
    }
}

/// All that was ever written to a tree.
#[derive(Clone, Default)]
pub struct Model {
    history: BTreeMap<Vec<u8>, Vec<(Revision, Said)>>,
}

impl Model {
    pub fn say(&mut self, key: &[u8], revision: Revision, said: Said) {
        self.history.entry(key.to_vec()).or_default().push((revision, said));
    }

    pub fn get(&self, key: &[u8], at: Revision, now_ms: u64) -> Option<Found> {
        let (revision, said) = self.history.get(key)?.iter().rev().find(|(revision, _)| *revision <= at)?;
        let revision = *revision;
        match said {
            Said::Delete => None,
            Said::Put(value) => Some(Found { value: value.clone(), revision, expiry_ms: None }),
            Said::Expiring(expiry_ms, value) if now_ms < *expiry_ms => {
                Some(Found { value: value.clone(), revision, expiry_ms: Some(*expiry_ms) })
            }
            Said::Expiring(..) => None,
        }
    }

    pub fn rows(&self, bounds: &Bounds, at: Revision, now_ms: u64) -> Vec<(Vec<u8>, Vec<u8>, Revision)> {
        let inside = |key: &Vec<u8>| {
            bounds.start.as_ref().is_none_or(|(start, included)| key > start || (*included && key == start))
                && bounds.stop.as_ref().is_none_or(|(stop, included)| key < stop || (*included && key == stop))
        };
        self.history
            .keys()
            .filter(|key| inside(key))
            .filter_map(|key| self.get(key, at, now_ms).map(|found| (key.clone(), found.value, found.revision)))
            .collect()
    }
}
