//! A disk that fills and empties at random: what was answered is kept, what was refused is not there, and it goes on.
use crate::support::{Chance, open_still, put, rows, tiny};
use kvarts_engine::Error;
use kvarts_engine::formats::batch::Batch;
use kvarts_engine::fs::MemFs;
use kvarts_engine::options::{Durability, Options};
use std::collections::BTreeMap;

fn run(seed: u64) {
    let mut chance = Chance(seed);
    let durability = *chance.pick(&[Durability::Sync, Durability::Batch]);
    let options = Options { memtable_bytes: *chance.pick(&[1 << 10, 16 << 10, 1 << 20]), ..tiny(durability) };
    let mut fs = MemFs::new();
    let mut db = open_still(&fs, options.clone()).unwrap();
    let mut tree = db.create_tree("t", "", "").unwrap();
    let (mut model, mut is_full) = (BTreeMap::new(), false);
    for _ in 0..400 {
        match chance.below(40) {
            0 => {
                is_full = true;
                fs.set_space(chance.below(20_000));
            }
            1..4 => {
                is_full = false;
                fs.set_full(false);
            }
            4 => {
                fs = if durability == Durability::Sync { fs.crash(chance.next()) } else { fs.kill() };
                is_full = false;
                db = open_still(&fs, options.clone()).unwrap();
                tree = db.tree("t").unwrap().unwrap();
            }
            5 => check(db.flush(), is_full),
            6 if chance.one_in(4) => check(db.compact(None), is_full),
            _ => {
                let (key, value) = (chance.key(60), chance.value(2_000));
                let outcome = put(&db, &tree, &key, &value);
                if outcome.is_ok() {
                    model.insert(key, value);
                }
                check(outcome, is_full);
            }
        }
        let found = rows(&db, &tree, None).into_iter().map(|(key, value, _)| (key, value));
        assert!(found.eq(model.clone()), "what was answered is what is there");
    }
}

fn check<R>(outcome: Result<R, Error>, is_full: bool) {
    match outcome {
        Ok(_) => {}
        Err(Error::StorageFull(_)) => assert!(is_full, "there is space again"),
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn a_disk_that_fills_and_empties_loses_nothing_and_poisons_nothing() {
    for seed in 0..150 {
        let outcome = std::panic::catch_unwind(|| run(seed));
        assert!(outcome.is_ok(), "seed {seed} of tests/db/full.rs failed");
    }
}

#[test]
fn a_store_without_threads_makes_room_for_a_large_batch_itself() {
    let db = open_still(&MemFs::new(), tiny(Durability::Batch)).unwrap();
    let trees = ["a", "b"].map(|name| db.create_tree(name, "", "").unwrap());
    for round in 0..4u8 {
        // Nearly a quarter of the memory: what is left of one in memtables has to go before the next.
        let mut batch = Batch::new();
        for tree in &trees {
            (0..6u8).for_each(|key| batch.put(tree.id(), &[key], &[round; 20_000]));
        }
        db.write(&mut batch).unwrap();
    }
    let found = rows(&db, &trees[1], None);
    assert!(found.len() == 6 && found.iter().all(|(_, value, _)| *value == [3; 20_000]));
}
