use super::*;
use crate::compaction::simulation::Random;
use crate::compaction::{CompactionPolicy, Leveled, filtering_plan, full_plan, is_unfiltered, write_tables};
use crate::fs::{Fs, MemFs};
use crate::iter::{Bounds, VisibleCursor};
use crate::memtable::Memtable;
use crate::options::Options;
use crate::table::{BlockCache, Table, TableAnswer};
use crate::version::LEVELS;
use crate::{Error, FileId, Kind, Revision};
use kvarts_formats::hash::key_hash;
use std::cell::Cell;
use std::collections::BTreeMap;
use std::path::Path;

const STORE: [u8; 16] = *b"a store of tests";

/// What one commit said of a key: `None` deletes; else the value, and the time from which it is absent.
type Said = Option<(Vec<u8>, u64)>;

/// One tree on a file system in memory, and all that was ever said to it.
struct World {
    mem_fs: MemFs,
    fs: Arc<dyn Fs>,
    options: Options,
    cache: Arc<BlockCache>,
    next_file: Cell<u64>,
    version: Version,
    history: BTreeMap<Vec<u8>, Vec<(u64, Said)>>,
    snapshots: Vec<u64>,
    revision: u64,
    now_ms: u64,
    filter: Option<Upper>,
}

/// Keeps the upper half of the keys: those from a middle on, or those whose last digit is odd.
#[derive(Clone, Copy)]
enum Upper {
    Ordered,
    Hashed,
}

impl CompactionFilter for Upper {
    fn keeps(&self, key: &[u8]) -> bool {
        match self {
            Self::Ordered => key >= &b"key/200"[..],
            Self::Hashed => key[key.len() - 1] % 2 == 1,
        }
    }

    fn keeps_any(&self, _smallest: &[u8], largest: &[u8]) -> bool {
        matches!(self, Self::Hashed) || self.keeps(largest)
    }
}

impl World {
    fn new() -> Self {
        let mem_fs = MemFs::new();
        let options = Options {
            block_bytes: 512,
            table_bytes: 4 << 10,
            level_base_bytes: 16 << 10,
            level_growth: 4,
            ..Default::default()
        };
        Self {
            fs: Arc::new(mem_fs.clone()),
            mem_fs,
            options,
            cache: BlockCache::new(1 << 20),
            next_file: Cell::new(1),
            version: Version::default(),
            history: BTreeMap::new(),
            snapshots: Vec::new(),
            revision: 0,
            now_ms: 1000,
            filter: None,
        }
    }

    fn retention(&self) -> Retention {
        Retention::new(self.snapshots.iter().copied().map(Revision), Revision(self.revision), self.now_ms)
    }

    fn with_context<R>(&self, stop: &dyn Fn() -> bool, job: impl FnOnce(&OutputContext<'_>) -> R) -> R {
        let next_file: &dyn Fn() -> FileId = &|| FileId(self.next_file.replace(self.next_file.get() + 1));
        job(&OutputContext {
            fs: &self.fs,
            dir: Path::new("/"),
            store: &STORE.into(),
            options: &self.options,
            compression: self.options.compression.at(0),
            cache: &self.cache,
            next_file,
            stop,
        })
    }

    fn say(&mut self, mem: &Memtable, key: &[u8], said: Said) {
        self.revision += 1;
        let stored = |value: &[u8], until_ms: u64| [&until_ms.to_le_bytes()[..], value].concat();
        match &said {
            None => mem.insert(key, Revision(self.revision), Kind::Delete, b""),
            Some((value, u64::MAX)) => mem.insert(key, Revision(self.revision), Kind::Put, value),
            Some((value, until_ms)) => {
                mem.insert(key, Revision(self.revision), Kind::PutExpiring, &stored(value, *until_ms));
            }
        }
        self.history.entry(key.to_vec()).or_default().push((self.revision, said));
    }

    fn flush(&mut self, mem: &Arc<Memtable>) {
        let retention = self.retention();
        let tables = self.with_context(&|| false, |context| write_tables(mem.cursor(), &retention, context)).unwrap();
        let added = tables.into_iter().map(|table| (0, table)).collect();
        self.install(&VersionEdit { added, removed: vec![], flushed: Some(Revision(self.revision)) });
    }

    fn run(&self, plan: &CompactionPlan, stop: &dyn Fn() -> bool) -> Result<VersionEdit> {
        let filter = self.filter.as_ref().map(|filter| filter as &dyn CompactionFilter);
        self.with_context(stop, |context| run(plan, &self.version, &self.retention(), filter, context))
    }

    fn install(&mut self, edit: &VersionEdit) {
        let next = self.version.apply(edit);
        edit.obsolete(&self.version).iter().for_each(|gone| gone.table.mark_obsolete());
        self.version = next;
    }

    fn step(&mut self) -> bool {
        let plan = Leveled.pick(&self.version, &self.options, &self.retention());
        plan.inspect(|plan| self.install(&self.run(plan, &|| false).unwrap())).is_some()
    }

    /// A few hundred random rows of few keys, flushed.
    fn write(&mut self, random: &mut Random) {
        let mem = Memtable::new();
        for _ in 0..100 + random.below(100) {
            self.now_ms += 1;
            let key = format!("key/{:03}", random.below(400));
            let value = vec![b'v'; random.below(60) as usize];
            let said = match random.below(8) {
                0 | 1 => None,
                2 => Some((value, self.now_ms + random.below(4000))),
                _ => Some((value, u64::MAX)),
            };
            self.say(&mem, key.as_bytes(), said);
        }
        self.flush(&mem);
    }

    /// What readers at `at` must see.
    fn expected(&self, at: u64) -> Vec<(Vec<u8>, u64, Vec<u8>)> {
        let newest = |key: &Vec<u8>, sayings: &Vec<(u64, Said)>| {
            let (revision, said) = sayings.iter().rev().find(|(revision, _)| *revision <= at)?;
            let (value, until_ms) = said.clone()?;
            (until_ms > self.now_ms).then(|| (key.clone(), *revision, value))
        };
        self.history.iter().filter_map(|(key, sayings)| newest(key, sayings)).collect()
    }

    fn scan(&self, at: u64) -> Vec<(Vec<u8>, u64, Vec<u8>)> {
        let sources = self.version.tables().map(|(_, table)| table.table.cursor(true)).collect();
        let merged = MergeCursor::new(sources);
        let mut rows = VisibleCursor::new(merged, Bounds::default(), false, Revision(at), self.now_ms).unwrap();
        let mut seen = Vec::new();
        while rows.valid() {
            seen.push((rows.key().to_vec(), rows.revision().0, rows.value().to_vec()));
            rows.step().unwrap();
        }
        seen
    }

    /// Revision of the first row of `key` found table by table, as gets look for it.
    fn get(&self, key: &[u8], at: u64) -> Option<(u64, Kind)> {
        self.version.candidates(key).find_map(|table| {
            match table.table.get(key, key_hash(key), Revision(at)).unwrap() {
                TableAnswer::Found(block, row) => Some((block.revision(row).0, block.kind(row))),
                _ => None,
            }
        })
    }

    fn check_reads(&self, context: &str) {
        for at in self.snapshots.iter().copied().chain([self.revision]) {
            let kept = |row: &(Vec<u8>, u64, Vec<u8>)| self.filter.is_none_or(|filter| filter.keeps(&row.0));
            let [expected, seen] = [self.expected(at), self.scan(at)].map(|mut rows| {
                rows.retain(kept);
                rows
            });
            assert!(seen == expected, "scan at {at}: {context} {:?}", self.version);
            for (key, revision, _) in &expected {
                assert_eq!(self.get(key, at).map(|found| found.0), Some(*revision), "{context} {:?}", self.version);
            }
        }
    }

    fn check_files(&self) {
        let mut live: Vec<_> =
            self.version.tables().map(|(_, table)| format!("{:06}.table", table.record.file.0)).collect();
        live.sort();
        assert_eq!(self.fs.list(Path::new("/")).unwrap(), live);
    }
}

/// A world with tables in several levels, snapshots open.
fn grown(seed: u64) -> (World, Random) {
    let (mut world, mut random) = (World::new(), Random(seed));
    for _ in 0..20 {
        world.write(&mut random);
        (0..random.below(3)).all(|_| world.step());
        if random.below(4) == 0 {
            world.snapshots.push(world.revision);
        }
    }
    (world, random)
}

#[test]
fn compacting_until_quiet_changes_no_read() {
    for seed in 1..6 {
        let (mut world, mut random) = grown(seed);
        world.check_reads(&format!("seed={seed}"));
        while world.step() {
            world.check_reads(&format!("seed={seed}"));
        }
        world.snapshots.retain(|_| random.below(2) == 0);
        world.now_ms += 2000;
        while world.step() {
            world.check_reads(&format!("seed={seed}"));
        }
        world.check_files();
        let verified: u64 = world.version.tables().map(|(_, table)| table.table.verify().unwrap()).sum();
        assert!(verified > 0);
    }
}

#[test]
fn a_full_compaction_leaves_only_what_is_read() {
    let (mut world, _) = grown(7);
    let newest = world.expected(world.revision).len() as u64;
    for snapshots in [world.snapshots.clone(), Vec::new()] {
        world.snapshots = snapshots;
        let asked = world.retention();
        while let Some(plan) = full_plan(&world.version, &world.options, &asked) {
            let edit = world.run(&plan, &|| false).unwrap();
            world.install(&edit);
            world.check_reads(&format!("after {plan:?}"));
        }
        world.check_files();
        assert_eq!(world.version.levels.iter().filter(|tables| !tables.is_empty()).count(), 1, "{:?}", world.version);
    }
    assert_eq!(world.version.tables().map(|(_, table)| table.record.rows).sum::<u64>(), newest);
}

#[test]
fn rows_that_a_filter_drops_go_and_no_others() {
    for (seed, filter) in (20..26).flat_map(|seed| [(seed, Upper::Ordered), (seed, Upper::Hashed)]) {
        let (mut world, mut random) = grown(seed);
        world.filter = Some(filter);
        let since = Revision(world.revision);
        let mut steps = 0;
        loop {
            assert!(steps < 500, "seed={seed}: it never ends");
            steps += 1;
            if random.below(4) == 0 && world.step() {
                world.check_reads(&format!("seed={seed}"));
            }
            let unfiltered = |table: &TableRef| is_unfiltered(table, &filter, since).unwrap();
            let Some(plan) = filtering_plan(&world.version, &world.options, unfiltered) else { break };
            let edit = world.run(&plan, &|| false).unwrap();
            world.install(&edit);
            world.check_reads(&format!("seed={seed} after {plan:?}"));
        }
        let foreign = |rows: Vec<(Vec<u8>, u64, Vec<u8>)>| rows.iter().filter(|row| !filter.keeps(&row.0)).count();
        let at: Vec<u64> = world.snapshots.iter().copied().chain([world.revision]).collect();
        let left: usize = at.iter().map(|&at| foreign(world.scan(at))).sum();
        assert_eq!(left, 0, "seed={seed}");
        world.check_files();
    }
}

#[test]
fn a_stopped_or_failed_job_leaves_no_files() {
    let (mut world, mut random) = grown(8);
    (0..4).for_each(|_| world.write(&mut random));
    let plan = Leveled.pick(&world.version, &world.options, &world.retention()).unwrap();
    assert!(!plan.is_move(), "{plan:?}");
    let asked = Cell::new(0);
    let stop = || asked.replace(asked.get() + 1) > 1;
    assert!(matches!(world.run(&plan, &stop), Err(Error::Closed)));
    world.check_files();
    world.mem_fs.fail_syncs(true);
    assert!(matches!(world.run(&plan, &|| false), Err(Error::Io { .. })));
    world.check_files();
    world.mem_fs.fail_syncs(false);
    for space in [0, 100, 3000, 9000] {
        world.mem_fs.set_space(space);
        assert!(matches!(world.run(&plan, &|| false), Err(Error::StorageFull(_))), "{space}");
        world.check_files();
    }
    world.mem_fs.set_full(false);
    let edit = world.run(&plan, &|| false).unwrap();
    world.install(&edit);
    world.check_reads("after failures");
    drop(plan); // It keeps its tables, and they their files.
    world.check_files();
}

#[test]
fn outputs_are_durable_when_a_job_returns() {
    let (world, _) = grown(9);
    for seed in 0..20 {
        let fs: Arc<dyn Fs> = Arc::new(world.mem_fs.crash(seed));
        for (_, table) in world.version.tables() {
            let table = Table::open(&fs, Path::new("/"), STORE, table.record.file, &world.cache).unwrap();
            table.verify().unwrap();
        }
    }
}

#[test]
fn tables_are_of_the_size_asked_for_and_never_split_a_key() {
    let mut world = World::new();
    let mem = Memtable::new();
    for i in 0..3000u64 {
        // A value that does not compress.
        let value: Vec<u8> = (0..12).flat_map(|j| key_hash(&(i * 100 + j).to_le_bytes()).to_le_bytes()).collect();
        let key = if i < 500 { b"hot".to_vec() } else { i.to_be_bytes().to_vec() };
        world.say(&mem, &key, Some((value, u64::MAX)));
        world.snapshots.push(world.revision);
    }
    world.flush(&mem);
    let tables = &world.version.levels[0];
    let mut ranges: Vec<_> = tables.iter().map(|table| (&table.record.smallest, &table.record.largest)).collect();
    ranges.sort();
    assert!(ranges.is_sorted_by(|left, right| left.1 < right.1 && left.1 < right.0), "{ranges:?}");
    let hot = tables.iter().find(|table| table.record.largest == b"hot").unwrap();
    assert_eq!(hot.record.rows - hot.record.keys, 499, "{:?}", hot.record);
    for table in tables.iter().filter(|table| table.record.largest != b"hot") {
        assert!(
            (2 << 10..6 << 10).contains(&table.record.bytes) || table.record.largest >= 2990u64.to_be_bytes().to_vec()
        );
    }
    world.snapshots.retain(|revision| revision % 500 == 7);
    world.check_reads("one flush");
}

#[test]
fn a_move_writes_nothing_and_keeps_the_file() {
    let mut world = World::new();
    let mem = Memtable::new();
    world.say(&mem, b"k", Some((b"v".to_vec(), u64::MAX)));
    world.flush(&mem);
    let plan = CompactionPlan::down(&world.version, &world.options, 0, 1, world.version.levels[0].clone());
    let ops = world.mem_fs.ops();
    let edit = world.run(&plan, &|| false).unwrap();
    world.install(&edit);
    assert_eq!(world.mem_fs.ops(), ops);
    assert_eq!(format!("{edit:?}"), "edit +1@L1 -1@L0");
    world.check_files();
    world.check_reads("moved");
}

#[test]
fn what_is_left_of_nothing_is_no_table() {
    let mut world = World::new();
    let mem = Memtable::new();
    world.say(&mem, b"k", Some((b"v".to_vec(), u64::MAX)));
    world.say(&mem, b"k", None);
    world.flush(&mem);
    assert_eq!(world.version.levels[0][0].record.rows, 1, "the tombstone: something older may lie below");
    while world.step() {}
    assert!(world.version.is_empty(), "{:?}", world.version);
    world.check_files();
}

#[test]
#[should_panic(expected = "leaves older rows above")]
fn an_older_table_of_level_0_cannot_be_left_behind() {
    let mut world = World::new();
    for _ in 0..2 {
        let mem = Memtable::new();
        world.say(&mem, b"k", None);
        world.flush(&mem);
    }
    let newest = vec![world.version.levels[0][0].clone()];
    let plan = CompactionPlan::down(&world.version, &world.options, 0, 1, newest);
    let _ = world.run(&plan, &|| false);
}

#[test]
fn a_plan_outlives_flushes_but_no_other_job() {
    let (mut world, mut random) = grown(11);
    (0..4).for_each(|_| world.write(&mut random));
    let plan = Leveled.pick(&world.version, &world.options, &world.retention()).unwrap();
    world.write(&mut random);
    let edit = world.run(&plan, &|| false).unwrap();
    world.install(&edit);
    world.check_reads("a flush between pick and run");
    assert!((0..LEVELS).any(|level| !world.version.levels[level].is_empty()));
    let again = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| world.run(&plan, &|| false)));
    assert!(again.is_err(), "a stale plan is a bug");
}
