//! Measures the memtable: nanoseconds per insert and get. `cargo run --release -p kvarts-engine --example memtable`
use kvarts_engine::clock::{Clock, OsClock};
use kvarts_engine::memtable::Memtable;
use kvarts_engine::{Kind, Revision};

const ROWS: u64 = 100_000;
const REPEATS: usize = 9;

fn key(i: u64) -> [u8; 16] {
    let mut key = *b"................";
    for (place, byte) in key.iter_mut().enumerate() {
        *byte = b"0123456789abcdef"[(i >> (60 - 4 * place) & 15) as usize];
    }
    key
}

fn shuffled(i: u64) -> u64 {
    let mixed = (i ^ i >> 31).wrapping_mul(0x7fb5_d329_728e_a185);
    (mixed ^ mixed >> 27).wrapping_mul(0x81da_def4_bc2d_d44d)
}

/// The fastest run, per row: on a busy machine the others measure the neighbours.
fn best(samples: Vec<u64>) -> f64 {
    samples.into_iter().min().unwrap_or_default() as f64 / ROWS as f64
}

fn measure(name: &str, keys: &[[u8; 16]], clock: &OsClock) {
    let [mut inserts, mut gets, mut misses, mut scans] = [const { Vec::new() }; 4];
    for _ in 0..REPEATS {
        let memtable = Memtable::new();
        let start = clock.monotonic_ns();
        for (i, key) in keys.iter().enumerate() {
            memtable.insert(key, Revision(i as u64 + 1), Kind::Put, &[7; 100]);
        }
        let inserted = clock.monotonic_ns();
        let mut found = 0;
        for i in 0..ROWS {
            let key = &keys[(shuffled(i) % ROWS) as usize];
            found += memtable.get(key, Revision::MAX).map_or(0, |row| row.value.len());
        }
        let got = clock.monotonic_ns();
        let missed = (0..ROWS).filter(|&i| memtable.get(&key(!i)[..15], Revision::MAX).is_none()).count();
        assert_eq!(missed as u64, ROWS);
        let asked = clock.monotonic_ns();
        let mut cursor = memtable.cursor();
        cursor.seek_first().expect("memory");
        while cursor.valid() {
            found += cursor.value().len();
            cursor.next().expect("memory");
        }
        let scanned = clock.monotonic_ns();
        assert_eq!(found as u64, 200 * ROWS);
        inserts.push(inserted - start);
        gets.push(got - inserted);
        misses.push(asked - got);
        scans.push(scanned - asked);
    }
    let [insert, get, miss, scan] = [inserts, gets, misses, scans].map(best);
    println!("{name}: insert {insert:.0} ns, get {get:.0} ns, absent {miss:.0} ns, scan {scan:.0} ns a row");
}

fn main() {
    let clock = OsClock::default();
    let ascending: Vec<_> = (0..ROWS).map(key).collect();
    measure("ascending, shared prefix", &ascending, &clock);
    let random: Vec<_> = (0..ROWS).map(|i| key(shuffled(i))).collect();
    measure("random, distinct prefix ", &random, &clock);
    let random: Vec<_> = (0..ROWS).map(|i| key(shuffled(i) >> 36)).collect();
    measure("random, shared prefix   ", &random, &clock);
}
