use super::*;
use crate::record::{record_at, record_bytes};
use proptest::collection::vec;
use proptest::prelude::*;

const FILE: FileId = FileId(9);

fn encoded(said: &NodeRecord<'_>, stream: u32) -> Vec<u8> {
    let head = said.head();
    let record = said.with_head(&head, stream);
    let mut out = vec![0xdd; record.bytes()];
    record.write(&mut out, FILE, 1024, 128);
    out
}

fn id() -> impl Strategy<Value = EntryId> {
    (1u64.., any::<u64>()).prop_map(|(index, term)| EntryId { index, term })
}

/// The fields of any record; `at` picks which.
type Fields = (u8, EntryId, EntryId, [u64; 3], u32, Option<EntryId>);

fn fields() -> impl Strategy<Value = Fields> {
    (0u8..7, id(), id(), any::<[u64; 3]>(), any::<u32>(), proptest::option::of(id()))
}

fn said<'a>((which, one, two, numbers, kind, marked): &Fields, tail: &'a [u8]) -> NodeRecord<'a> {
    let hard_state = HardState { term: numbers[0], vote: numbers[1], commit: numbers[2] };
    match which {
        0 => NodeRecord::HardState(hard_state),
        1 => NodeRecord::Entry { id: *one, kind: *kind, payload: tail },
        2 => NodeRecord::SnapshotMark(Mark { id: *one, membership: tail }),
        3 => NodeRecord::Compacted(*one),
        4 => NodeRecord::Group(GroupRecord {
            hard_state,
            base: *one,
            last: one.index.max(two.index),
            mark: marked.map(|id| Mark { id, membership: tail }),
        }),
        5 => NodeRecord::Resumed { after: FileId(one.index), whole: two.index },
        _ => NodeRecord::Removed,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn what_is_written_is_read_back(fields in fields(), tail in vec(any::<u8>(), 0..100), stream: u32) {
        let said = said(&fields, &tail);
        let bytes = encoded(&said, stream);
        let record = record_at(FILE, 1024, &bytes).unwrap();
        prop_assert_eq!((record.stream, record.kind, record.synced), (stream, said.kind(), 128));
        prop_assert_eq!(record.next, 1024 + record_bytes(record.payload.len()) as u64);
        prop_assert_eq!(NodeRecord::decode(&record), Ok(said));
        prop_assert!(record_at(FILE, 1032, &bytes).is_err(), "a record is whole only in its place");
        prop_assert!(record_at(FILE, 1024, &bytes[..bytes.len() - 1]).is_err());
    }

    #[test]
    fn any_payload_is_refused_or_says_what_writes_it(which in 0usize..9, payload in vec(prop_oneof![Just(0u8), any::<u8>()], 0..90)) {
        let kinds = [RecordKind::Batch, RecordKind::End, RecordKind::HardState, RecordKind::Entry, RecordKind::SnapshotMark,
            RecordKind::Compacted, RecordKind::Group, RecordKind::Resumed, RecordKind::Removed];
        let record = Record { stream: 1, kind: kinds[which], synced: 0, payload: &payload, offset: 128, next: 256 };
        if let Ok(said) = NodeRecord::decode(&record) {
            prop_assert_eq!(said.kind(), record.kind);
            let (head, tail) = (said.head(), said.tail());
            prop_assert_eq!([head.as_bytes(), tail].concat(), payload);
        }
    }
}

#[test]
fn bytes_are_those_of_the_format_page() {
    let said = NodeRecord::Entry { id: EntryId { index: 7, term: 3 }, kind: 2, payload: b"abc" };
    let record = encoded(&said, 5);
    assert_eq!(record[..12], *b"vK\x04\0\x1b\0\0\0\x05\0\0\0");
    assert_eq!(record[24..51], *b"\x03\0\0\0\0\0\0\0\x07\0\0\0\0\0\0\0\x02\0\0\0\0\0\0\0abc");
}

#[test]
fn records_that_cannot_be_are_refused() {
    let refused = |kind, payload: &[u8]| {
        let record = Record { stream: 1, kind, synced: 0, payload, offset: 128, next: 256 };
        assert!(NodeRecord::decode(&record).is_err(), "{kind:?} {payload:?}");
    };
    refused(RecordKind::Entry, &[0; 23]);
    refused(RecordKind::Entry, &[0; 24]);
    refused(RecordKind::HardState, &[0; 25]);
    refused(RecordKind::Removed, &[0]);
    refused(RecordKind::Group, &[0; 63]);
    let mut backwards = [0; 48];
    backwards[24] = 1;
    refused(RecordKind::Group, &backwards);
    refused(RecordKind::Entry, &[&[1; 8], &[0xff; 8][..], &[0; 8]].concat());
    refused(RecordKind::Compacted, &[&[0xff; 8][..], &[1; 8]].concat());
    refused(RecordKind::SnapshotMark, &[&[0xff; 8][..], &[1; 8]].concat());
    refused(RecordKind::Group, &[&[0; 40][..], &[0xff; 8]].concat());
    refused(RecordKind::Batch, &[]);
    refused(RecordKind::End, &[0; 8]);
}
