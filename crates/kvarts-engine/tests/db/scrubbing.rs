//! Bit rot in tables of an open store is found in the background, and is nobody's trouble but of the reads that meet it.
use crate::support::{DIR, get, open_still, put, tiny};
use kvarts_engine::Error;
use kvarts_engine::clock::{Clock, OsClock};
use kvarts_engine::db::{Db, Stats};
use kvarts_engine::fs::{Fs, MemFs};
use kvarts_engine::options::{Durability, Options};
use std::path::{Path, PathBuf};

fn scrubbing(rate: u64) -> Options {
    Options { background: true, scrub_bytes_per_s: rate, level0_tables: 100, ..tiny(Durability::Batch) }
}

fn tables(fs: &MemFs) -> Vec<PathBuf> {
    let names = fs.list(Path::new(DIR)).unwrap();
    names.iter().filter(|name| name.ends_with(".table")).map(|name| Path::new(DIR).join(name)).collect()
}

/// A closed store of two tables: keys 000 to 099, and 100 to 199.
fn closed() -> MemFs {
    let fs = MemFs::new();
    let db = open_still(&fs, Options { memtable_bytes: 1 << 20, table_bytes: 1 << 20, ..scrubbing(0) }).unwrap();
    let tree = db.create_tree("t", "", "").unwrap();
    for number in 0..200 {
        put(&db, &tree, format!("{number:03}").as_bytes(), &[7; 60]).unwrap();
        if number % 100 == 99 {
            db.flush().unwrap();
        }
    }
    db.close().unwrap();
    fs
}

fn wait(db: &Db, until: impl Fn(&Stats) -> bool) -> Stats {
    let clock = OsClock::default();
    let start = clock.monotonic_ns();
    loop {
        let stats = db.stats();
        if until(&stats) {
            return stats;
        }
        assert!(clock.monotonic_ns() - start < 60_000_000_000, "{stats:?}");
        std::thread::yield_now();
    }
}

#[test]
fn bit_rot_is_found_named_and_harms_no_other_read_or_write() {
    let fs = closed();
    let files = tables(&fs);
    fs.corrupt(&files[0], 300, 1).unwrap();
    fs.corrupt(&files[0], 1_500, 1).unwrap();
    let db = open_still(&fs, scrubbing(1 << 30)).unwrap();
    let stats = wait(&db, |stats| stats.scrub_rounds == 1);
    assert_eq!(stats.damage.len(), 2, "{:?}", stats.damage);
    assert!(stats.damage.iter().all(|one| one.file == files[0] && one.offset >= 128));
    let (first, second) = (&stats.damage[0], &stats.damage[1]);
    assert!(
        first.smallest.as_slice() >= &b"000"[..] && first.largest < second.largest && second.largest <= b"099".to_vec()
    );
    assert!(stats.scrubbed_bytes > 4_000);
    assert_eq!((stats.cache_bytes, stats.cache_misses), (0, 0), "the cache is for readers");
    let tree = db.tree("t").unwrap().unwrap();
    assert!(matches!(db.get(&tree, &first.largest, None, |_| ()), Err(Error::Corruption { .. })));
    assert_eq!(get(&db, &tree, b"150"), Some(vec![7; 60]));
    put(&db, &tree, b"new", b"value").unwrap();
    db.flush().unwrap();
    db.close().unwrap();
}

#[test]
fn a_slow_scrub_does_not_keep_the_store_from_closing() {
    let fs = closed();
    let db = open_still(&fs, scrubbing(1)).unwrap();
    wait(&db, |stats| stats.scrubbed_bytes > 0);
    assert_eq!(db.stats().scrub_rounds, 0);
    let clock = OsClock::default();
    let start = clock.monotonic_ns();
    db.close().unwrap();
    assert!(clock.monotonic_ns() - start < 20_000_000_000);
}

#[test]
fn nothing_is_scrubbed_unless_asked() {
    let fs = closed();
    let db = open_still(&fs, scrubbing(0)).unwrap();
    get(&db, &db.tree("t").unwrap().unwrap(), b"150").unwrap();
    assert_eq!(db.stats().scrubbed_bytes, 0);
}
