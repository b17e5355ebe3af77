//! Measures a table whose blocks are all cached. `cargo run --release -p kvarts-engine --example table -- 1000`
use kvarts_engine::clock::{Clock, OsClock};
use kvarts_engine::fs::{Fs, MemFs};
use kvarts_engine::iter::{Bounds, BoxCursor, MergeCursor, VisibleCursor};
use kvarts_engine::options::Options;
use kvarts_engine::table::{BlockCache, Table, TableAnswer, TableWriter};
use kvarts_engine::{FileId, Kind, Revision};
use kvarts_formats::hash::key_hash;
use std::path::Path;
use std::sync::Arc;

const ROWS: u64 = 100_000;
const REPEATS: usize = 9;
const STORE: [u8; 16] = [1; 16];

fn key(i: u64) -> [u8; 16] {
    let mut key = *b"0000000000000000";
    let digits = i.to_string();
    key[16 - digits.len()..].copy_from_slice(digits.as_bytes());
    key
}

fn shuffled(i: u64) -> u64 {
    (i ^ i >> 31).wrapping_mul(0x7fb5_d329_728e_a185) >> 20
}

/// Writes the rows `i % parts == part`.
fn write(fs: &Arc<dyn Fs>, cache: &Arc<BlockCache>, part: u64, parts: u64, value: &[u8]) -> Arc<Table> {
    let file = FileId(100 * parts + part);
    let options = Options::default();
    let mut writer =
        TableWriter::create(&**fs, Path::new("/"), STORE, file, &options, options.compression.at(0)).expect("memory");
    for i in (part..ROWS).step_by(parts as usize) {
        writer.add(&key(i), Revision(i + 1), Kind::Put, value).expect("memory");
    }
    writer.finish().expect("memory");
    Table::open(fs, Path::new("/"), STORE, file, cache).expect("just written")
}

/// Prints the fastest of several runs, in nanoseconds per operation: on a busy machine the others measure the neighbours.
fn report(name: &str, operations: u64, clock: &OsClock, mut run: impl FnMut() -> u64) {
    let runs = (0..REPEATS).map(|_| {
        let start = clock.monotonic_ns();
        assert_eq!(run(), operations, "{name}");
        clock.monotonic_ns() - start
    });
    let best = runs.min().unwrap_or_default();
    println!("{name:<28} {:7.1} ns", best as f64 / operations as f64);
}

fn hits(table: &Table, keys: impl Iterator<Item = [u8; 16]>) -> u64 {
    keys.filter(|key| match table.try_get(key, key_hash(key), Revision::MAX) {
        TableAnswer::Found(block, row) => !block.value(row).is_empty(),
        TableAnswer::Absent => false,
        TableAnswer::NeedsRead => panic!("all blocks are cached"),
    })
    .count() as u64
}

fn scan(cursors: Vec<BoxCursor>, reverse: bool) -> u64 {
    let mut view =
        VisibleCursor::new(MergeCursor::new(cursors), Bounds::default(), reverse, Revision::MAX, 0).expect("memory");
    let mut rows = 0;
    while view.valid() {
        rows += u64::from(!view.value().is_empty());
        view.step().expect("memory");
    }
    rows
}

fn main() {
    let value_len = std::env::args().nth(1).and_then(|arg| arg.parse().ok()).unwrap_or(100);
    let value: Vec<u8> = (0..value_len as u64).map(|i| shuffled(i) as u8).collect();
    let clock = OsClock::default();
    let fs: Arc<dyn Fs> = Arc::new(MemFs::volatile());
    let cache = BlockCache::new(1 << 30);
    let table = write(&fs, &cache, 0, 1, &value);
    let quarters: Vec<_> = (0..4).map(|part| write(&fs, &cache, part, 4, &value)).collect();
    println!("{ROWS} rows of 16 B + {value_len} B");
    report("scan, cold cache", ROWS, &clock, || scan(vec![table.cursor(false)], false));
    let cursors = || quarters.iter().map(|table| table.cursor(true)).collect::<Vec<_>>();
    report("scan", ROWS, &clock, || scan(vec![table.cursor(true)], false));
    report("scan in reverse", ROWS, &clock, || scan(vec![table.cursor(true)], true));
    report("scan of 4 interleaved", ROWS, &clock, || scan(cursors(), false));
    report("get, one key", ROWS, &clock, || hits(&table, (0..ROWS).map(|_| key(77))));
    report("get, 1000 keys", ROWS, &clock, || hits(&table, (0..ROWS).map(|i| key(shuffled(i) % 1000 * 97))));
    report("get, all keys", ROWS, &clock, || hits(&table, (0..ROWS).map(|i| key(shuffled(i) % ROWS))));
    report("get, absent keys", ROWS, &clock, || {
        let found = hits(&table, (0..ROWS).map(|i| key(shuffled(i) % ROWS + ROWS)));
        assert_eq!(found, 0);
        ROWS
    });
    report("make keys", ROWS, &clock, || {
        (0..ROWS).filter(|&i| std::hint::black_box(key(shuffled(i) % ROWS))[0] == b'0').count() as u64
    });
}
