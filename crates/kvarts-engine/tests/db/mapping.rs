//! Logs on the machine's disk: what is copied and what is written, and where nothing can be mapped.
use crate::meddled::{Meddle, Meddled};
use crate::support::{Temp, put, rows};
use kvarts_engine::clock::ManualClock;
use kvarts_engine::db::{Attempt, Db, Tree};
use kvarts_engine::formats::batch::Batch;
use kvarts_engine::formats::record::record_bytes;
use kvarts_engine::fs::{Fs, OsFs};
use kvarts_engine::options::{Durability, Options};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// From so many bytes on, a mapped log writes a record: ADR 0004.
const WRITTEN_BYTES_MIN: usize = 16 << 10;

fn open(fs: Arc<dyn Fs>, dir: &Path) -> Arc<Db> {
    let options = Options { durability: Durability::Batch, log_bytes: 256 << 10, ..Options::default() };
    Db::open(fs, Arc::new(ManualClock::new(1_000)), dir, "test", options).unwrap()
}

/// A batch of one row, whose record in the log takes `bytes` bytes.
fn batch_of_record(tree: &Tree, bytes: usize) -> Batch {
    let of_value = |len: usize| {
        let mut batch = Batch::new();
        batch.put(tree.id(), b"key", &vec![7; len]);
        batch
    };
    let batch = (0..bytes).rev().map(of_value).find(|batch| record_bytes(batch.bytes_len()) <= bytes);
    batch.expect("an empty value takes less")
}

#[test]
#[cfg(target_os = "linux")]
fn only_a_record_that_is_copied_is_tried_without_a_wait() {
    let dir = Temp::new("tried");
    let db = open(Arc::new(OsFs), &dir.0);
    let tree = db.create_tree("t", "", "").unwrap();
    let tries = |bytes| {
        let mut batch = batch_of_record(&tree, bytes);
        assert_eq!(record_bytes(batch.bytes_len()), bytes);
        matches!(db.try_write(&mut batch).unwrap(), Attempt::Done(_))
    };
    assert!(tries(64));
    assert!(tries(WRITTEN_BYTES_MIN - 8));
    assert!(!tries(WRITTEN_BYTES_MIN));
    assert!(!tries(60 << 10));
}

/// Refuses every mapping, and counts.
#[derive(Default)]
struct NoMapping(AtomicUsize);

impl Meddle for NoMapping {
    fn refuses_mapping(&self) -> bool {
        self.0.fetch_add(1, Ordering::Relaxed);
        true
    }
}

#[test]
fn a_log_that_cannot_be_mapped_is_written() {
    let (dir, copy) = (Temp::new("unmapped"), Temp::new("unmapped-copy"));
    let refused = Arc::new(NoMapping::default());
    let db = open(Arc::new(Meddled::new(Arc::new(OsFs), &dir.0, Arc::clone(&refused))), &dir.0);
    let tree = db.create_tree("t", "", "").unwrap();
    for number in 0..200_u32 {
        let len = if number % 5 == 0 { 20 << 10 } else { 100 };
        put(&db, &tree, &number.to_be_bytes(), &vec![number as u8; len]).unwrap();
    }
    assert!(refused.0.load(Ordering::Relaxed) > 2, "each file of the log is asked for once");
    let mut batch = batch_of_record(&tree, 64);
    assert!(matches!(db.try_write(&mut batch).unwrap(), Attempt::WouldBlock), "what is written may wait");

    // The files as they are while the store is open: what a killed process leaves.
    std::fs::create_dir(&copy.0).unwrap();
    for name in OsFs.list(&dir.0).unwrap() {
        std::fs::copy(dir.0.join(&name), copy.0.join(&name)).unwrap();
    }
    let found = open(Arc::new(OsFs), &copy.0);
    assert_eq!(found.open_report().replayed, 200);
    let tree = found.tree("t").unwrap().unwrap();
    assert_eq!(rows(&found, &tree, None).len(), 200);
}
