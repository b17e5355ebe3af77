//! What goes on behind writers and readers: the next log file is there in time, and a store that rests gets in shape.
use crate::support::{Chance, DIR, Temp, encrypted, get, open, open_still, put, rows, tiny};
use kvarts_engine::clock::{ManualClock, OsClock};
use kvarts_engine::db::{Db, Tree};
use kvarts_engine::fs::{Fs, MemFs, OsFs};
use kvarts_engine::keys::{Keys, MasterKey};
use kvarts_engine::options::{Durability, Options};
use std::path::Path;
use std::sync::Arc;
use std::thread;

fn logs(fs: &MemFs) -> Vec<String> {
    let mut names = fs.list(Path::new(DIR)).unwrap();
    names.retain(|name| name.ends_with(".log"));
    names.sort();
    names
}

/// A store whose log is filled before a memtable is.
fn roomy() -> Options {
    Options { memory_bytes: 64 << 20, memtable_bytes: 4 << 20, ..tiny(Durability::Batch) }
}

fn fill(db: &Db, tree: &Tree, rows: usize) {
    (0..rows).for_each(|row| _ = put(db, tree, format!("{row:04}").as_bytes(), &[7; 1000]).unwrap());
}

#[test]
fn the_next_log_file_is_there_before_the_current_one_is_full() {
    let fs = MemFs::new();
    let db = open_still(&fs, roomy()).unwrap();
    let tree = db.create_tree("t", "", "").unwrap();
    fill(&db, &tree, 20);
    let first = logs(&fs);
    assert_eq!(first.len(), 1, "a log that is hardly used needs no next one");
    fill(&db, &tree, 20);
    let both = logs(&fs);
    assert_eq!((both.len(), &both[0]), (2, &first[0]));
    fill(&db, &tree, 30);
    assert_eq!(logs(&fs), both, "the log goes on in the file that was made");
    db.sync().unwrap();
    let left = fs.crash(1);
    db.close().unwrap();
    assert!(logs(&fs).is_empty());
    let db = open_still(&left, roomy()).unwrap();
    assert_eq!(rows(&db, &db.tree("t").unwrap().unwrap(), None).len(), 30);
}

#[test]
fn what_a_crash_leaves_of_a_log_made_in_advance_is_no_torn_tail() {
    let fs = MemFs::new();
    let db = open_still(&fs, roomy()).unwrap();
    let tree = db.create_tree("t", "", "").unwrap();
    fill(&db, &tree, 40);
    db.sync().unwrap();
    assert_eq!(logs(&fs).len(), 2);
    for seed in 0..20 {
        let left = fs.crash(seed);
        let db = open_still(&left, roomy()).unwrap();
        assert_eq!(db.open_report().torn, None);
        assert_eq!(rows(&db, &db.tree("t").unwrap().unwrap(), None).len(), 40);
        assert_eq!(logs(&left).len(), 1, "only the new log is left");
    }
}

#[test]
fn a_log_made_in_advance_is_not_wrapped_by_a_key_that_was_replaced() {
    let key = |byte| MasterKey::take(&mut [byte; 32]);
    let fs = MemFs::new();
    let clock = Arc::new(ManualClock::new(1_000));
    encrypted(Keys::new(key(1), []), || {
        let db = open(&fs, &clock, roomy()).unwrap();
        let tree = db.create_tree("t", "", "").unwrap();
        fill(&db, &tree, 40);
        db.rotate_key(key(2), &mut |_, _| {}).unwrap();
        fill(&db, &tree, 70);
        db.sync().unwrap();
    });
    encrypted(Keys::new(key(2), []), || {
        let db = open(&fs.crash(3), &clock, roomy()).unwrap();
        assert_eq!(rows(&db, &db.tree("t").unwrap().unwrap(), None).len(), 70);
    });
}

#[test]
fn a_store_that_nobody_writes_to_comes_to_rest() {
    let dir = Temp::new("rest");
    let options = Options { create: true, ..Options::default() };
    let db = Db::open(Arc::new(OsFs), Arc::new(OsClock::default()), &dir.0, "test", options).unwrap();
    let tree = db.create_tree("t", "", "").unwrap();
    let mut chance = Chance(5);
    let mut last = Vec::new();
    for round in 0..3u8 {
        for _ in 0..500 {
            last = chance.key(1000);
            put(&db, &tree, &last, &[round; 100]).unwrap();
        }
        db.flush().unwrap();
    }
    let before = rows(&db, &tree, None);
    assert!(db.stats().trees[0].levels[0].0 <= 3, "too few for a compaction");
    // Bounded by the test's own time limit: only quiet asks for this work.
    while db.stats().trees[0].levels[0].0 > 0 {
        thread::yield_now();
    }
    assert_eq!(rows(&db, &tree, None), before);
    assert_eq!(get(&db, &tree, &last), Some(vec![2; 100]));
    assert_eq!(db.stats().trees[0].levels.iter().filter(|(tables, _)| *tables > 0).count(), 1);
}
