//! What a turn costs in the node log, appended and synced: the figures of docs/internals/nodelog.md.
//!
//! `cargo run --release -p kvarts-serve --example nodelog_append -- [directory]`
use bytes::Bytes;
use kvarts_engine::clock::{Clock, OsClock};
use kvarts_engine::fs::{Fs, OsFs};
use kvarts_serve::nodelog::{EntryMeta, GroupWrite, NodeLog, NodeLogOptions, Result};
use std::path::{Path, PathBuf};
use std::sync::Arc;

const PAYLOAD_BYTES: usize = 1000;
const GROUP: u64 = 1;
const ROUNDS: usize = 5;

/// One turn of `count` entries after `last`.
fn turn(last: u64, count: u64, payload: &Bytes) -> GroupWrite {
    let meta = |index| EntryMeta { term: 1, index, kind: 0, size: payload.len() as u32 };
    let entries = (last + 1..=last + count).map(|index| (meta(index), payload.clone())).collect();
    GroupWrite { group: GROUP, entries, ..Default::default() }
}

/// Median and 99th percentile, in microseconds.
fn show(mut ns: Vec<u64>) -> String {
    ns.sort_unstable();
    let us = |at: usize| ns[at] as f64 / 1000.0;
    format!("{:.1} (p99 {:.1})", us(ns.len() / 2), us(ns.len() * 99 / 100))
}

/// Appends and syncs `turns` turns of `count` entries, forgetting as it goes; times both.
fn measure(clock: &OsClock, log: &NodeLog, turns: u64, count: u64) -> Result<[Vec<u64>; 3]> {
    let payload = Bytes::from(vec![7; PAYLOAD_BYTES]);
    let mut times = [const { Vec::new() }; 3];
    for _ in 0..turns {
        let last = log.last_index(GROUP).unwrap_or(0);
        let write = [turn(last, count, &payload)];
        let start = clock.monotonic_ns();
        let end = log.append(&write)?;
        let appended = clock.monotonic_ns();
        log.sync_to(end)?;
        let synced = clock.monotonic_ns();
        for (times, ns) in times.iter_mut().zip([appended - start, synced - appended, synced - start]) {
            times.push(ns);
        }
        if last.is_multiple_of(4096) {
            log.compact(GROUP, last)?;
        }
    }
    Ok(times)
}

/// Reads entries that are no longer in memory; nanoseconds each.
fn reads(clock: &OsClock, log: &NodeLog, count: u64) -> Result<u64> {
    let first = log.first_index(GROUP).unwrap_or(1);
    let start = clock.monotonic_ns();
    for index in first..first + count {
        log.payload(GROUP, index)?;
    }
    Ok((clock.monotonic_ns() - start) / count)
}

fn main() -> Result<()> {
    let parent = std::env::args_os().nth(1).map_or_else(std::env::temp_dir, PathBuf::from);
    let dir = parent.join(format!("kvarts-nodelog-{}", std::process::id()));
    let clock = OsClock::default();
    let options = NodeLogOptions { cache_bytes: 1 << 20, ..NodeLogOptions::default() };
    let log = NodeLog::open(Arc::new(OsFs), &dir, [1; 16], options)?;
    log.add_group(GROUP, 0, 0)?;
    println!("microseconds per turn, {PAYLOAD_BYTES} B payloads: median (p99)");
    println!("{:>8} {:>22} {:>22} {:>22}", "entries", "append", "sync", "both");
    for count in [1, 64] {
        let mut all = [const { Vec::new() }; 3];
        for _ in 0..ROUNDS {
            for (all, times) in all.iter_mut().zip(measure(&clock, &log, 400, count)?) {
                all.extend(times);
            }
        }
        let [append, sync, both] = all.map(show);
        println!("{count:>8} {append:>22} {sync:>22} {both:>22}");
    }
    measure(&clock, &log, 100, 64)?;
    println!("payload from the file: {} ns each", reads(&clock, &log, 1000)?);
    println!("{:?}", log.stats());
    drop(log);
    let start = clock.monotonic_ns();
    let log = NodeLog::open(Arc::new(OsFs), &dir, [1; 16], options)?;
    println!("reopened in {:.1} ms: {:?}", (clock.monotonic_ns() - start) as f64 / 1e6, log.report());
    drop(log);
    remove(&dir);
    Ok(())
}

fn remove(dir: &Path) {
    for name in OsFs.list(dir).expect("the directory is there") {
        OsFs.remove(&dir.join(name)).expect("the file is there");
    }
    std::fs::remove_dir(dir).expect("the directory is empty");
}
