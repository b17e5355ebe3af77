//! Scans in batches: with threads as without, and both as the model says.
use crate::support::{Chance, Model, Said, open_still, tiny};
use kvarts_engine::db::{BatchOptions, Batches, ColumnOf, Db, Tree};
use kvarts_engine::formats::batch::Batch;
use kvarts_engine::fs::MemFs;
use kvarts_engine::iter::{Bounds, Wanted};
use kvarts_engine::options::{Durability, Options};
use kvarts_engine::{Result, Revision};

type Rows = Vec<(Vec<u8>, Vec<u8>, Revision)>;

const ALL: Wanted = Wanted { keys: true, values: true, revisions: true, expiries: false };
const SEEDS: u64 = 12;

fn read(db: &Db, tree: &Tree, bounds: &Bounds, options: BatchOptions) -> Result<(Rows, usize)> {
    let mut batches = Batches::new(db.scan(tree, bounds.clone(), false, None)?, options);
    let (mut rows, threads) = (Rows::new(), batches.threads());
    while let Some(batch) = batches.next_batch()? {
        assert!(!batch.revisions.is_empty() && batch.revisions.len() <= options.rows_max);
        for (i, &revision) in batch.revisions.iter().enumerate() {
            let of = |bytes: &[u8], ends: &[i32]| bytes[ends[i] as usize..ends[i + 1] as usize].to_vec();
            rows.push((of(&batch.keys, &batch.key_ends), of(&batch.values, &batch.value_ends), revision));
        }
        batches.spares().give(ColumnOf::Keys, (batch.key_ends, batch.keys));
        batches.spares().give(ColumnOf::Values, (batch.value_ends, batch.values));
    }
    Ok((rows, threads))
}

fn write(db: &Db, tree: &Tree, chance: &mut Chance, model: &mut Model) {
    for _ in 0..40 {
        let mut batch = Batch::new();
        let mut said = Vec::new();
        for number in 0..chance.below(60) {
            let key = format!("{:05}", chance.below(3000)).into_bytes();
            let value = vec![number as u8; chance.below(30) as usize];
            let what = match chance.below(10) {
                0 => Said::Delete,
                1 => Said::Expiring([0, u64::MAX][chance.below(2) as usize], value),
                _ => Said::Put(value),
            };
            if said.iter().all(|(other, _)| *other != key) {
                what.add_to(&mut batch, tree, &key);
                said.push((key, what));
            }
        }
        if !said.is_empty() {
            let revision = db.write(&mut batch).unwrap();
            said.into_iter().for_each(|(key, what)| model.say(&key, revision, what));
        }
        match chance.below(12) {
            0 => db.flush().unwrap(),
            1 => db.compact(Some(tree)).unwrap(),
            _ => {}
        }
    }
}

#[test]
fn threads_read_what_one_reads() {
    let mut parallel = 0;
    for seed in 0..SEEDS {
        let mut chance = Chance(seed);
        let block_bytes = *chance.pick(&[256, 1024, 8 << 10, 64 << 10]);
        let db = open_still(&MemFs::new(), Options { block_bytes, ..tiny(Durability::Batch) }).unwrap();
        let tree = db.create_tree("t", "", "").unwrap();
        let mut model = Model::default();
        write(&db, &tree, &mut chance, &mut model);
        for _ in 0..6 {
            let bound = |chance: &mut Chance| {
                let key = format!("{:05}", chance.below(3000)).into_bytes();
                (!chance.one_in(3)).then(|| (key, chance.one_in(2)))
            };
            let bounds = Bounds { start: bound(&mut chance), stop: bound(&mut chance) };
            let wanted = model.rows(&bounds, Revision::MAX, 1);
            let rows_max = *chance.pick(&[3, 50, 400]);
            for threads in [1, 2, 3, 7] {
                let bytes_max = *chance.pick(&[1, 300, 1 << 20]);
                let options = BatchOptions { wanted: ALL, rows_max, bytes_max, limit: None, threads: Some(threads) };
                let (rows, started) = read(&db, &tree, &bounds, options).unwrap();
                assert!(rows == wanted, "seed={seed}: {threads} threads, {options:?}, {bounds:?}");
                parallel += usize::from(started > 1);
            }
        }
    }
    assert!(parallel > 20, "only {parallel} scans had threads");
}

#[test]
fn a_reader_that_goes_lets_its_threads_end() {
    let db = open_still(&MemFs::new(), Options { block_bytes: 256, ..tiny(Durability::Batch) }).unwrap();
    let tree = db.create_tree("t", "", "").unwrap();
    let mut chance = Chance(1);
    write(&db, &tree, &mut chance, &mut Model::default());
    db.compact(Some(&tree)).unwrap();
    let options = BatchOptions { wanted: ALL, rows_max: 10, bytes_max: 1 << 20, limit: None, threads: Some(3) };
    let mut batches = Batches::new(db.scan(&tree, Bounds::default(), false, None).unwrap(), options);
    assert!(batches.threads() > 1 && batches.next_batch().unwrap().is_some());
    drop(batches);
    // Each thread holds a scan while it fills.
    while db.stats().snapshots > 0 {
        std::thread::yield_now();
    }
}

#[test]
fn a_limit_ends_the_batches() {
    let db = open_still(&MemFs::new(), tiny(Durability::Batch)).unwrap();
    let tree = db.create_tree("t", "", "").unwrap();
    let mut model = Model::default();
    write(&db, &tree, &mut Chance(2), &mut model);
    let options = BatchOptions { wanted: ALL, rows_max: 7, bytes_max: 1 << 20, limit: Some(20), threads: None };
    let (rows, _) = read(&db, &tree, &Bounds::default(), options).unwrap();
    assert!(rows == model.rows(&Bounds::default(), Revision::MAX, 1)[..20]);
}
