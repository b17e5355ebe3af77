//! Opening a table: everything that stays in memory is read and checked here, at once or at the first use.
use super::files::TableFile;
use super::slots::{Slots, slots};
use super::{BlockCache, Table};
use crate::fs::{Fs, ReadFile};
use crate::keys::Identity;
use crate::{Error, FileId, Result};
use kvarts_formats::FormatError;
use kvarts_formats::compress::open_block;
use kvarts_formats::filter::Filter;
use kvarts_formats::header::{FileHeader, FileKind, HEADER_BYTES};
use kvarts_formats::index::{BlockHandle, Index};
use kvarts_formats::manifest::TableRecord;
use kvarts_formats::seal::FileSeal;
use kvarts_formats::table::{FOOTER_BYTES, Footer, Properties};
use std::io::{self, ErrorKind};
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, OnceLock};

/// What follows the data blocks of a table.
pub(super) struct Tail {
    pub(super) filter: Option<Filter>,
    pub(super) index: Index,
    pub(super) properties: Properties,
}

/// All of a table that stays in memory.
pub(super) struct Loaded {
    pub(super) header: FileHeader,
    pub(super) seal: FileSeal,
    pub(super) tail: Tail,
    /// Its blocks in the cache.
    pub(super) slots: Arc<Slots>,
}

impl Loaded {
    pub(super) fn new(header: FileHeader, seal: FileSeal, tail: Tail) -> Self {
        Self { header, seal, slots: slots(tail.index.blocks()), tail }
    }
}

impl Table {
    /// Opens a table and loads it: checks header, footer, index, filter and properties. Errors: `Corruption`, `NewerFormat`, `Io`.
    ///
    /// It keeps `fs`: the last user of an obsolete table removes its file.
    pub fn open(
        fs: &Arc<dyn Fs>,
        dir: &Path,
        store: impl Into<Identity>,
        file: FileId,
        cache: &Arc<BlockCache>,
    ) -> Result<Arc<Self>> {
        let (store, handle) = (store.into(), TableFile::new(fs, dir.into(), file, cache.files()));
        let (loaded, bytes) = read_parts(&handle, &store)?;
        let record = Arc::new(record(file, bytes, loaded.tail.properties.clone()));
        Ok(Self::with(handle, store, record, 0, Some(loaded), cache))
    }

    /// Stands for a table of which a manifest of format `format` says `record`. Touches nothing: it is loaded at its first use, and what is
    /// wrong with it is said then.
    pub fn unopened(
        fs: &Arc<dyn Fs>,
        dir: &Arc<Path>,
        store: impl Into<Identity>,
        record: &Arc<TableRecord>,
        format: u32,
        cache: &Arc<BlockCache>,
    ) -> Arc<Self> {
        let handle = TableFile::new(fs, Arc::clone(dir), record.file, cache.files());
        Self::with(handle, store.into(), Arc::clone(record), format, None, cache)
    }

    pub(super) fn with(
        handle: Arc<TableFile>,
        store: Identity,
        record: Arc<TableRecord>,
        format: u32,
        loaded: Option<Loaded>,
        cache: &Arc<BlockCache>,
    ) -> Arc<Self> {
        Arc::new(Self {
            loaded: loaded.map_or_else(OnceLock::new, OnceLock::from),
            record,
            handle,
            store,
            format,
            cache: Arc::clone(cache),
            obsolete: AtomicBool::new(false),
        })
    }

    /// Makes sure that a key opens it, and loads nothing. What else is wrong with it is said by the first read.
    ///
    /// Errors: `WrongKey`.
    pub fn check_key(&self) -> Result<()> {
        let unwrapped = self.handle.reader().and_then(|reader| {
            let header = read_header(&*reader, &self.path(), self.store.id, self.file())?;
            self.store.open(&self.path(), &header)
        });
        match unwrapped {
            Err(wrong @ Error::WrongKey { .. }) => Err(wrong),
            Ok(_) | Err(_) => Ok(()),
        }
    }

    /// Returns what is in memory of it, reading it where nothing is. Errors: `Corruption`, `NewerFormat`, `WrongKey`, `Io`.
    #[inline]
    pub(super) fn load(&self) -> Result<&Loaded> {
        match self.loaded.get() {
            Some(loaded) => Ok(loaded),
            None => self.load_first(),
        }
    }

    /// Two that come at once both read it.
    #[cold]
    fn load_first(&self) -> Result<&Loaded> {
        let (loaded, _) = self.read_parts()?;
        let properties = &loaded.tail.properties;
        if properties.rows != self.record.rows
            || properties.smallest != self.record.smallest
            || properties.largest != self.record.largest
        {
            return Err(damaged(&self.path(), 0, "it and the manifest disagree about the table"));
        }
        if self.loaded.set(loaded).is_ok() {
            self.cache.give_up(self.memory_bytes());
        }
        Ok(self.loaded.get().expect("set by us or by another"))
    }

    /// Reads what would stay in memory, as it is on disk now, and the length of the file.
    pub(super) fn read_parts(&self) -> Result<(Loaded, u64)> {
        read_parts(&self.handle, &self.store)
    }
}

/// Reads and checks all of a table but its rows. Returns the length of the file too.
fn read_parts(handle: &Arc<TableFile>, store: &Identity) -> Result<(Loaded, u64)> {
    let (reader, path) = (handle.reader()?, &*handle.path());
    let header = read_header(&*reader, path, store.id, handle.id())?;
    let seal = store.open(path, &header)?;
    let tail = read_tail(&*reader, path, &seal)?;
    handle.know(&header, reader.len());
    Ok((Loaded::new(header, seal, tail), reader.len()))
}

/// What the manifest says of a table with these properties.
pub fn record(file: FileId, bytes: u64, properties: Properties) -> TableRecord {
    TableRecord {
        file,
        bytes,
        rows: properties.rows,
        tombstones: properties.tombstones,
        revision_min: properties.revision_min,
        revision_max: properties.revision_max,
        expiry_min_ms: properties.expiry_min_ms,
        expiry_half_ms: properties.expiry_half_ms,
        keys: properties.keys,
        smallest: properties.smallest,
        largest: properties.largest,
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
    reader.read_exact_at(offset, &mut bytes).map_err(|error| unread(path, offset, error))?;
    Ok(bytes)
}

/// What a read that failed says of the file.
pub(super) fn unread(path: &Path, offset: u64, error: io::Error) -> Error {
    match error.kind() {
        ErrorKind::UnexpectedEof => damaged(path, offset, "the file is cut short"),
        _ => Error::io("read", path, error),
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
