//! Writing what was found into the tables of a new store.
use crate::fs::Fs;
use crate::iter::{Cursor, MergeCursor};
use crate::options::Options;
use crate::table::{BlockCache, Table, TableWriter};
use crate::version::TableRef;
use crate::{Error, FileId, Kind, Result};
use kvarts_formats::compress::Compression;
use std::path::Path;
use std::sync::Arc;

/// Where tables go.
pub(super) struct Writer<'a> {
    pub(super) fs: &'a Arc<dyn Fs>,
    pub(super) to: &'a Path,
    pub(super) store: [u8; 16],
    pub(super) options: &'a Options,
    pub(super) compression: Compression,
    pub(super) cache: &'a Arc<BlockCache>,
}

impl Writer<'_> {
    /// Writes the newest row of each key, unless it is a tombstone. Returns the tables, durable, and the number of rows.
    pub(super) fn write(
        &self,
        mut rows: MergeCursor,
        next_file: &mut dyn FnMut() -> FileId,
    ) -> Result<(Vec<TableRef>, u64)> {
        let (mut done, mut count) = (Vec::new(), 0);
        let mut current: Option<(FileId, TableWriter)> = None;
        let mut last: Option<Vec<u8>> = None;
        rows.seek_first()?;
        while rows.valid() {
            let key = rows.key();
            if last.as_deref() != Some(key) {
                if rows.kind() != Kind::Delete {
                    if current.as_ref().is_some_and(|(_, table)| table.bytes_estimate() >= self.options.table_bytes) {
                        done.push(self.end(current.take().expect("it was just looked at"))?);
                    }
                    if current.is_none() {
                        let file = next_file();
                        let table =
                            TableWriter::create(&**self.fs, self.to, self.store, file, self.options, self.compression)?;
                        current = Some((file, table));
                    }
                    let (_, table) = current.as_mut().expect("made above");
                    table.add(key, rows.revision(), rows.kind(), rows.value())?;
                    count += 1;
                }
                last = Some(key.to_vec());
            }
            rows.next()?;
        }
        if let Some(current) = current {
            done.push(self.end(current)?);
        }
        self.fs.sync_dir(self.to).map_err(|error| Error::io("syncing", self.to, error))?;
        Ok((done, count))
    }

    fn end(&self, (file, table): (FileId, TableWriter)) -> Result<TableRef> {
        table.finish()?;
        Ok(TableRef::of(Table::open(self.fs, self.to, self.store, file, self.cache)?))
    }
}
