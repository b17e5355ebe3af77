//! No decoder panics on any bytes, and what a decoder accepts it can serve.
use kvarts_formats::batch::{Batch, BatchView};
use kvarts_formats::block::{Block, BlockBuilder};
use kvarts_formats::checksum;
use kvarts_formats::compress::open_block;
use kvarts_formats::filter::{Filter, FilterBuilder};
use kvarts_formats::hash::key_hash;
use kvarts_formats::header::{FileHeader, FileKind, HEADER_BYTES};
use kvarts_formats::index::{BlockHandle, Index, IndexBuilder};
use kvarts_formats::manifest::Manifest;
use kvarts_formats::record::{read_record, scan};
use kvarts_formats::table::{Footer, Properties};
use kvarts_formats::{FileId, Kind, Revision, TreeId};
use proptest::collection::vec;
use proptest::prelude::*;

/// Any bytes, or `good` with a few bytes set, cut out or cut off.
fn spoilt(good: Vec<u8>) -> impl Strategy<Value = Vec<u8>> {
    let small = prop_oneof![any::<u8>(), 0u8..4, Just(0xff)];
    let changes = vec((any::<prop::sample::Index>(), small, 0u8..12), 1..6);
    let changed = changes.prop_map(move |changes| {
        let mut bytes = good.clone();
        for (at, byte, how) in changes {
            if bytes.is_empty() {
                break;
            }
            let at = at.index(bytes.len());
            match how {
                0 => bytes.truncate(at),
                1 => drop(bytes.remove(at)),
                2 => bytes.insert(at, byte),
                _ => bytes[at] = byte,
            }
        }
        bytes
    });
    prop_oneof![1 => vec(any::<u8>(), 0..300), 4 => changed]
}

fn good_block(varied: bool) -> Vec<u8> {
    let mut builder = BlockBuilder::new(4);
    for i in 0..14u64 {
        let kind = if !varied { Kind::Put } else { [Kind::Put, Kind::Delete, Kind::PutExpiring][i as usize % 3] };
        let value = vec![i as u8; if kind == Kind::Delete { 0 } else { 8 + if varied { i as usize % 4 } else { 0 } }];
        let revision = if varied { 900 - 50 * i } else { 7 };
        builder.add(format!("k{:03}", if varied { i / 3 } else { i }).as_bytes(), Revision(revision), kind, &value);
    }
    builder.finish()
}

fn good_index() -> Vec<u8> {
    let mut builder = IndexBuilder::default();
    for i in 0..9u64 {
        builder.add(format!("key/{i}").as_bytes(), Revision(i), BlockHandle { offset: 128 + 50 * i, len: 50 });
    }
    builder.finish()
}

fn good_batch() -> Vec<u8> {
    let mut batch = Batch::new();
    for i in 0..5 {
        batch.put(TreeId(i), b"some key", &[1; 150]);
        batch.put_expiring(TreeId(300), b"other", 77, b"value");
        batch.delete(TreeId(i), b"gone");
    }
    batch.encoded(Revision(12)).to_vec()
}

fn good_filter() -> Vec<u8> {
    let mut builder = FilterBuilder::default();
    (0..200u64).for_each(|hash| builder.add(hash << 50));
    builder.finish(10)
}

/// A manifest's body, to which `sealed_manifest` puts header and tag.
fn good_manifest_body() -> Vec<u8> {
    use kvarts_formats::manifest::{TableRecord, TreeRecord};
    let table = |file, smallest: &str, largest: &str| TableRecord {
        file: FileId(file),
        bytes: 1,
        rows: 2,
        tombstones: 1,
        revision_min: Revision(1),
        revision_max: Revision(2),
        expiry_min_ms: 3,
        expiry_half_ms: 4,
        keys: 2,
        smallest: smallest.into(),
        largest: largest.into(),
    };
    let tree = |id, levels| TreeRecord {
        id: TreeId(id),
        name: format!("tree{id}"),
        key_codec: "str".into(),
        value_codec: "bytes".into(),
        compression: None,
        flushed: Revision(1),
        levels,
    };
    let manifest = Manifest {
        store: [3; 16],
        next_file: 9,
        next_tree: 3,
        last_revision: Revision(5),
        logs: vec![FileId(7), FileId(8)],
        trees: vec![
            tree(0, vec![vec![table(1, "a", "b")], vec![table(2, "c", "d"), table(3, "e", "f")]]),
            tree(1, vec![]),
        ],
    };
    let bytes = manifest.encode(FileId(1));
    bytes[HEADER_BYTES..bytes.len() - checksum::TAG_BYTES].to_vec()
}

fn sealed_manifest(body: &[u8]) -> Vec<u8> {
    let mut bytes = FileHeader { version: 1, kind: FileKind::Manifest, file: FileId(1), store: [3; 16], key: None }
        .encode()
        .to_vec();
    bytes.extend_from_slice(body);
    bytes.extend_from_slice(&checksum::tag(FileId(1), HEADER_BYTES as u64, &[body]));
    bytes
}

/// Asks for everything that a block can tell, and checks that it is in order.
fn use_block(block: &Block) {
    let (mut key, mut last) = (Vec::new(), None);
    for row in 0..block.rows() {
        block.key_after(row, &mut key);
        let mut same = Vec::new();
        block.key_into(row, &mut same);
        assert_eq!(key, same);
        let revision = block.revision(row);
        let place = (key.clone(), std::cmp::Reverse(revision));
        assert!(last.is_none_or(|last| last < place), "accepted rows are sorted");
        last = Some(place);
        assert_eq!(block.find(&key, revision), Some(row));
        assert_eq!(block.find_hashed(&key, key_hash(&key), revision, |_| ()), Some(row));
        assert_eq!(block.lower_bound(&key, revision), row);
        let value = block.value(row);
        match block.kind(row) {
            Kind::Delete => assert!(value.is_empty()),
            Kind::Put => {}
            Kind::PutExpiring => assert!(value.len() >= 8),
        }
    }
    assert_eq!(block.value_run(0, block.rows()).len(), block.value_offset(block.rows()));
    for key in [&b""[..], b"k", b"k0010", &[0xff; 9]] {
        block.find(key, Revision(40));
        block.find_hashed(key, key_hash(key), Revision(40), |_| ());
    }
}

/// Tells whether a block is searched rightly for any key, by looking at every row.
fn find_slowly(block: &Block, wanted: &[u8], at: Revision) -> usize {
    let mut key = Vec::new();
    (0..block.rows())
        .find(|&row| {
            block.key_after(row, &mut key);
            (&key[..], std::cmp::Reverse(block.revision(row))) >= (wanted, std::cmp::Reverse(at))
        })
        .unwrap_or(block.rows())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn blocks(bytes in prop_oneof![spoilt(good_block(true)), spoilt(good_block(false))]) {
        if let Ok(block) = Block::parse(bytes) {
            use_block(&block);
        }
    }

    #[test]
    fn block_search_agrees_with_looking_at_every_row(
        rows in prop::collection::btree_set((vec(0u8..3, 0..7), 0u64..6), 1..60),
        interval in 1usize..20,
        wanted in vec((vec(0u8..3, 0..8), 0u64..7), 20),
    ) {
        let mut rows: Vec<_> = rows.into_iter().collect();
        rows.sort_by(|a, b| (&a.0, b.1).cmp(&(&b.0, a.1)));
        let mut builder = BlockBuilder::new(interval);
        rows.iter().for_each(|(key, revision)| builder.add(key, Revision(*revision), Kind::Put, b"v"));
        let block = Block::parse(builder.finish()).unwrap();
        use_block(&block);
        for (key, at) in wanted {
            let row = find_slowly(&block, &key, Revision(at));
            prop_assert_eq!(block.lower_bound(&key, Revision(at)), row);
            let is_key = rows.get(row).is_some_and(|found| found.0 == key);
            prop_assert_eq!(block.find(&key, Revision(at)), is_key.then_some(row));
            prop_assert_eq!(block.find_hashed(&key, key_hash(&key), Revision(at), |_| ()), is_key.then_some(row));
        }
    }

    #[test]
    fn indexes(bytes in spoilt(good_index())) {
        if let Ok(index) = Index::parse(&bytes) {
            for i in 0..index.blocks() {
                prop_assert_eq!(index.find(index.end_key(i), index.end_revision(i)), i);
                prop_assert!(index.handle(i).end().is_some());
            }
            index.find(b"key/44", Revision(1));
        }
    }

    #[test]
    fn index_search_agrees_with_looking_at_every_block(
        keys in prop::collection::btree_set((vec(0u8..3, 0..14), 0u64..4), 0..40),
        prefix in vec(0u8..3, 0..12),
        wanted in vec((vec(0u8..3, 0..26), 0u64..5, any::<bool>()), 20),
    ) {
        let mut rows: Vec<_> = keys.into_iter().map(|(key, revision)| ([&prefix[..], &key].concat(), revision)).collect();
        rows.sort_by(|a, b| (&a.0, b.1).cmp(&(&b.0, a.1)));
        let mut builder = IndexBuilder::default();
        for (key, revision) in &rows {
            builder.add(key, Revision(*revision), BlockHandle { offset: 128, len: 0 });
        }
        let index = Index::parse(&builder.finish()).unwrap();
        for (key, at, prefixed) in wanted {
            let key = if prefixed { [&prefix[..], &key].concat() } else { key };
            let is_at_or_after = |row: &(Vec<u8>, u64)| (&row.0, at) >= (&key, row.1);
            let expected = rows.iter().position(is_at_or_after).unwrap_or(rows.len());
            prop_assert_eq!(index.find(&key, Revision(at)), expected, "{:?} {}", key, at);
        }
    }

    #[test]
    fn batches(bytes in spoilt(good_batch())) {
        if let Ok(view) = BatchView::decode(&bytes) {
            let ops: Vec<_> = view.ops().collect();
            let errors = ops.iter().filter(|op| op.is_err()).count();
            prop_assert!(errors == 0 && ops.len() == view.count as usize || errors == 1 && ops.last().unwrap().is_err());
        }
    }

    #[test]
    fn filters(bytes in spoilt(good_filter()), hash: u64) {
        if let Ok(filter) = Filter::parse(bytes) {
            filter.may_contain(hash);
        }
    }

    #[test]
    fn manifests(body in spoilt(good_manifest_body())) {
        if let Ok(manifest) = Manifest::decode(&sealed_manifest(&body)) {
            prop_assert_eq!(manifest.encode(FileId(1)), sealed_manifest(&body), "there is one way to write it");
        }
    }

    #[test]
    fn the_rest(bytes in vec(any::<u8>(), 0..400)) {
        for kind in [FileKind::Table, FileKind::Log, FileKind::Manifest] {
            prop_assert!(FileHeader::decode(&bytes, kind).is_err());
        }
        prop_assert!(open_block(FileId(1), 128, &bytes).is_err());
        prop_assert!(Footer::decode(FileId(1), 128, &bytes).is_err());
        prop_assert!(Manifest::decode(&bytes).is_err());
        drop(Properties::decode(&bytes));
        prop_assert!(scan(FileId(1), &bytes).records.is_empty());
        for offset in (0..bytes.len() as u64 + 16).step_by(8) {
            prop_assert!(!matches!(read_record(FileId(1), &bytes, offset), Ok(Some(_))));
        }
    }

    #[test]
    fn sealed_bytes_that_are_no_block(head in vec(any::<u8>(), 8), code in 0u8..4, len in 0u32..5000, body in vec(any::<u8>(), 0..200)) {
        let mut stored = head;
        if code > 0 {
            stored[..4].copy_from_slice(&[code, 0, 0, 0]);
            stored[4..].copy_from_slice(&len.to_le_bytes());
        }
        stored.extend_from_slice(&body);
        let tag = checksum::tag(FileId(1), 128, &[&stored]);
        stored.extend_from_slice(&tag);
        if let Ok(raw) = open_block(FileId(1), 128, &stored) {
            prop_assert!(raw.len() <= (32 << 10) * body.len());
        }
    }
}
