//! Logs: of the engine, and of a node.
use super::tuples::sentence;
use crate::Verdict;
use crate::seal::{FILE, STORE, file, log as sealed_log};
use kvarts_engine::fs::{Fs, MemFs};
use kvarts_engine::log::log_path;
use kvarts_formats::FileId;
use kvarts_formats::header::{FileKind, HEADER_BYTES};
use kvarts_formats::node_record::{EntryId, GroupRecord, HardState, Mark, NodeRecord};
use kvarts_formats::record::{LogEnd, Record, RecordKind, read_record, record_bytes, scan, shows_synced, write_record};
use kvarts_serve::nodelog::{NodeLog, NodeLogOptions};
use std::path::Path;
use std::sync::Arc;

/// Bit of an input's first byte: tags are made true before it is read.
const SEALED: u8 = 1;

/// An input: how it is read, then records.
fn records(kinds: &[(RecordKind, u32, u64, &[u8])], sealed: bool) -> Vec<u8> {
    let mut data = vec![0; HEADER_BYTES];
    for (kind, stream, synced, payload) in kinds {
        let at = data.len();
        data.resize(at + record_bytes(payload.len()), 0);
        write_record(&mut data[at..], FILE, at as u64, *stream, *kind, *synced, payload);
    }
    [&[u8::from(sealed)][..], &data[HEADER_BYTES..]].concat()
}

fn log_of(input: &[u8]) -> Vec<u8> {
    let (how, body) = input.split_first().unwrap_or((&0, &[]));
    if how & SEALED == 0 { file(FileKind::Log, body) } else { sealed_log(body) }
}

pub fn log_seeds() -> Vec<Vec<u8>> {
    let few: [(RecordKind, u32, u64, &[u8]); 5] = [
        (RecordKind::Batch, 0, 0, b"one"),
        (RecordKind::Batch, 0, 128, b""),
        (RecordKind::Batch, 0, 176, &[7; 90]),
        (RecordKind::Batch, 0, 176, b"four"),
        (RecordKind::End, 0, 300, &[9, 0, 0, 0, 0, 0, 0, 0]),
    ];
    let mut torn = records(&few, false);
    torn.truncate(torn.len() - 30);
    torn.resize(torn.len() + 200, 0);
    vec![records(&[], true), records(&few, true), records(&few, false), torn]
}

/// Whole records follow one another from the header on, and the verdict is about where they end.
pub fn log(input: &[u8]) -> Verdict {
    let data = log_of(input);
    let found = scan(FILE, &data);
    let mut at = HEADER_BYTES as u64;
    for record in &found.records {
        assert_eq!(record.offset, at, "records have no gap");
        assert_eq!(read_record(FILE, &data, at).expect("a record of the scan").as_ref(), Some(record));
        at = record.next;
    }
    assert_eq!(found.end, at, "the end is behind the last record");
    shows_synced(FILE, &data);
    match found.verdict {
        LogEnd::Clean => format!("clean {}", found.records.len().min(3)),
        LogEnd::Torn { offset } => {
            assert_eq!(offset, at);
            format!("torn {}", found.records.len().min(3))
        }
        LogEnd::Damaged { offset } => {
            assert_eq!(offset, at);
            format!("damaged {}", found.records.len().min(3))
        }
    }
}

/// What a node log says, as it may follow.
fn said() -> Vec<NodeRecord<'static>> {
    let id = |index, term| EntryId { index, term };
    let hard_state = HardState { term: 2, vote: 1, commit: 1 };
    let mark = Mark { id: id(4, 2), membership: b"{}" };
    vec![
        NodeRecord::Group(GroupRecord { hard_state, base: id(0, 0), last: 0, mark: None }),
        NodeRecord::Entry { id: id(1, 2), kind: 0, payload: b"payload" },
        NodeRecord::Entry { id: id(2, 2), kind: 1, payload: b"" },
        NodeRecord::HardState(HardState { term: 3, vote: 0, commit: 2 }),
        NodeRecord::Entry { id: id(2, 3), kind: 0, payload: &[5; 60] },
        NodeRecord::Compacted(id(1, 2)),
        NodeRecord::SnapshotMark(mark),
        NodeRecord::Entry { id: id(5, 3), kind: 0, payload: b"after" },
        NodeRecord::Group(GroupRecord { hard_state, base: id(4, 2), last: 5, mark: Some(mark) }),
        NodeRecord::Removed,
    ]
}

pub fn node_record_seeds() -> Vec<Vec<u8>> {
    let resumed = NodeRecord::Resumed { after: FileId(3), whole: 200 };
    said()
        .into_iter()
        .chain([resumed])
        .map(|record| [&[record.kind() as u8], record.head().as_bytes(), record.tail()].concat())
        .collect()
}

/// A record's kind and payload have one form.
pub fn node_record(input: &[u8]) -> Verdict {
    let (kind, payload) = input.split_first().unwrap_or((&0, &[]));
    let kinds = [
        RecordKind::Batch,
        RecordKind::End,
        RecordKind::HardState,
        RecordKind::Entry,
        RecordKind::SnapshotMark,
        RecordKind::Compacted,
        RecordKind::Group,
        RecordKind::Resumed,
        RecordKind::Removed,
    ];
    let kind = kinds[(usize::from(*kind) + kinds.len() - 1) % kinds.len()];
    match NodeRecord::decode(&Record { stream: 1, kind, synced: 0, payload, offset: 128, next: 0 }) {
        Ok(record) => {
            assert_eq!(record.kind(), kind);
            assert_eq!([record.head().as_bytes(), record.tail()].concat(), payload, "a record has one form");
            format!("ok {kind:?}")
        }
        Err(error) => sentence(&error),
    }
}

pub fn node_log_seeds() -> Vec<Vec<u8>> {
    let heads: Vec<_> = said().into_iter().map(|record| (record, record.head())).collect();
    let payloads: Vec<_> =
        heads.iter().map(|(record, head)| (record.kind(), [head.as_bytes(), record.tail()].concat())).collect();
    let whole: Vec<_> = payloads.iter().map(|(kind, payload)| (*kind, 1, 128, &payload[..])).collect();
    let two: Vec<_> =
        payloads.iter().zip(0..).map(|((kind, payload), at)| (*kind, at % 2 + 1, 0, &payload[..])).collect();
    vec![records(&whole, true), records(&whole[..4], true), records(&two, true), records(&[], false)]
}

/// A node log opens with entries that can be read, or is refused; the same again when it is opened again.
pub fn node_log(input: &[u8]) -> Verdict {
    let mem = MemFs::default();
    let dir = Path::new("/log");
    let fs: Arc<dyn Fs> = Arc::new(mem);
    fs.create_dir(dir).expect("a directory in memory");
    let mut written = fs.create(&log_path(dir, FILE)).expect("a file in memory");
    written.append(&log_of(input)).expect("memory");
    written.sync().expect("memory");
    fs.sync_dir(dir).expect("memory");
    drop(written);
    let options = NodeLogOptions { log_bytes: 4 << 10, cache_bytes: 0 };
    let open = || NodeLog::open(Arc::clone(&fs), dir, STORE, options);
    match open() {
        Ok(log) => {
            let before = contents(&log);
            drop(log);
            let again = open().expect("what was opened once opens again");
            assert_eq!(contents(&again), before, "nothing changes by opening");
            format!("ok {} groups", before.len().min(3))
        }
        Err(error) => error.to_string().chars().filter(|mark| !mark.is_ascii_digit()).collect(),
    }
}

type Group = (u64, Option<HardState>, Option<(u64, u64, Vec<u8>)>, Vec<(u64, u64, Vec<u8>)>);

fn contents(log: &NodeLog) -> Vec<Group> {
    let entries = |group| {
        let (first, last) = (log.first_index(group).unwrap_or(1), log.last_index(group).unwrap_or(0));
        log.metas(group, first, last + 1, u64::MAX)
            .into_iter()
            .map(|meta| {
                let payload = log.payload(group, meta.index).expect("an entry that counts can be read");
                assert_eq!(payload.len(), meta.size as usize);
                (meta.index, meta.term, payload.to_vec())
            })
            .collect()
    };
    log.groups()
        .into_iter()
        .map(|group| (group, log.hard_state(group), log.snapshot_mark(group), entries(group)))
        .collect()
}
