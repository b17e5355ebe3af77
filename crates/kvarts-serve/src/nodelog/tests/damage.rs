//! Bytes that were synced and changed are refused with file and offset; what never was durable may be torn.
use super::*;
use kvarts_engine::FileId;
use kvarts_engine::log::log_path;
use std::path::PathBuf;

fn path(file: u64) -> PathBuf {
    log_path(dir(), FileId(file))
}

/// The place that an error names as damaged.
fn place<T>(outcome: Result<T>) -> (PathBuf, u64) {
    match outcome.map(|_| ()) {
        Err(Error::Corruption { file, offset, .. }) => (file, offset),
        other => panic!("expected damage, found {other:?}"),
    }
}

/// A log of several files, all synced but for its last turn.
fn several() -> MemFs {
    let fs = node();
    let log = opened(&fs, small());
    for index in 1..=14 {
        sync(&log, entries(GROUP, index..=index, 1, 500));
    }
    log.append(&[entries(GROUP, 15..=15, 1, 100)]).unwrap();
    fs
}

#[test]
fn changed_byte_in_what_was_synced_is_refused_with_its_place() {
    let fs = several();
    let names = fs.list(dir()).unwrap();
    assert!(names.len() >= 2, "{names:?}");
    let mut refused = 0;
    for name in &names {
        let path = dir().join(name);
        let written = fs.bytes(&path).unwrap();
        let used = written.iter().rposition(|&byte| byte != 0).unwrap();
        for at in (0..=used).step_by(37) {
            let changed = fs.kill();
            changed.corrupt(&path, at as u64, 0x10).unwrap();
            match open(&changed, small()) {
                // Only what nothing later shows to be durable may be lost, and then it is the end.
                Ok(log) => {
                    let found = kept(&log, GROUP).len();
                    assert!(found >= 13, "{name} at {at}: {found} entries");
                }
                Err(error) => {
                    let (file, offset) = place::<()>(Err(error));
                    assert_eq!(file, path, "at {at}");
                    assert!(offset <= at as u64 + 8 || offset == 128, "{name} at {at}: {offset}");
                    refused += 1;
                }
            }
        }
    }
    assert!(refused > 100, "{refused}");
}

#[test]
fn missing_file_is_refused() {
    let fs = several();
    for name in fs.list(dir()).unwrap().iter().rev().skip(1) {
        let without = fs.kill();
        without.remove(&dir().join(name)).unwrap();
        assert!(matches!(open(&without, small()), Err(Error::Corruption { .. })), "without {name}");
    }
}

#[test]
fn torn_tail_is_dropped_and_reported() {
    let fs = node();
    let log = opened(&fs, small());
    sync(&log, entries(GROUP, 1..=2, 1, 100));
    let end = log.append(&[entries(GROUP, 3..=4, 1, 100)]).unwrap();
    drop(log);
    fs.corrupt(&path(1), end.offset - 1, 1).unwrap();
    let log = open(&fs, small()).unwrap();
    assert_eq!(kept(&log, GROUP), [(1, 1), (2, 1), (3, 1)]);
    let (file, offset, dropped) = log.report().torn.clone().unwrap();
    let record = 24 + 24 + 104 + 16;
    assert_eq!((file, offset, dropped), (path(1), end.offset - record, record));
    log.append(&[entries(GROUP, 4..=4, 2, 100)]).unwrap();
    drop(log);
    let log = open(&fs, small()).unwrap();
    assert_eq!((kept(&log, GROUP), &log.report().torn), (vec![(1, 1), (2, 1), (3, 1), (4, 2)], &None));
}

#[test]
fn changed_payload_is_refused_when_it_is_read() {
    let fs = node();
    let log = opened(&fs, NodeLogOptions { cache_bytes: 0, ..small() });
    let end = log.append(&[entries(GROUP, 1..=1, 1, 100)]).unwrap();
    assert_eq!(kept(&log, GROUP), [(1, 1)]);
    fs.corrupt(&path(1), end.offset - 30, 1).unwrap();
    assert_eq!(place(log.payload(GROUP, 1)), (path(1), end.offset - 24 - 24 - 104 - 16));
}

#[test]
fn log_of_another_node_is_refused() {
    let fs = several();
    let outcome = NodeLog::open(Arc::new(fs), dir(), [1; 16], small());
    assert_eq!(place(outcome).1, 0);
}

#[test]
fn damaged_start_of_a_file_that_recovery_made_is_refused() {
    let fs = node();
    sync(&opened(&fs, small()), entries(GROUP, 1..=5, 1, 100));
    drop(open(&fs, small()).unwrap());
    let name = fs.list(dir()).unwrap().pop().unwrap();
    let written = fs.bytes(&dir().join(&name)).unwrap();
    let used = written.iter().rposition(|&byte| byte != 0).unwrap();
    for at in 0..=used {
        let changed = fs.kill();
        changed.corrupt(&dir().join(&name), at as u64, 0x40).unwrap();
        assert!(open(&changed, small()).is_err(), "byte {at} of {used}");
    }
}
