use super::*;

const FILE: FileId = FileId(5);

/// A log of records with these (payload length, synced), then `tail` zero bytes.
fn log(records: &[(usize, u64)], tail: usize) -> Vec<u8> {
    let mut data = vec![0xee; HEADER_BYTES];
    for (i, &(len, synced)) in records.iter().enumerate() {
        append(&mut data, &vec![i as u8 + 1; len], synced);
    }
    data.resize(data.len() + tail, 0);
    data
}

fn append(data: &mut Vec<u8>, payload: &[u8], synced: u64) {
    let offset = data.len();
    data.resize(offset + record_bytes(payload.len()), 0xdd);
    write_record(&mut data[offset..], FILE, offset as u64, 3, RecordKind::Batch, synced, payload);
}

#[test]
fn records_read_back() {
    let data = log(&[(0, 0), (1, 0), (8, 128), (1000, 168)], 64);
    let scan = scan(FILE, &data);
    assert_eq!(scan.verdict, LogEnd::Clean);
    assert_eq!(scan.end as usize, data.len() - 64);
    let lens: Vec<_> = scan.records.iter().map(|record| (record.payload.len(), record.synced)).collect();
    assert_eq!(lens, [(0, 0), (1, 0), (8, 128), (1000, 168)]);
    for record in &scan.records {
        assert_eq!(read_record(FILE, &data, record.offset), Ok(Some(*record)));
        assert_eq!((record.stream, record.kind), (3, RecordKind::Batch));
        assert_eq!(record.next - record.offset, record_bytes(record.payload.len()) as u64);
    }
    assert_eq!(read_record(FILE, &data, scan.end), Ok(None));
    assert_eq!(read_record(FILE, &data, data.len() as u64), Ok(None));
    assert!(read_record(FILE, &data, data.len() as u64 + 8).is_err());
    assert!(read_record(FILE, &data, u64::MAX).is_err());
    assert!(read_record(FILE, &data, scan.end + 1).is_err());
}

#[test]
fn logs_without_records_are_clean() {
    for data in [log(&[], 0), log(&[], 8), log(&[], 1 << 16), vec![]] {
        let scan = scan(FILE, &data);
        assert_eq!((scan.records.len(), scan.verdict), (0, LogEnd::Clean));
    }
}

#[test]
fn log_shows_that_it_was_synced_by_any_whole_record() {
    assert!(!shows_synced(FILE, &log(&[], 64)));
    assert!(!shows_synced(FILE, &log(&[(10, 0), (20, 0)], 64)));
    assert!(!shows_synced(FILE, &[]));
    let mut data = log(&[(10, 0), (20, 128), (30, 0)], 64);
    assert!(shows_synced(FILE, &data));
    data[HEADER_BYTES] ^= 1;
    assert!(shows_synced(FILE, &data), "a bad record hides no later one");
    data[HEADER_BYTES + record_bytes(10)] ^= 1;
    assert!(!shows_synced(FILE, &data), "a record that is not whole shows nothing");
}
