//! What goes wrong outside of the store: full disks, failing syncs, damage, formats of the future, arguments.
use crate::support::{DIR, get, open_still, put, rows, tiny};
use kvarts_engine::formats::FORMAT_VERSION;
use kvarts_engine::formats::batch::Batch;
use kvarts_engine::formats::manifest::{Manifest, TableRecord};
use kvarts_engine::fs::{Fs, LogMode, MemFs};
use kvarts_engine::options::{Durability, KEY_BYTES_MAX, Options};
use kvarts_engine::{Error, FileId};
use std::path::{Path, PathBuf};

fn files(fs: &MemFs, suffix: &str) -> Vec<PathBuf> {
    let names = fs.list(Path::new(DIR)).unwrap();
    names.iter().filter(|name| name.ends_with(suffix)).map(|name| Path::new(DIR).join(name)).collect()
}

#[test]
fn limits_are_refused_before_anything_is_written() {
    let db = open_still(&MemFs::new(), tiny(Durability::Batch)).unwrap();
    let tree = db.create_tree("t", "", "").unwrap();
    let long = vec![b'k'; KEY_BYTES_MAX + 1];
    let quarter = vec![0; (1 << 20) / 4];
    for (key, value) in [(&b""[..], &b"v"[..]), (&long, b"v"), (b"k", &quarter)] {
        assert!(matches!(put(&db, &tree, key, value), Err(Error::InvalidArgument { .. })));
    }
    let mut batch = Batch::new();
    batch.put(tree.id(), b"good", b"v");
    batch.put(kvarts_engine::TreeId(77), b"k", b"v");
    assert!(matches!(db.write(&mut batch), Err(Error::InvalidArgument { .. })));
    assert!(matches!(db.try_write(&mut batch), Err(Error::InvalidArgument { .. })));
    assert!(rows(&db, &tree, None).is_empty());
    put(&db, &tree, &long[..KEY_BYTES_MAX], b"v").unwrap();
    assert_eq!(rows(&db, &tree, None).len(), 1);
}

#[test]
fn a_full_disk_refuses_writes_for_as_long_as_it_is_full() {
    let fs = MemFs::new();
    let db = open_still(&fs, tiny(Durability::Batch)).unwrap();
    let tree = db.create_tree("t", "", "").unwrap();
    let mut written = 0u32;
    fs.set_full(true);
    let refused = loop {
        match put(&db, &tree, &written.to_be_bytes(), &[3; 500]) {
            Ok(_) => written += 1,
            Err(error) => break error,
        }
        assert!(written < 10_000, "memory is bounded");
    };
    assert!(matches!(refused, Error::StorageFull(_)), "{refused}");
    assert!(matches!(db.flush(), Err(Error::StorageFull(_))));
    assert!(matches!(db.create_tree("u", "", ""), Err(Error::StorageFull(_))));
    assert_eq!(rows(&db, &tree, None).len(), written as usize);

    fs.set_full(false);
    put(&db, &tree, b"later", b"v").unwrap();
    db.create_tree("u", "", "").unwrap();
    assert_eq!(rows(&db, &tree, None).len(), written as usize + 1);
    let db = open_still(&fs.kill(), tiny(Durability::Batch)).unwrap();
    assert_eq!(rows(&db, &db.tree("t").unwrap().unwrap(), None).len(), written as usize + 1);
}

#[test]
fn closing_on_a_full_disk_says_so_and_loses_nothing() {
    let fs = MemFs::new();
    let db = open_still(&fs, tiny(Durability::Batch)).unwrap();
    let tree = db.create_tree("t", "", "").unwrap();
    put(&db, &tree, b"k", b"v").unwrap();
    fs.set_full(true);
    assert!(matches!(db.close(), Err(Error::StorageFull(_))));
    let left = fs.crash(5);
    left.set_full(false);
    let db = open_still(&left, tiny(Durability::Batch)).unwrap();
    assert_eq!(get(&db, &db.tree("t").unwrap().unwrap(), b"k").unwrap(), b"v");
}

#[test]
fn a_failed_sync_ends_the_writes_but_not_the_reads() {
    let fs = MemFs::new();
    let db = open_still(&fs, tiny(Durability::Sync)).unwrap();
    let tree = db.create_tree("t", "", "").unwrap();
    put(&db, &tree, b"k", b"durable").unwrap();
    fs.fail_syncs(true);
    assert!(matches!(put(&db, &tree, b"k", b"lost"), Err(Error::Poisoned(_))));
    fs.fail_syncs(false);
    assert!(matches!(put(&db, &tree, b"k", b"late"), Err(Error::Poisoned(_))), "no retry");
    assert!(matches!(db.flush(), Err(Error::Poisoned(_))));
    assert_eq!(get(&db, &tree, b"k").unwrap(), b"durable", "readers only see what is durable");
    assert_eq!(rows(&db, &tree, None)[0].1, b"durable");
    db.close().unwrap();
    let db = open_still(&fs, tiny(Durability::Sync)).unwrap();
    put(&db, &db.tree("t").unwrap().unwrap(), b"k", b"again").unwrap();
}

#[test]
fn a_failed_sync_of_the_manifest_ends_the_writes() {
    let fs = MemFs::new();
    let db = open_still(&fs, tiny(Durability::Batch)).unwrap();
    let tree = db.create_tree("t", "", "").unwrap();
    put(&db, &tree, b"k", b"v").unwrap();
    fs.fail_syncs(true);
    assert!(db.flush().is_err());
    fs.fail_syncs(false);
    assert_eq!(get(&db, &tree, b"k").unwrap(), b"v");
    db.close().ok();
    let db = open_still(&fs.kill(), tiny(Durability::Batch)).unwrap();
    assert_eq!(get(&db, &db.tree("t").unwrap().unwrap(), b"k").unwrap(), b"v");
}

#[test]
fn a_store_of_a_newer_format_is_refused_by_number() {
    let fs = MemFs::new();
    open_still(&fs, tiny(Durability::Batch)).unwrap().close().unwrap();
    let manifest = Path::new("/store/MANIFEST");
    let before = fs.bytes(manifest).unwrap();
    // The format is the only number 1 after the magic; see kvarts_formats::header.
    let at = (0..16).find(|&at| before[at..at + 4] == 1u32.to_le_bytes()).unwrap();
    fs.corrupt(manifest, at as u64, 1 ^ 9).unwrap();
    let outcome = open_still(&fs, tiny(Durability::Batch));
    assert!(
        matches!(outcome, Err(Error::NewerFormat { found: 9, supported: FORMAT_VERSION, .. })),
        "{:?}",
        outcome.err()
    );
}

#[test]
fn a_damaged_manifest_is_named() {
    let fs = MemFs::new();
    open_still(&fs, tiny(Durability::Batch)).unwrap().close().unwrap();
    let manifest = Path::new("/store/MANIFEST");
    let last = fs.bytes(manifest).unwrap().len() as u64 - 20;
    fs.corrupt(manifest, last, 0x10).unwrap();
    let outcome = open_still(&fs, tiny(Durability::Batch));
    assert!(matches!(outcome, Err(Error::Corruption { file, .. }) if file == manifest));
}

#[test]
fn a_file_number_that_no_store_reaches_is_damage_and_no_panic() {
    let fs = MemFs::new();
    open_still(&fs, tiny(Durability::Batch)).unwrap().close().unwrap();
    let stray = Path::new("/store/4294967295.log");
    fs.create_log(stray, 0, LogMode::Written).unwrap();
    let outcome = open_still(&fs, tiny(Durability::Batch));
    assert!(matches!(outcome, Err(Error::Corruption { file, .. }) if file == Path::new("/store/MANIFEST")));
    fs.remove(stray).unwrap();
    // A number that cannot be one of ours is a file of someone else's.
    fs.create_log(Path::new("/store/18446744073709551615.log"), 0, LogMode::Written).unwrap();
    open_still(&fs, tiny(Durability::Batch)).unwrap().close().unwrap();
}

#[test]
fn a_missing_table_is_an_error_that_names_it() {
    let fs = MemFs::new();
    let db = open_still(&fs, tiny(Durability::Batch)).unwrap();
    let tree = db.create_tree("t", "", "").unwrap();
    put(&db, &tree, b"k", b"v").unwrap();
    db.close().unwrap();
    let table = files(&fs, ".table").remove(0);
    fs.remove(&table).unwrap();
    let error = open_still(&fs, tiny(Durability::Batch)).err().unwrap();
    assert!(error.to_string().contains(table.file_name().unwrap().to_str().unwrap()), "{error}");
}

#[test]
fn damage_in_the_middle_of_the_log_is_refused_and_a_torn_tail_is_reported() {
    let fs = MemFs::new();
    let db = open_still(&fs, tiny(Durability::Sync)).unwrap();
    let tree = db.create_tree("t", "", "").unwrap();
    for i in 0..9u8 {
        put(&db, &tree, &[i], &[i; 64]).unwrap();
    }
    let log = files(&fs, ".log").remove(0);
    let end = db.stats().log_bytes;
    let middle = fs.kill();
    middle.corrupt(&log, 128 + 200, 1).unwrap();
    assert!(matches!(open_still(&middle, tiny(Durability::Sync)), Err(Error::Corruption { file, .. }) if file == log));

    let tail = fs.kill();
    tail.corrupt(&log, end - 40, 1).unwrap();
    let db = open_still(&tail, tiny(Durability::Sync)).unwrap();
    assert!(db.open_report().torn.as_ref().is_some_and(|(file, ..)| *file == log));
    assert_eq!(rows(&db, &db.tree("t").unwrap().unwrap(), None).len(), 8);
}

#[test]
fn a_record_of_which_a_table_holds_a_part_is_no_torn_tail() {
    // Found by tests/db/faults.rs: with the last record damaged, the other part of its commit was gone without a word.
    let fs = MemFs::new();
    let options = Options { memtable_bytes: 4 << 10, ..tiny(Durability::Sync) };
    let db = open_still(&fs, options.clone()).unwrap();
    let (a, b) = (db.create_tree("a", "", "").unwrap(), db.create_tree("b", "", "").unwrap());
    put(&db, &b, b"k", b"old").unwrap();
    let end = db.stats().log_bytes;
    let mut batch = Batch::new();
    batch.put(a.id(), b"k", &[7; 6_000]);
    batch.put(b.id(), b"k", b"new");
    db.write(&mut batch).unwrap();
    assert_eq!(db.stats().flushes, 1, "the larger memtable went into a table");
    let left = fs.crash(1);
    let log = files(&left, ".log").remove(0);
    left.corrupt(&log, end + 40, 1).unwrap();
    let outcome = open_still(&left, options);
    assert!(matches!(&outcome, Err(Error::Corruption { file, .. }) if *file == log), "{:?}", outcome.err());
}

#[test]
fn verify_lists_damage_of_tables_and_logs_with_the_keys_concerned() {
    let fs = MemFs::new();
    let options = Options { memtable_bytes: 1 << 20, table_bytes: 1 << 20, ..tiny(Durability::Sync) };
    let db = open_still(&fs, options).unwrap();
    let tree = db.create_tree("t", "", "").unwrap();
    for i in 0..100u8 {
        put(&db, &tree, &[b'k', i], &[i; 64]).unwrap();
    }
    db.flush().unwrap();
    put(&db, &tree, b"l", b"in the log").unwrap();
    let report = db.verify(&mut |_, _| {}).unwrap();
    assert!(report.damage.is_empty() && report.blocks > 1 && report.bytes > 1_000, "{report:?}");

    let (table, log) = (files(&fs, ".table").remove(0), files(&fs, ".log").pop().unwrap());
    fs.corrupt(&table, 400, 4).unwrap();
    fs.corrupt(&log, 150, 4).unwrap();
    let damage = db.verify(&mut |_, _| {}).unwrap().damage;
    let named: Vec<&Path> = damage.iter().map(|damage| damage.file.as_path()).collect();
    assert!(named.contains(&&*table) && named.contains(&&*log), "{damage:?}");
    let of_table = damage.iter().find(|damage| damage.file == table).unwrap();
    // Those of the one block, and the last one before it.
    assert_eq!((&*of_table.smallest, &*of_table.largest), (&[b'k', 8][..], &[b'k', 11][..]));
}

/// A field of what a manifest says of a table, changed.
type Forge = fn(&mut TableRecord);

#[test]
fn verify_finds_a_manifest_that_says_otherwise_than_its_tables() {
    let fs = MemFs::new();
    let db = open_still(&fs, tiny(Durability::Batch)).unwrap();
    let tree = db.create_tree("t", "", "").unwrap();
    let mut batch = Batch::new();
    batch.put(tree.id(), b"a", b"v");
    batch.put_expiring(tree.id(), b"b", 5_000, b"v");
    batch.delete(tree.id(), b"c");
    db.write(&mut batch).unwrap();
    put(&db, &tree, b"d", b"v").unwrap();
    db.close().unwrap();
    let path = Path::new("/store/MANIFEST");
    let forges: [(&str, Forge); 7] = [
        ("bytes", |record| record.bytes -= 1),
        ("tombstones", |record| record.tombstones = 0),
        ("smallest revision", |record| record.revision_min.0 -= 1),
        ("largest revision", |record| record.revision_max.0 -= 1),
        ("first expiry", |record| record.expiry_min_ms += 1),
        ("half expiry", |record| record.expiry_half_ms -= 1),
        ("keys", |record| record.keys -= 1),
    ];
    for (field, forge) in forges {
        let forged = fs.kill();
        let mut manifest = Manifest::decode(&forged.bytes(path).unwrap()).unwrap();
        forge(&mut manifest.trees[0].levels[0][0]);
        forged.remove(path).unwrap();
        let file = FileId(manifest.next_file - 1);
        forged.create(path).unwrap().append(&manifest.encode(file)).unwrap();
        let damage = open_still(&forged, tiny(Durability::Batch)).unwrap().verify(&mut |_, _| {}).unwrap().damage;
        assert!(matches!(&damage[..], [one] if one.file == path && one.smallest == b"a"), "{field}: {damage:?}");
    }
}
