//! Each test states one rule of the crash model. A rule about chance is shown over many seeds: what may happen does
//! happen for some seed, what may not happens for none.
use super::super::{Fs, LockOutcome, LogMode};
use super::MemFs;
use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::path::Path;

const SEEDS: std::ops::Range<u64> = 0..2_000;

/// A file system with a durable directory `/d`.
fn with_dir() -> MemFs {
    let fs = MemFs::new();
    fs.create_dir(Path::new("/d")).unwrap();
    fs.sync_dir(Path::new("/")).unwrap();
    fs
}

fn put(fs: &MemFs, path: &str, bytes: &[u8]) {
    let mut file = fs.create(Path::new(path)).unwrap();
    file.append(bytes).unwrap();
    file.sync().unwrap();
}

/// Every outcome that some seed gives.
fn outcomes<T: Ord>(fs: &MemFs, look: impl Fn(&MemFs) -> T) -> BTreeSet<T> {
    SEEDS.map(|seed| look(&fs.crash(seed))).collect()
}

fn names(fs: &MemFs) -> Vec<String> {
    fs.list(Path::new("/d")).unwrap()
}

fn content(fs: &MemFs, path: &str) -> Option<Vec<u8>> {
    fs.read(Path::new(path)).ok()
}

#[test]
fn synced_file_in_synced_directory_survives_every_crash() {
    let fs = with_dir();
    put(&fs, "/d/a", b"hello");
    fs.sync_dir(Path::new("/d")).unwrap();
    assert_eq!(outcomes(&fs, |fs| content(fs, "/d/a")), BTreeSet::from([Some(b"hello".to_vec())]));
}

#[test]
fn unsynced_write_is_lost_kept_zero_torn_or_junk() {
    let fs = with_dir();
    let mut file = fs.create(Path::new("/d/a")).unwrap();
    file.append(b"old").unwrap();
    file.sync().unwrap();
    fs.sync_dir(Path::new("/d")).unwrap();
    file.append(b"new").unwrap();
    let seen = outcomes(&fs, |fs| content(fs, "/d/a").unwrap());
    for text in [&b"old"[..], b"old\0\0\0", b"oldnew", b"oldn", b"oldne", b"oldn\0\0", b"oldne\0"] {
        assert!(seen.contains(text), "{text:?} is not among {seen:?}");
    }
    assert!(seen.iter().any(|bytes| bytes.len() > 4 && !b"new\0\0\0".contains(&bytes[4])), "junk: {seen:?}");
    assert!(seen.iter().all(|bytes| bytes.starts_with(b"old") && bytes.len() <= 6), "what was synced stays: {seen:?}");
}

#[test]
fn sectors_of_unsynced_writes_survive_each_on_its_own() {
    let fs = with_dir();
    let mut file = fs.create(Path::new("/d/a")).unwrap();
    file.sync().unwrap();
    fs.sync_dir(Path::new("/d")).unwrap();
    file.append(&[1; 512]).unwrap();
    file.append(&[2; 512]).unwrap();
    let reordered = outcomes(&fs, |fs| {
        let bytes = content(fs, "/d/a").unwrap();
        let sector = |at: usize| bytes.get(at..at + 512).map(|s| (s[0], s.iter().all(|&b| b == s[0])));
        (sector(0), sector(512))
    });
    assert!(
        reordered.contains(&(Some((0, true)), Some((2, true)))),
        "the second sector without the first: {reordered:?}"
    );
    assert!(reordered.contains(&(Some((1, true)), Some((0, true)))), "the first without the second: {reordered:?}");
    assert!(reordered.iter().flat_map(|o| [o.0, o.1]).flatten().any(|s| !s.1), "a sector can be torn: {reordered:?}");
}

#[test]
fn writes_survive_each_on_its_own() {
    let fs = with_dir();
    let mut file = fs.create(Path::new("/d/a")).unwrap();
    file.append(b"0").unwrap();
    file.sync().unwrap();
    fs.sync_dir(Path::new("/d")).unwrap();
    for byte in [b"1", b"2", b"3"] {
        file.append(byte).unwrap();
    }
    let seen = outcomes(&fs, |fs| content(fs, "/d/a").unwrap());
    for text in [&b"0"[..], b"01", b"012", b"0123", b"0\x002", b"0\0\x003", b"01\x003", b"0\x0023"] {
        assert!(seen.contains(text), "{text:?} is not among {seen:?}");
    }
}

#[test]
fn file_is_gone_when_its_directory_was_not_synced() {
    let fs = with_dir();
    put(&fs, "/d/a", b"hello");
    assert_eq!(outcomes(&fs, |fs| content(fs, "/d/a")), BTreeSet::from([None, Some(b"hello".to_vec())]));
}

#[test]
fn directory_entries_survive_each_on_its_own_and_those_of_one_name_in_order() {
    let fs = with_dir();
    for name in ["/d/a", "/d/b", "/d/c"] {
        put(&fs, name, b"");
    }
    fs.remove(Path::new("/d/a")).unwrap();
    put(&fs, "/d/a", b"again");
    let seen = outcomes(&fs, |fs| (content(fs, "/d/a"), content(fs, "/d/b").is_some(), content(fs, "/d/c").is_some()));
    let every = |a: Option<&[u8]>| {
        let a = a.map(<[u8]>::to_vec);
        [(false, false), (false, true), (true, false), (true, true)].map(|(b, c)| (a.clone(), b, c))
    };
    let expected = [every(None), every(Some(b"")), every(Some(b"again"))].concat();
    assert_eq!(seen, BTreeSet::from_iter(expected));
}

#[test]
fn rename_can_survive_a_crash_that_leaves_its_old_name() {
    let fs = with_dir();
    put(&fs, "/d/temp", b"new");
    fs.sync_dir(Path::new("/d")).unwrap();
    fs.rename(Path::new("/d/temp"), Path::new("/d/current")).unwrap();
    let expected: [&[&str]; 3] = [&["temp"], &["current"], &["current", "temp"]];
    let expected = expected.map(|names| names.iter().map(|&n| n.to_owned()).collect::<Vec<_>>());
    assert_eq!(outcomes(&fs, names), BTreeSet::from(expected));
}

#[test]
fn renamed_directory_has_one_name_after_a_crash() {
    let fs = with_dir();
    fs.create_dir(Path::new("/d/temp")).unwrap();
    put(&fs, "/d/temp/a", b"x");
    fs.sync_dir(Path::new("/d/temp")).unwrap();
    fs.sync_dir(Path::new("/d")).unwrap();
    fs.rename(Path::new("/d/temp"), Path::new("/d/current")).unwrap();
    assert_eq!(outcomes(&fs, names), BTreeSet::from(["temp", "current"].map(|name| vec![name.to_owned()])));
}

#[test]
fn unsynced_directory_takes_its_files_with_it() {
    let fs = MemFs::new();
    fs.create_dir(Path::new("/d")).unwrap();
    put(&fs, "/d/a", b"x");
    fs.sync_dir(Path::new("/d")).unwrap();
    assert_eq!(outcomes(&fs, |fs| content(fs, "/d/a").is_some()), BTreeSet::from([false, true]));
}

#[test]
fn rename_shows_the_old_or_the_new_never_neither() {
    let fs = with_dir();
    put(&fs, "/d/current", b"old");
    fs.sync_dir(Path::new("/d")).unwrap();
    put(&fs, "/d/temp", b"new");
    fs.rename(Path::new("/d/temp"), Path::new("/d/current")).unwrap();
    let seen = outcomes(&fs, |fs| content(fs, "/d/current").unwrap());
    assert_eq!(seen, BTreeSet::from([b"old".to_vec(), b"new".to_vec()]));
    fs.sync_dir(Path::new("/d")).unwrap();
    assert_eq!(outcomes(&fs, names), BTreeSet::from([vec!["current".to_owned()]]));
}

#[test]
fn rename_of_an_unsynced_file_can_leave_it_empty() {
    let fs = with_dir();
    fs.create(Path::new("/d/temp")).unwrap().append(b"new").unwrap();
    fs.rename(Path::new("/d/temp"), Path::new("/d/current")).unwrap();
    fs.sync_dir(Path::new("/d")).unwrap();
    assert!(outcomes(&fs, |fs| content(fs, "/d/current").unwrap()).contains(&Vec::new()));
}

#[test]
fn link_is_the_same_file_and_outlives_its_first_name() {
    let fs = with_dir();
    fs.create_dir(Path::new("/d/copy")).unwrap();
    let mut file = fs.create(Path::new("/d/a")).unwrap();
    fs.link(Path::new("/d/a"), Path::new("/d/copy/a")).unwrap();
    file.append(b"later").unwrap();
    file.sync().unwrap();
    for dir in ["/d", "/d/copy"] {
        fs.sync_dir(Path::new(dir)).unwrap();
    }
    fs.remove(Path::new("/d/a")).unwrap();
    assert_eq!(outcomes(&fs, |fs| content(fs, "/d/copy/a")), BTreeSet::from([Some(b"later".to_vec())]));
    assert_eq!(fs.link(Path::new("/d/x"), Path::new("/d/y")).unwrap_err().kind(), ErrorKind::NotFound);
}

#[test]
fn allocation_of_a_log_is_durable_from_its_first_sync() {
    let fs = with_dir();
    let mut log = fs.create_log(Path::new("/d/log"), 4096, LogMode::Mapped).unwrap();
    assert_eq!(fs.read(Path::new("/d/log")).unwrap(), vec![0; 4096]);
    fs.sync_dir(Path::new("/d")).unwrap();
    assert_eq!(outcomes(&fs, |fs| content(fs, "/d/log").unwrap().len()), BTreeSet::from([0, 4096]));
    log.append_with(3, &mut |range| range.copy_from_slice(b"abc")).unwrap();
    log.syncer().sync().unwrap();
    let kept = outcomes(&fs, |fs| content(fs, "/d/log").unwrap());
    assert_eq!(kept.len(), 1);
    assert_eq!(kept.first().map(|bytes| (bytes.len(), &bytes[..4])), Some((4096, &b"abc\0"[..])));
}

#[test]
fn append_beyond_the_capacity_of_a_log_is_refused_and_keeps_nothing() {
    let fs = with_dir();
    let mut log = fs.create_log(Path::new("/d/log"), 8, LogMode::Written).unwrap();
    log.append_with(6, &mut |range| range.fill(7)).unwrap();
    assert_eq!(log.append_with(3, &mut |range| range.fill(8)).unwrap_err().kind(), ErrorKind::InvalidInput);
    assert_eq!(log.len(), 6);
    assert_eq!(fs.read(Path::new("/d/log")).unwrap(), [7, 7, 7, 7, 7, 7, 0, 0]);
}

#[test]
fn list_is_sorted_and_names_no_grandchildren() {
    let fs = with_dir();
    fs.create_dir(Path::new("/d/m")).unwrap();
    for name in ["/d/z", "/d/a", "/d/m/inner"] {
        put(&fs, name, b"");
    }
    assert_eq!(names(&fs), ["a", "m", "z"]);
}

#[test]
fn kill_loses_nothing_and_frees_locks() {
    let fs = with_dir();
    let held = fs.lock(Path::new("/d/LOCK"), "pid 1").unwrap();
    fs.create(Path::new("/d/a")).unwrap().append(b"unsynced").unwrap();
    let killed = fs.kill();
    assert_eq!(content(&killed, "/d/a"), Some(b"unsynced".to_vec()));
    assert!(matches!(killed.lock(Path::new("/d/LOCK"), "pid 2").unwrap(), LockOutcome::Taken(_)));
    assert!(
        outcomes(&killed, |fs| content(fs, "/d/a")).contains(&None),
        "unsynced after a kill can be lost to a crash"
    );
    drop(held);
}

#[test]
fn lock_is_held_until_dropped_and_names_its_holder() {
    let fs = with_dir();
    let path = Path::new("/d/LOCK");
    let LockOutcome::Taken(guard) = fs.lock(path, "pid 1").unwrap() else { panic!("the lock is free") };
    let LockOutcome::Held(holder) = fs.lock(path, "pid 2").unwrap() else { panic!("the lock is taken") };
    assert_eq!(holder, "pid 1");
    assert!(matches!(fs.crash(1).lock(path, "pid 3").unwrap(), LockOutcome::Taken(_)));
    drop(guard);
    assert!(matches!(fs.lock(path, "pid 4").unwrap(), LockOutcome::Taken(_)));
}

#[test]
fn crash_shares_nothing_with_the_old_handles() {
    let fs = with_dir();
    let mut file = fs.create(Path::new("/d/a")).unwrap();
    file.append(b"one").unwrap();
    file.sync().unwrap();
    fs.sync_dir(Path::new("/d")).unwrap();
    let after = fs.crash(7);
    file.append(b"two").unwrap();
    after.remove(Path::new("/d/a")).unwrap();
    assert_eq!(content(&fs, "/d/a"), Some(b"onetwo".to_vec()));
    assert_eq!(content(&after, "/d/a"), None);
}

#[test]
fn crash_of_a_crash_loses_nothing_more() {
    let fs = with_dir();
    fs.create(Path::new("/d/a")).unwrap().append(&[3; 3000]).unwrap();
    for seed in SEEDS {
        let once = fs.crash(seed);
        assert_eq!(content(&once, "/d/a"), content(&once.crash(seed + 1), "/d/a"), "seed={seed}");
    }
}

#[test]
fn same_seed_gives_the_same_outcome() {
    let fs = with_dir();
    for name in ["/d/a", "/d/b"] {
        fs.create(Path::new(name)).unwrap().append(&[3; 3000]).unwrap();
    }
    let state = |fs: &MemFs| (names(fs), content(fs, "/d/a"), content(fs, "/d/b"));
    for seed in SEEDS {
        assert_eq!(state(&fs.crash(seed)), state(&fs.crash(seed)), "seed={seed}");
    }
}

#[test]
fn after_a_planned_crash_everything_fails_and_the_moment_is_kept() {
    let fs = with_dir();
    let mut file = fs.create(Path::new("/d/a")).unwrap();
    let open = fs.open(Path::new("/d/a")).unwrap();
    fs.crash_at_op(fs.ops() + 2);
    file.append(b"one").unwrap();
    file.append(b"two").unwrap();
    assert!(!fs.has_crashed());
    assert_eq!(file.append(b"three").unwrap_err().to_string(), "crashed");
    assert!(fs.has_crashed());
    assert!(fs.read(Path::new("/d/a")).is_err());
    assert!(open.read_exact_at(0, &mut []).is_err());
    assert!(fs.sync_dir(Path::new("/d")).is_err());
    assert_eq!(content(&fs.kill(), "/d/a"), Some(b"onetwo".to_vec()));
    assert!(outcomes(&fs, |fs| content(fs, "/d/a")).contains(&None));
}

#[test]
fn full_disk_refuses_files_and_bytes_but_not_appends_to_a_log() {
    let fs = with_dir();
    let mut log = fs.create_log(Path::new("/d/log"), 100, LogMode::Mapped).unwrap();
    let mut file = fs.create(Path::new("/d/a")).unwrap();
    fs.set_space(5);
    let full = |error: std::io::Error| assert_eq!(error.kind(), ErrorKind::StorageFull);
    full(file.append(b"123456").unwrap_err());
    file.append(b"12345").unwrap();
    full(fs.create(Path::new("/d/b")).map(|_| ()).unwrap_err());
    full(fs.create_log(Path::new("/d/c"), 1, LogMode::Mapped).map(|_| ()).unwrap_err());
    log.append_with(100, &mut |range| range.fill(1)).unwrap();
    fs.set_full(false);
    file.append(b"6").unwrap();
    assert_eq!(content(&fs, "/d/a"), Some(b"123456".to_vec()));
    assert_eq!(names(&fs), ["a", "log"]);
}

#[test]
fn failed_sync_makes_nothing_durable() {
    let fs = with_dir();
    let mut file = fs.create(Path::new("/d/a")).unwrap();
    file.append(b"x").unwrap();
    fs.fail_syncs(true);
    let syncs = fs.syncs();
    assert!(file.sync().is_err());
    assert!(fs.sync_dir(Path::new("/d")).is_err());
    assert_eq!(fs.syncs(), syncs);
    assert!(outcomes(&fs, |fs| content(fs, "/d/a")).contains(&None));
}

#[test]
fn corrupt_and_truncate_are_durable() {
    let fs = with_dir();
    put(&fs, "/d/a", b"abcdef");
    fs.sync_dir(Path::new("/d")).unwrap();
    fs.corrupt(Path::new("/d/a"), 1, 0x01).unwrap();
    fs.truncate(Path::new("/d/a"), 3).unwrap();
    assert_eq!(outcomes(&fs, |fs| content(fs, "/d/a")), BTreeSet::from([Some(b"acc".to_vec())]));
    assert_eq!(fs.corrupt(Path::new("/d/a"), 3, 1).unwrap_err().kind(), ErrorKind::UnexpectedEof);
}

#[test]
fn errors_are_those_of_a_file_system() {
    let fs = with_dir();
    put(&fs, "/d/a", b"abc");
    let kind = |outcome: std::io::Result<()>| outcome.unwrap_err().kind();
    assert_eq!(kind(fs.create(Path::new("/d/a")).map(|_| ())), ErrorKind::AlreadyExists);
    assert_eq!(kind(fs.create(Path::new("/none/a")).map(|_| ())), ErrorKind::NotFound);
    assert_eq!(kind(fs.create_dir(Path::new("/d"))), ErrorKind::AlreadyExists);
    assert_eq!(kind(fs.read(Path::new("/d/b")).map(|_| ())), ErrorKind::NotFound);
    assert_eq!(kind(fs.read(Path::new("/d")).map(|_| ())), ErrorKind::IsADirectory);
    assert_eq!(kind(fs.remove(Path::new("/d/b"))), ErrorKind::NotFound);
    assert_eq!(kind(fs.rename(Path::new("/d/b"), Path::new("/d/c"))), ErrorKind::NotFound);
    let open = fs.open(Path::new("/d/a")).unwrap();
    assert_eq!(kind(open.read_exact_at(1, &mut [0; 3])), ErrorKind::UnexpectedEof);
    assert!(!fs.exists(Path::new("/d/b")).unwrap());
    assert!(fs.exists(Path::new("/d/a")).unwrap());
}

#[test]
fn removed_file_can_be_read_by_who_has_it_open() {
    let fs = with_dir();
    put(&fs, "/d/a", b"abc");
    let open = fs.open(Path::new("/d/a")).unwrap();
    fs.remove(Path::new("/d/a")).unwrap();
    let mut bytes = [0; 2];
    open.read_exact_at(1, &mut bytes).unwrap();
    assert_eq!(&bytes, b"bc");
}

#[test]
fn volatile_file_system_reads_back_and_loses_nothing() {
    let fs = MemFs::volatile();
    fs.create_dir(Path::new("/d")).unwrap();
    fs.create(Path::new("/d/a")).unwrap().append(b"abc").unwrap();
    fs.rename(Path::new("/d/a"), Path::new("/d/b")).unwrap();
    assert_eq!(outcomes(&fs, |fs| content(fs, "/d/b")), BTreeSet::from([Some(b"abc".to_vec())]));
}
