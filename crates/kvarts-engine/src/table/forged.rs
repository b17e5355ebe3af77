//! Tables whose tags are right and whose parts contradict each other: what only `verify` can find.
use super::{BlockCache, Table, table_path};
use crate::fs::{Fs, MemFs};
use crate::{Error, FileId, Kind, Result, Revision};
use kvarts_formats::block::BlockBuilder;
use kvarts_formats::compress::{Compression, seal_block};
use kvarts_formats::filter::FilterBuilder;
use kvarts_formats::hash::key_hash;
use kvarts_formats::header::{FileHeader, FileKind};
use kvarts_formats::index::{BlockHandle, IndexBuilder};
use kvarts_formats::properties::PropertiesBuilder;
use kvarts_formats::table::Footer;
use std::path::Path;
use std::sync::Arc;

const STORE: [u8; 16] = [3; 16];
const FILE: FileId = FileId(1);

/// What goes into a table, each part on its own.
struct Forged {
    blocks: Vec<Vec<(&'static str, u64)>>,
    index: Vec<(&'static str, u64)>,
    filter: Vec<&'static str>,
    rows: Vec<(&'static str, u64)>,
    /// Bytes between the last block and the filter.
    gap: usize,
}

/// A table in which nothing contradicts.
fn sound() -> Forged {
    Forged {
        blocks: vec![vec![("a", 3), ("b", 9)], vec![("b", 4), ("c", 1)]],
        index: vec![("b", 9), ("c", 1)],
        filter: vec!["a", "b", "c"],
        rows: vec![("a", 3), ("b", 9), ("b", 4), ("c", 1)],
        gap: 0,
    }
}

impl Forged {
    fn encode(&self) -> Vec<u8> {
        let mut out =
            FileHeader { version: 1, kind: FileKind::Table, file: FILE, store: STORE, key: None }.encode().to_vec();
        let seal = |out: &mut Vec<u8>, raw: &[u8]| {
            let offset = out.len() as u64;
            seal_block(out, FILE, offset, raw, Compression::None);
            BlockHandle { offset, len: (out.len() as u64 - offset) as u32 }
        };
        let mut index = IndexBuilder::default();
        for (rows, (key, revision)) in self.blocks.iter().zip(&self.index) {
            let mut block = BlockBuilder::new(16);
            rows.iter().for_each(|(key, revision)| block.add(key.as_bytes(), Revision(*revision), Kind::Put, b"v"));
            let handle = seal(&mut out, &block.finish());
            index.add(key.as_bytes(), Revision(*revision), handle);
        }
        out.resize(out.len() + self.gap, 0);
        let mut filter = FilterBuilder::default();
        self.filter.iter().for_each(|key| filter.add(key_hash(key.as_bytes())));
        let mut properties = PropertiesBuilder::default();
        self.rows
            .iter()
            .for_each(|(key, revision)| properties.add(key.as_bytes(), Revision(*revision), Kind::Put, b"v"));
        let footer = Footer {
            filter: seal(&mut out, &filter.finish(10)),
            index: seal(&mut out, &index.finish()),
            properties: seal(&mut out, &properties.finish().encode()),
        };
        let offset = out.len() as u64;
        out.extend_from_slice(&footer.encode(FILE, offset));
        out
    }

    fn open(&self) -> Result<Arc<Table>> {
        let fs: Arc<dyn Fs> = Arc::new(MemFs::new());
        let mut file = fs.create(&table_path(Path::new("/"), FILE)).unwrap();
        file.append(&self.encode()).unwrap();
        Table::open(&fs, Path::new("/"), STORE, FILE, &BlockCache::new(0))
    }

    /// What `verify` or opening says.
    fn damage(&self) -> Option<String> {
        match self.open().and_then(|table| table.verify()) {
            Ok(blocks) => (assert_eq!(blocks, 2), None).1,
            Err(Error::Corruption { what, .. }) => Some(what),
            Err(other) => panic!("{other:?}"),
        }
    }
}

#[test]
fn parts_that_contradict_are_damage() {
    assert_eq!(sound().damage(), None);
    assert_eq!(Forged { index: vec![("b", 5), ("c", 1)], ..sound() }.damage(), None, "an end between two blocks");
    let cases = [
        (Forged { index: vec![("b", 10), ("c", 1)], ..sound() }, "the index and the rows differ"),
        (Forged { index: vec![("b", 4), ("c", 1)], ..sound() }, "the index and the rows differ"),
        (Forged { index: vec![("b", 9), ("d", 1)], ..sound() }, "the index and the rows differ"),
        (Forged { filter: vec!["a", "c"], ..sound() }, "the filter misses a key"),
        (Forged { rows: vec![("a", 3), ("c", 1)], ..sound() }, "the properties are not those of the rows"),
        (Forged { blocks: vec![vec![("b", 9)], vec![("b", 9), ("c", 1)]], ..sound() }, "rows are not sorted"),
        (Forged { blocks: vec![vec![("b", 9)], vec![("a", 9), ("c", 1)]], ..sound() }, "rows are not sorted"),
        (Forged { gap: 8, ..sound() }, "the index does not cover the table"),
    ];
    for (forged, what) in cases {
        assert_eq!(forged.damage().as_deref(), Some(what));
    }
}

#[test]
fn an_index_that_lies_does_not_stop_a_scan() {
    let table = Forged { index: vec![("bb", 1), ("d", 1)], ..sound() }.open().unwrap();
    let mut cursor = table.cursor(true);
    cursor.seek(b"ba", Revision(1)).unwrap();
    assert_eq!((cursor.key(), cursor.revision()), (&b"b"[..], Revision(4)));
    cursor.seek(b"cc", Revision(1)).unwrap();
    assert!(!cursor.valid());
}
