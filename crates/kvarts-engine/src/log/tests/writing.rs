use super::*;
use kvarts_formats::header::HEADER_BYTES;
use kvarts_formats::record::record_bytes;

#[test]
fn batches_read_back_in_order() {
    let fs = store();
    let mut log = writer(fs.clone(), 64 << 10);
    let payloads: Vec<Vec<u8>> = (0..50).map(|i| vec![i as u8; i * 7]).collect();
    let mut before = log.position();
    for payload in &payloads {
        let end = log.append(payload).unwrap();
        assert_eq!(end.offset, before.offset + record_bytes(payload.len()) as u64);
        before = end;
    }
    let end = Some((path(1), log.position().offset));
    assert_eq!(recover(&fs, &[1]).unwrap(), (payloads, ReplayReport { batches: 50, end, torn: None }));
}

#[test]
fn empty_log_reads_back_empty() {
    let fs = store();
    let log = writer(fs.clone(), 4096);
    assert_eq!(log.position(), LogPosition { file: FileId(1), offset: HEADER_BYTES as u64 });
    let end = Some((path(1), HEADER_BYTES as u64));
    assert_eq!(recover(&fs, &[1]).unwrap(), (vec![], ReplayReport { batches: 0, end, torn: None }));
    assert_eq!(recover(&fs, &[]).unwrap(), (vec![], ReplayReport { batches: 0, end: None, torn: None }));
}

#[test]
fn rotation_goes_on_in_the_next_file_and_leaves_room_for_the_end() {
    let fs = store();
    let mut log = writer(fs.clone(), 400);
    let mut written = Vec::new();
    for i in 0..20_u8 {
        if !log.fits(100) {
            let next = FileId(log.file().0 + 3);
            log.rotate(next, 100).unwrap();
        }
        written.push(vec![i; 100]);
        log.append(&written[usize::from(i)]).unwrap();
    }
    assert_eq!(log.file(), FileId(1 + 3 * 19), "one record to a file, the rest of it is for the end");
    assert_eq!(recover(&fs, &[1]).unwrap().0, written, "the chain leads from the first log to all");
    let all: Vec<u64> = (0..20).map(|i| 1 + 3 * i).collect();
    assert_eq!(recover(&fs, &all).unwrap().0, written);
}

#[test]
fn file_is_as_large_as_its_first_record_needs() {
    let fs = store();
    let mut log = writer(fs.clone(), 0);
    assert!(log.fits(0));
    assert!(!log.fits(100_000));
    log.rotate(FileId(2), 100_000).unwrap();
    assert!(log.fits(100_000));
    log.append(&vec![9; 100_000]).unwrap();
    log.rotate(FileId(3), 8).unwrap();
    assert!(log.fits(8));
    assert!(matches!(log.rotate(FileId(4), 1 << 31), Err(Error::InvalidArgument { .. })));
    assert_eq!(recover(&fs, &[1]).unwrap().0, [vec![9; 100_000]]);
}

#[test]
fn rotation_on_a_full_disk_changes_nothing() {
    let fs = store();
    let mut log = writer(fs.clone(), 4096);
    log.append(b"one").unwrap();
    fs.set_full(true);
    let before = log.position();
    assert!(matches!(log.rotate(FileId(2), 8), Err(Error::StorageFull(_))));
    assert_eq!(log.position(), before);
    assert_eq!(fs.list(dir()).unwrap(), ["000001.log"]);
    log.append(b"two").unwrap();
    fs.set_full(false);
    log.rotate(FileId(2), 8).unwrap();
    log.append(b"three").unwrap();
    assert_eq!(recover(&fs, &[1]).unwrap().0, [b"one".to_vec(), b"two".to_vec(), b"three".to_vec()]);
}

#[test]
fn creation_that_fails_leaves_no_file() {
    let fs = store();
    fs.fail_syncs(true);
    let made = LogWriter::create(Arc::new(fs.clone()), dir(), STORE, FileId(1), 4096, LogMode::Written);
    assert!(matches!(made.map(|_| ()), Err(Error::Io { .. })));
    assert!(fs.list(dir()).unwrap().is_empty());
    fs.fail_syncs(false);
    let _first = writer(fs.clone(), 4096);
    let again = LogWriter::create(Arc::new(fs.clone()), dir(), STORE, FileId(1), 4096, LogMode::Written);
    assert!(again.is_err());
    assert!(fs.exists(&path(1)).unwrap(), "a file that was there before is not ours to remove");
}

#[test]
fn log_is_durable_with_its_name_as_soon_as_it_is_made() {
    let fs = store();
    let _log = writer(fs.clone(), 4096);
    for seed in 0..50 {
        assert!(recover(&fs.crash(seed), &[1]).unwrap().0.is_empty(), "seed={seed}");
    }
}
