//! Logs on the machine's disk: what is copied and what is written.
use crate::support::Temp;
use kvarts_engine::clock::ManualClock;
use kvarts_engine::db::{Attempt, Db, Tree};
use kvarts_engine::formats::batch::Batch;
use kvarts_engine::formats::record::record_bytes;
use kvarts_engine::fs::{Fs, OsFs};
use kvarts_engine::options::{Durability, Options};
use std::path::Path;
use std::sync::Arc;

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
