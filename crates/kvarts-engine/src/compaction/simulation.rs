//! The policy against thousands of flushes, with an executor that keeps rows in vectors: tables are records only.
use super::cut::Cutter;
use super::retain::{Collector, Verdict};
use super::{
    CompactionPlan, CompactionPolicy, Earned, Leveled, Rest, Retention, debt, full_plan, policy::fullness,
    resting_plan, runs_merged,
};
use crate::options::Options;
use crate::table::record;
use crate::version::{LEVELS, Version, VersionEdit};
use crate::{FileId, Kind, Revision};
use kvarts_formats::manifest::TableRecord;
use kvarts_formats::properties::PropertiesBuilder;
use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

type Record = Arc<TableRecord>;

const ROW_BYTES: u64 = 100;
/// Picks after which a tree that nobody writes to must be quiet.
const PICKS_MAX: usize = 2000;

#[derive(Clone, Copy, Debug)]
struct Row {
    key: u32,
    revision: u64,
    /// Absent from this time on: 0 is a tombstone, `u64::MAX` never expires.
    until_ms: u64,
}

impl Row {
    fn stored(&self) -> (Kind, Vec<u8>) {
        match self.until_ms {
            0 => (Kind::Delete, Vec::new()),
            u64::MAX => (Kind::Put, b"value".to_vec()),
            until_ms => (Kind::PutExpiring, until_ms.to_le_bytes().to_vec()),
        }
    }
}

pub(super) struct Random(pub(super) u64);

impl Random {
    /// A number below `end`. Source: Steele, Lea, Flood, "Fast splittable pseudorandom number generators".
    pub(super) fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % end
    }
}

/// A tree whose tables are vectors of rows, and the history of every key.
struct World {
    options: Options,
    version: Version<Record>,
    rows: HashMap<FileId, Vec<Row>>,
    history: BTreeMap<u32, Vec<Row>>,
    snapshots: Vec<u64>,
    revision: u64,
    now_ms: u64,
    files: u64,
    flushed_bytes: u64,
    compacted_bytes: u64,
    picks: usize,
}

impl World {
    /// A world whose level 1 holds so many rows.
    fn new(level_rows: u64) -> Self {
        let options = Options {
            table_bytes: 40 * ROW_BYTES,
            level_base_bytes: level_rows * ROW_BYTES,
            level_growth: 8,
            level0_tables: 4,
            ..Default::default()
        };
        Self {
            options,
            version: Version::default(),
            rows: HashMap::new(),
            history: BTreeMap::new(),
            snapshots: Vec::new(),
            revision: 0,
            now_ms: 1,
            files: 0,
            flushed_bytes: 0,
            compacted_bytes: 0,
            picks: 0,
        }
    }

    fn retention(&self) -> Retention {
        // Time stands still for open snapshots only in so far as rows expire by `now_ms`, which the test holds for them.
        Retention::new(self.snapshots.iter().copied().map(Revision), Revision(self.revision), self.now_ms)
    }

    fn write(&mut self, pending: &mut Vec<Row>, key: u32, until_ms: u64) {
        self.revision += 1;
        let row = Row { key, revision: self.revision, until_ms };
        pending.push(row);
        self.history.entry(key).or_default().push(row);
    }

    fn table(&mut self, rows: Vec<Row>) -> Record {
        self.files += 1;
        let file = FileId(self.files);
        let mut properties = PropertiesBuilder::default();
        for row in &rows {
            let (kind, value) = row.stored();
            properties.add(&row.key.to_be_bytes(), Revision(row.revision), kind, &value);
        }
        let record = record(file, rows.len() as u64 * ROW_BYTES, properties.finish());
        self.rows.insert(file, rows);
        Arc::new(record)
    }

    /// Writes sorted rows into tables as `write_rows` does.
    fn output(&mut self, mut rows: Vec<Row>, bottom: bool, grandparents: Vec<Record>) -> Vec<Record> {
        rows.sort_by_key(|row| (row.key, Reverse(row.revision)));
        let retention = self.retention();
        let mut collector = Collector::new(&retention, bottom);
        let mut cutter = Cutter::new(&self.options, grandparents);
        let (mut current, mut done): (Vec<Row>, Vec<Vec<Row>>) = (Vec::new(), Vec::new());
        for row in rows {
            let (key, (kind, value)) = (row.key.to_be_bytes(), row.stored());
            let verdict = collector.judge(&key, Revision(row.revision), kind, &value);
            if verdict == Verdict::Skip {
                continue;
            }
            let fresh = current.last().is_none_or(|last| last.key != row.key);
            if fresh && cutter.cuts_before(&key, current.len() as u64 * ROW_BYTES) {
                done.push(std::mem::take(&mut current));
            }
            let held = collector.take_held().map(|revision| Row { revision: revision.0, until_ms: 0, ..row });
            current.extend(held);
            current.push(if verdict == Verdict::Row { row } else { Row { until_ms: 0, ..row } });
        }
        done.push(current);
        done.into_iter().filter(|rows| !rows.is_empty()).map(|rows| self.table(rows)).collect()
    }

    fn flush(&mut self, pending: Vec<Row>) {
        let outputs = self.output(pending, false, Vec::new());
        self.flushed_bytes += outputs.iter().map(|table| table.bytes).sum::<u64>();
        let added = outputs.into_iter().map(|table| (0, table)).collect();
        let flushed = Some(Revision(self.revision));
        self.version = self.version.apply(&VersionEdit { added, flushed, ..Default::default() });
    }

    fn execute(&mut self, plan: &CompactionPlan<Record>) {
        plan.check(&self.version);
        self.picks += 1;
        let outputs = if plan.trivial_move {
            plan.inputs.clone()
        } else {
            let rows = plan.tables().flat_map(|table| self.rows[&table.file].clone()).collect();
            let (bottom, grandparents) = (plan.is_bottom(&self.version), plan.grandparents(&self.version));
            let outputs = self.output(rows, bottom, grandparents);
            self.compacted_bytes += outputs.iter().map(|table| table.bytes).sum::<u64>();
            outputs
        };
        self.version = self.version.apply(&plan.edit(outputs));
    }

    fn step(&mut self) -> bool {
        let plan = Leveled.pick(&self.version, &self.options, &self.retention());
        plan.inspect(|plan| self.execute(plan)).is_some()
    }

    /// Takes the steps that are paid for, until none is.
    fn rest(&mut self, earned: Earned) -> Rest {
        let start = self.picks;
        loop {
            match resting_plan(&self.version, &self.options, earned) {
                Ok((plan, _)) => self.execute(&plan),
                Err(rest) => return rest,
            }
            assert!(self.picks - start < PICKS_MAX, "resting spins: {:?}", self.version);
        }
    }

    fn runs(&self) -> usize {
        debt(&self.version, &self.options).runs
    }

    /// Compacts until the policy is content and checks that every level is within its target.
    fn settle(&mut self) {
        let start = self.picks;
        while self.step() {
            assert!(self.picks - start < PICKS_MAX, "the policy spins: {:?}", self.version);
        }
        for level in 0..LEVELS {
            assert!(fullness(&self.version, &self.options, level) < 1.0, "level {level} of {:?}", self.version);
        }
        assert_eq!(debt(&self.version, &self.options).bytes, 0);
        assert!(debt(&self.version, &self.options).runs < 2 * runs_merged(&self.options), "{:?}", self.version);
    }

    fn read(&self, key: u32, at: u64) -> Option<u64> {
        let bytes = key.to_be_bytes();
        let sees = |row: &&Row| row.key == key && row.revision <= at;
        let row = self.version.candidates(&bytes).find_map(|table| self.rows[&table.file].iter().find(sees))?;
        (row.until_ms > self.now_ms).then_some(row.revision)
    }

    fn check_reads(&self) {
        for (key, history) in &self.history {
            for at in self.snapshots.iter().copied().chain([self.revision]) {
                let row = history.iter().rev().find(|row| row.revision <= at);
                let expected = row.filter(|row| row.until_ms > self.now_ms).map(|row| row.revision);
                assert_eq!(self.read(*key, at), expected, "key {key} at {at} of {:?}", self.version);
            }
        }
    }

    fn write_amplification(&self) -> f64 {
        (self.flushed_bytes + self.compacted_bytes) as f64 / self.flushed_bytes as f64
    }

    fn table_rows(&self) -> u64 {
        self.version.tables().map(|(_, table)| table.rows).sum()
    }
}

/// Flushes `flushes` times what `write` puts, compacting a little each time and until quiet now and then.
fn simulate(name: &str, seed: u64, flushes: usize, write: impl Fn(&mut World, &mut Random, &mut Vec<Row>)) -> World {
    simulate_in(World::new(160), name, seed, flushes, write)
}

fn simulate_in(
    mut world: World,
    name: &str,
    seed: u64,
    flushes: usize,
    write: impl Fn(&mut World, &mut Random, &mut Vec<Row>),
) -> World {
    println!("{name}: seed={seed}");
    let mut random = Random(seed);
    for flush in 0..flushes {
        let mut pending = Vec::new();
        (0..20 + random.below(40)).for_each(|_| write(&mut world, &mut random, &mut pending));
        world.flush(pending);
        (0..random.below(4)).all(|_| world.step());
        if flush % 100 == 99 {
            world.settle();
        }
        if flush % 500 == 499 {
            world.check_reads();
        }
    }
    world.settle();
    world.check_reads();
    println!(
        "{name}: write amplification {:.1}, {} picks, {:?}",
        world.write_amplification(),
        world.picks,
        world.version
    );
    world
}

#[test]
fn levels_stay_within_targets_under_uniform_overwrites() {
    let world = simulate("uniform", 1, 2000, |world, random, rows| {
        world.write(rows, random.below(20_000) as u32, u64::MAX);
    });
    assert!(world.write_amplification() < 20.0, "{}", world.write_amplification());
}

#[test]
fn a_large_level_1_is_fed_by_runs_merged_before() {
    let world = simulate_in(World::new(16_000), "runs", 5, 4000, |world, random, rows| {
        world.write(rows, random.below(20_000) as u32, u64::MAX);
    });
    assert!(world.write_amplification() < 6.0, "{}", world.write_amplification());
}

#[test]
fn sequential_writes_are_moved_not_rewritten() {
    let world = simulate("sequential", 2, 2000, |world, _, rows| {
        let next = world.revision as u32;
        world.write(rows, next, u64::MAX);
    });
    assert!(world.write_amplification() < 1.01, "{}", world.write_amplification());
}

#[test]
fn sweeps_over_rows_that_are_there_settle_and_never_stop_writers() {
    // Each flush has keys behind those of the one before, and all lie over level 1.
    let world = simulate_in(World::new(3000), "sweeps", 6, 1000, |world, _, rows| {
        world.write(rows, (world.revision % 2000) as u32, u64::MAX);
    });
    assert!(world.write_amplification() < 5.0, "{}", world.write_amplification());
    assert!(world.version.levels[0].len() < 60, "small tables become larger: {:?}", world.version);
    let mut world = world;
    world.rest(Earned { quiet: u64::MAX, reads: 0 });
    world.check_reads();
}

#[test]
fn hot_keys_settle() {
    simulate("hot", 3, 1500, |world, random, rows| {
        let range = if random.below(10) > 0 { 500 } else { 20_000 };
        world.write(rows, random.below(range) as u32, u64::MAX);
    });
}

#[test]
fn a_queue_leaves_few_tombstones() {
    let world = simulate("queue", 4, 2000, |world, _, rows| {
        let head = world.revision as u32 / 2;
        world.write(rows, head, u64::MAX);
        world.write(rows, head.saturating_sub(300), 0);
    });
    // 300 rows live; the rest is what levels within their targets hold of the 160 k rows written.
    assert!(world.table_rows() < 3000, "{:?}", world.version);
}

#[test]
fn snapshots_deletes_and_expiry_settle() {
    for seed in 10..14 {
        simulate("mixed", seed, 600, |world, random, rows| {
            world.now_ms += 1;
            let until_ms = match random.below(10) {
                0..3 => 0,
                3..6 => world.now_ms + random.below(5000),
                _ => u64::MAX,
            };
            world.write(rows, random.below(3000) as u32, until_ms);
            match random.below(200) {
                0 => world.snapshots.push(world.revision),
                1 if !world.snapshots.is_empty() => {
                    let at = random.below(world.snapshots.len() as u64) as usize;
                    world.snapshots.remove(at);
                }
                _ => {}
            }
        });
    }
}

#[test]
fn a_full_compaction_leaves_the_live_rows_in_one_level() {
    for seed in 20..30 {
        let mut world = simulate("full", seed, 150, |world, random, rows| {
            world.now_ms += 1;
            let until_ms = [0, world.now_ms + random.below(3000), u64::MAX][random.below(3) as usize];
            world.write(rows, random.below(2000) as u32, until_ms);
        });
        let asked = world.retention();
        let start = world.picks;
        while let Some(plan) = full_plan(&world.version, &world.options, &asked) {
            world.execute(&plan);
            assert!(world.picks - start < PICKS_MAX, "a full compaction spins: {:?}", world.version);
        }
        world.check_reads();
        let live = world.history.keys().filter(|key| world.read(**key, world.revision).is_some()).count() as u64;
        assert_eq!(world.table_rows(), live, "seed {seed}: {:?}", world.version);
        assert_eq!(world.version.levels.iter().filter(|tables| !tables.is_empty()).count(), 1, "{:?}", world.version);
    }
}

#[test]
fn a_little_written_now_and_then_rewrites_no_more_than_in_proportion() {
    let mut world = simulate_in(World::new(16_000), "drips", 7, 600, |world, random, rows| {
        world.write(rows, random.below(20_000) as u32, u64::MAX);
    });
    world.rest(Earned { quiet: u64::MAX, reads: u64::MAX });
    let (mut random, before) = (Random(8), world.compacted_bytes);
    let (drips, rows_each) = (400, 10);
    for _ in 0..drips {
        let mut pending = Vec::new();
        (0..rows_each).for_each(|_| world.write(&mut pending, random.below(20_000) as u32, u64::MAX));
        world.flush(pending);
        world.rest(Earned { quiet: u64::MAX, reads: 0 });
        assert!(world.runs() <= 6, "{:?}", world.version);
    }
    world.check_reads();
    let rewritten = (world.compacted_bytes - before) as f64 / f64::from(drips * rows_each) / ROW_BYTES as f64;
    println!("each byte was rewritten {rewritten:.1} times");
    assert!(rewritten < 20.0, "{rewritten}");
}

#[test]
fn a_store_that_is_only_read_comes_to_rest_and_shows_the_same() {
    for seed in 30..40 {
        let flushes = 50 + 13 * (seed as usize - 30);
        let mut world = simulate_in(World::new(3000), "resting", seed, flushes, |world, random, rows| {
            world.now_ms += 1;
            let until_ms = [0, world.now_ms + random.below(3000), u64::MAX][random.below(3) as usize];
            world.write(rows, random.below(5000) as u32, until_ms);
            if random.below(500) == 0 {
                world.snapshots.push(world.revision);
            }
        });
        let before = format!("{:?}", world.version);
        assert_ne!(world.rest(Earned::default()), Rest::Complete);
        assert_eq!(format!("{:?}", world.version), before, "nothing is done that was not paid for");
        world.rest(Earned { quiet: u64::MAX, reads: 0 });
        assert!(
            world.runs() <= 3,
            "quiet leaves layers of which each is much larger than what is newer: {:?}",
            world.version
        );
        world.check_reads();
        assert_eq!(world.rest(Earned { quiet: 0, reads: u64::MAX }), Rest::Complete);
        assert_eq!(world.version.levels.iter().filter(|tables| !tables.is_empty()).count(), 1, "{:?}", world.version);
        world.check_reads();
        assert!(!world.step(), "the policy and what reads pay for do not undo each other");
    }
}
