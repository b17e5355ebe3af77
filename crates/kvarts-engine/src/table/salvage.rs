//! Salvage: a table of the blocks that are whole, whatever else is damaged.
//!
//! Where header, footer and index are whole, the index says where the blocks lie. Else they are looked for from the header on,
//! by their own tags (`formats::salvage`).
use super::files::TableFile;
use super::lost::Lost;
use super::open::{Loaded, Tail, read_header, read_tail, record};
use super::{BlockCache, Table, table_path};
use crate::fs::{Fs, ReadFile};
use crate::iter::compare;
use crate::{Error, FileId, Revision};
use kvarts_formats::FORMAT_VERSION_MIN;
use kvarts_formats::block::Block;
use kvarts_formats::compress::open_block;
use kvarts_formats::header::{FileHeader, FileKind, HEADER_BYTES};
use kvarts_formats::index::{BlockHandle, Index, IndexBuilder};
use kvarts_formats::manifest::TableRecord;
use kvarts_formats::properties::PropertiesBuilder;
use kvarts_formats::salvage::find_blocks;
use kvarts_formats::seal::FileSeal;
use kvarts_formats::table::FOOTER_BYTES;
use std::path::Path;
use std::sync::Arc;

/// Bytes that are read at once; what cannot be read is taken for zeros.
const PIECE_BYTES: usize = 64 << 10;

/// What is left of a table.
pub struct Salvaged {
    /// Its whole blocks, if any.
    pub table: Option<Arc<Table>>,
    /// Their number.
    pub blocks: u64,
    /// What is damaged.
    pub lost: Vec<Lost>,
}

/// Blocks gathered in order.
struct Gathered {
    index: IndexBuilder,
    properties: PropertiesBuilder,
    blocks: u64,
    /// Last row so far.
    last: Option<(Vec<u8>, Revision)>,
    /// Where the last block ended.
    end: u64,
    lost: Vec<Lost>,
}

impl Table {
    /// Opens what is whole of a table. `known` is what a manifest says of it. A file that cannot be read is damage too.
    pub fn salvage(
        fs: &Arc<dyn Fs>,
        dir: &Path,
        store: [u8; 16],
        file: FileId,
        known: Option<&TableRecord>,
        cache: &Arc<BlockCache>,
    ) -> Salvaged {
        let path = table_path(dir, file);
        let range = known.map(|known| (known.smallest.clone(), known.largest.clone())).unwrap_or_default();
        let gone = |what: String| {
            let lost = vec![Lost { offset: 0, what, keys: Some(range.clone()) }];
            Salvaged { table: None, blocks: 0, lost }
        };
        let handle = TableFile::new(fs, dir.into(), file, cache.files());
        let reader = match handle.reader() {
            Ok(reader) => reader,
            Err(Error::Corruption { what, .. }) => return gone(what),
            Err(error) => return gone(format!("it cannot be opened: {error}")),
        };
        if let Err(what) = check_owner(&*reader, store, file) {
            return gone(what.into());
        }
        let mut gathered = Gathered {
            index: IndexBuilder::default(),
            properties: PropertiesBuilder::default(),
            blocks: 0,
            last: None,
            end: HEADER_BYTES as u64,
            lost: Vec::new(),
        };
        let seal = FileSeal::new(file, None);
        let tail = read_header(&*reader, &path, store, file).and_then(|_| read_tail(&*reader, &path, &seal));
        match tail {
            Ok(tail) => gathered.by_index(&*reader, file, &tail),
            Err(error) => gathered.by_tags(&*reader, file, &error, &range),
        }
        let Gathered { mut index, properties, blocks, lost, .. } = gathered;
        if blocks == 0 {
            return Salvaged { table: None, blocks, lost };
        }
        let index = Index::parse(&index.finish()).expect("blocks in order make an index");
        let tail = Tail { filter: None, index, properties: properties.finish() };
        let record = Arc::new(record(file, reader.len(), tail.properties.clone()));
        let header = FileHeader { version: FORMAT_VERSION_MIN, kind: FileKind::Table, file, store, key: None };
        let loaded = Loaded::new(header, seal, tail);
        Salvaged { table: Some(Self::with(handle, store.into(), record, 0, Some(loaded), cache)), blocks, lost }
    }
}

/// A whole header that says that the file is another's forbids to take anything from it; a damaged one says nothing.
fn check_owner(reader: &dyn ReadFile, store: [u8; 16], file: FileId) -> std::result::Result<(), &'static str> {
    let mut bytes = vec![0; HEADER_BYTES];
    if reader.read_exact_at(0, &mut bytes).is_err() {
        return Ok(());
    }
    match FileHeader::decode(&bytes, FileKind::Table) {
        Ok(header) if header.store != store => Err("the file belongs to another store"),
        Ok(header) if header.file != file => Err("the file has the number of another"),
        _ => Ok(()),
    }
}

fn read_block(reader: &dyn ReadFile, file: FileId, handle: BlockHandle) -> std::result::Result<Block, String> {
    let mut stored = vec![0; handle.len as usize];
    reader.read_exact_at(handle.offset, &mut stored).map_err(|error| format!("it cannot be read: {error}"))?;
    open_block(file, handle.offset, &stored).and_then(Block::parse).map_err(|error| error.to_string())
}

/// Reads a whole file, piece by piece.
fn read_pieces(reader: &dyn ReadFile) -> Vec<u8> {
    let mut data = vec![0; usize::try_from(reader.len()).expect("a table fits in memory")];
    for (i, piece) in data.chunks_mut(PIECE_BYTES).enumerate() {
        if reader.read_exact_at((i * PIECE_BYTES) as u64, piece).is_err() {
            piece.fill(0);
        }
    }
    data
}

impl Gathered {
    fn by_index(&mut self, reader: &dyn ReadFile, file: FileId, tail: &Tail) {
        for i in 0..tail.index.blocks() {
            let handle = tail.index.handle(i);
            let block = read_block(reader, file, handle);
            if let Err(what) = block.and_then(|block| self.take(&block, handle)) {
                let smallest = if i == 0 { &tail.properties.smallest } else { tail.index.end_key(i - 1) };
                let keys = Some((smallest.to_vec(), tail.index.end_key(i).to_vec()));
                self.lost.push(Lost { offset: handle.offset, what, keys });
            }
        }
    }

    fn by_tags(&mut self, reader: &dyn ReadFile, file: FileId, error: &Error, range: &(Vec<u8>, Vec<u8>)) {
        let offset = if let Error::Corruption { offset, .. } = error { *offset } else { 0 };
        self.lost.push(Lost { offset, what: error.to_string(), keys: None });
        let data = read_pieces(reader);
        for handle in find_blocks(file, &data, HEADER_BYTES) {
            let stored = &data[handle.offset as usize..][..handle.len as usize];
            let block = open_block(file, handle.offset, stored).and_then(Block::parse);
            let first = block.as_ref().ok().map(|block| {
                let mut key = Vec::new();
                block.key_into(0, &mut key);
                key
            });
            if handle.offset != self.end {
                let smallest = self.last.as_ref().map_or_else(|| range.0.clone(), |(key, _)| key.clone());
                self.note_gap(handle.offset, smallest, first.unwrap_or_else(|| range.1.clone()));
            }
            match block.map_err(|error| error.to_string()).and_then(|block| self.take(&block, handle)) {
                Ok(()) => {}
                // Filter, index and properties are sealed as blocks are: with them the rows end.
                Err(_) => self.end = handle.offset + u64::from(handle.len),
            }
        }
        let last = self.last.as_ref().map(|(key, _)| key.clone());
        // Where a manifest says which key comes last, that decides; else whether more than a footer is left.
        let is_cut = match range.1.is_empty() {
            true => self.end + (FOOTER_BYTES as u64) < data.len() as u64,
            false => last.as_ref() != Some(&range.1),
        };
        if is_cut {
            self.note_gap(data.len() as u64, last.unwrap_or_else(|| range.0.clone()), range.1.clone());
        }
    }

    fn note_gap(&mut self, stop: u64, smallest: Vec<u8>, largest: Vec<u8>) {
        let what = format!("{} bytes hold no whole block", stop.saturating_sub(self.end));
        self.lost.push(Lost { offset: self.end, what, keys: Some((smallest, largest)) });
    }

    /// Takes a block that follows those before it.
    fn take(&mut self, block: &Block, handle: BlockHandle) -> std::result::Result<(), String> {
        let (mut key, mut last) = (Vec::new(), self.last.clone());
        for row in 0..block.rows() {
            block.key_after(row, &mut key);
            let revision = block.revision(row);
            let follows = |(before, at): &(Vec<u8>, Revision)| compare((before, *at), (&key, revision)).is_lt();
            if !last.as_ref().is_none_or(follows) {
                return Err("its rows do not follow those before them".into());
            }
            last = Some((key.clone(), revision));
        }
        key.clear();
        for row in 0..block.rows() {
            block.key_after(row, &mut key);
            self.properties.add(&key, block.revision(row), block.kind(row), block.value(row));
        }
        let (key, revision) = last.as_ref().expect("a block has rows");
        self.index.add(key, *revision, handle);
        (self.last, self.end) = (last, handle.offset + u64::from(handle.len));
        self.blocks += 1;
        Ok(())
    }
}
