//! What an append to the log costs, and a sync, each way of writing: the figures of docs/adr/0004-mapped-log.md.
//!
//! `cargo run --release -p kvarts-engine --example log_append -- [directory]`
use kvarts_engine::clock::{Clock, OsClock};
use kvarts_engine::fs::{Fs, LogFile, LogMode, OsFs};
use kvarts_engine::log::{LogWriter, log_path};
use kvarts_engine::{FileId, Result};
use std::path::{Path, PathBuf};
use std::sync::Arc;

const LOG_BYTES: u64 = 64 << 20;
const PAYLOAD_BYTES: usize = 1000;
/// A record of such a payload.
const RECORD_BYTES: usize = 1040;
const APPENDS: u64 = 60_000;
const SYNCS: u64 = 300;
const ROUNDS: usize = 7;
/// Longer records, to see from where on write(2) is cheaper. A mapped log writes them too from some size on: to see what
/// copying them would cost, raise that bound in `fs::os::log`.
const LARGE_BYTES: [usize; 6] = [4 << 10, 16 << 10, 32 << 10, 64 << 10, 256 << 10, 1 << 20];

/// Nanoseconds that `act` takes, per each of `times`.
fn ns_each(clock: &OsClock, times: u64, mut act: impl FnMut()) -> u64 {
    let start = clock.monotonic_ns();
    (0..times).for_each(|_| act());
    (clock.monotonic_ns() - start) / times
}

/// Copies of a record's bytes into the file: what the kernel and the page faults cost.
fn copies(clock: &OsClock, path: &Path, mode: LogMode) -> u64 {
    let mut log = OsFs.create_log(path, LOG_BYTES, mode).expect("a log");
    let record = [7; RECORD_BYTES];
    let ns = ns_each(clock, APPENDS, || append(&mut *log, &record));
    OsFs.remove(path).expect("the log is there");
    ns
}

/// The copy that is slower than 99 in 100: where page faults show, and what populating ahead is for.
fn slowest(clock: &OsClock, path: &Path, mode: LogMode) -> u64 {
    let mut log = OsFs.create_log(path, LOG_BYTES, mode).expect("a log");
    let record = [7; RECORD_BYTES];
    let mut each: Vec<u64> = (0..APPENDS).map(|_| ns_each(clock, 1, || append(&mut *log, &record))).collect();
    OsFs.remove(path).expect("the log is there");
    each.sort_unstable();
    each[each.len() * 99 / 100]
}

/// A copy and a sync, each time.
fn syncs(clock: &OsClock, path: &Path, mode: LogMode) -> u64 {
    let mut log = OsFs.create_log(path, LOG_BYTES, mode).expect("a log");
    let (record, syncer) = ([7; RECORD_BYTES], log.syncer());
    syncer.sync().expect("a sync");
    let ns = ns_each(clock, SYNCS, || {
        append(&mut *log, &record);
        syncer.sync().expect("a sync");
    });
    OsFs.remove(path).expect("the log is there");
    ns
}

fn append(log: &mut dyn LogFile, record: &[u8]) {
    log.append_with(record.len(), &mut |out| out.copy_from_slice(record)).expect("there is room");
}

/// Copies of longer records: nanoseconds per KiB.
fn large_copies(clock: &OsClock, path: &Path, mode: LogMode, bytes: usize) -> u64 {
    let mut log = OsFs.create_log(path, LOG_BYTES, mode).expect("a log");
    let record = vec![7; bytes];
    let ns = ns_each(clock, LOG_BYTES / bytes as u64, || append(&mut *log, &record));
    OsFs.remove(path).expect("the log is there");
    ns * 1024 / bytes as u64
}

/// Whole records: framed, checksummed, copied.
fn records(clock: &OsClock, dir: &Path, mode: LogMode) -> Result<u64> {
    let mut log = LogWriter::create(Arc::new(OsFs), dir, [1; 16], FileId(9), LOG_BYTES, mode)?;
    let payload = [7; PAYLOAD_BYTES];
    let ns = ns_each(clock, APPENDS, || {
        log.append(&payload).expect("there is room");
    });
    OsFs.remove(&log_path(dir, FileId(9))).expect("the log is there");
    Ok(ns)
}

fn median_and_least(mut of: Vec<u64>) -> String {
    of.sort_unstable();
    format!("{} ({})", of[of.len() / 2], of[0])
}

fn main() -> Result<()> {
    let parent = std::env::args_os().nth(1).map_or_else(std::env::temp_dir, PathBuf::from);
    let dir = parent.join(format!("kvarts-log-append-{}", std::process::id()));
    OsFs.create_dir(&dir).expect("a directory to measure in");
    let (clock, path, modes) = (OsClock::default(), dir.join("log"), [LogMode::Mapped, LogMode::Written]);
    let mut measured: [[Vec<u64>; 4]; 2] = Default::default();
    // The ways take turns, so that whatever else the machine does falls on all of them.
    for _ in 0..ROUNDS {
        for (of, mode) in measured.iter_mut().zip(modes) {
            of[0].push(copies(&clock, &path, mode));
            of[1].push(slowest(&clock, &path, mode));
            of[2].push(records(&clock, &dir, mode)?);
            of[3].push(syncs(&clock, &path, mode));
        }
    }
    println!("ns per {RECORD_BYTES} B record, {ROUNDS} rounds: median (least)");
    println!("{:8} {:>16} {:>16} {:>16} {:>20}", "", "copy", "copy, p99", "frame and copy", "copy and sync");
    for (of, mode) in measured.into_iter().zip(modes) {
        let [copy, slow, record, sync] = of.map(median_and_least);
        println!("{:8} {copy:>16} {slow:>16} {record:>16} {sync:>20}", format!("{mode:?}"));
    }
    println!("ns per KiB of longer records, {ROUNDS} rounds: median (least)");
    for bytes in LARGE_BYTES {
        let mut measured: [Vec<u64>; 2] = Default::default();
        for _ in 0..ROUNDS {
            for (of, mode) in measured.iter_mut().zip(modes) {
                of.push(large_copies(&clock, &path, mode, bytes));
            }
        }
        let [mapped, written] = measured.map(median_and_least);
        println!("{:>5} KiB: {:?} {mapped:>12}, {:?} {written:>12}", bytes >> 10, modes[0], modes[1]);
    }
    std::fs::remove_dir(&dir).expect("the directory is empty");
    Ok(())
}
