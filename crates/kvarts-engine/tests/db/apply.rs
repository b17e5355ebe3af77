//! Entries of another log, reads at a named revision, and stores without a log of their own.
use crate::support::{Chance, Model, Said, drain, open, tiny};
use kvarts_engine::clock::ManualClock;
use kvarts_engine::db::{Applier, Db, ReadAt, Tree};
use kvarts_engine::formats::batch::Batch;
use kvarts_engine::fs::MemFs;
use kvarts_engine::iter::Bounds;
use kvarts_engine::options::{Durability, Options};
use kvarts_engine::{Error, Result, Revision};
use std::sync::Arc;

fn logless() -> Options {
    Options { log: false, keep_history: true, ..tiny(Durability::None) }
}

fn begin(fs: &MemFs, options: Options) -> (Arc<Db>, Tree) {
    let db = open(fs, &Arc::new(ManualClock::new(0)), options).unwrap();
    let tree = db.tree("t").unwrap().unwrap_or_else(|| db.create_tree("t", "", "").unwrap());
    (db, tree)
}

fn put(applier: &mut Applier<'_>, tree: &Tree, revision: u64, key: &[u8], value: &[u8]) -> Result<()> {
    let mut batch = Batch::new();
    batch.put(tree.id(), key, value);
    applier.commit(&mut batch, Revision(revision))
}

fn get(db: &Db, tree: &Tree, key: &[u8], at: ReadAt) -> Result<Option<Vec<u8>>> {
    let mut value = None;
    db.get_many_at(tree, &[key], at, &mut |_, entry| value = entry.map(|entry| entry.value.to_vec()))?;
    Ok(value)
}

const NOW: ReadAt = ReadAt { revision: None, now_ms: 0 };

fn as_of(revision: u64) -> ReadAt {
    ReadAt { revision: Some(Revision(revision)), now_ms: 0 }
}

#[test]
fn an_entry_sees_what_it_did_before_and_readers_see_it_whole() {
    let (db, tree) = begin(&MemFs::new(), logless());
    let seen_inside = db
        .apply_entry(&tree, 0, |applier| {
            put(applier, &tree, 10, b"a", b"1")?;
            put(applier, &tree, 11, b"a", b"2")?;
            assert_eq!((get(&db, &tree, b"a", NOW)?, db.revision()), (None, Revision::ZERO));
            let rows = drain(applier.scan_at(Bounds::default(), 0)?, 10);
            assert_eq!(rows, [(b"a".to_vec(), b"2".to_vec(), Revision(11))]);
            applier.get_at(b"a", 0, |entry| entry.map(|entry| entry.value.to_vec()))
        })
        .unwrap();
    assert_eq!(seen_inside.as_deref(), Some(&b"2"[..]));
    assert_eq!(db.revision(), Revision(11));
    assert_eq!(get(&db, &tree, b"a", as_of(10)).unwrap().as_deref(), Some(&b"1"[..]));
}

#[test]
fn an_entry_that_fails_after_its_first_commit_poisons_the_store_and_one_before_does_not() {
    let (db, tree) = begin(&MemFs::new(), logless());
    let fails = |commits: bool| {
        db.apply_entry(&tree, 0, |applier| {
            if commits {
                put(applier, &tree, 5, b"a", b"1")?;
            }
            Err::<(), Error>(Error::Closed)
        })
    };
    assert!(matches!(fails(false), Err(Error::Closed)));
    db.apply_entry(&tree, 0, |applier| put(applier, &tree, 4, b"b", b"1")).unwrap();
    assert!(matches!(fails(true), Err(Error::Closed)));
    assert!(matches!(fails(false), Err(Error::Poisoned(_))));
    assert_eq!(get(&db, &tree, b"a", NOW).unwrap(), None, "half an entry is not shown");
    assert!(matches!(db.flush(), Err(Error::Poisoned(_))), "nor put into tables");
}

#[test]
fn revisions_of_entries_only_grow() {
    let (db, tree) = begin(&MemFs::new(), logless());
    db.apply_entry(&tree, 0, |applier| put(applier, &tree, 7, b"a", b"1")).unwrap();
    let again = db.apply_entry(&tree, 0, |applier| put(applier, &tree, 7, b"a", b"2"));
    assert!(matches!(again, Err(Error::InvalidArgument { .. })), "{again:?}");
    db.apply_entry(&tree, 0, |applier| put(applier, &tree, 8, b"a", b"3")).unwrap();
}

#[test]
fn without_a_log_a_kill_leaves_whole_entries_up_to_the_last_flush() {
    let fs = MemFs::new();
    let (db, tree) = begin(&fs, logless());
    // Memtables fill in the middle of entries; each entry writes its number to two keys, in two commits.
    for number in 1..400u64 {
        db.apply_entry(&tree, 0, |applier| {
            put(applier, &tree, 2 * number, b"first", &number.to_le_bytes())?;
            put(applier, &tree, 2 * number + 1, format!("row{number}").as_bytes(), &[7; 100])?;
            Ok::<(), Error>(())
        })
        .unwrap();
        let mut flushed = None;
        let revision = db
            .get_many_flushed(&tree, &[b"first"], &mut |_, entry| flushed = entry.map(|entry| entry.value.to_vec()))
            .unwrap();
        assert_eq!(revision, db.flushed_revision(&tree));
        let (killed, tree) = begin(&fs.kill(), logless());
        assert_eq!(get(&killed, &tree, b"first", NOW).unwrap(), flushed, "tables are what a kill leaves");
        if let Some(first) = flushed {
            let first = u64::from_le_bytes(first.try_into().unwrap());
            assert_eq!(revision.0, 2 * first + 1, "an entry is never half in tables");
            assert_eq!(drain(killed.scan(&tree, Bounds::default(), false, None).unwrap(), 50).len() as u64, first + 1);
        }
    }
    assert!(db.flushed_revision(&tree).0 > 200, "memtables were flushed on the way");
    db.close().unwrap();
    let (db, tree) = begin(&fs, logless());
    assert_eq!(get(&db, &tree, b"first", NOW).unwrap(), Some(399u64.to_le_bytes().to_vec()));
}

#[test]
fn an_abandoned_store_keeps_only_what_was_flushed() {
    let fs = MemFs::new();
    let (db, tree) = begin(&fs, logless());
    db.apply_entry(&tree, 0, |applier| put(applier, &tree, 1, b"a", b"1")).unwrap();
    db.flush().unwrap();
    db.apply_entry(&tree, 0, |applier| put(applier, &tree, 2, b"a", b"2")).unwrap();
    db.abandon().unwrap();
    assert!(matches!(get(&db, &tree, b"a", NOW), Err(Error::Closed)));
    let (db, tree) = begin(&fs, logless());
    assert_eq!(get(&db, &tree, b"a", NOW).unwrap().as_deref(), Some(&b"1"[..]));
}

/// Reads at any revision from the floor on give what was there then, whatever was flushed, compacted and pinned meanwhile.
#[test]
fn history_is_kept_from_the_floor_on() {
    for seed in 0..60 {
        let mut chance = Chance(seed);
        let (db, tree) = begin(&MemFs::new(), logless());
        let (mut model, mut floor, mut last) = (Model::default(), 0, 0);
        let mut snapshots = Vec::new();
        for _ in 0..300 {
            last += 1 + chance.below(3);
            let (key, mut batch) = (chance.key(12), Batch::new());
            let said = if chance.one_in(5) { Said::Delete } else { Said::Put(chance.value(200)) };
            said.add_to(&mut batch, &tree, &key);
            db.apply_entry(&tree, 0, |applier| applier.commit(&mut batch, Revision(last))).unwrap();
            model.say(&key, Revision(last), said);
            match chance.below(40) {
                0 => db.flush().unwrap(),
                1 => db.compact(None).unwrap(),
                2 => {
                    floor += chance.below(last - floor + 1);
                    db.set_retain_from(Revision(floor));
                }
                3 => snapshots.push(db.snapshot().unwrap()),
                4 => snapshots.truncate(1),
                _ => {}
            }
            let asked = Revision(floor + chance.below(last - floor + 1));
            let rows = db.scan_at(&tree, Bounds::default(), chance.one_in(2), as_of(asked.0));
            let mut rows = drain(rows.unwrap(), 5);
            rows.sort();
            assert_eq!(rows, model.rows(&Bounds::default(), asked, 0), "seed {seed}: at {asked:?}, floor {floor}");
            if floor > 0 {
                let below = get(&db, &tree, &key, as_of(floor - 1));
                assert!(
                    matches!(below, Err(Error::Compacted { oldest }) if oldest.0 == floor),
                    "seed {seed}: {below:?}"
                );
            }
        }
    }
}

#[test]
fn a_time_from_which_rows_were_dropped_as_expired_is_refused() {
    let (fs, clock) = (MemFs::new(), Arc::new(ManualClock::new(0)));
    let db = open(&fs, &clock, logless()).unwrap();
    let tree = db.create_tree("t", "", "").unwrap();
    let mut batch = Batch::new();
    batch.put_expiring(tree.id(), b"a", 1_000, b"1");
    db.apply_entry(&tree, 0, |applier| applier.commit(&mut batch, Revision(1))).unwrap();
    let at = |now_ms| ReadAt { revision: Some(Revision(1)), now_ms };
    assert!(get(&db, &tree, b"a", at(999)).unwrap().is_some());
    assert!(get(&db, &tree, b"a", at(1_000)).unwrap().is_none());
    clock.advance_ms(1_000);
    db.compact(None).unwrap();
    assert!(matches!(get(&db, &tree, b"a", at(999)), Err(Error::Compacted { .. })));
    assert!(get(&db, &tree, b"a", at(1_000)).unwrap().is_none());
}

#[test]
fn a_store_that_keeps_no_history_reads_only_what_is_newest() {
    let (db, tree) = begin(&MemFs::new(), Options { keep_history: false, ..logless() });
    db.apply_entry(&tree, 0, |applier| put(applier, &tree, 1, b"a", b"1")).unwrap();
    assert!(get(&db, &tree, b"a", NOW).unwrap().is_some());
    assert!(matches!(get(&db, &tree, b"a", as_of(1)), Err(Error::Compacted { .. })));
}
