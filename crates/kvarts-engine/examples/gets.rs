//! Measures point reads of a store whose blocks are all cached: one by one, many at once, and from two threads.
//! `cargo run --release -p kvarts-engine --example gets -- 1000`
use kvarts_engine::clock::{Clock, OsClock};
use kvarts_engine::db::{Attempt, Db, Entry, Tree};
use kvarts_engine::formats::batch::Batch;
use kvarts_engine::formats::hash::key_hash;
use kvarts_engine::fs::MemFs;
use kvarts_engine::options::Options;
use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;
use std::thread;

const ROWS: u64 = 100_000;
const REPEATS: usize = 9;
const MANY: usize = 100;

fn key(number: u64) -> Vec<u8> {
    [key_hash(&number.to_le_bytes()), key_hash(&(!number).to_le_bytes())].map(u64::to_be_bytes).concat()
}

fn open(value_len: usize) -> (Arc<Db>, Tree) {
    let fs = Arc::new(MemFs::volatile());
    let db = Db::open(fs, Arc::new(OsClock::default()), Path::new("/"), "gets", Options::default()).expect("memory");
    let tree = db.create_tree("rows", "bytes", "bytes").expect("memory");
    let noise: Vec<u8> =
        (0..value_len as u64 / 16 + 1).flat_map(|i| key_hash(&i.to_le_bytes()).to_le_bytes()).collect();
    for first in (0..ROWS).step_by(1000) {
        let mut batch = Batch::new();
        for number in first..first + 1000 {
            let mut value = vec![0; value_len];
            let random = value_len / 2;
            value[..random].copy_from_slice(&noise[..random]);
            batch.put(db.tree_info(&tree).id, &key(number), &value);
        }
        db.write(&mut batch).expect("memory");
    }
    db.compact(None).expect("memory");
    (db, tree)
}

/// Keys in random order and in memory of their own, as Python has them.
fn chosen(first: u64) -> Vec<Vec<u8>> {
    (0..ROWS).map(|i| key(first + (key_hash(&i.to_le_bytes()) ^ first) % ROWS)).collect()
}

fn copy(entry: Option<Entry<'_>>) -> usize {
    entry.map_or(0, |entry| black_box(entry.value.to_vec()).len())
}

fn gets(db: &Db, tree: &Tree, keys: &[Vec<u8>]) -> usize {
    let get = |key: &Vec<u8>| match db.try_get(tree, key, copy).expect("memory") {
        Attempt::Done(len) => len,
        Attempt::WouldBlock => db.get(tree, key, None, copy).expect("memory"),
    };
    keys.iter().filter(|key| get(key) > 0).count()
}

fn gets_many(db: &Db, tree: &Tree, keys: &[Vec<u8>]) -> usize {
    let mut found = 0;
    for keys in keys.chunks(MANY) {
        let keys: Vec<&[u8]> = keys.iter().map(Vec::as_slice).collect();
        db.get_many(tree, &keys, None, &mut |_, entry| found += usize::from(copy(entry) > 0)).expect("memory");
    }
    found
}

/// Prints the fastest of several runs and the middle one, in nanoseconds per key.
fn report(name: &str, clock: &OsClock, mut run: impl FnMut() -> usize) {
    run();
    let mut runs: Vec<u64> = (0..REPEATS)
        .map(|_| {
            let start = clock.monotonic_ns();
            black_box(run());
            clock.monotonic_ns() - start
        })
        .collect();
    runs.sort_unstable();
    let ns = |run: u64| run as f64 / ROWS as f64;
    println!("{name:<36} {:7.1} ns, median {:7.1}", ns(runs[0]), ns(runs[REPEATS / 2]));
}

fn main() {
    let value_len = std::env::args().nth(1).and_then(|arg| arg.parse().ok()).unwrap_or(1000);
    let clock = OsClock::default();
    let (db, tree) = open(value_len);
    let (present, absent) = (chosen(0), chosen(ROWS));
    println!("{ROWS} rows of 16 B + {value_len} B");
    report("get", &clock, || gets(&db, &tree, &present));
    report("get, key absent", &clock, || gets(&db, &tree, &absent));
    report("get_many(100)", &clock, || gets_many(&db, &tree, &present));
    let both = |run: fn(&Db, &Tree, &[Vec<u8>]) -> usize| {
        let (left, right) = present.split_at(present.len() / 2);
        thread::scope(|scope| {
            let other = scope.spawn(|| run(&db, &tree, right));
            run(&db, &tree, left) + other.join().expect("it does not panic")
        })
    };
    report("get, 2 threads, half the keys each", &clock, || both(gets));
    report("get_many(100), 2 threads", &clock, || both(gets_many));
}
