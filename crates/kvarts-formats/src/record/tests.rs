use super::*;
use crate::checksum;

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

#[test]
fn bytes_are_those_of_the_format_page() {
    let mut out = vec![0xdd; record_bytes(3)];
    write_record(&mut out, FILE, 256, 0x01020304, RecordKind::Batch, 128, b"abc");
    let head = b"vK\x01\0\x03\0\0\0\x04\x03\x02\x01\0\0\0\0\x80\0\0\0\0\0\0\0";
    assert_eq!(out[..24], *head);
    assert_eq!(out[24..32], *b"abc\0\0\0\0\0");
    assert_eq!(out[32..], checksum::tag(FILE, 256, &[&out[..32]]));
}

/// Changes a byte of the record at `offset` and gives it a tag that matches.
fn forge(data: &mut [u8], offset: usize, at: usize, byte: u8) {
    let end = offset + record_bytes(u32_at(data, offset + 4) as usize);
    data[offset + at] = byte;
    let tag = checksum::tag(FILE, offset as u64, &[&data[offset..end - TAG_BYTES]]);
    data[end - TAG_BYTES..end].copy_from_slice(&tag);
}

#[test]
fn forged_headers_are_not_records() {
    let good = log(&[(40, 0)], 0);
    for (at, byte) in [(0, 0), (1, 0), (2, 0), (2, 10), (3, 1), (12, 1), (15, 1), (16, 136), (23, 1)] {
        let mut data = good.clone();
        forge(&mut data, HEADER_BYTES, at, byte);
        assert_eq!(scan(FILE, &data).verdict, LogEnd::Torn { offset: HEADER_BYTES as u64 }, "byte {at} = {byte}");
        assert!(read_record(FILE, &data, HEADER_BYTES as u64).is_err());
    }
}

#[test]
fn record_crafted_inside_a_value_proves_nothing() {
    let mut data = log(&[(0, 0)], 0);
    data[HEADER_BYTES] ^= 1;
    let offset = data.len() + RECORD_HEADER_BYTES;
    let mut crafted = vec![0; record_bytes(10)];
    write_record(&mut crafted, FILE, offset as u64, 0, RecordKind::Batch, offset as u64, &[1; 10]);
    append(&mut data, &crafted, 0);
    assert!(whole_record(FILE, &data, offset).is_some(), "it would pass where it stands");
    assert_eq!(scan(FILE, &data).verdict, LogEnd::Torn { offset: HEADER_BYTES as u64 });
}
