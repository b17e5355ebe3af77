//! Writing a table.
use super::table_path;
use crate::fs::{Fs, WriteFile};
use crate::keys::{Identity, NewFile};
use crate::options::Options;
use crate::{Error, FileId, Kind, Result, Revision};
use kvarts_formats::FORMAT_VERSION_MIN;
use kvarts_formats::block::{BlockBuilder, RESTART_INTERVAL};
use kvarts_formats::compress::{Compression, Compressor, seal_block};
use kvarts_formats::filter::FilterBuilder;
use kvarts_formats::hash::key_hash;
use kvarts_formats::header::FileKind;
use kvarts_formats::index::{BlockHandle, IndexBuilder};
use kvarts_formats::properties::PropertiesBuilder;
use kvarts_formats::seal::FileSeal;
use kvarts_formats::table::{Footer, Properties};
use std::path::{Path, PathBuf};

/// Sealed blocks gather in memory up to this before they are written.
const BUFFER_BYTES: usize = 256 << 10;

/// The format that has blocks of zstd.
const WITH_ZSTD: u32 = 2;

/// Writes one table from sorted rows.
///
/// After an error the file is of no use: the caller removes it.
pub struct TableWriter {
    seal: FileSeal,
    path: PathBuf,
    out: Box<dyn WriteFile>,
    /// Sealed, not yet written.
    buffer: Vec<u8>,
    /// Bytes written. The next block lies behind them and the buffer.
    written: u64,
    block: BlockBuilder,
    /// Invariant: the last row added; `last_key` is empty before the first.
    last_key: Vec<u8>,
    last_revision: Revision,
    index: IndexBuilder,
    filter: FilterBuilder,
    properties: PropertiesBuilder,
    block_bytes: usize,
    filter_bits: usize,
    compressor: Compressor,
}

/// A table that is written whole, and not durable yet.
#[must_use]
pub struct Unsynced {
    path: PathBuf,
    out: Box<dyn WriteFile>,
}

impl Unsynced {
    /// Puts it on stable storage.
    pub fn sync(self) -> Result<()> {
        let Self { path, mut out } = self;
        out.sync().map_err(|error| Error::io("sync", &path, error))
    }
}

impl TableWriter {
    /// Makes the file and begins it with its header: of format 2 where there may be zstd in it.
    pub fn create(
        fs: &dyn Fs,
        dir: &Path,
        store: impl Into<Identity>,
        file: FileId,
        options: &Options,
        compression: Compression,
    ) -> Result<Self> {
        let version = if matches!(compression, Compression::Zstd(_)) { WITH_ZSTD } else { FORMAT_VERSION_MIN };
        let NewFile { header, seal } = store.into().begin_as(version, FileKind::Table, file)?;
        let path = table_path(dir, file);
        let out = fs.create(&path).map_err(|error| Error::io("create", &path, error))?;
        Ok(Self {
            seal,
            path,
            out,
            buffer: header.encode().to_vec(),
            written: 0,
            block: BlockBuilder::new(RESTART_INTERVAL),
            last_key: Vec::new(),
            last_revision: Revision::ZERO,
            index: IndexBuilder::default(),
            filter: FilterBuilder::default(),
            properties: PropertiesBuilder::default(),
            block_bytes: options.block_bytes,
            filter_bits: options.filter_bits,
            compressor: Compressor::new(compression),
        })
    }

    /// Adds a row; rows must come sorted by (key, revision descending), no two equal. Panics where they do not.
    pub fn add(&mut self, key: &[u8], revision: Revision, kind: Kind, value: &[u8]) -> Result<()> {
        let is_new_key = self.properties.rows() == 0 || key != self.last_key;
        let comes_next = if is_new_key { key > &self.last_key[..] } else { revision < self.last_revision };
        assert!(comes_next || self.properties.rows() == 0, "rows of a table must come sorted");
        if self.block.rows() > 0 && self.block.bytes_estimate() + key.len() + value.len() > self.block_bytes {
            self.finish_block(Some(key))?;
        }
        self.block.add(key, revision, kind, value);
        self.properties.add(key, revision, kind, value);
        if is_new_key {
            if self.filter_bits > 0 {
                self.filter.add(key_hash(key));
            }
            self.last_key.clear();
            self.last_key.extend_from_slice(key);
        }
        self.last_revision = revision;
        Ok(())
    }

    /// Bytes written so far, about.
    pub fn bytes_estimate(&self) -> u64 {
        self.offset() + self.block.bytes_estimate() as u64
    }

    /// Writes the rest and syncs the file (not the directory). Returns its properties and length in bytes.
    ///
    /// Panics where no row was added.
    pub fn finish(self) -> Result<(Properties, u64)> {
        let (properties, bytes, unsynced) = self.finish_unsynced()?;
        unsynced.sync()?;
        Ok((properties, bytes))
    }

    /// The same, but leaves the sync to the caller: until then the table may be read, and be lost by a crash.
    pub fn finish_unsynced(mut self) -> Result<(Properties, u64, Unsynced)> {
        assert!(self.properties.rows() > 0, "a table has rows");
        self.finish_block(None)?;
        let filter = match self.filter_bits {
            0 => BlockHandle::default(),
            bits => {
                let raw = self.filter.finish(bits);
                // Its bits are random: nothing to compress.
                self.seal_alone(&raw, Compression::None)
            }
        };
        let raw = self.index.finish();
        // Tried also where the rows did not pay.
        let index = self.seal_alone(&raw, self.compressor.compression());
        let of_rows = std::mem::take(&mut self.properties).finish();
        let properties = self.seal_alone(&of_rows.encode(), Compression::None);
        let footer = Footer { index, filter, properties }.encode(&self.seal, self.offset());
        self.buffer.extend_from_slice(&footer);
        self.write_out()?;
        Ok((of_rows, self.written, Unsynced { path: self.path, out: self.out }))
    }

    /// Where the next block goes.
    fn offset(&self) -> u64 {
        self.written + self.buffer.len() as u64
    }

    /// Writes the block that is full, or the last one; `next` is the key of the row after it.
    fn finish_block(&mut self, next: Option<&[u8]>) -> Result<()> {
        let raw = self.block.finish();
        let handle = self.seal(&raw);
        match next {
            Some(next) => self.index.add_before(&self.last_key, self.last_revision, next, handle),
            None => self.index.add(&self.last_key, self.last_revision, handle),
        }
        if self.buffer.len() >= BUFFER_BYTES { self.write_out() } else { Ok(()) }
    }

    fn seal(&mut self, raw: &[u8]) -> BlockHandle {
        let offset = self.offset();
        self.compressor.seal(&mut self.buffer, &self.seal, offset, raw);
        self.handle(offset)
    }

    fn seal_alone(&mut self, raw: &[u8], compression: Compression) -> BlockHandle {
        let offset = self.offset();
        seal_block(&mut self.buffer, &self.seal, offset, raw, compression);
        self.handle(offset)
    }

    /// The block sealed last, which starts at `offset`.
    fn handle(&self, offset: u64) -> BlockHandle {
        let len = u32::try_from(self.offset() - offset).expect("a sealed block is below 4 GiB");
        BlockHandle { offset, len }
    }

    fn write_out(&mut self) -> Result<()> {
        self.out.append(&self.buffer).map_err(|error| Error::io("write", &self.path, error))?;
        self.written += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }
}
