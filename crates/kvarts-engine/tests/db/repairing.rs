//! Damaged stores repaired into new ones: what is whole is there, nothing else is, and what may be gone is listed.
use crate::mutations::{Mutation, Mutator};
use crate::support::{DIR, get, open_still, put, rows, tiny};
use crate::trace::{NOW_MS, State, TREES, Verdict, read_state};
use crate::worn::{Worn, open_at};
use kvarts_engine::clock::ManualClock;
use kvarts_engine::db::{Gone, RepairReport, repair};
use kvarts_engine::fs::{Fs, MemFs};
use kvarts_engine::options::{Durability, Options};
use kvarts_engine::{Error, Result};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const TO: &str = "/repaired";

fn repaired(disk: &MemFs, from: &Path, options: &Options, one_tree: Option<&str>) -> Result<RepairReport> {
    let fs: Arc<dyn Fs> = Arc::new(disk.clone());
    repair(&fs, &ManualClock::new(NOW_MS), from, Path::new(TO), options.clone(), one_tree, &mut |_, _| true)
}

/// Tells whether rows of a key of a tree may be gone.
fn is_listed(gone: &[Gone], tree: &str, key: &[u8]) -> bool {
    gone.iter().filter(|one| one.rows_gone && (one.tree.is_empty() || one.tree == tree)).any(|one| {
        let (smallest, largest) = (&one.damage.smallest[..], &one.damage.largest[..]);
        smallest <= key && (largest.is_empty() || key <= largest)
    })
}

/// Checks a repaired store whose trees are known: only what was ever said, and the newest of it unless it is listed.
fn check_known(worn: &Worn, found: &State, report: &RepairReport) -> Verdict {
    for name in TREES {
        let empty = BTreeMap::new();
        let (rows, whole) = (found.get(name).unwrap_or(&empty), worn.whole.get(name).unwrap_or(&empty));
        for key in rows.keys().chain(whole.keys()) {
            let (now, then) = (rows.get(key), whole.get(key));
            if now != then && !is_listed(&report.gone, name, key) {
                return Err(format!("{name} {key:?} is {now:?}, was {then:?}, and is not listed: {report:#?}"));
            }
            if now.is_some_and(|now| !worn.trace.was_said(name, key, now)) {
                return Err(format!("{name} {key:?} never was {now:?}"));
            }
        }
    }
    Ok(())
}

/// Without a manifest: every value was once said to that key of some tree.
fn check_unknown(worn: &Worn, disk: &MemFs) -> Verdict {
    let db = open_at(disk, Path::new(TO), &worn.options).map_err(|error| error.to_string())?;
    for info in db.trees().unwrap() {
        for (key, value, _) in rows(&db, &db.tree(&info.name).unwrap().unwrap(), None) {
            if !TREES.iter().any(|name| worn.trace.was_said(name, &key, &value)) {
                return Err(format!("{} {key:?} never was {value:?}", info.name));
            }
        }
    }
    Ok(())
}

fn damage_and_repair(seed: u64) -> Verdict {
    let worn = Worn::new(seed);
    let mut mutator = Mutator::new(&worn, seed ^ 0x7265_7061);
    for count in 0..8 {
        let disk = worn.disk.kill();
        let mut done = Vec::new();
        while done.len() < count / 2 {
            let mutation = mutator.draw();
            // An older version of a table or log, or the file of another, is another matter than damaged bytes; and a log
            // with zeros at its end is what one looks like that was never written further.
            let fits = match &mutation {
                Mutation::Flip { .. } | Mutation::Cut { .. } | Mutation::Lose(_) => true,
                Mutation::Zero { name, .. } => !name.ends_with(".log"),
                _ => false,
            };
            if fits {
                mutator.apply_to(&disk, &mutation);
                done.push(mutation);
            }
        }
        let wrong = |wrong: String| format!("{:?}, after {done:?}: {wrong}", worn.stop);
        let report = match repaired(&disk, &worn.dir, &worn.options, None) {
            Err(Error::NotFound(_)) => continue,
            outcome => outcome.map_err(|error| wrong(error.to_string()))?,
        };
        let db = open_at(&disk, Path::new(TO), &worn.options).map_err(|error| wrong(error.to_string()))?;
        let verified = db.verify(&mut |_, _| {}).map_err(|error| wrong(error.to_string()))?;
        if !verified.damage.is_empty() {
            return Err(wrong(format!("the new store is damaged: {:?}", verified.damage)));
        }
        let is_known = !report.gone.iter().any(|one| one.damage.file.ends_with("MANIFEST"));
        if is_known {
            let found = read_state(&db).map_err(|error| wrong(error.to_string()))?;
            check_known(&worn, &found, &report).map_err(wrong)?;
        } else {
            drop(db);
            check_unknown(&worn, &disk).map_err(wrong)?;
        }
        if done.is_empty() && report.gone.iter().any(|one| one.rows_gone) && worn.stop != crate::worn::Stop::Powerless {
            return Err(wrong(format!("nothing is damaged, but listed: {report:?}")));
        }
    }
    Ok(())
}

#[test]
fn a_repaired_store_holds_what_is_whole_and_lists_what_may_be_gone() {
    let seeds: u64 = std::env::var("KVARTS_REPAIR_SEEDS").map_or(60, |count| count.parse().unwrap());
    let first: u64 = std::env::var("KVARTS_REPAIR_SEED").map_or(0, |seed| seed.parse().unwrap());
    for seed in first..first + seeds {
        damage_and_repair(seed).unwrap_or_else(|wrong| {
            panic!(
                "seed {seed}: {wrong}\nreplay: KVARTS_REPAIR_SEED={seed} KVARTS_REPAIR_SEEDS=1 \
                 cargo test -p kvarts-engine --test db a_repaired_store"
            )
        });
    }
}

/// A closed store of one tree with two tables.
fn closed() -> (MemFs, Vec<PathBuf>) {
    let fs = MemFs::new();
    let options =
        Options { level0_tables: 9, memtable_bytes: 1 << 20, table_bytes: 1 << 20, ..tiny(Durability::Batch) };
    let db = open_still(&fs, options).unwrap();
    let tree = db.create_tree("t", "text", "json").unwrap();
    for step in [0, 1] {
        for number in 0..100_u64 {
            put(&db, &tree, format!("{:03}", 2 * number + step).as_bytes(), &[step as u8; 40]).unwrap();
        }
        db.flush().unwrap();
    }
    db.close().unwrap();
    let names = fs.list(Path::new(DIR)).unwrap();
    let tables: Vec<_> =
        names.iter().filter(|name| name.ends_with(".table")).map(|name| Path::new(DIR).join(name)).collect();
    (fs, tables)
}

#[test]
fn a_table_without_its_index_is_walked_block_by_block() {
    let (fs, tables) = closed();
    let len = fs.bytes(&tables[0]).unwrap().len() as u64;
    fs.truncate(&tables[0], len - 40).unwrap();
    let report = repaired(&fs, Path::new(DIR), &tiny(Durability::Batch), None).unwrap();
    assert_eq!(report.trees, [("t".to_owned(), 200)]);
    assert!(report.gone.iter().all(|one| !one.rows_gone), "{:?}", report.gone);
    let db = open_at(&fs, Path::new(TO), &tiny(Durability::Batch)).unwrap();
    let tree = db.tree("t").unwrap().unwrap();
    assert_eq!(db.tree_info(&tree).value_codec, "json");
    assert_eq!(rows(&db, &tree, None).len(), 200);
    assert_eq!(get(&db, &tree, b"007"), Some(vec![1; 40]));
}

#[test]
fn without_a_manifest_each_table_is_a_keyspace_unless_there_was_only_one() {
    let (fs, _) = closed();
    fs.remove(&Path::new(DIR).join("MANIFEST")).unwrap();
    let copy = fs.kill();
    let report = repaired(&fs, Path::new(DIR), &tiny(Durability::Batch), None).unwrap();
    assert_eq!(report.trees.len(), 2);
    assert!(report.trees.iter().all(|(name, rows)| name.starts_with("recovered-") && *rows == 100));
    let report = repaired(&copy, Path::new(DIR), &tiny(Durability::Batch), Some("t")).unwrap();
    assert_eq!(report.trees, [("t".to_owned(), 200)]);
}

#[test]
fn a_lost_block_is_listed_with_the_keys_it_held() {
    let (fs, tables) = closed();
    fs.corrupt(&tables[0], 400, 4).unwrap();
    let report = repaired(&fs, Path::new(DIR), &tiny(Durability::Batch), None).unwrap();
    let [gone] = &report.gone[..] else { panic!("{:?}", report.gone) };
    assert_eq!((&gone.tree[..], &gone.damage.file), ("t", &tables[0]));
    assert!(gone.damage.smallest < gone.damage.largest);
    assert!(report.trees[0].1 > 150);
}

#[test]
fn the_old_store_stays_as_it_is_and_a_failed_repair_leaves_nothing() {
    let (fs, _) = closed();
    let contents = |fs: &MemFs| -> Vec<_> {
        let names = fs.list(Path::new(DIR)).unwrap().into_iter();
        names.map(|name| (fs.bytes(&Path::new(DIR).join(&name)).unwrap(), name)).collect()
    };
    let before = contents(&fs);
    fs.set_space(2_000);
    assert!(matches!(repaired(&fs, Path::new(DIR), &tiny(Durability::Batch), None), Err(Error::StorageFull(_))));
    assert!(!fs.exists(Path::new(TO)).unwrap());
    fs.set_full(false);
    repaired(&fs, Path::new(DIR), &tiny(Durability::Batch), None).unwrap();
    assert_eq!(contents(&fs), before);
    let again = repaired(&fs, Path::new(DIR), &tiny(Durability::Batch), None);
    assert!(matches!(again, Err(Error::InvalidArgument { .. })), "{again:?}");
    let writer = open_still(&fs, tiny(Durability::Batch)).unwrap();
    let held = repair(
        &(Arc::new(fs.clone()) as Arc<dyn Fs>),
        &ManualClock::new(NOW_MS),
        Path::new(DIR),
        Path::new("/other"),
        tiny(Durability::Batch),
        None,
        &mut |_, _| true,
    );
    assert!(matches!(held, Err(Error::Locked { .. })));
    drop(writer);
}

/// A store whose process was killed with rows in three logs and none in tables. Returns the logs, oldest first.
fn killed_with_logs() -> (MemFs, Vec<PathBuf>) {
    let fs = MemFs::new();
    let options = Options { memtable_bytes: 1 << 20, log_bytes: 8 << 10, ..tiny(Durability::Batch) };
    let db = open_still(&fs, options).unwrap();
    let tree = db.create_tree("t", "text", "json").unwrap();
    for number in 0..160_u64 {
        put(&db, &tree, format!("{number:03}").as_bytes(), &[7; 3000]).unwrap();
    }
    let killed = fs.kill();
    let names = killed.list(Path::new(DIR)).unwrap();
    let mut logs: Vec<_> =
        names.iter().filter(|name| name.ends_with(".log")).map(|name| Path::new(DIR).join(name)).collect();
    // One that was made in advance has a header only, and nothing to lose.
    logs.retain(|log| killed.bytes(log).unwrap().iter().skip(128).any(|&byte| byte != 0));
    assert!(logs.len() > 2, "{names:?}");
    (killed, logs)
}

#[test]
fn a_log_that_is_shorter_than_it_was_made_is_listed() {
    let (disk, logs) = killed_with_logs();
    let whole = repaired(&disk.kill(), Path::new(DIR), &tiny(Durability::Batch), None).unwrap();
    assert_eq!((whole.batches, whole.gone.len()), (160, 0));
    let (older, middle, last) = (&logs[0], &logs[logs.len() - 2], logs.last().unwrap());
    let cut = |path: &Path| {
        let disk = disk.kill();
        disk.truncate(path, 128).unwrap();
        disk
    };
    let zeroed = |path: &Path| {
        let disk = disk.kill();
        for (at, byte) in disk.bytes(path).unwrap().into_iter().enumerate().skip(128).filter(|&(_, byte)| byte != 0) {
            disk.corrupt(path, at as u64, byte).unwrap();
        }
        disk
    };
    let lost = |path: &Path| {
        let disk = disk.kill();
        disk.remove(path).unwrap();
        disk
    };
    for (disk, of) in [(cut(last), last), (lost(last), last), (cut(middle), middle), (zeroed(older), older)] {
        let report = repaired(&disk, Path::new(DIR), &tiny(Durability::Batch), None).unwrap();
        assert!(report.batches < 160 && is_listed(&report.gone, "t", b"159"), "{report:#?}");
        assert_eq!(report.gone[0].damage.file, *of);
    }
}
