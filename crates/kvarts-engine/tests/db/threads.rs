//! A store on the machine's disk, with its threads: readers, a writer, flush and compaction at once.
use crate::support::{Chance, Temp, drain, get, put};
use kvarts_engine::clock::OsClock;
use kvarts_engine::db::{Attempt, Db, Tree};
use kvarts_engine::formats::batch::Batch;
use kvarts_engine::fs::OsFs;
use kvarts_engine::iter::Bounds;
use kvarts_engine::options::{Durability, Options};
use kvarts_engine::{Error, Revision};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

fn small(durability: Durability) -> Options {
    Options {
        durability,
        memory_bytes: 4 << 20,
        memtable_bytes: 64 << 10,
        block_bytes: 1 << 10,
        open_files: 2,
        table_bytes: 64 << 10,
        level_base_bytes: 128 << 10,
        log_bytes: 256 << 10,
        sync_interval_ms: 5,
        ..Options::default()
    }
}

fn open(dir: &Temp, options: Options) -> Arc<Db> {
    Db::open(Arc::new(OsFs), Arc::new(OsClock::default()), &dir.0, "test", options).unwrap()
}

const KEYS: u64 = 500;

/// Stops the others when it goes, also where it goes by a panic: a failing test ends.
struct StopAll<'a>(&'a AtomicBool);

impl Drop for StopAll<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

/// Every commit writes the same number under a key and its mirror: a reader never sees one without the other.
fn write_pairs(db: &Db, tree: &Tree, rounds: u64) {
    let mut chance = Chance(1);
    for number in 1..=rounds {
        let mut value = vec![0; 64 + chance.below(256) as usize];
        value[..8].copy_from_slice(&number.to_be_bytes());
        let key = chance.below(KEYS);
        let mut batch = Batch::new();
        batch.put(tree.id(), format!("a{key:04}").as_bytes(), &value);
        batch.put(tree.id(), format!("b{key:04}").as_bytes(), &value);
        if let Attempt::WouldBlock = db.try_write(&mut batch).unwrap() {
            db.write(&mut batch).unwrap();
        }
    }
}

fn number(value: &[u8]) -> u64 {
    u64::from_be_bytes(value[..8].try_into().unwrap())
}

fn read_pairs(db: &Db, tree: &Tree, seed: u64, stop: &AtomicBool) {
    let mut chance = Chance(seed);
    let mut newest = vec![0; KEYS as usize];
    while !stop.load(Ordering::Acquire) {
        let key = chance.below(KEYS);
        let (a, b) = (format!("a{key:04}"), format!("b{key:04}"));
        let read = |key: &str| get(db, tree, key.as_bytes()).map_or(0, |value| number(&value));
        // The later read sees no less than the earlier one: revisions only become visible in order.
        let (first, second) = (read(&a), read(&b));
        assert!(second >= first && first >= newest[key as usize], "key {key}: {first} then {second}");
        newest[key as usize] = second;

        let snapshot = db.snapshot().unwrap();
        let at = |key: &str| {
            db.get(tree, key.as_bytes(), Some(&snapshot), |entry| entry.map_or(0, |entry| number(entry.value))).unwrap()
        };
        assert_eq!(at(&a), at(&b), "key {key} at {snapshot:?}");
        if chance.one_in(50) {
            let reverse = chance.one_in(2);
            let scan = db.scan(tree, Bounds::default(), reverse, None).unwrap();
            let revision = scan.revision();
            let rows = drain(scan, 100);
            // The commit of its revision is in it, and no later one.
            assert_eq!(rows.iter().map(|(.., revision)| *revision).max().unwrap_or_default(), revision);
            let numbers = |first: u8| -> Vec<u64> {
                rows.iter().filter(|(key, ..)| key[0] == first).map(|(_, value, _)| number(value)).collect()
            };
            assert_eq!(numbers(b'a'), numbers(b'b'));
        }
    }
}

#[test]
fn readers_see_whole_commits_while_flush_and_compaction_run() {
    for durability in [Durability::Batch, Durability::Sync] {
        let dir = Temp::new(&format!("pairs-{durability:?}"));
        let db = open(&dir, small(durability));
        let tree = db.create_tree("t", "", "").unwrap();
        let rounds = if durability == Durability::Sync { 1_500 } else { 15_000 };
        let stop = AtomicBool::new(false);
        thread::scope(|scope| {
            let _stop_all = StopAll(&stop);
            for seed in 0..2 {
                let (db, tree, stop) = (&db, &tree, &stop);
                scope.spawn(move || read_pairs(db, tree, seed, stop));
            }
            write_pairs(&db, &tree, rounds);
        });
        let stats = db.stats();
        assert!(stats.flushes > 0, "{stats:?}");
        assert!(durability == Durability::Sync || stats.compactions > 0, "{stats:?}");
        let before = drain(db.scan(&tree, Bounds::default(), false, None).unwrap(), 1_000);
        assert!(db.verify(&mut |_, _| {}).unwrap().damage.is_empty());
        db.close().unwrap();
        let db = open(&dir, small(durability));
        let tree = db.tree("t").unwrap().unwrap();
        assert_eq!(drain(db.scan(&tree, Bounds::default(), false, None).unwrap(), 1_000), before);
        assert_eq!(db.revision(), Revision(rounds));
    }
}

#[test]
fn a_scan_holds_the_commit_whose_revision_it_names() {
    let dir = Temp::new("newest");
    let db = open(&dir, Options { memtable_bytes: 4 << 10, ..small(Durability::None) });
    let tree = db.create_tree("t", "", "").unwrap();
    put(&db, &tree, b"newest", &[0; 200]).unwrap();
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let _stop_all = StopAll(&stop);
        for _ in 0..2 {
            scope.spawn(|| {
                while !stop.load(Ordering::Acquire) {
                    let scan = db.scan(&tree, Bounds::default(), false, None).unwrap();
                    let revision = scan.revision();
                    assert_eq!(drain(scan, 2)[0].2, revision);
                }
            });
        }
        // Every write changes the same row, and every few of them the memtable.
        (0..4_000).for_each(|_| assert!(put(&db, &tree, b"newest", &[0; 200]).is_ok()));
    });
}

#[test]
fn writers_of_a_synced_store_share_syncs_and_order() {
    let dir = Temp::new("group");
    let db = open(&dir, small(Durability::Sync));
    let tree = db.create_tree("t", "", "").unwrap();
    thread::scope(|scope| {
        for writer in 0..4u8 {
            let (db, tree) = (&db, &tree);
            scope.spawn(move || {
                for i in 0..100u8 {
                    let revision = put(db, tree, &[writer, i], &[i]).unwrap();
                    assert!(db.revision() >= revision, "visible on return");
                    assert_eq!(get(db, tree, &[writer, i]).unwrap(), [i]);
                }
            });
        }
    });
    assert_eq!(db.revision(), Revision(400));
    assert_eq!(drain(db.scan(&tree, Bounds::default(), false, None).unwrap(), 99).len(), 400);
}

#[test]
fn closing_while_others_write_and_read_ends_them_with_closed() {
    let dir = Temp::new("closing");
    let db = open(&dir, small(Durability::Batch));
    let tree = db.create_tree("t", "", "").unwrap();
    let done = AtomicU64::new(0);
    thread::scope(|scope| {
        let (db, tree, done) = (&db, &tree, &done);
        let writer = scope.spawn(move || {
            for i in 1u64.. {
                match put(db, tree, &i.to_be_bytes(), &[1; 200]) {
                    Ok(_) => done.store(i, Ordering::Release),
                    Err(Error::Closed) => break,
                    Err(error) => panic!("{error}"),
                }
            }
        });
        scope.spawn(move || {
            loop {
                let seen = done.load(Ordering::Acquire);
                match db.get(tree, &seen.to_be_bytes(), None, |entry| entry.is_some()) {
                    Ok(found) => assert!(found || seen == 0, "row {seen}"),
                    Err(Error::Closed) => break,
                    Err(error) => panic!("{error}"),
                }
            }
        });
        while done.load(Ordering::Acquire) < 3_000 && !writer.is_finished() {
            thread::yield_now();
        }
        for closer in [scope.spawn(|| db.close()), scope.spawn(|| db.close())] {
            closer.join().unwrap().unwrap();
        }
    });
    let db = open(&dir, small(Durability::Batch));
    let tree = db.tree("t").unwrap().unwrap();
    assert_eq!(drain(db.scan(&tree, Bounds::default(), false, None).unwrap(), 999).len() as u64, done.into_inner());
}

#[test]
fn compacting_by_hand_beside_a_writer_that_fills_level_0_ends() {
    let dir = Temp::new("compact-beside-writer");
    let options =
        Options { memtable_bytes: 4 << 10, level0_tables: 1, table_bytes: 4 << 10, ..small(Durability::None) };
    let db = open(&dir, options);
    let tree = db.create_tree("t", "", "").unwrap();
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let mut chance = Chance(7);
            while !done.load(Ordering::Acquire) {
                put(&db, &tree, &chance.key(10_000), &[1; 200]).unwrap();
            }
        });
        let _stop = StopAll(&done);
        // Only once the store's own thread has more to compact than it can finish is there somebody to wait for.
        while db.stats().compactions < 50 {
            thread::yield_now();
        }
        for _ in 0..20 {
            db.compact(None).unwrap();
        }
        done.store(true, Ordering::Release);
        writer.join().unwrap();
    });
}

#[test]
fn a_dropped_snapshot_lets_compaction_free_what_it_pinned() {
    let dir = Temp::new("unpinned");
    let db = open(&dir, small(Durability::None));
    let tree = db.create_tree("t", "", "").unwrap();
    for i in 0..1_000u32 {
        put(&db, &tree, &i.to_be_bytes(), &[7; 100]).unwrap();
    }
    let snapshot = db.snapshot().unwrap();
    let mut batch = Batch::new();
    (0..1_000u32).for_each(|i| batch.delete(tree.id(), &i.to_be_bytes()));
    db.write(&mut batch).unwrap();
    db.compact(None).unwrap();
    assert!(db.stats().trees[0].table_rows >= 1_000);
    drop(snapshot);
    // Bounded by the test's own time limit: nothing but the drop asks for this work.
    while db.stats().trees[0].table_rows > 0 {
        thread::yield_now();
    }
}
