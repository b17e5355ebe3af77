//! Encryption at rest: nothing readable on disk, no nonce twice, no store opened with another key; and all that holds of a
//! store that is not encrypted, from the model to the crash oracle.
use crate::plants::Plant;
use crate::support::{DIR, encrypted, open_still, put, rows, tiny};
use crate::{crash, faults, model};
use kvarts_engine::db::Db;
use kvarts_engine::fs::{FaultFs, Fs, MemFs};
use kvarts_engine::keys::{Keys, MasterKey, Witness};
use kvarts_engine::options::{Durability, Options};
use kvarts_engine::{Error, Result};
use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

/// Words that stand in keys, values and names, and nowhere else.
const SECRETS: [&str; 5] = ["aardvark-key", "zebra-value", "quokka-space", "lemur-codec", "ocelot-codec"];

fn key(byte: u8) -> MasterKey {
    MasterKey::take(&mut [byte; 32])
}

fn keys(byte: u8) -> Keys {
    Keys::new(key(byte), [])
}

/// Remembers what was sealed. Panics where a nonce comes twice under one key.
#[derive(Default)]
struct Nonces(Mutex<HashSet<([u8; 32], [u8; 12])>>);

impl Witness for Nonces {
    fn sealed(&self, key: [u8; 32], nonce: [u8; 12]) {
        assert!(self.0.lock().unwrap().insert((key, nonce)), "nonce {nonce:?} comes twice under one key");
    }
}

/// Runs a test on encrypted stores with a witness. Returns how much was sealed.
fn watched(test: impl FnOnce()) -> usize {
    let nonces = Arc::new(Nonces::default());
    encrypted(keys(1).watched(Arc::clone(&nonces) as _), test);
    let count = nonces.0.lock().unwrap().len();
    assert!(count > 0, "something was sealed");
    count
}

fn options() -> Options {
    Options { memtable_bytes: 16 << 10, ..tiny(Durability::Batch) }
}

/// Fills a store so that every kind of file and several levels hold the secret words.
fn fill(db: &Db) -> Result<()> {
    let [name, codecs] = [SECRETS[2], SECRETS[3]];
    let tree = match db.tree(name)? {
        Some(tree) => tree,
        None => db.create_tree(name, codecs, SECRETS[4])?,
    };
    for row in 0..600u32 {
        let (key, value) = (format!("{}-{row:05}", SECRETS[0]), format!("{row} {} {row}", SECRETS[1].repeat(8)));
        put(db, &tree, key.as_bytes(), value.as_bytes())?;
    }
    Ok(())
}

/// All files of all directories, with what is in them.
fn files(fs: &MemFs) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    for dir in [DIR, "/copy"] {
        let dir = Path::new(dir);
        for name in fs.list(dir).unwrap_or_default() {
            let path = dir.join(name);
            found.push((path.clone(), fs.bytes(&path).unwrap()));
        }
    }
    found
}

fn finds(bytes: &[u8], word: &str) -> bool {
    bytes.windows(word.len()).any(|window| window == word.as_bytes())
}

#[test]
fn no_byte_on_disk_shows_keys_values_or_names() {
    for (hidden, keys) in [(false, None), (true, Some(keys(1)))] {
        let fs = MemFs::new();
        let live = || {
            let options =
                Options { compression: kvarts_engine::formats::compress::Compression::None.into(), ..options() };
            let db = open_still(&fs, options).unwrap();
            fill(&db).unwrap();
            db.checkpoint(None, Path::new("/copy")).unwrap();
            fill(&db).unwrap();
            // As a killed process leaves it: with a log, and perhaps a manifest half written.
            let left = fs.kill();
            let levels = db.stats().trees[0].levels.iter().filter(|(tables, _)| *tables > 0).count();
            (left, levels)
        };
        let (left, levels) = match keys {
            Some(keys) => encrypted(keys, live),
            None => live(),
        };
        assert!(levels >= 2, "{levels} levels");
        let files = files(&left);
        for suffix in ["MANIFEST", ".table", ".log"] {
            assert!(files.iter().any(|(path, _)| path.to_string_lossy().ends_with(suffix)), "no {suffix}");
        }
        for word in SECRETS {
            let shown: Vec<_> = files.iter().filter(|(_, bytes)| finds(bytes, word)).map(|(path, _)| path).collect();
            assert_eq!(shown.is_empty(), hidden, "{word} in {shown:?}");
        }
    }
}

#[test]
fn an_encrypted_store_opens_again_and_its_log_is_replayed() {
    let fs = MemFs::new();
    encrypted(keys(1), || {
        let db = open_still(&fs, options()).unwrap();
        fill(&db).unwrap();
        let left = fs.kill();
        let again = open_still(&left, options()).unwrap();
        assert!(again.open_report().replayed > 0);
        let tree = again.tree(SECRETS[2]).unwrap().unwrap();
        assert_eq!(rows(&again, &tree, None).len(), 600);
        assert!(again.verify(&mut |_, _| {}).unwrap().damage.is_empty());
        again.close().unwrap();
        let last = open_still(&left, options()).unwrap();
        assert_eq!(rows(&last, &last.tree(SECRETS[2]).unwrap().unwrap(), None).len(), 600);
    });
}

#[test]
fn a_wrong_or_missing_key_is_told_and_changes_no_byte() {
    let fs = MemFs::new();
    encrypted(keys(1), || fill(&open_still(&fs, options()).unwrap()).unwrap());
    let before = files(&fs);
    let ids = [1, 2].map(|byte| key(byte).id().0);
    match open_still(&fs, options()).err() {
        Some(Error::KeyMissing { needed, .. }) => assert_eq!(needed, ids[0]),
        other => panic!("{other:?}"),
    }
    match encrypted(keys(2), || open_still(&fs, options()).err()) {
        Some(Error::WrongKey { needed, given, .. }) => assert_eq!([needed, given], ids),
        other => panic!("{other:?}"),
    }
    assert_eq!(files(&fs), before, "nothing was touched, not even the lock");
    encrypted(keys(1), || open_still(&fs, options()).unwrap());
}

#[test]
fn a_key_for_a_store_that_is_not_encrypted_is_told_and_changes_no_byte() {
    let fs = MemFs::new();
    fill(&open_still(&fs, options()).unwrap()).unwrap();
    let before = files(&fs);
    let refused = encrypted(keys(1), || open_still(&fs, options()).err());
    assert!(matches!(refused, Some(Error::NotEncrypted(_))), "{refused:?}");
    assert_eq!(files(&fs), before);
}

#[test]
fn no_byte_of_an_encrypted_store_changes_unnoticed() {
    let plain = |fs: FaultFs| Arc::new(fs) as Arc<dyn Fs>;
    encrypted(keys(1), || faults::flip_each_byte(&plain)).unwrap_or_else(|wrong| panic!("{wrong}"));
}

#[test]
fn an_encrypted_store_answers_like_its_model() {
    for seed in 0..12 {
        watched(|| model::run(seed, 600));
    }
}

#[test]
fn what_survives_a_crash_of_an_encrypted_store_is_a_prefix() {
    let seeds: u64 = std::env::var("KVARTS_CRASH_SEEDS").map_or(400, |count| count.parse().unwrap());
    let first: u64 = std::env::var("KVARTS_CRASH_SEED").map_or(0, |seed| seed.parse().unwrap());
    for seed in first..first + seeds {
        let mut verdict = Ok(());
        watched(|| verdict = crash::run(seed, Plant::None));
        verdict.unwrap_or_else(|wrong| {
            panic!(
                "seed {seed} failed; replay: KVARTS_CRASH_SEED={seed} KVARTS_CRASH_SEEDS=1 \
                 cargo test -p kvarts-engine --test db what_survives_a_crash_of_an_encrypted\n{wrong}"
            )
        });
    }
}

/// A store of several levels, of which the log holds some rows too.
fn filled() -> MemFs {
    let fs = MemFs::new();
    encrypted(keys(1), || {
        let db = open_still(&fs, options()).unwrap();
        fill(&db).unwrap();
        db.compact(None).unwrap();
        fill(&db).unwrap();
    });
    fs
}

fn ring(bytes: &[u8]) -> Keys {
    Keys::new(key(bytes[0]), bytes[1..].iter().map(|&byte| key(byte)))
}

/// Checks that the new key alone opens the store, that all is there, and that the old key wraps nothing any more.
fn check_rotated(fs: &MemFs) {
    let db = encrypted(keys(2), || open_still(fs, options())).unwrap();
    let tree = db.tree(SECRETS[2]).unwrap().unwrap();
    assert_eq!(rows(&db, &tree, None).len(), 600);
    assert!(db.verify(&mut |_, _| {}).unwrap().damage.is_empty());
    let old = key(1).id().0.to_le_bytes();
    let holds_data = |path: &Path| !path.ends_with("LOCK") && path.extension() != Some("floor".as_ref());
    for (path, bytes) in files(fs).iter().filter(|(path, _)| holds_data(path)) {
        assert_ne!(bytes[40..48], old, "{path:?} needs the old key");
    }
}

#[test]
fn a_rotation_leaves_no_file_that_needs_the_old_key() {
    let fs = filled();
    let db = encrypted(keys(1), || open_still(&fs, options())).unwrap();
    fill(&db).unwrap();
    let mut told = Vec::new();
    let done = db.rotate_key(key(2), &mut |done, all| told.push((done, all))).unwrap();
    assert!(done.tables > 3 && told.len() as u64 == done.tables, "{done:?} {told:?}");
    assert!(told.is_sorted() && told.iter().all(|(done, all)| done < all));
    check_rotated(&fs.kill());
    assert_eq!(
        db.rotate_key(key(2), &mut |_, _| {}).unwrap(),
        kvarts_engine::db::Rotation::default(),
        "nothing is left"
    );
    db.close().unwrap();
    check_rotated(&fs);
    assert!(matches!(encrypted(keys(1), || open_still(&fs, options())).err(), Some(Error::WrongKey { .. })));
}

#[test]
fn a_rotation_may_be_cut_short_at_any_operation_and_goes_on_later() {
    let base = filled();
    for at in 0.. {
        let disk = base.kill();
        let db = encrypted(keys(1), || open_still(&disk, options())).unwrap();
        disk.crash_at_op(disk.ops() + at);
        let is_done = db.rotate_key(key(2), &mut |_, _| {}).is_ok();
        for left in [disk.kill(), disk.crash(at), disk.crash(at + 1_000_000)] {
            resume(&left);
        }
        if is_done {
            assert!(at > 20, "{at} operations");
            return;
        }
    }
}

/// Goes on with a rotation that was cut short. A store that needs both keys says so, and is not touched.
fn resume(left: &MemFs) {
    for alone in [1, 2] {
        let copy = left.kill();
        match encrypted(keys(alone), || open_still(&copy, options())).err() {
            None | Some(Error::WrongKey { .. }) => {}
            other => panic!("{other:?}"),
        }
    }
    let db = encrypted(ring(&[1, 2]), || open_still(left, options())).unwrap();
    let tree = db.tree(SECRETS[2]).unwrap().unwrap();
    assert_eq!(rows(&db, &tree, None).len(), 600);
    db.rotate_key(key(2), &mut |_, _| {}).unwrap();
    check_rotated(&left.kill());
}

#[test]
fn reads_writes_and_other_rotations_go_on_while_a_key_is_rotated() {
    let fs = filled();
    let open = || open_still(&fs, Options { background: true, ..options() });
    let db = encrypted(keys(1), open).unwrap();
    let tree = db.tree(SECRETS[2]).unwrap().unwrap();
    std::thread::scope(|scope| {
        let turns = [2, 3, 2, 4].map(|byte| {
            let db = &db;
            scope.spawn(move || db.rotate_key(key(byte), &mut |_, _| {}).unwrap())
        });
        let mut written = 0u32;
        while written == 0 || turns.iter().any(|turn| !turn.is_finished()) {
            let key = format!("new-{written:06}");
            put(&db, &tree, key.as_bytes(), &[7; 300]).unwrap();
            assert!(db.get(&tree, key.as_bytes(), None, |entry| entry.is_some()).unwrap());
            written += 1;
        }
        assert_eq!(rows(&db, &tree, None).len(), 600 + written as usize);
    });
    db.close().unwrap();
    let last = key_of(&fs);
    assert!([2, 3, 4].contains(&last), "{last}");
    encrypted(keys(last), || open_still(&fs, options())).unwrap();
}

/// Which of the keys wraps the manifest.
fn key_of(fs: &MemFs) -> u8 {
    let bytes = fs.bytes(&Path::new(DIR).join("MANIFEST")).unwrap();
    (1..9).find(|&byte| key(byte).id().0.to_le_bytes() == bytes[40..48]).unwrap()
}

#[test]
fn a_checkpoint_keeps_the_key_it_was_made_with() {
    let fs = filled();
    let db = encrypted(keys(1), || open_still(&fs, options())).unwrap();
    db.checkpoint(None, Path::new("/copy")).unwrap();
    db.rotate_key(key(2), &mut |_, _| {}).unwrap();
    drop(db);
    let copy = |keys| {
        let (fs, clock) = (Arc::new(fs.clone()), Arc::new(kvarts_engine::clock::ManualClock::new(1_000)));
        encrypted(keys, || crate::support::open_at(fs, &clock, Path::new("/copy"), options()))
    };
    assert!(matches!(copy(keys(2)).err(), Some(Error::WrongKey { .. })));
    let copy = copy(keys(1)).unwrap();
    assert_eq!(rows(&copy, &copy.tree(SECRETS[2]).unwrap().unwrap(), None).len(), 600);
}

#[test]
fn a_store_that_is_not_encrypted_has_no_key_to_rotate() {
    let fs = MemFs::new();
    let db = open_still(&fs, options()).unwrap();
    assert!(matches!(db.rotate_key(key(2), &mut |_, _| {}), Err(Error::NotEncrypted(_))));
}
