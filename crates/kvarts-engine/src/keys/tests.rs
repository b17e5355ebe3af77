//! What a key opens, and what it refuses.
use super::{Identity, Keys, MasterKey};
use crate::{Error, FileId};
use kvarts_formats::compress::{Compression, open_block, open_block_owned, seal_block};
use kvarts_formats::header::{FileHeader, FileKind, HEADER_BYTES};
use kvarts_formats::record::{NewRecord, RecordKind, record_bytes, scan_opening, shows_synced};
use kvarts_formats::seal::Place;
use proptest::prelude::*;
use std::path::Path;
use std::sync::Arc;

const STORE: [u8; 16] = *b"0123456789abcdef";

fn key(byte: u8) -> MasterKey {
    MasterKey::take(&mut [byte; 32])
}

fn identity(byte: u8) -> Identity {
    Identity::new(STORE, Some(Arc::new(Keys::new(key(byte), []))))
}

fn path() -> &'static Path {
    Path::new("/store/000007.table")
}

#[test]
fn ids_are_pinned_and_say_nothing_of_the_key() {
    assert_eq!(key(1).id().to_string(), "55b412b8b7efd7cf");
    assert_ne!(key(1).id(), key(2).id());
    assert_eq!(format!("{:?}", key(1)), format!("<MasterKey {}>", key(1).id()));
    assert_eq!(format!("{:?}", identity(1).keys().unwrap()), format!("Keys([{:?}])", key(1).id()));
}

#[test]
fn a_key_that_is_taken_over_is_zeroed_where_it_was() {
    let mut given = [7; 32];
    MasterKey::take(&mut given);
    assert_eq!(given, [0; 32]);
}

#[test]
fn every_file_has_a_key_of_its_own() {
    let identity = identity(1);
    let wrapped = || identity.begin(FileKind::Table, FileId(7)).unwrap().header.key.unwrap().bytes;
    assert_ne!(wrapped(), wrapped());
}

/// The header of a new file, encoded again after a change, with a checksum that matches.
fn changed(header: &FileHeader, change: impl FnOnce(&mut FileHeader)) -> FileHeader {
    let mut changed = header.clone();
    change(&mut changed);
    FileHeader::decode(&changed.encode(), changed.kind).unwrap()
}

#[test]
fn a_header_that_someone_changed_does_not_open() {
    let identity = identity(1);
    let header = identity.begin(FileKind::Table, FileId(7)).unwrap().header;
    assert!(identity.open(path(), &header).is_ok());
    let mut forged = vec![
        changed(&header, |header| header.kind = FileKind::Log),
        changed(&header, |header| header.file = FileId(8)),
        changed(&header, |header| header.store[3] ^= 1),
        changed(&header, |header| header.key = None),
    ];
    for bit in 0..header.key.as_ref().unwrap().bytes.len() * 8 {
        forged.push(changed(&header, |header| header.key.as_mut().unwrap().bytes[bit / 8] ^= 1 << (bit % 8)));
    }
    for header in forged {
        let refused = identity.open(path(), &header).err();
        assert!(matches!(refused, Some(Error::Corruption { offset: 0, .. })), "{header:?}: {refused:?}");
    }
    let renamed = changed(&header, |header| header.key.as_mut().unwrap().id ^= 1);
    assert!(matches!(identity.open(path(), &renamed), Err(Error::WrongKey { .. })));
}

#[test]
fn the_first_key_wraps_and_all_open() {
    let keys = Arc::new(Keys::new(key(1), [key(2)]));
    let identity = Identity::new(STORE, Some(Arc::clone(&keys)));
    let old = identity.begin(FileKind::Log, FileId(1)).unwrap().header;
    assert_eq!(old.key.as_ref().unwrap().id, key(1).id().0);
    keys.put_first(key(2));
    keys.put_first(key(3));
    let new = identity.begin(FileKind::Log, FileId(2)).unwrap().header;
    assert_eq!(new.key.as_ref().unwrap().id, key(3).id().0);
    assert_eq!(keys.ids(), [3, 2, 1].map(|byte| key(byte).id()));
    assert!(identity.open(path(), &old).is_ok() && identity.open(path(), &new).is_ok());
    keys.keep_first();
    assert!(matches!(identity.open(path(), &old), Err(Error::WrongKey { .. })));
    assert!(identity.open(path(), &new).is_ok());
}

/// A log of records with these payloads, of which record `i` says that `synced[i]` bytes were synced.
fn log(seal: &kvarts_formats::seal::FileSeal, records: &[(Vec<u8>, u32)], synced: u64) -> Vec<u8> {
    let mut data = vec![0xee; HEADER_BYTES];
    for (payload, attempt) in records {
        let start = data.len();
        data.resize(start + record_bytes(payload.len()), 0);
        let record = NewRecord { stream: 0, kind: RecordKind::Batch, payload: [payload, &[]] };
        record.write(&mut data[start..], seal, Place { offset: start as u64, attempt: *attempt }, synced);
    }
    data.resize(data.len() + 64, 0);
    data
}

proptest! {
    #[test]
    fn blocks_open_where_they_were_sealed_and_nowhere_else(
        raw in prop::collection::vec(any::<u8>(), 0..600), offset in 128u64..1 << 40, flip in any::<prop::sample::Index>(),
    ) {
        let identity = identity(1);
        let [seal, other] = [7, 8].map(|file| identity.begin(FileKind::Table, FileId(file)).unwrap().seal);
        for compression in [Compression::None, Compression::Lz4, Compression::Zstd(3)] {
            let mut stored = Vec::new();
            seal_block(&mut stored, &seal, offset, &raw, compression);
            prop_assert!(raw.len() < 16 || !stored.windows(16).any(|window| window == &raw[..16]));
            prop_assert_eq!(open_block(&seal, offset, &stored), Ok(raw.clone()));
            let opened = open_block_owned(&seal, offset, stored.clone());
            prop_assert_eq!(opened.as_deref(), Ok(&raw[..]));
            prop_assert!(open_block(&seal, offset + 8, &stored).is_err());
            prop_assert!(open_block(&other, offset, &stored).is_err());
            prop_assert!(open_block(FileId(7), offset, &stored).is_err());
            let at = flip.index(stored.len());
            prop_assert!(open_block(&seal, offset, &stored[..at]).is_err());
            stored[at] ^= 1;
            prop_assert!(open_block(&seal, offset, &stored).is_err());
            prop_assert!(open_block_owned(&seal, offset, stored).is_err());
        }
    }

    #[test]
    fn records_read_back_and_a_changed_byte_ends_the_log(
        records in prop::collection::vec((prop::collection::vec(any::<u8>(), 0..90), 0u32..3), 1..8),
        flip in any::<prop::sample::Index>(),
    ) {
        let seal = identity(1).begin(FileKind::Log, FileId(7)).unwrap().seal;
        let data = log(&seal, &records, 0);
        let mut opened = data.clone();
        let scan = scan_opening(&seal, &mut opened);
        prop_assert_eq!(scan.end as usize, data.len() - 64);
        let payloads: Vec<_> = scan.records.iter().map(|record| record.payload.to_vec()).collect();
        prop_assert_eq!(&payloads, &records.iter().map(|(payload, _)| payload.clone()).collect::<Vec<_>>());
        let mut damaged = data.clone();
        let at = HEADER_BYTES + flip.index(data.len() - 64 - HEADER_BYTES);
        damaged[at] ^= 0x10;
        let scan = scan_opening(&seal, &mut damaged);
        prop_assert!(scan.end as usize <= at && scan.records.len() < records.len());
        let whole = scan.records.iter().map(|record| record.payload);
        prop_assert!(whole.eq(records.iter().map(|(payload, _)| &payload[..]).take(scan.records.len())));
    }
}

#[test]
fn a_later_record_shows_that_what_is_not_whole_was_synced() {
    let seal = identity(1).begin(FileKind::Log, FileId(7)).unwrap().seal;
    let records = [(vec![1; 40], 0), (vec![2; 40], 0)];
    assert!(!shows_synced(&seal, &log(&seal, &records, 0)));
    let mut data = log(&seal, &records, 128);
    assert!(shows_synced(&seal, &data));
    data[HEADER_BYTES + 30] ^= 1;
    assert!(shows_synced(&seal, &data));
    let other = identity(1).begin(FileKind::Log, FileId(7)).unwrap().seal;
    assert!(!shows_synced(&other, &data), "records of another key show nothing");
}
