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
            let options = Options { compression: kvarts_engine::formats::compress::Compression::None, ..options() };
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
