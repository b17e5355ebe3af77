//! The store against a model with all revisions: every verb, random options, reopening, one seed for all of it.
use crate::support::{Chance, DIR, Found, Model, Said, drain, open, open_at, tiny};
use kvarts_engine::Revision;
use kvarts_engine::clock::{Clock, ManualClock};
use kvarts_engine::db::{Attempt, Db, Snapshot, Tree};
use kvarts_engine::formats::batch::Batch;
use kvarts_engine::formats::compress::{ByLevel, Compression};
use kvarts_engine::fs::MemFs;
use kvarts_engine::iter::Bounds;
use kvarts_engine::options::{Durability, Options};
use std::path::{Path, PathBuf};
use std::sync::Arc;

const TREES: usize = 2;
const KEYS: u64 = 160;

/// One for all levels, or one for each of the first.
fn compressions(chance: &mut Chance) -> ByLevel {
    let all = [Compression::None, Compression::Lz4, Compression::Zstd(1), Compression::Zstd(9)];
    let levels = (0..=chance.below(3)).map(|_| *chance.pick(&all)).collect();
    ByLevel::new(levels).unwrap()
}

struct World {
    chance: Chance,
    fs: MemFs,
    clock: Arc<ManualClock>,
    options: Options,
    db: Arc<Db>,
    trees: Vec<Tree>,
    models: Vec<Model>,
    snapshots: Vec<(Snapshot, u64)>,
    checkpoints: u64,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut chance = Chance(seed);
        let fs = MemFs::volatile();
        let clock = Arc::new(ManualClock::new(1_000));
        let durability = *chance.pick(&[Durability::Sync, Durability::Batch, Durability::None]);
        let options = Options {
            memtable_bytes: *chance.pick(&[1 << 10, 4 << 10, 32 << 10]),
            filter_bits: *chance.pick(&[0, 10]),
            open_files: *chance.pick(&[1, 3, usize::MAX]),
            level_growth: *chance.pick(&[2, 4]),
            block_bytes: *chance.pick(&[256, 1 << 10, 64 << 10]),
            compression: compressions(&mut chance),
            ..tiny(durability)
        };
        let db = open(&fs, &clock, options.clone()).unwrap();
        let trees = (0..TREES).map(|i| db.create_tree(&format!("tree-{i}"), "", "").unwrap()).collect();
        let models = vec![Model::default(); TREES];
        Self { chance, fs, clock, options, db, trees, models, snapshots: Vec::new(), checkpoints: 0 }
    }

    fn step(&mut self) {
        match self.chance.below(100) {
            0..40 => self.write(1),
            40..48 => self.write(12),
            48..52 => self.update(),
            52..62 => self.read(),
            62..66 => self.read_many(),
            66..78 => self.scan(),
            78..82 => self.take_snapshot(),
            82..86 => self.drop_snapshot(),
            86..92 => self.clock.advance_ms(self.chance.below(50)),
            92..96 => self.db.flush().unwrap(),
            96..97 => self.compact(),
            97..98 => self.checkpoint(),
            98 if self.chance.one_in(2) => self.recompress(),
            98..99 => self.verify(),
            _ => self.reopen(),
        }
    }

    /// Changes how a tree is compressed: what it reads stays the same.
    fn recompress(&mut self) {
        let own = self.chance.one_in(2).then(|| compressions(&mut self.chance));
        let at = self.tree();
        self.db.set_compression(&self.trees[at], own.clone()).unwrap();
        assert_eq!(self.db.tree_info(&self.trees[at]).compression, own);
    }

    fn said(&mut self) -> Said {
        match self.chance.below(10) {
            0..3 => Said::Delete,
            3..5 => Said::Expiring(self.clock.unix_ms() + self.chance.below(200), self.chance.value(300)),
            _ => Said::Put(self.chance.value(300)),
        }
    }

    fn tree(&mut self) -> usize {
        self.chance.below(TREES as u64) as usize
    }

    fn write(&mut self, count_max: u64) {
        let mut batch = Batch::new();
        let mut ops = Vec::new();
        for _ in 0..=self.chance.below(count_max) {
            let (tree, key, said) = (self.tree(), self.chance.key(KEYS), self.said());
            said.add_to(&mut batch, &self.trees[tree], &key);
            ops.push((tree, key, said));
        }
        let before = self.db.revision();
        let revision = match self.db.try_write(&mut batch).unwrap() {
            Attempt::Done(revision) => revision,
            Attempt::WouldBlock => self.db.write(&mut batch).unwrap(),
        };
        assert_eq!(revision, Revision(before.0 + 1));
        assert_eq!(self.db.revision(), revision);
        for (tree, key, said) in ops {
            self.models[tree].say(&key, revision, said);
        }
    }

    /// Writes what a condition on the newest state says: here, the old value in reverse, or a delete.
    fn update(&mut self) {
        let (at, key) = (self.tree(), self.chance.key(KEYS));
        let tree = &self.trees[at];
        let edge_reverse = self.chance.one_in(2);
        let (said, edge) = self
            .db
            .update(|view, batch| {
                let said = view.get(tree, &key, |entry| {
                    entry.map(|entry| Said::Put(entry.value.iter().rev().copied().collect()))
                })?;
                if let Some(said) = &said {
                    said.add_to(batch, tree, &key);
                }
                Ok::<_, kvarts_engine::Error>((said, view.edge(tree, &Bounds::default(), edge_reverse)?))
            })
            .map(|((said, edge), revision)| ((said, revision), edge))
            .unwrap();
        let (now_ms, seen) = (self.clock.unix_ms(), Revision::MAX);
        let expected = self.models[at].get(&key, seen, now_ms);
        let rows = self.models[at].rows(&Bounds::default(), seen, now_ms);
        let expected_edge = if edge_reverse { rows.last() } else { rows.first() };
        assert_eq!(edge, expected_edge.map(|(key, value, _)| (key.clone(), value.clone())));
        let reversed = expected.map(|found| Said::Put(found.value.into_iter().rev().collect()));
        assert_eq!(said.0, reversed, "update of {key:?}");
        if let Some(put) = reversed {
            self.models[at].say(&key, said.1, put);
        }
    }

    /// A revision to read at: a snapshot's, or the newest.
    fn reader(&mut self) -> (Option<Snapshot>, Revision, u64) {
        if self.snapshots.is_empty() || self.chance.one_in(2) {
            return (None, self.db.revision(), self.clock.unix_ms());
        }
        let (snapshot, now_ms) = self.chance.pick(&self.snapshots).clone();
        let revision = snapshot.revision();
        (Some(snapshot), revision, now_ms)
    }

    fn read(&mut self) {
        let (at, key) = (self.tree(), self.chance.key(KEYS + 20));
        let (snapshot, revision, now_ms) = self.reader();
        let expected = self.models[at].get(&key, revision, now_ms);
        let found = self.db.get(&self.trees[at], &key, snapshot.as_ref(), |entry| entry.map(Found::of)).unwrap();
        assert_eq!(found, expected, "key {key:?} at {revision:?}");
        if snapshot.is_none()
            && let Attempt::Done(found) = self.db.try_get(&self.trees[at], &key, |entry| entry.map(Found::of)).unwrap()
        {
            assert_eq!(found, expected, "try_get of {key:?}");
        }
    }

    fn read_many(&mut self) {
        let at = self.tree();
        let keys: Vec<Vec<u8>> = (0..self.chance.below(30)).map(|_| self.chance.key(KEYS + 20)).collect();
        let borrowed: Vec<&[u8]> = keys.iter().map(Vec::as_slice).collect();
        let (snapshot, revision, now_ms) = self.reader();
        let mut found = vec![None; keys.len()];
        let mut each = |position: usize, entry: Option<kvarts_engine::db::Entry<'_>>| {
            assert!(found[position].is_none(), "each position is answered once");
            found[position] = Some(entry.map(Found::of));
        };
        self.db.get_many(&self.trees[at], &borrowed, snapshot.as_ref(), &mut each).unwrap();
        for (key, found) in keys.iter().zip(found) {
            assert_eq!(found, Some(self.models[at].get(key, revision, now_ms)), "key {key:?} at {revision:?}");
        }
    }

    fn bounds(&mut self) -> Bounds {
        let mut end = || {
            let key = self.chance.key(KEYS);
            (!self.chance.one_in(3)).then(|| (key, self.chance.one_in(2)))
        };
        Bounds { start: end(), stop: end() }
    }

    fn scan(&mut self) {
        let (at, bounds, reverse) = (self.tree(), self.bounds(), self.chance.one_in(2));
        let (snapshot, revision, now_ms) = self.reader();
        let mut expected = self.models[at].rows(&bounds, revision, now_ms);
        if reverse {
            expected.reverse();
        }
        let scan = self.db.scan(&self.trees[at], bounds.clone(), reverse, snapshot.as_ref()).unwrap();
        if self.chance.one_in(4) {
            // What comes after the start of a scan does not show in it.
            self.write(12);
            self.db.flush().unwrap();
        }
        let rows_max = 1 + self.chance.below(20) as usize;
        assert_eq!(drain(scan, rows_max), expected, "{bounds:?} reverse={reverse} at {revision:?}");
    }

    fn take_snapshot(&mut self) {
        if self.snapshots.len() < 6 {
            self.snapshots.push((self.db.snapshot().unwrap(), self.clock.unix_ms()));
        }
    }

    fn drop_snapshot(&mut self) {
        if !self.snapshots.is_empty() {
            let at = self.chance.below(self.snapshots.len() as u64) as usize;
            self.snapshots.swap_remove(at);
        }
    }

    fn compact(&mut self) {
        let one = self.chance.one_in(2).then(|| self.trees[0].clone());
        self.db.compact(one.as_ref()).unwrap();
    }

    fn check_all(&self, db: &Db, trees: &[Tree]) {
        let (revision, now_ms) = (db.revision(), self.clock.unix_ms());
        for (tree, model) in trees.iter().zip(&self.models) {
            let rows = drain(db.scan(tree, Bounds::default(), false, None).unwrap(), 100);
            assert_eq!(rows, model.rows(&Bounds::default(), revision, now_ms));
        }
    }

    fn checkpoint(&mut self) {
        self.checkpoints += 1;
        let to = PathBuf::from(format!("/checkpoint-{}", self.checkpoints));
        assert_eq!(self.db.checkpoint(None, &to).unwrap(), self.db.revision());
        let copy = open_at(Arc::new(self.fs.clone()), &self.clock, &to, self.options.clone()).unwrap();
        self.check_all(&copy, &trees_of(&copy));
        copy.close().unwrap();
    }

    fn verify(&mut self) {
        let report = self.db.verify(&mut |done, all| assert!(done <= all, "{done} of {all}")).unwrap();
        assert!(report.damage.is_empty(), "{:?}", report.damage);
    }

    fn reopen(&mut self) {
        self.snapshots.clear();
        let clean = self.chance.one_in(2);
        if clean {
            self.db.close().unwrap();
            assert!(!self.fs.list_logs(), "a clean close leaves no log");
        } else {
            self.fs = self.fs.kill();
        }
        let revision = self.db.revision();
        self.db = open(&self.fs, &self.clock, self.options.clone()).unwrap();
        self.trees = trees_of(&self.db);
        assert_eq!(self.db.revision(), revision);
        assert!(!clean || self.db.open_report().replayed == 0, "nothing is replayed after a clean close");
        assert!(self.db.open_report().torn.is_none());
        self.check_all(&self.db, &self.trees);
    }
}

trait ListLogs {
    fn list_logs(&self) -> bool;
}

impl ListLogs for MemFs {
    fn list_logs(&self) -> bool {
        let names = kvarts_engine::fs::Fs::list(self, Path::new(DIR)).unwrap();
        names.iter().any(|name| name.ends_with(".log"))
    }
}

fn trees_of(db: &Db) -> Vec<Tree> {
    (0..TREES).map(|i| db.tree(&format!("tree-{i}")).unwrap().unwrap()).collect()
}

/// Lives through so many steps, chosen by a seed.
pub fn run(seed: u64, steps: u64) {
    let mut world = World::new(seed);
    for _ in 0..steps {
        world.step();
    }
    world.reopen();
}

#[test]
fn a_store_answers_like_its_model() {
    let seeds: u64 = std::env::var("KVARTS_MODEL_SEEDS").map_or(60, |count| count.parse().unwrap());
    let first: u64 = std::env::var("KVARTS_MODEL_SEED").map_or(0, |seed| seed.parse().unwrap());
    for seed in first..first + seeds {
        let outcome = std::panic::catch_unwind(|| run(seed, 800));
        assert!(
            outcome.is_ok(),
            "seed {seed} failed; replay: KVARTS_MODEL_SEED={seed} KVARTS_MODEL_SEEDS=1 \
             cargo test -p kvarts-engine --test db a_store_answers_like_its_model"
        );
    }
}
