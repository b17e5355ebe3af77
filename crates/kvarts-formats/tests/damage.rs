//! One changed byte, another file or another place: never taken for what was written.
use kvarts_formats::FileId;
use kvarts_formats::compress::{Compression, open_block, seal_block};
use kvarts_formats::header::HEADER_BYTES;
use kvarts_formats::record::{LogEnd, RecordKind, record_bytes, scan, write_record};
use proptest::collection::vec;
use proptest::prelude::*;

const FILE: FileId = FileId(5);

/// A log of records with these (payload length, synced), then `tail` zero bytes; and where each record starts.
fn log(records: &[(usize, u64)], tail: usize) -> (Vec<u8>, Vec<usize>) {
    let (mut data, mut starts) = (vec![0xee; HEADER_BYTES], Vec::new());
    for (i, &(len, synced)) in records.iter().enumerate() {
        let offset = data.len();
        starts.push(offset);
        data.resize(offset + record_bytes(len), 0);
        write_record(&mut data[offset..], FILE, offset as u64, 0, RecordKind::Batch, synced, &vec![i as u8 + 1; len]);
    }
    starts.push(data.len());
    data.resize(data.len() + tail, 0);
    (data, starts)
}

/// Six records of 40 and 48 bytes; each from the fourth on knows that the first two were synced.
fn six_records() -> (Vec<u8>, Vec<usize>) {
    let synced = (HEADER_BYTES + 2 * 48) as u64;
    log(&[(1, 0), (2, 0), (3, 0), (8, synced), (0, synced), (5, synced)], 256)
}

#[test]
fn changed_byte_of_a_log_is_torn_or_damaged_at_its_record() {
    let (good, starts) = six_records();
    assert_eq!(scan(FILE, &good).verdict, LogEnd::Clean);
    for at in HEADER_BYTES..good.len() {
        for flip in [1, 0x40, 0xff] {
            let mut data = good.clone();
            data[at] ^= flip;
            let hit = starts.iter().rposition(|&start| start <= at).unwrap();
            let offset = starts[hit] as u64;
            let found = scan(FILE, &data);
            assert_eq!((found.records.len(), found.end), (hit, offset), "byte {at}");
            let expected = if hit < 2 { LogEnd::Damaged { offset } } else { LogEnd::Torn { offset } };
            assert_eq!(found.verdict, expected, "byte {at} ^ {flip}");
        }
    }
}

#[test]
fn log_cut_anywhere_is_a_prefix() {
    let (good, starts) = six_records();
    for len in HEADER_BYTES..good.len() {
        let found = scan(FILE, &good[..len]);
        let whole = starts[1..].iter().filter(|&&end| end <= len).count();
        assert_eq!(found.records.len(), whole, "cut at {len}");
        let offset = starts[whole] as u64;
        let is_clean = len == starts[whole] || len >= starts[6];
        assert_eq!(found.verdict, if is_clean { LogEnd::Clean } else { LogEnd::Torn { offset } }, "cut at {len}");
    }
}

#[test]
fn hole_is_torn_unless_it_had_been_synced() {
    let (good, starts) = six_records();
    for hole in 0..6 {
        let mut data = good.clone();
        data[starts[hole]..starts[hole + 1]].fill(0);
        let offset = starts[hole] as u64;
        let expected = match hole {
            0 | 1 => LogEnd::Damaged { offset },
            5 => LogEnd::Clean,
            _ => LogEnd::Torn { offset },
        };
        let found = scan(FILE, &data);
        assert_eq!((found.records.len(), found.verdict), (hole, expected));
    }
}

#[test]
fn record_of_another_file_or_place_does_not_count() {
    let (good, starts) = six_records();
    assert!(scan(FileId(6), &good).records.is_empty());
    let mut moved = good.clone();
    moved.copy_within(starts[4]..starts[5], starts[3]);
    assert_eq!(scan(FILE, &moved).records.len(), 3);
    let shifted = [&good[..HEADER_BYTES], &[0; 8], &good[HEADER_BYTES..]].concat();
    assert_eq!(scan(FILE, &shifted).verdict, LogEnd::Torn { offset: HEADER_BYTES as u64 });
}

#[test]
fn log_kept_as_a_value_does_not_pass_for_records() {
    let (inner, _) = six_records();
    let len = inner.len();
    let mut data = vec![0; HEADER_BYTES];
    for i in 0..2 {
        let offset = data.len();
        data.resize(offset + record_bytes(len), 0);
        write_record(&mut data[offset..], FILE, offset as u64, 0, RecordKind::Batch, 0, &inner);
        if i == 0 {
            data[offset + 9] ^= 1;
        }
    }
    assert_eq!(scan(FILE, &data).verdict, LogEnd::Torn { offset: HEADER_BYTES as u64 });
}

#[test]
fn endless_headers_in_a_damaged_log_end_in_the_careful_verdict() {
    let (mut data, _) = log(&[(100, 0)], 0);
    data[HEADER_BYTES + 30] ^= 1;
    let head: Vec<u8> = data[HEADER_BYTES..HEADER_BYTES + 24].to_vec();
    let mut forged = head.clone();
    forged[4..8].copy_from_slice(&100_000u32.to_le_bytes());
    (0..20_000).for_each(|_| data.extend_from_slice(&forged));
    data.resize(data.len() + 200_000, 0);
    assert_eq!(scan(FILE, &data).verdict, LogEnd::Damaged { offset: HEADER_BYTES as u64 });
}

proptest! {
    #[test]
    fn changed_byte_of_a_sealed_block_is_an_error(
        raw in prop_oneof![vec(any::<u8>(), 0..200), vec(0u8..2, 0..2000)],
        compression in prop_oneof![Just(Compression::None), Just(Compression::Lz4), (1u8..20).prop_map(Compression::Zstd)],
        at: prop::sample::Index,
        flip in 1u8..,
        file: u64,
        offset: u64,
    ) {
        let mut stored = Vec::new();
        seal_block(&mut stored, FileId(file), offset, &raw, compression);
        prop_assert_eq!(open_block(FileId(file), offset, &stored), Ok(raw));
        prop_assert!(open_block(FileId(file ^ 1), offset, &stored).is_err());
        prop_assert!(open_block(FileId(file), offset ^ 8, &stored).is_err());
        prop_assert!(file == offset || open_block(FileId(offset), file, &stored).is_err());
        let at = at.index(stored.len());
        prop_assert!(open_block(FileId(file), offset, &stored[..at]).is_err());
        stored[at] ^= flip;
        prop_assert!(open_block(FileId(file), offset, &stored).is_err());
    }

    #[test]
    fn records_round_trip_and_a_changed_byte_ends_the_prefix(
        payloads in vec(vec(any::<u8>(), 0..300), 1..12),
        at: prop::sample::Index,
        flip in 1u8..,
    ) {
        let mut data = vec![0; HEADER_BYTES];
        for payload in &payloads {
            let offset = data.len();
            data.resize(offset + record_bytes(payload.len()), 0);
            write_record(&mut data[offset..], FILE, offset as u64, 9, RecordKind::End, offset as u64, payload);
        }
        let found = scan(FILE, &data);
        prop_assert_eq!(found.verdict, LogEnd::Clean);
        let read: Vec<_> = found.records.iter().map(|record| record.payload).collect();
        prop_assert_eq!(&read, &payloads);

        let at = HEADER_BYTES + at.index(data.len() - HEADER_BYTES);
        let hit = found.records.iter().position(|record| at < record.next as usize).unwrap();
        let offset = found.records[hit].offset;
        data[at] ^= flip;
        let found = scan(FILE, &data);
        prop_assert_eq!(found.records.len(), hit);
        let is_last = hit + 1 == payloads.len();
        prop_assert_eq!(found.verdict, if is_last { LogEnd::Torn { offset } } else { LogEnd::Damaged { offset } });
    }
}
