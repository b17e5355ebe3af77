//! Format 1 does not change by accident: what is written today is, byte for byte, what was written yesterday.
//!
//! A wanted change is a new layout or version (docs/formats/format-1.md), and keeps reading these bytes.
use kvarts_formats::batch::Batch;
use kvarts_formats::block::BlockBuilder;
use kvarts_formats::compress::{Compression, seal_block};
use kvarts_formats::filter::FilterBuilder;
use kvarts_formats::hash::key_hash;
use kvarts_formats::header::{FileHeader, FileKind};
use kvarts_formats::index::{BlockHandle, IndexBuilder};
use kvarts_formats::manifest::{Manifest, TableRecord, TreeRecord};
use kvarts_formats::node_record::{EntryId, GroupRecord, HardState, Mark, NodeRecord};
use kvarts_formats::record::{RecordKind, record_bytes, write_record};
use kvarts_formats::table::{Footer, Properties};
use kvarts_formats::{FileId, Kind, Revision, TreeId};

fn pinned(name: &str, bytes: &[u8], len: usize, hash: u64) {
    assert_eq!((bytes.len(), key_hash(bytes)), (len, hash), "{name}: {:#018x}: {bytes:02x?}", key_hash(bytes));
}

#[test]
fn header_and_record() {
    let header =
        FileHeader { version: 1, kind: FileKind::Log, file: FileId(7), store: *b"0123456789abcdef", key: None };
    pinned("header", &header.encode(), 128, 0x02da_a0ca_9670_bd32);
    let mut record = vec![0; record_bytes(5)];
    write_record(&mut record, FileId(7), 256, 1, RecordKind::End, 128, b"hello");
    pinned("record", &record, 48, 0xb1d4_5eff_13db_9bc8);
}

#[test]
fn node_records() {
    let id = EntryId { index: 41, term: 7 };
    let hard_state = HardState { term: 7, vote: 3, commit: 40 };
    let mark = Mark { id, membership: b"members" };
    let all = [
        NodeRecord::HardState(hard_state),
        NodeRecord::Entry { id, kind: 2, payload: b"payload" },
        NodeRecord::SnapshotMark(mark),
        NodeRecord::Compacted(id),
        NodeRecord::Group(GroupRecord { hard_state, base: id, last: 50, mark: None }),
        NodeRecord::Group(GroupRecord { hard_state, base: id, last: 50, mark: Some(mark) }),
        NodeRecord::Resumed { after: FileId(6), whole: 4096 },
        NodeRecord::Removed,
    ];
    let mut log = Vec::new();
    for said in all {
        let (head, offset) = (said.head(), 128 + log.len() as u64);
        let record = said.with_head(&head, 5);
        let mut bytes = vec![0; record.bytes()];
        record.write(&mut bytes, FileId(7), offset, 128);
        log.extend_from_slice(&bytes);
    }
    pinned("node records", &log, 552, 0x8817_3209_6dc5_80af);
}

#[test]
fn batch() {
    let mut batch = Batch::new();
    batch.put(TreeId(300), b"key", &[9; 200]);
    batch.put_expiring(TreeId(0), b"k", 1 << 40, b"v");
    batch.delete(TreeId(1), b"gone");
    pinned("batch", batch.encoded(Revision(77)), 243, 0x5e8f_e88d_8868_e64c);
}

#[test]
fn block() {
    let mut builder = BlockBuilder::new(4);
    for i in 0..20u64 {
        let kind = [Kind::Put, Kind::Delete, Kind::PutExpiring][i as usize % 3];
        let value = vec![i as u8; if kind == Kind::Delete { 0 } else { 8 + i as usize }];
        builder.add(format!("row/{:02}", i / 2).as_bytes(), Revision(5000 - 20 * i), kind, &value);
    }
    let varied = builder.finish();
    pinned("varied block", &varied, 475, 0xfd86_493c_dd45_dddb);
    (0..9u8).for_each(|i| builder.add(&[i], Revision(3), Kind::Put, &[i; 4]));
    pinned("uniform block", &builder.finish(), 95, 0x8888_8869_449e_da20);
    let mut sealed = Vec::new();
    seal_block(&mut sealed, FileId(7), 128, &varied, Compression::None);
    pinned("sealed block", &sealed, 499, 0x3073_0593_6e08_e60c);
}

#[test]
fn filter_and_index() {
    let mut filter = FilterBuilder::default();
    (0..100u64).for_each(|i| filter.add(key_hash(&i.to_le_bytes())));
    pinned("filter", &filter.finish(10), 136, 0x0495_1b49_6287_857e);
    (0..100u64).for_each(|i| filter.add(key_hash(&i.to_le_bytes())));
    pinned("wide filter", &filter.finish(16), 264, 0xe21c_9af3_c653_f8fd);
    let mut index = IndexBuilder::default();
    for i in 0..5u64 {
        index.add(format!("key/{i}").as_bytes(), Revision(9 - i), BlockHandle { offset: 128 + 90 * i, len: 90 });
    }
    pinned("index", &index.finish(), 161, 0xd7c6_257a_3fdd_98ae);
}

#[test]
fn footer_and_properties() {
    let handle = |offset| BlockHandle { offset, len: 100 };
    let footer = Footer { index: handle(900), filter: handle(800), properties: handle(1000) };
    pinned("footer", &footer.encode(FileId(7), 1100), 128, 0xb80b_edbd_5251_53d3);
    let properties = Properties {
        rows: 5,
        tombstones: 1,
        expiring: 2,
        raw_bytes: 99,
        revision_min: Revision(3),
        revision_max: Revision(8),
        expiry_min_ms: 1 << 41,
        expiry_half_ms: 1 << 42,
        keys: 4,
        smallest: b"a".to_vec(),
        largest: b"z".to_vec(),
    };
    pinned("properties", &properties.encode(), 90, 0xdbd3_96b5_231f_9462);
}

#[test]
fn manifest() {
    let table = TableRecord {
        file: FileId(4),
        bytes: 5000,
        rows: 50,
        tombstones: 3,
        revision_min: Revision(2),
        revision_max: Revision(90),
        expiry_min_ms: u64::MAX,
        expiry_half_ms: u64::MAX,
        keys: 45,
        smallest: b"a".to_vec(),
        largest: b"zz".to_vec(),
    };
    let tree = TreeRecord {
        id: TreeId(1),
        name: "default".into(),
        key_codec: "str".into(),
        value_codec: "json".into(),
        compression: None,
        flushed: Revision(80),
        levels: vec![vec![], vec![table]],
    };
    let manifest = Manifest {
        store: *b"0123456789abcdef",
        next_file: 9,
        next_tree: 2,
        last_revision: Revision(100),
        logs: vec![FileId(8)],
        trees: vec![tree],
    };
    pinned("manifest", &manifest.encode(FileId(6)), 313, 0xd168_73db_7ac4_5c57);
}
