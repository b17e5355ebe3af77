//! Compaction filters, used as a shard that splits uses them: first tables say what is still its own, then compaction is told.
//! Kept rows are those of a model under random options, readers of before see all, and a crash at any operation loses nothing
//! that is kept.
use crate::support::{Chance, Model, Said, open_at, tiny};
use kvarts_engine::clock::ManualClock;
use kvarts_engine::compaction::CompactionFilter;
use kvarts_engine::db::{Db, ReadAt, RowChunk, Snapshot, Tree};
use kvarts_engine::formats::batch::Batch;
use kvarts_engine::fs::MemFs;
use kvarts_engine::iter::Bounds;
use kvarts_engine::options::{Durability, Options};
use kvarts_engine::{Result, Revision};
use std::path::Path;
use std::sync::Arc;

/// Where the row lies that says what is own; all other keys are a "u" and a number.
const RANGE: &[u8] = b"\0range";
const KEYS: u64 = 256;
const COPY: &str = "/copy";

type Rows = Vec<(Vec<u8>, Vec<u8>, Revision)>;

/// Tokens of a shard: the numbers of keys, or as good as a hash of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Own {
    ordered: bool,
    start: u64,
    stop: u64,
}

impl Own {
    fn token(&self, key: &[u8]) -> u64 {
        let number: u64 = std::str::from_utf8(&key[1..]).unwrap().parse().unwrap();
        if self.ordered { number } else { number * 167 % KEYS }
    }

    /// Both halves.
    fn halves(&self) -> [Self; 2] {
        let middle = self.start.midpoint(self.stop);
        [Self { stop: middle, ..*self }, Self { start: middle, ..*self }]
    }

    fn encode(&self) -> [u8; 16] {
        let mut row = [0; 16];
        row[..8].copy_from_slice(&self.start.to_le_bytes());
        row[8..].copy_from_slice(&self.stop.to_le_bytes());
        row
    }

    fn decode(ordered: bool, row: &[u8]) -> Self {
        let bound = |at: usize| u64::from_le_bytes(row[at..at + 8].try_into().unwrap());
        Self { ordered, start: bound(0), stop: bound(8) }
    }
}

impl CompactionFilter for Own {
    fn keeps(&self, key: &[u8]) -> bool {
        key == RANGE || (self.start..self.stop).contains(&self.token(key))
    }

    fn keeps_any(&self, smallest: &[u8], largest: &[u8]) -> bool {
        let tells = self.ordered && smallest != RANGE && largest != RANGE;
        !tells || (self.token(smallest) < self.stop && self.token(largest) >= self.start)
    }
}

fn key(number: u64) -> Vec<u8> {
    format!("u{number:03}").into_bytes()
}

fn options(chance: &mut Chance) -> Options {
    Options {
        log: false,
        keep_history: true,
        memtable_bytes: *chance.pick(&[1 << 10, 4 << 10, 64 << 10]),
        table_bytes: *chance.pick(&[1 << 10, 4 << 10, 32 << 10]),
        block_bytes: *chance.pick(&[256, 1 << 10]),
        level_growth: *chance.pick(&[2, 4]),
        level_base_bytes: *chance.pick(&[4 << 10, 16 << 10, 64 << 10]),
        level0_tables: *chance.pick(&[1, 2, 4]),
        filter_bits: *chance.pick(&[0, 10]),
        open_files: *chance.pick(&[1, 3, usize::MAX]),
        ..tiny(Durability::None)
    }
}

/// A store whose owner splits it.
struct Shard {
    fs: MemFs,
    dir: &'static str,
    options: Options,
    db: Arc<Db>,
    tree: Tree,
    /// All that was ever said, in order.
    said: Vec<(Revision, Vec<u8>, Said)>,
    /// What is its own by the newest row.
    own: Own,
    /// Since when compaction knows what is.
    told: Revision,
    snapshots: Vec<(Snapshot, Own)>,
}

impl Shard {
    fn open(
        fs: &MemFs,
        dir: &'static str,
        options: &Options,
        all: Own,
        said: &[(Revision, Vec<u8>, Said)],
    ) -> Result<Self> {
        let clock = Arc::new(ManualClock::new(1_000));
        let db = open_at(Arc::new(fs.clone()), &clock, Path::new(dir), options.clone())?;
        let tree = match db.tree("shard")? {
            Some(tree) => tree,
            None => db.create_tree("shard", "", "")?,
        };
        // What no table held is gone.
        let flushed = db.flushed_revision(&tree);
        let said = said.iter().filter(|(revision, ..)| *revision <= flushed).cloned().collect();
        let (fs, options, snapshots) = (fs.clone(), options.clone(), Vec::new());
        let mut shard = Self { fs, dir, options, db, tree, said, own: all, told: Revision::ZERO, snapshots };
        shard.own = shard.look()?.unwrap_or(all);
        Ok(shard)
    }

    /// Tells compaction what tables say is own, and returns it.
    fn look(&mut self) -> Result<Option<Own>> {
        let (mut found, ordered) = (None, self.own.ordered);
        self.db.get_many_flushed(&self.tree, &[RANGE], &mut |_, entry| {
            found = entry.map(|entry| (Own::decode(ordered, entry.value), entry.revision));
        })?;
        let Some((own, since)) = found else { return Ok(None) };
        if since != self.told {
            self.told = since;
            self.db.set_compaction_filter(&self.tree, Arc::new(own), since);
        }
        Ok(Some(own))
    }

    fn flush(&mut self) -> Result<()> {
        self.db.flush()?;
        self.look().map(drop)
    }

    /// Takes an entry: rows of one revision.
    fn apply(&mut self, rows: Vec<(Vec<u8>, Said)>) -> Result<()> {
        let revision = Revision(self.db.revision().0 + 1);
        let mut batch = Batch::new();
        rows.iter().for_each(|(key, said)| said.add_to(&mut batch, &self.tree, key));
        self.db.apply_entry(&self.tree, 1_000, |applier| applier.commit(&mut batch, revision))?;
        self.said.extend(rows.into_iter().map(|(key, said)| (revision, key, said)));
        Ok(())
    }

    /// Goes on with one half.
    fn split(&mut self, own: Own) -> Result<()> {
        self.apply(vec![(RANGE.to_vec(), Said::Put(own.encode().to_vec()))])?;
        self.own = own;
        Ok(())
    }

    /// Rows that are `own` as they should be.
    fn expected(&self, own: Own, at: Revision) -> Rows {
        let mut model = Model::default();
        self.said.iter().for_each(|(revision, key, said)| model.say(key, *revision, said.clone()));
        let rows = model.rows(&Bounds::default(), at, 1_000);
        rows.into_iter().filter(|(key, ..)| own.keeps(key)).collect()
    }

    /// All rows there are, hidden ones too.
    fn raw(&self, at: Option<&Snapshot>) -> Rows {
        rows_of(&mut self.db.scan(&self.tree, Bounds::default(), false, at).unwrap())
    }

    /// Checks what those see who read now, and by snapshots of before.
    fn check(&self, case: &str) {
        let seen = |own: Own, rows: Rows| rows.into_iter().filter(|(key, ..)| own.keeps(key)).collect::<Rows>();
        assert_eq!(seen(self.own, self.raw(None)), self.expected(self.own, Revision::MAX), "{case}");
        for (snapshot, own) in &self.snapshots {
            let expected = self.expected(*own, snapshot.revision());
            assert_eq!(seen(*own, self.raw(Some(snapshot))), expected, "{case}: {own:?} at {:?}", snapshot.revision());
        }
        let report = self.db.verify(&mut |_, _| {}).unwrap();
        assert!(report.damage.is_empty(), "{case}: {:?}", report.damage);
    }

    /// Checks that what is own can be read as of an earlier entry.
    fn check_history(&self, at: Revision) {
        let read_at = ReadAt { revision: Some(at), now_ms: 1_000 };
        let mut scan = self.db.scan_at(&self.tree, Bounds::default(), false, read_at).unwrap();
        let rows: Rows = rows_of(&mut scan).into_iter().filter(|(key, ..)| self.own.keeps(key)).collect();
        assert_eq!(rows, self.expected(self.own, at), "history at {at:?}");
    }

    /// Brings all to rest, and checks that of others no more is left than looking at some keys per table can miss: a block
    /// of each. Returns how many rows of others there were ever, and are left.
    fn finish(&mut self, case: &str) -> [usize; 2] {
        self.snapshots.clear();
        self.flush().unwrap();
        self.db.compact(None).unwrap();
        self.check(case);
        let foreign = |key: &[u8]| !self.own.keeps(key);
        let left: Rows = self.raw(None).into_iter().filter(|(key, ..)| foreign(key)).collect();
        let bytes: usize = left.iter().map(|(key, value, _)| key.len() + value.len()).sum();
        let tables: usize = self.db.stats().trees[0].levels.iter().map(|(tables, _)| *tables as usize).sum();
        assert!(bytes <= tables * self.options.block_bytes, "{case}: {bytes} bytes are left in {tables} tables");
        [self.said.iter().filter(|(_, key, _)| foreign(key)).count(), left.len()]
    }
}

fn rows_of(scan: &mut kvarts_engine::db::Scan) -> Rows {
    let mut chunk = RowChunk::default();
    assert!(!scan.fill(&mut chunk, usize::MAX, usize::MAX, true).unwrap());
    let (mut rows, mut key_start, mut value_start) = (Vec::new(), 0, 0);
    for (at, (&key_end, &value_end)) in chunk.key_ends.iter().zip(&chunk.value_ends).enumerate() {
        let (key, value) = (&chunk.keys[key_start..key_end], &chunk.values[value_start..value_end]);
        rows.push((key.to_vec(), value.to_vec(), chunk.revisions[at]));
        (key_start, value_start) = (key_end, value_end);
    }
    rows
}

fn some_rows(chance: &mut Chance, own: Own) -> Vec<(Vec<u8>, Said)> {
    let mut rows: Vec<(Vec<u8>, Said)> = Vec::new();
    for _ in 0..=chance.below(8) {
        let key = key(chance.below(KEYS));
        if own.keeps(&key) && rows.iter().all(|(other, _)| *other != key) {
            rows.push((key, if chance.one_in(4) { Said::Delete } else { Said::Put(chance.value(120)) }));
        }
    }
    rows
}

/// Returns how many rows of others there were in the end, and are left.
fn live(seed: u64) -> [usize; 2] {
    let mut chance = Chance(seed);
    let (options, all) = (options(&mut chance), Own { ordered: chance.one_in(2), start: 0, stop: KEYS });
    let mut shard = Shard::open(&MemFs::new(), crate::support::DIR, &options, all, &[]).unwrap();
    let mut floor = Revision::ZERO;
    for step in 0..400 {
        match chance.below(100) {
            0..60 => {
                let rows = some_rows(&mut chance, shard.own);
                if !rows.is_empty() {
                    shard.apply(rows).unwrap();
                }
            }
            60..70 => shard.flush().unwrap(),
            70..74 => shard.db.compact(None).unwrap(),
            74..77 if shard.own.stop - shard.own.start > 16 => {
                let half = *chance.pick(&shard.own.halves());
                shard.split(half).unwrap();
            }
            77..82 => shard.snapshots.push((shard.db.snapshot().unwrap(), shard.own)),
            82..86 if !shard.snapshots.is_empty() => {
                let at = chance.below(shard.snapshots.len() as u64) as usize;
                shard.snapshots.swap_remove(at);
            }
            86..88 => {
                floor = Revision(floor.0.max(chance.below(shard.db.revision().0 + 1)));
                shard.db.set_retain_from(floor);
            }
            88..92 if shard.db.revision() > floor => {
                let at = Revision(floor.0 + 1 + chance.below(shard.db.revision().0 - floor.0));
                shard.check_history(at);
            }
            92..94 => {
                let fs = if chance.one_in(2) { shard.fs.kill() } else { shard.fs.crash(chance.next()) };
                shard = Shard::open(&fs, shard.dir, &options, all, &shard.said).unwrap();
                floor = floor.min(shard.db.revision());
                shard.db.set_retain_from(floor);
            }
            _ => shard.check(&format!("step {step}")),
        }
    }
    shard.finish("at last")
}

#[test]
fn what_a_filter_keeps_is_what_the_model_has_under_random_options() {
    let seeds: u64 = std::env::var("KVARTS_FILTER_SEEDS").map_or(200, |count| count.parse().unwrap());
    let first: u64 = std::env::var("KVARTS_FILTER_SEED").map_or(0, |seed| seed.parse().unwrap());
    let (mut all, mut left) = (0, 0);
    for seed in first..first + seeds {
        let outcome = std::panic::catch_unwind(|| live(seed));
        assert!(
            outcome.is_ok(),
            "seed {seed} failed; replay: KVARTS_FILTER_SEED={seed} KVARTS_FILTER_SEEDS=1 \
             cargo test -p kvarts-engine --test db what_a_filter_keeps"
        );
        let [foreign, rows] = outcome.unwrap();
        (all, left) = (all + foreign, left + rows);
    }
    assert!(50 * left <= all, "{left} rows of {all} are left");
}

/// A shard of rows in several tables and levels; some are overwritten, some are gone.
fn filled(options: &Options, all: Own, chance: &mut Chance) -> Shard {
    let mut shard = Shard::open(&MemFs::new(), crate::support::DIR, options, all, &[]).unwrap();
    for round in 0..3 {
        for number in (0..KEYS).filter(|number| round == 0 || number % 3 == round) {
            let said = if round == 2 { Said::Delete } else { Said::Put(chance.value(120)) };
            shard.apply(vec![(key(number), said)]).unwrap();
        }
        shard.flush().unwrap();
        if round == 0 {
            shard.db.compact(None).unwrap();
        }
    }
    shard
}

/// What a node does: the copy, the entry, the tables, the dropping; and writes go on.
fn split_and_drop(shard: &mut Shard, copied: &mut bool) -> Result<()> {
    shard.db.checkpoint(Some(&shard.tree), Path::new(COPY))?;
    *copied = true;
    let [lower, _] = shard.own.halves();
    shard.split(lower)?;
    shard.flush()?;
    shard.db.compact(None)?;
    let kept: Vec<u64> = (0..KEYS).filter(|&number| lower.keeps(&key(number))).collect();
    for &number in kept.iter().step_by(2) {
        shard.apply(vec![(key(number), Said::Put(vec![7; 50]))])?;
    }
    shard.flush()?;
    shard.db.compact(None)?;
    shard.db.close()
}

/// Checks what a crash has left of a shard and of its copy, and ends the split in both. Returns whether it was done in the shard.
fn check_left(
    left: &MemFs,
    before: &Shard,
    said: &[(Revision, Vec<u8>, Said)],
    all: Own,
    copied: bool,
    case: &str,
) -> bool {
    let mut again = Shard::open(left, before.dir, &before.options, all, said).unwrap();
    let is_done = again.own != all;
    again.check(case);
    if !is_done {
        let [lower, _] = all.halves();
        again.split(lower).unwrap();
    }
    again.finish(case);
    if copied {
        let mut copy = Shard::open(left, COPY, &before.options, all, &before.said).unwrap();
        copy.check(&format!("{case}: the copy"));
        let [_, upper] = all.halves();
        copy.split(upper).unwrap();
        copy.finish(&format!("{case}: the copy"));
    }
    is_done
}

#[test]
fn a_crash_at_any_operation_while_rows_are_dropped_loses_nothing_that_is_kept() {
    for seed in 0..6 {
        let mut chance = Chance(seed);
        let (options, all) = (options(&mut chance), Own { ordered: seed % 2 == 0, start: 0, stop: KEYS });
        let before = filled(&options, all, &mut chance);
        let (mut undone, mut done, mut step) = (0, 0, 0);
        loop {
            let world = before.fs.kill();
            let mut shard = Shard::open(&world, before.dir, &options, all, &before.said).unwrap();
            world.crash_at_op(world.ops() + step);
            let mut copied = false;
            let outcome = split_and_drop(&mut shard, &mut copied);
            let finished = !world.has_crashed();
            // Files that could not be removed are no error.
            assert!(outcome.is_ok() || !finished, "seed {seed}, step {step}: {outcome:?}");
            let said = std::mem::take(&mut shard.said);
            drop(shard);
            for (what, left) in [("killed", world.kill()), ("without power", world.crash(step))] {
                let case = format!("seed {seed}, {what} at step {step}");
                let is_done = check_left(&left, &before, &said, all, copied, &case);
                *(if is_done { &mut done } else { &mut undone }) += 1;
            }
            if finished {
                break;
            }
            step += 1;
        }
        assert!(undone > 10 && done > 10, "seed {seed}: both sides were met: {undone} and {done}");
    }
}
