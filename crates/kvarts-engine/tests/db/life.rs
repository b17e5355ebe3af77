//! The life of a store: creation, reopening, trees, snapshots, checkpoints, closing.
use crate::support::{DIR, Found, drain, get, open, open_on, open_still, put, rows, tiny};
use kvarts_engine::clock::ManualClock;
use kvarts_engine::db::{Attempt, Db};
use kvarts_engine::formats::batch::Batch;
use kvarts_engine::fs::{Fault, FaultFs, Fs, MemFs};
use kvarts_engine::iter::Bounds;
use kvarts_engine::options::{Durability, Options};
use kvarts_engine::{Error, Revision};
use std::path::Path;
use std::sync::Arc;

#[test]
fn a_new_store_is_empty_and_says_that_it_was_created() {
    let fs = MemFs::new();
    let db = open_still(&fs, tiny(Durability::Batch)).unwrap();
    assert!(db.open_report().created);
    assert!(db.trees().unwrap().is_empty());
    assert_eq!(db.revision(), Revision::ZERO);
    db.close().unwrap();
    assert!(!open_still(&fs, tiny(Durability::Batch)).unwrap().open_report().created);
}

#[test]
fn a_store_that_is_not_there_is_not_found() {
    let fs = MemFs::new();
    let options = Options { create: false, ..tiny(Durability::Batch) };
    assert!(matches!(open_still(&fs, options.clone()), Err(Error::NotFound(path)) if path == Path::new(DIR)));
    let deep = Path::new("/no/such/store");
    let clock = Arc::new(ManualClock::new(0));
    let outcome = Db::open(Arc::new(fs.clone()), clock, deep, "", tiny(Durability::Batch));
    assert!(matches!(outcome, Err(Error::NotFound(path)) if path == Path::new("/no/such")));
    fs.create_dir(Path::new(DIR)).unwrap();
    assert!(matches!(open_still(&fs, options), Err(Error::NotFound(_))));
    assert!(fs.list(Path::new(DIR)).unwrap().is_empty(), "nothing was made on the way");
}

#[test]
fn a_directory_with_foreign_files_is_refused_untouched() {
    let fs = MemFs::new();
    fs.create_dir(Path::new(DIR)).unwrap();
    fs.create(Path::new("/store/thesis.txt")).unwrap();
    let outcome = open_still(&fs, tiny(Durability::Batch));
    assert!(matches!(outcome, Err(Error::InvalidArgument { what, .. }) if what.contains("thesis.txt")));
    assert_eq!(fs.list(Path::new(DIR)).unwrap(), ["thesis.txt"]);
}

#[test]
fn a_creation_that_was_cut_short_is_begun_afresh() {
    let fs = MemFs::new();
    fs.create_dir(Path::new(DIR)).unwrap();
    for name in ["LOCK", "MANIFEST.tmp", "000001.log"] {
        fs.create(&Path::new(DIR).join(name)).unwrap().append(b"half").unwrap();
    }
    let db = open_still(&fs, tiny(Durability::Batch)).unwrap();
    assert!(db.open_report().created);
    assert!(!fs.exists(Path::new("/store/000001.log")).unwrap());
}

#[test]
fn a_store_in_a_directory_that_was_there_survives_a_power_loss() {
    // Found by crash seed 10391: a killed creation left the directory, whose entry nobody had synced.
    for seed in 0..20 {
        let fs = MemFs::new();
        fs.create_dir(Path::new(DIR)).unwrap();
        let db = open_still(&fs, tiny(Durability::Sync)).unwrap();
        let tree = db.create_tree("t", "", "").unwrap();
        put(&db, &tree, b"k", b"v").unwrap();
        let db = open_still(&fs.crash(seed), tiny(Durability::Sync)).unwrap();
        let tree = db.tree("t").unwrap().expect("the tree was durable");
        assert_eq!(get(&db, &tree, b"k").as_deref(), Some(&b"v"[..]));
    }
}

#[test]
fn a_store_whose_manifest_is_lost_is_refused_untouched() {
    for flush in [false, true] {
        let fs = MemFs::new();
        let db = open_still(&fs, tiny(Durability::Batch)).unwrap();
        let tree = db.create_tree("t", "", "").unwrap();
        put(&db, &tree, b"k", b"v").unwrap();
        if flush {
            db.flush().unwrap();
        }
        let fs = fs.kill();
        let manifest = Path::new(DIR).join("MANIFEST");
        fs.remove(&manifest).unwrap();
        let files = fs.list(Path::new(DIR)).unwrap();
        match open_still(&fs, tiny(Durability::Batch)).map(drop) {
            Err(Error::Corruption { file, .. }) => assert_eq!(file, manifest),
            other => panic!("{other:?}"),
        }
        assert_eq!(fs.list(Path::new(DIR)).unwrap(), files);
    }
}

#[test]
fn files_that_the_manifest_does_not_name_are_removed() {
    let fs = MemFs::new();
    open_still(&fs, tiny(Durability::Batch)).unwrap().close().unwrap();
    for name in ["MANIFEST.tmp", "000900.table", "000901.log"] {
        fs.create(&Path::new(DIR).join(name)).unwrap().append(b"stale").unwrap();
    }
    let db = open_still(&fs, tiny(Durability::Batch)).unwrap();
    db.create_tree("t", "", "").unwrap();
    db.close().unwrap();
    let names = fs.list(Path::new(DIR)).unwrap();
    assert!(names[0].ends_with(".floor"), "{names:?}");
    assert_eq!(names[1..], ["LOCK", "MANIFEST"]);
}

#[test]
fn a_second_opener_is_told_who_holds_the_store() {
    let fs = MemFs::new();
    let db = open_still(&fs, tiny(Durability::Batch)).unwrap();
    assert!(matches!(open_still(&fs, tiny(Durability::Batch)), Err(Error::Locked { holder, .. }) if holder == "test"));
    db.close().unwrap();
    open_still(&fs, tiny(Durability::Batch)).unwrap();
}

#[test]
fn trees_keep_names_codecs_and_numbers_over_reopening() {
    let fs = MemFs::new();
    let db = open_still(&fs, tiny(Durability::Batch)).unwrap();
    let dropped = db.create_tree("dropped", "", "").unwrap();
    let kept = db.create_tree("kept", "str", "json").unwrap();
    assert!(matches!(db.create_tree("kept", "", ""), Err(Error::InvalidArgument { .. })));
    assert!(matches!(db.create_tree("", "", ""), Err(Error::InvalidArgument { .. })));
    assert!(matches!(db.create_tree(&"n".repeat(256), "", ""), Err(Error::InvalidArgument { .. })));
    db.drop_tree(&dropped).unwrap();
    let infos = db.trees().unwrap();
    db.close().unwrap();

    let db = open_still(&fs, tiny(Durability::Batch)).unwrap();
    assert_eq!(db.trees().unwrap(), infos);
    assert_eq!(infos[0].value_codec, "json");
    assert!(db.tree("dropped").unwrap().is_none());
    let fresh = db.create_tree("dropped", "", "").unwrap();
    assert!(fresh.id() > kept.id(), "a tree's number is never used again");
}

#[test]
fn a_dropped_tree_is_gone_for_its_handles_and_for_the_log() {
    let fs = MemFs::new();
    let db = open_still(&fs, tiny(Durability::Batch)).unwrap();
    let (gone, kept) = (db.create_tree("gone", "", "").unwrap(), db.create_tree("kept", "", "").unwrap());
    put(&db, &gone, b"k", b"1").unwrap();
    db.flush().unwrap();
    put(&db, &gone, b"k", b"2").unwrap();
    put(&db, &kept, b"k", b"3").unwrap();
    let scan = db.scan(&gone, Bounds::default(), false, None).unwrap();
    db.drop_tree(&gone).unwrap();
    assert!(matches!(db.get(&gone, b"k", None, |_| ()), Err(Error::InvalidArgument { .. })));
    assert!(matches!(db.try_get(&gone, b"k", |_| ()), Err(Error::InvalidArgument { .. })));
    assert!(matches!(put(&db, &gone, b"k", b"4"), Err(Error::InvalidArgument { .. })));
    assert!(matches!(db.drop_tree(&gone), Err(Error::InvalidArgument { .. })));
    assert_eq!(drain(scan, 9), [(b"k".to_vec(), b"2".to_vec(), Revision(2))], "a scan keeps what it began with");

    let db = open_still(&fs.kill(), tiny(Durability::Batch)).unwrap();
    assert!(db.tree("gone").unwrap().is_none());
    assert_eq!(get(&db, &db.tree("kept").unwrap().unwrap(), b"k").unwrap(), b"3");
}

#[test]
fn the_files_of_a_dropped_tree_go() {
    let fs = MemFs::new();
    let db = open_still(&fs, tiny(Durability::Batch)).unwrap();
    let tree = db.create_tree("t", "", "").unwrap();
    put(&db, &tree, b"k", b"v").unwrap();
    db.flush().unwrap();
    let tables = || fs.list(Path::new(DIR)).unwrap().iter().filter(|name| name.ends_with(".table")).count();
    assert_eq!(tables(), 1);
    db.drop_tree(&tree).unwrap();
    drop(tree);
    assert_eq!(tables(), 0);
}

#[test]
fn batches_apply_in_order_and_all_at_one_revision() {
    let db = open_still(&MemFs::new(), tiny(Durability::Batch)).unwrap();
    let (a, b) = (db.create_tree("a", "", "").unwrap(), db.create_tree("b", "", "").unwrap());
    let mut batch = Batch::new();
    batch.put(a.id(), b"k", b"first");
    batch.delete(a.id(), b"k");
    batch.put(a.id(), b"k", b"last");
    batch.put(b.id(), b"k", b"other");
    assert_eq!(db.write(&mut batch).unwrap(), Revision(1));
    let found = |tree| db.get(tree, b"k", None, |entry| entry.map(Found::of)).unwrap().unwrap();
    assert_eq!((found(&a).value, found(&a).revision), (b"last".to_vec(), Revision(1)));
    assert_eq!((found(&b).value, found(&b).revision), (b"other".to_vec(), Revision(1)));
    db.flush().unwrap();
    assert_eq!(found(&a).value, b"last");
    assert_eq!(db.write(&mut Batch::new()).unwrap(), Revision(1), "an empty batch takes no revision");
}

#[test]
fn applied_revisions_are_kept_and_must_increase() {
    let fs = MemFs::new();
    let db = open_still(&fs, tiny(Durability::Batch)).unwrap();
    let (tree, other) = (db.create_tree("t", "", "").unwrap(), db.create_tree("o", "", "").unwrap());
    let mut batch = Batch::new();
    batch.put(tree.id(), b"k", b"v");
    db.apply(&tree, &mut batch, Revision(70)).unwrap();
    assert!(matches!(db.apply(&tree, &mut batch, Revision(70)), Err(Error::InvalidArgument { .. })));
    assert!(matches!(db.apply(&other, &mut batch, Revision(90)), Err(Error::InvalidArgument { .. })));
    assert_eq!(db.revision(), Revision(70));
    assert_eq!(put(&db, &tree, b"l", b"w").unwrap(), Revision(71));
    let db = open_still(&fs.kill(), tiny(Durability::Batch)).unwrap();
    assert_eq!(db.revision(), Revision(71));
    let tree = db.tree("t").unwrap().unwrap();
    assert!(matches!(db.apply(&tree, &mut batch, Revision(71)), Err(Error::InvalidArgument { .. })));
}

#[test]
fn an_update_that_fails_writes_nothing() {
    let db = open_still(&MemFs::new(), tiny(Durability::Batch)).unwrap();
    let tree = db.create_tree("t", "", "").unwrap();
    let outcome: Result<((), _), Error> = db.update(|_, batch| {
        batch.put(tree.id(), b"k", b"v");
        Err(Error::invalid("no", ""))
    });
    assert!(matches!(outcome, Err(Error::InvalidArgument { .. })));
    assert_eq!((get(&db, &tree, b"k"), db.revision()), (None, Revision::ZERO));
}

#[test]
fn an_expired_row_is_absent_to_the_millisecond_and_a_snapshot_does_not_age() {
    let clock = Arc::new(ManualClock::new(1_000));
    let db = open(&MemFs::new(), &clock, tiny(Durability::Batch)).unwrap();
    let tree = db.create_tree("t", "", "").unwrap();
    let mut batch = Batch::new();
    batch.put_expiring(tree.id(), b"k", 1_500, b"v");
    db.write(&mut batch).unwrap();
    let snapshot = db.snapshot().unwrap();
    let live = || db.get(&tree, b"k", None, |entry| entry.is_some()).unwrap();
    clock.advance_ms(499);
    assert!(live());
    clock.advance_ms(1);
    assert!(!live());
    for _ in 0..2 {
        assert!(db.get(&tree, b"k", Some(&snapshot), |entry| entry.is_some()).unwrap());
        assert_eq!(rows(&db, &tree, Some(&snapshot)).len(), 1);
        assert_eq!(rows(&db, &tree, None).len(), 0);
        db.compact(None).unwrap();
    }
    drop(snapshot);
    db.compact(None).unwrap();
    assert_eq!(db.stats().trees[0].table_rows, 0, "its space returns once nobody can see it");
}

#[test]
fn compaction_returns_the_space_of_deleted_rows() {
    let db = open_still(&MemFs::new(), tiny(Durability::Batch)).unwrap();
    let tree = db.create_tree("t", "", "").unwrap();
    for i in 0..200u32 {
        put(&db, &tree, &i.to_be_bytes(), &[7; 100]).unwrap();
    }
    db.compact(None).unwrap();
    assert_eq!(db.stats().trees[0].table_rows, 200);
    let snapshot = db.snapshot().unwrap();
    let mut batch = Batch::new();
    (0..200u32).for_each(|i| batch.delete(tree.id(), &i.to_be_bytes()));
    db.write(&mut batch).unwrap();
    db.compact(Some(&tree)).unwrap();
    assert_eq!(rows(&db, &tree, Some(&snapshot)).len(), 200);
    drop(snapshot);
    db.compact(None).unwrap();
    let stats = db.stats();
    assert_eq!((stats.trees[0].table_rows, stats.table_bytes), (0, 0));
}

#[test]
fn a_closed_store_refuses_calls_but_live_scans_go_on() {
    let fs = MemFs::new();
    let db = open_still(&fs, tiny(Durability::Batch)).unwrap();
    let tree = db.create_tree("t", "", "").unwrap();
    for i in 0..50u8 {
        put(&db, &tree, &[b'k', i], &[i; 200]).unwrap();
    }
    db.flush().unwrap();
    let scan = db.scan(&tree, Bounds::default(), true, None).unwrap();
    let snapshot = db.snapshot().unwrap();
    db.close().unwrap();
    db.close().unwrap();
    assert!(matches!(db.get(&tree, b"k", Some(&snapshot), |_| ()), Err(Error::Closed)));
    assert!(matches!(db.try_get(&tree, b"k", |_| ()), Err(Error::Closed)));
    assert!(matches!(db.scan(&tree, Bounds::default(), false, None), Err(Error::Closed)));
    assert!(matches!(put(&db, &tree, b"k", b"v"), Err(Error::Closed)));
    assert!(matches!(db.try_write(&mut Batch::new()), Ok(Attempt::WouldBlock)));
    for outcome in [db.flush(), db.sync(), db.compact(None), db.snapshot().map(|_| ()), db.trees().map(|_| ())] {
        assert!(matches!(outcome, Err(Error::Closed)));
    }
    assert_eq!(drain(scan, 3).len(), 50);
}

#[test]
fn scans_outlive_the_store_whatever_of_its_tables_was_open() {
    for open_files in [1, usize::MAX] {
        let fs = MemFs::new();
        let options = Options { open_files, ..tiny(Durability::Batch) };
        let db = open_still(&fs, options.clone()).unwrap();
        let tree = db.create_tree("t", "", "").unwrap();
        for i in 0..50u8 {
            put(&db, &tree, &[b'k', i], &[i; 200]).unwrap();
        }
        db.close().unwrap();
        let db = open_still(&fs, options.clone()).unwrap();
        assert!(db.stats().trees[0].levels.iter().map(|(tables, _)| tables).sum::<u64>() > 1);
        let tree = db.tree("t").unwrap().unwrap();
        let scan = db.scan(&tree, Bounds::default(), true, None).unwrap();
        db.close().unwrap();
        let next = open_still(&fs, options).unwrap();
        let tree = next.tree("t").unwrap().unwrap();
        put(&next, &tree, b"k", b"another").unwrap();
        next.compact(None).unwrap();
        assert_eq!(drain(scan, 3).len(), 50, "files that have gone by name are still open");
    }
}

#[test]
fn a_store_that_is_dropped_is_closed() {
    let fs = MemFs::new();
    let db = open_still(&fs, tiny(Durability::None)).unwrap();
    let tree = db.create_tree("t", "", "").unwrap();
    put(&db, &tree, b"k", b"v").unwrap();
    drop(db);
    let db = open_still(&fs, tiny(Durability::None)).unwrap();
    assert_eq!(db.open_report().replayed, 0);
    assert_eq!(get(&db, &db.tree("t").unwrap().unwrap(), b"k").unwrap(), b"v");
}

#[test]
fn a_killed_process_loses_nothing_and_its_log_is_replayed_once() {
    let fs = MemFs::new();
    let options = Options { memtable_bytes: 1 << 20, ..tiny(Durability::Batch) };
    let db = open_still(&fs, options.clone()).unwrap();
    let tree = db.create_tree("t", "", "").unwrap();
    // More than one log file of 64 KiB.
    for i in 0..300u32 {
        put(&db, &tree, &i.to_be_bytes(), &[1; 400]).unwrap();
    }
    let left = fs.kill();
    let db = open_still(&left, options.clone()).unwrap();
    assert_eq!(db.open_report().replayed, 300);
    assert!(db.open_report().torn.is_none());
    assert_eq!(rows(&db, &db.tree("t").unwrap().unwrap(), None).len(), 300);
    let db = open_still(&left.kill(), options).unwrap();
    assert_eq!(db.open_report().replayed, 0);
    assert_eq!(rows(&db, &db.tree("t").unwrap().unwrap(), None).len(), 300);
}

#[test]
fn a_checkpoint_that_failed_leaves_nothing_in_the_way_of_the_next() {
    // Found by tests/db/faults.rs: an unfinished manifest stayed, and the next try was refused.
    let (fs, to) = (MemFs::new(), Path::new("/copy"));
    let faulty = FaultFs::new(Arc::new(fs.clone()));
    let clock = Arc::new(ManualClock::new(1_000));
    let db = open_on(Arc::new(faulty.clone()), &clock, tiny(Durability::Batch)).unwrap();
    let tree = db.create_tree("t", "", "").unwrap();
    put(&db, &tree, b"k", b"v").unwrap();
    db.flush().unwrap();
    let mut failed = 0;
    loop {
        faulty.fail_at(faulty.ops() + failed, Fault::Io, false);
        if db.checkpoint(None, to).is_ok() {
            break;
        }
        assert!(!fs.exists(to).unwrap(), "after operation {failed} failed");
        failed += 1;
    }
    assert!(failed >= 8, "{failed}");
}

#[test]
fn a_checkpoint_is_a_store_of_its_own() {
    let fs = MemFs::new();
    let db = open_still(&fs, tiny(Durability::Batch)).unwrap();
    let (a, b) = (db.create_tree("a", "x", "y").unwrap(), db.create_tree("b", "", "").unwrap());
    put(&db, &a, b"k", b"old").unwrap();
    put(&db, &b, b"k", b"b").unwrap();
    let to = Path::new("/copy");
    assert_eq!(db.checkpoint(Some(&a), to).unwrap(), Revision(2));
    assert!(matches!(db.checkpoint(None, to), Err(Error::InvalidArgument { .. })));
    put(&db, &a, b"k", b"new").unwrap();
    db.compact(None).unwrap();

    // Durable when it returned.
    let left = fs.crash(1);
    let clock = Arc::new(ManualClock::new(0));
    let copy = Db::open(Arc::new(left), clock, to, "", tiny(Durability::Batch)).unwrap();
    let infos = copy.trees().unwrap();
    assert_eq!((infos.len(), infos[0].name.as_str(), infos[0].key_codec.as_str()), (1, "a", "x"));
    let tree = copy.tree("a").unwrap().unwrap();
    assert_eq!(get(&copy, &tree, b"k").unwrap(), b"old");
    assert_eq!(put(&copy, &tree, b"k", b"mine").unwrap(), Revision(3));
    assert_eq!(get(&db, &a, b"k").unwrap(), b"new");
}

#[test]
fn with_sync_a_write_costs_one_sync_and_is_durable_on_return() {
    let fs = MemFs::new();
    let db = open_still(&fs, tiny(Durability::Sync)).unwrap();
    let tree = db.create_tree("t", "", "").unwrap();
    let before = fs.syncs();
    put(&db, &tree, b"k", b"v").unwrap();
    assert_eq!(fs.syncs() - before, 1);
    assert!(matches!(db.try_write(&mut Batch::new()), Ok(Attempt::WouldBlock)));
    let db = open_still(&fs.crash(3), tiny(Durability::Sync)).unwrap();
    assert_eq!(get(&db, &db.tree("t").unwrap().unwrap(), b"k").unwrap(), b"v");
}

#[test]
fn stats_count_what_was_done() {
    let db = open_still(&MemFs::new(), tiny(Durability::Batch)).unwrap();
    let tree = db.create_tree("t", "", "").unwrap();
    put(&db, &tree, b"key", b"value").unwrap();
    let snapshot = db.snapshot().unwrap();
    let stats = db.stats();
    assert_eq!((stats.user_bytes, stats.revision, stats.snapshots), (8, 1, 1));
    assert_eq!(stats.trees[0].memtable_rows, 1);
    assert!(stats.log_bytes > 8 && stats.memtable_bytes > 0);
    drop(snapshot);
    db.flush().unwrap();
    let stats = db.stats();
    assert_eq!((stats.trees[0].memtable_rows, stats.trees[0].table_rows, stats.flushes), (0, 1, 1));
    assert_eq!((stats.trees[0].levels[0].0, stats.snapshots), (1, 0));
    assert!(stats.flush_bytes > 0 && stats.table_bytes == stats.flush_bytes);
}
