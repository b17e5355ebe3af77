use super::*;
use kvarts_formats::header::{FileHeader, FileKind, HEADER_BYTES};
use kvarts_formats::record::record_bytes;

/// Sets a byte, durably.
fn set(fs: &MemFs, file: u64, offset: u64, byte: u8) {
    let now = fs.bytes(&path(file)).unwrap()[offset as usize];
    fs.corrupt(&path(file), offset, now ^ byte).unwrap();
}

fn payloads(texts: &[&str]) -> Vec<Vec<u8>> {
    texts.iter().map(|text| text.as_bytes().to_vec()).collect()
}

#[test]
fn torn_tail_is_dropped_wherever_it_is_torn() {
    let fs = store();
    let mut log = writer(fs.clone(), 4096);
    let start = log.append(b"whole").unwrap().offset;
    let end = log.append(b"torn off somewhere").unwrap().offset;
    let whole = fs.bytes(&path(1)).unwrap();
    for cut in start..end {
        let zeroed = fs.kill();
        (cut..end).for_each(|at| set(&zeroed, 1, at, 0));
        let shorter = fs.kill();
        shorter.truncate(&path(1), cut).unwrap();
        for fs in [zeroed, shorter] {
            let bytes = fs.bytes(&path(1)).unwrap();
            if bytes == whole {
                continue;
            }
            let (found, report) = recover(&fs, &[1]).unwrap();
            assert_eq!(found, payloads(&["whole"]), "cut at {cut}");
            let last = bytes.iter().rposition(|&byte| byte != 0).unwrap() as u64 + 1;
            let torn = (last > start).then(|| (path(1), start, last - start));
            assert_eq!(report.torn, torn, "cut at {cut}");
        }
    }
}

#[test]
fn damage_before_a_synced_point_is_refused() {
    let fs = store();
    let mut log = writer(fs.clone(), 4096);
    let start = log.position().offset;
    let one = log.append(b"one").unwrap();
    log.append(b"two").unwrap();
    log.syncer().sync_to(one).unwrap();
    let three = log.append(b"three").unwrap().offset - record_bytes(5) as u64;
    for at in start..three {
        let fs = fs.kill();
        fs.corrupt(&path(1), at, 0x10).unwrap();
        let record = if at < one.offset { start } else { one.offset };
        assert_eq!(damage(recover(&fs, &[1])), (path(1), record), "byte {at}");
    }
    fs.corrupt(&path(1), three, 0x10).unwrap();
    assert_eq!(recover(&fs, &[1]).unwrap().0, payloads(&["one", "two"]), "the last was never synced");
}

#[test]
fn damage_that_nothing_shows_to_be_synced_is_a_torn_tail() {
    let fs = store();
    let mut log = writer(fs.clone(), 4096);
    let one = log.append(b"one").unwrap();
    let end = log.append(b"two").unwrap();
    log.append(b"three").unwrap();
    fs.corrupt(&path(1), one.offset + 30, 1).unwrap();
    let (found, report) = recover(&fs, &[1]).unwrap();
    assert_eq!(found, payloads(&["one"]));
    let (file, offset, dropped) = report.torn.unwrap();
    assert_eq!((file, offset), (path(1), one.offset));
    assert!(dropped > end.offset - one.offset, "the record after the torn one is dropped too: no hole");
}

/// Log 1 with "one", log 2 with "two" and "three"; all but "three" synced if `synced`. Returns where log 1's end starts.
fn two_logs(synced: bool) -> (MemFs, u64) {
    let fs = store();
    let mut log = writer(fs.clone(), 4096);
    let end_record = log.append(b"one").unwrap().offset;
    log.rotate(FileId(2), 8).unwrap();
    let two = log.append(b"two").unwrap();
    if synced {
        log.syncer().sync_to(two).unwrap();
    }
    log.append(b"three").unwrap();
    (fs, end_record)
}

#[test]
fn later_log_is_dropped_when_an_older_one_is_torn_and_nothing_was_synced() {
    let (fs, end_record) = two_logs(false);
    fs.corrupt(&path(1), end_record + 25, 1).unwrap();
    let (found, report) = recover(&fs, &[1, 2]).unwrap();
    assert_eq!(found, payloads(&["one"]));
    let (file, offset, dropped) = report.torn.unwrap();
    assert_eq!((file, offset), (path(1), end_record));
    assert!(dropped > record_bytes(8) as u64, "bytes of the later log count");
}

#[test]
fn later_log_that_shows_synced_bytes_makes_a_torn_older_one_damage() {
    let (fs, end_record) = two_logs(true);
    fs.corrupt(&path(1), end_record + 25, 1).unwrap();
    assert_eq!(damage(recover(&fs, &[1, 2])).0, path(2));
    let (fs, end_record) = two_logs(true);
    fs.truncate(&path(1), end_record).unwrap();
    assert_eq!(damage(recover(&fs, &[1, 2])).0, path(2));
    // Its first record is damaged as well; the second still tells.
    fs.corrupt(&path(2), HEADER_BYTES as u64, 1).unwrap();
    assert_eq!(damage(recover(&fs, &[1, 2])).0, path(2));
}

#[test]
fn missing_log_is_damage_where_it_is_named() {
    let (fs, _) = two_logs(false);
    fs.remove(&path(2)).unwrap();
    assert_eq!(damage(recover(&fs, &[1])), (path(2), 0));
    fs.remove(&path(1)).unwrap();
    assert_eq!(damage(recover(&fs, &[1])), (path(1), 0));
}

#[test]
fn log_whose_making_was_cut_short_is_ignored() {
    let (fs, end_record) = two_logs(false);
    fs.truncate(&path(1), end_record).unwrap();
    for len in [4096, 128, 127, 1, 0] {
        fs.truncate(&path(2), len).unwrap();
        (0..HEADER_BYTES.min(len as usize) as u64).for_each(|at| set(&fs, 2, at, 0));
        fs.truncate(&path(2), len.min(HEADER_BYTES as u64)).unwrap();
        let (found, report) = recover(&fs, &[1, 2]).unwrap();
        assert_eq!((found, report.torn), (payloads(&["one"]), None), "length {len}");
    }
    fs.remove(&path(2)).unwrap();
    assert_eq!(recover(&fs, &[1, 2]).unwrap().0, payloads(&["one"]));
}

#[test]
fn log_that_the_chain_leaves_out_is_ignored_while_it_is_empty() {
    let fs = store();
    let mut log = writer(fs.clone(), 4096);
    log.append(b"one").unwrap();
    fs.create(&path(2)).unwrap();
    log.rotate(FileId(3), 8).unwrap();
    log.append(b"two").unwrap();
    assert_eq!(recover(&fs, &[1, 2, 3]).unwrap().0, payloads(&["one", "two"]));
}

#[test]
fn bad_header_of_a_named_log_is_damage() {
    for file in [1, 2] {
        for at in 0..HEADER_BYTES as u64 {
            let (fs, _) = two_logs(false);
            fs.corrupt(&path(file), at, 0x40).unwrap();
            match recover(&fs, &[1, 2]).map(|_| ()) {
                Err(Error::Corruption { file: named, .. } | Error::NewerFormat { file: named, .. }) => {
                    assert_eq!(named, path(file), "byte {at}");
                }
                other => panic!("log {file} byte {at}: {other:?}"),
            }
        }
    }
}

/// Replaces the header of a log.
fn put_header(fs: &MemFs, file: u64, header: FileHeader) {
    for (at, byte) in header.encode().into_iter().enumerate() {
        set(fs, file, at as u64, byte);
    }
}

#[test]
fn log_of_another_store_or_number_is_refused_even_outside_the_prefix() {
    let header = FileHeader { version: 1, kind: FileKind::Log, file: FileId(2), store: STORE, key: None };
    let foreign = FileHeader { store: [7; 16], ..header.clone() };
    let renumbered = FileHeader { file: FileId(9), ..header };
    for header in [foreign, renumbered] {
        let (fs, end_record) = two_logs(false);
        put_header(&fs, 2, header);
        assert_eq!(damage(recover(&fs, &[1, 2])), (path(2), 0));
        fs.truncate(&path(1), end_record).unwrap();
        assert_eq!(damage(recover(&fs, &[1, 2])), (path(2), 0));
    }
}

#[test]
fn bytes_after_the_end_record_are_damage() {
    let (fs, end_record) = two_logs(false);
    let after = end_record + record_bytes(8) as u64;
    fs.corrupt(&path(1), after + 100, 1).unwrap();
    assert_eq!(damage(recover(&fs, &[1, 2])), (path(1), after));
}

#[test]
fn error_of_apply_ends_the_replay() {
    let (fs, _) = two_logs(false);
    let mut calls = 0;
    let outcome = replay(&fs, dir(), STORE, &[FileId(1), FileId(2)], &mut |_| {
        calls += 1;
        Err(Error::Closed)
    });
    assert!(matches!(outcome, Err(Error::Closed)));
    assert_eq!(calls, 1);
}
