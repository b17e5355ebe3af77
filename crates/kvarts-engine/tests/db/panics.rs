//! A panic in a background thread, a bug of ours, ends the writes and is told as their cause; reads and closing go on.
use crate::meddled::{Meddle, Meddled, SyncOf};
use crate::support::{DIR, get, put, tiny};
use kvarts_engine::Error;
use kvarts_engine::clock::ManualClock;
use kvarts_engine::db::Db;
use kvarts_engine::fs::MemFs;
use kvarts_engine::options::{Durability, Options};
use std::path::Path;
use std::sync::Arc;

/// Panics where a thread of the store is about to sync something.
struct Panics {
    thread: &'static str,
    before: SyncOf,
}

impl Meddle for Panics {
    fn skips(&self, sync: SyncOf) -> bool {
        let is_it = sync == self.before && std::thread::current().name() == Some(self.thread);
        assert!(!is_it, "planted in {}", self.thread);
        false
    }
}

/// Writes until it is refused for good, and returns why.
fn writes_end(thread: &'static str, before: SyncOf) -> (Arc<Db>, String) {
    let fs = Meddled::new(Arc::new(MemFs::new()), Path::new(DIR), Arc::new(Panics { thread, before }));
    let options = Options { background: true, sync_interval_ms: 1, ..tiny(Durability::Batch) };
    let db = Db::open(Arc::new(fs), Arc::new(ManualClock::new(1_000)), Path::new(DIR), "test", options).unwrap();
    let tree = db.create_tree("t", "", "").unwrap();
    put(&db, &tree, b"first", b"1").unwrap();
    let why = (0..1_000_000_u32).find_map(|number| put(&db, &tree, &number.to_be_bytes(), &[1; 200]).err());
    match why {
        Some(Error::Poisoned(cause)) => (db, cause.to_string()),
        other => panic!("the writes did not end as they should: {other:?}"),
    }
}

#[test]
fn a_panic_in_the_background_ends_the_writes_and_is_their_cause() {
    for (thread, before) in [
        ("kvarts-flush-table", SyncOf::Table),
        ("kvarts-compact-table", SyncOf::Table),
        ("kvarts-sync", SyncOf::NewestLog),
    ] {
        let (db, cause) = writes_end(thread, before);
        assert!(cause.starts_with("a panic") && cause.ends_with(&format!("planted in {thread}")), "{cause}");
        let tree = db.tree("t").unwrap().unwrap();
        assert_eq!(get(&db, &tree, b"first").as_deref(), Some(&b"1"[..]), "reads go on");
        assert!(matches!(db.flush(), Err(Error::Poisoned(_))));
        db.close().unwrap();
        assert!(matches!(put(&db, &tree, b"a", b"1"), Err(Error::Closed)));
    }
}
