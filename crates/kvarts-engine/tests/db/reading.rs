//! Stores opened to read: together with others, without a byte changed, and as far as damage lets them.
use crate::support::{DIR, get, open_still, put, rows, tiny};
use kvarts_engine::Error;
use kvarts_engine::db::Db;
use kvarts_engine::formats::batch::Batch;
use kvarts_engine::fs::{Fs, MemFs};
use kvarts_engine::iter::Bounds;
use kvarts_engine::options::{Durability, Options};
use std::path::{Path, PathBuf};
use std::sync::Arc;

fn reading() -> Options {
    Options { read_only: true, ..tiny(Durability::Batch) }
}

fn contents(fs: &MemFs) -> Vec<(String, Vec<u8>)> {
    let names = fs.list(Path::new(DIR)).unwrap().into_iter();
    names.map(|name| (name.clone(), fs.bytes(&Path::new(DIR).join(&name)).unwrap())).collect()
}

/// A store with tables of a to m, of n to z, and rows in its log only; its process was killed.
fn killed() -> MemFs {
    let fs = MemFs::new();
    let db = open_still(&fs, tiny(Durability::Batch)).unwrap();
    let tree = db.create_tree("t", "", "").unwrap();
    for range in [b'a'..=b'm', b'n'..=b'z'] {
        for letter in range {
            put(&db, &tree, &[letter], &[letter; 50]).unwrap();
        }
        db.flush().unwrap();
    }
    put(&db, &tree, b"a", b"newer").unwrap();
    put(&db, &tree, b"zz", b"in the log").unwrap();
    fs.kill()
}

fn tables(fs: &MemFs) -> Vec<PathBuf> {
    let names = fs.list(Path::new(DIR)).unwrap();
    names.iter().filter(|name| name.ends_with(".table")).map(|name| Path::new(DIR).join(name)).collect()
}

#[test]
fn readers_share_a_store_see_its_log_and_change_nothing() {
    let fs = killed();
    let before = contents(&fs);
    let (one, two) = (open_still(&fs, reading()).unwrap(), open_still(&fs, reading()).unwrap());
    for db in [&one, &two] {
        let tree = db.tree("t").unwrap().unwrap();
        assert_eq!(get(db, &tree, b"a").unwrap(), b"newer");
        assert_eq!(get(db, &tree, b"zz").unwrap(), b"in the log");
        assert_eq!(rows(db, &tree, None).len(), 27);
        assert_eq!(db.open_report().replayed, 28, "what is in tables already is skipped");
        assert!(db.open_report().unclean.is_some());
        assert!(db.verify(&mut |_, _| {}).unwrap().damage.is_empty());
    }
    assert!(matches!(open_still(&fs, tiny(Durability::Batch)), Err(Error::Locked { .. })));
    one.close().unwrap();
    drop(two);
    assert_eq!(contents(&fs), before);
    let writer = open_still(&fs, tiny(Durability::Batch)).unwrap();
    assert!(matches!(open_still(&fs, reading()), Err(Error::Locked { holder, .. }) if holder == "test"));
    assert_eq!(rows(&writer, &writer.tree("t").unwrap().unwrap(), None).len(), 27);
}

#[test]
fn whatever_writes_is_refused() {
    let fs = killed();
    let db = open_still(&fs, reading()).unwrap();
    let tree = db.tree("t").unwrap().unwrap();
    let refused =
        |outcome: kvarts_engine::Result<()>| assert!(matches!(outcome, Err(Error::ReadOnly(_))), "{outcome:?}");
    let batch = || {
        let mut batch = Batch::new();
        batch.put(tree.id(), b"k", b"v");
        batch
    };
    refused(db.write(&mut batch()).map(drop));
    refused(db.try_write(&mut batch()).map(drop));
    refused(
        db.update(|_, batch| {
            batch.put(tree.id(), b"k", b"v");
            Ok::<_, Error>(())
        })
        .map(drop),
    );
    refused(db.create_tree("u", "", "").map(drop));
    refused(db.drop_tree(&tree));
    refused(db.flush());
    refused(db.compact(None));
    refused(db.sync());
    refused(db.checkpoint(None, Path::new("/copy")).map(drop));
    assert!(!fs.exists(Path::new("/copy")).unwrap());
    db.close().unwrap();
}

#[test]
fn a_directory_without_a_store_is_not_found_and_not_made() {
    let fs = MemFs::new();
    assert!(matches!(open_still(&fs, reading()), Err(Error::NotFound(_))));
    assert!(!fs.exists(Path::new(DIR)).unwrap());
}

fn scan_from(db: &Db, start: &[u8], stop: &[u8]) -> kvarts_engine::Result<usize> {
    let bounds = Bounds { start: Some((start.to_vec(), true)), stop: Some((stop.to_vec(), true)) };
    let tree = db.tree("t")?.unwrap();
    let mut scan = db.scan(&tree, bounds, false, None)?;
    let mut chunk = Default::default();
    while scan.fill(&mut chunk, 100, 1 << 20, true)? {}
    Ok(chunk.key_ends.len())
}

fn check_half(db: &Arc<Db>) {
    let tree = db.tree("t").unwrap().unwrap();
    assert_eq!(get(db, &tree, b"a").unwrap(), b"newer", "the log has it");
    let read = |key: &[u8]| db.get(&tree, key, None, |entry| entry.is_some());
    assert!(matches!(read(b"b"), Err(Error::Corruption { .. })));
    assert!(matches!(read(b"bb"), Err(Error::Corruption { .. })), "it may have been there");
    assert!(read(b"n").unwrap());
    assert!(!read(b"nn").unwrap());
    assert_eq!(scan_from(db, b"n", b"zz").unwrap(), 14);
    assert!(matches!(scan_from(db, b"k", b"p"), Err(Error::Corruption { .. })));
    let damage = db.verify(&mut |_, _| {}).unwrap().damage;
    assert_eq!(damage.len(), 1, "{damage:?}");
    assert_eq!((&damage[0].smallest[..], &damage[0].largest[..]), (&b"a"[..], &b"m"[..]));
}

#[test]
fn a_damaged_table_fails_only_the_reads_that_need_it() {
    type Break = fn(&MemFs, &Path);
    let cases: [(bool, Break); 4] = [
        (false, |fs, path| fs.corrupt(path, 40, 1).unwrap()),
        (false, |fs, path| fs.corrupt(path, fs.bytes(path).unwrap().len() as u64 - 100, 1).unwrap()),
        (true, |fs, path| fs.truncate(path, 300).unwrap()),
        (true, |fs, path| fs.remove(path).unwrap()),
    ];
    for (is_seen_at_once, break_it) in cases {
        let fs = killed();
        let table = &tables(&fs)[0];
        break_it(&fs, table);
        check_half(&open_still(&fs, reading()).unwrap());
        match open_still(&fs, tiny(Durability::Batch)) {
            Err(Error::Corruption { file, .. }) => assert!(is_seen_at_once && file == *table),
            opened => {
                assert!(!is_seen_at_once);
                check_half(&opened.unwrap());
            }
        }
    }
}
