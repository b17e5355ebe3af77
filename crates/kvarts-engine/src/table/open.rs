//! Opening a table: everything that stays in memory is read and checked here.
use super::slots::slots;
use super::{BlockCache, Table, table_path};
use crate::fs::{Fs, ReadFile};
use crate::keys::Identity;
use crate::{Error, FileId, Result, Revision};
use kvarts_formats::compress::open_block;
use kvarts_formats::filter::Filter;
use kvarts_formats::header::{FileHeader, FileKind, HEADER_BYTES};
use kvarts_formats::index::{BlockHandle, Index, IndexBuilder};
use kvarts_formats::manifest::TableRecord;
use kvarts_formats::seal::FileSeal;
use kvarts_formats::table::{FOOTER_BYTES, Footer, Properties};
use kvarts_formats::{FORMAT_VERSION_MIN, FormatError};
use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// What follows the data blocks of a table.
pub(super) struct Tail {
    pub(super) filter: Option<Filter>,
    pub(super) index: Index,
    pub(super) properties: Properties,
}

impl Table {
    /// Opens a table: checks header, footer, index, filter and properties. Errors: `Corruption`, `NewerFormat`, `Io`.
    ///
    /// It keeps `fs`: the last user of an obsolete table removes its file.
    pub fn open(
        fs: &Arc<dyn Fs>,
        dir: &Path,
        store: impl Into<Identity>,
        file: FileId,
        cache: &Arc<BlockCache>,
    ) -> Result<Arc<Self>> {
        let path = table_path(dir, file);
        let reader = fs.open(&path).map_err(|error| match error.kind() {
            ErrorKind::NotFound => damaged(&path, 0, "the file is missing"),
            _ => Error::io("open", &path, error),
        })?;
        let store = store.into();
        let header = read_header(&*reader, &path, store.id, file)?;
        let seal = store.open(&path, &header)?;
        let tail = read_tail(&*reader, &path, &seal)?;
        Ok(Arc::new(Self {
            file,
            header,
            seal,
            path,
            reader,
            slots: slots(tail.index.blocks()),
            tail,
            cache: Arc::clone(cache),
            fs: Arc::clone(fs),
            broken: None,
            obsolete: AtomicBool::new(false),
        }))
    }
}

impl Table {
    /// Stands for a table that cannot be opened: whatever needs a row of it fails with `error`.
    pub fn broken(
        fs: &Arc<dyn Fs>,
        dir: &Path,
        store: [u8; 16],
        record: &TableRecord,
        error: Error,
        cache: &Arc<BlockCache>,
    ) -> Arc<Self> {
        // One block that ends behind the last row there could be.
        let mut index = IndexBuilder::default();
        index.add(&record.largest, Revision::ZERO, BlockHandle { offset: HEADER_BYTES as u64, len: 0 });
        let index = Index::parse(&index.finish()).expect("an index of one block is whole");
        let properties = Properties {
            rows: record.rows,
            tombstones: record.tombstones,
            expiring: 0,
            raw_bytes: record.bytes,
            revision_min: record.revision_min,
            revision_max: record.revision_max,
            expiry_min_ms: record.expiry_min_ms,
            expiry_half_ms: record.expiry_half_ms,
            keys: record.keys,
            smallest: record.smallest.clone(),
            largest: record.largest.clone(),
        };
        Arc::new(Self {
            file: record.file,
            header: FileHeader {
                version: FORMAT_VERSION_MIN,
                kind: FileKind::Table,
                file: record.file,
                store,
                key: None,
            },
            seal: FileSeal::new(record.file, None),
            path: table_path(dir, record.file),
            reader: Arc::new(NoFile { len: record.bytes }),
            slots: slots(index.blocks()),
            tail: Tail { filter: None, index, properties },
            cache: Arc::clone(cache),
            fs: Arc::clone(fs),
            broken: Some(error),
            obsolete: AtomicBool::new(false),
        })
    }
}

/// A file of which nothing can be read.
struct NoFile {
    len: u64,
}

impl ReadFile for NoFile {
    fn read_exact_at(&self, _offset: u64, _buf: &mut [u8]) -> std::io::Result<()> {
        Err(ErrorKind::UnexpectedEof.into())
    }

    fn len(&self) -> u64 {
        self.len
    }
}

/// Where the footer of a table starts. Errors: `Corruption` where header and footer do not fit.
pub(super) fn footer_at(reader: &dyn ReadFile, path: &Path) -> Result<u64> {
    match reader.len().checked_sub(FOOTER_BYTES as u64) {
        Some(at) if at >= HEADER_BYTES as u64 => Ok(at),
        _ => Err(damaged(path, 0, "the file is too short for a table")),
    }
}

/// Reads and checks the footer of a table.
pub(super) fn read_footer(reader: &dyn ReadFile, path: &Path, seal: &FileSeal) -> Result<Footer> {
    let footer_at = footer_at(reader, path)?;
    let bytes = read_at(reader, path, footer_at, FOOTER_BYTES)?;
    Footer::decode(seal, footer_at, &bytes).map_err(|error| Error::format(path, footer_at, error))
}

/// Reads and checks the tail of a table.
pub(super) fn read_tail(reader: &dyn ReadFile, path: &Path, seal: &FileSeal) -> Result<Tail> {
    let footer_at = footer_at(reader, path)?;
    let footer = read_footer(reader, path, seal)?;
    let has_filter = footer.filter.len > 0;
    let first = if has_filter { footer.filter } else { footer.index };
    let follow = |part: BlockHandle, next: u64| part.end() == Some(next);
    let is_whole = (!has_filter || follow(footer.filter, footer.index.offset))
        && follow(footer.index, footer.properties.offset)
        && follow(footer.properties, footer_at)
        && first.offset >= HEADER_BYTES as u64;
    if !is_whole {
        return Err(damaged(path, footer_at, "the parts of the table do not follow one another"));
    }
    // The parts are neighbours: one read fetches all.
    let parts = read_at(reader, path, first.offset, (footer_at - first.offset) as usize)?;
    let open = |part: BlockHandle| {
        let start = (part.offset - first.offset) as usize;
        let stored = &parts[start..start + part.len as usize];
        open_block(seal, part.offset, stored).map_err(|error| in_block(path, part, error))
    };
    let filter = match has_filter {
        true => Some(Filter::parse(open(footer.filter)?).map_err(|error| in_block(path, footer.filter, error))?),
        false => None,
    };
    let index = Index::parse(&open(footer.index)?).map_err(|error| in_block(path, footer.index, error))?;
    let properties = Properties::decode(&open(footer.properties)?);
    let properties = properties.map_err(|error| in_block(path, footer.properties, error))?;
    check_blocks(path, &index, footer.index, first.offset)?;
    Ok(Tail { filter, index, properties })
}

/// Reads and checks the header of a table.
pub(super) fn read_header(reader: &dyn ReadFile, path: &Path, store: [u8; 16], file: FileId) -> Result<FileHeader> {
    footer_at(reader, path)?;
    let bytes = read_at(reader, path, 0, HEADER_BYTES)?;
    let header = FileHeader::decode(&bytes, FileKind::Table).map_err(|error| Error::format(path, 0, error))?;
    if header.store != store {
        return Err(damaged(path, 0, "the file belongs to another store"));
    }
    if header.file != file {
        return Err(damaged(path, 0, "the file has the number of another"));
    }
    Ok(header)
}

/// Checks that the data blocks fill all between the header and `stop`.
fn check_blocks(path: &Path, index: &Index, index_at: BlockHandle, stop: u64) -> Result<()> {
    let mut end = HEADER_BYTES as u64;
    for block in 0..index.blocks() {
        let handle = index.handle(block);
        end = match handle.end() {
            Some(next) if handle.offset == end => next,
            _ => return Err(damaged(path, index_at.offset, "the blocks of the index do not follow one another")),
        };
    }
    if end != stop || index.blocks() == 0 {
        return Err(damaged(path, index_at.offset, "the index does not cover the table"));
    }
    Ok(())
}

/// Reads `len` bytes at `offset`. A file that has shrunk is damage.
pub(super) fn read_at(reader: &dyn ReadFile, path: &Path, offset: u64, len: usize) -> Result<Vec<u8>> {
    let mut bytes = vec![0; len];
    match reader.read_exact_at(offset, &mut bytes) {
        Ok(()) => Ok(bytes),
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => Err(damaged(path, offset, "the file is cut short")),
        Err(error) => Err(Error::io("read", path, error)),
    }
}

/// Damage at `offset` of a file.
pub(super) fn damaged(path: &Path, offset: u64, what: &str) -> Error {
    Error::Corruption { file: path.to_owned(), offset, what: what.to_owned() }
}

/// Places an error in a sealed block: by the block's offset, since what was decoded may have been compressed.
pub(super) fn in_block(path: &Path, block: BlockHandle, error: FormatError) -> Error {
    match error {
        FormatError::Corrupt { what, .. } => damaged(path, block.offset, what),
        other => Error::format(path, block.offset, other),
    }
}
