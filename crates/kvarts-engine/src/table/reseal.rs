//! A copy of a table under a key of its own, part by part: nothing is expanded, parsed or compressed again.
use super::open::{damaged, footer_at, read_at, read_footer};
use super::{Table, table_path};
use crate::fs::WriteFile;
use crate::keys::{Identity, KeyId, NewFile};
use crate::{Error, FileId, Result};
use kvarts_formats::checksum::TAG_BYTES;
use kvarts_formats::header::FileKind;
use kvarts_formats::seal::FileSeal;
use kvarts_formats::table::FOOTER_BYTES;
use std::path::Path;
use std::sync::Arc;

/// Parts gather in memory up to this before they are written.
const BUFFER_BYTES: usize = 256 << 10;

impl Table {
    /// The master key that wraps the key of its file, if it is encrypted.
    pub fn key(&self) -> Option<KeyId> {
        self.header.key.as_ref().map(|key| KeyId(key.id))
    }

    /// Copies it to `file` in `dir`, where every part lies at the same place under a new key, and opens the copy. Syncs the
    /// file, not the directory. On error no file is left. Errors: `Corruption`, `StorageFull`, `Io`.
    pub fn reseal(&self, dir: &Path, store: &Identity, file: FileId) -> Result<Arc<Self>> {
        let path = table_path(dir, file);
        let out = self.fs.create(&path).map_err(|error| Error::io("create", &path, error))?;
        let written =
            store.begin_as(self.header.version, FileKind::Table, file).and_then(|new| self.copy_to(out, &path, &new));
        written.and_then(|()| Self::open(&self.fs, dir, store, file, &self.cache)).inspect_err(|_| {
            let _ = self.fs.remove(&path);
        })
    }

    fn copy_to(&self, mut out: Box<dyn WriteFile>, path: &Path, new: &NewFile) -> Result<()> {
        let failed = |error| Error::io("write", path, error);
        let mut buffer = new.header.encode().to_vec();
        for (offset, len) in self.parts()? {
            self.push_part(&mut buffer, &new.seal, offset, len)?;
            if buffer.len() >= BUFFER_BYTES {
                out.append(&buffer).map_err(failed)?;
                buffer.clear();
            }
        }
        out.append(&buffer).map_err(failed)?;
        out.sync().map_err(|error| Error::io("sync", path, error))
    }

    /// Offset and length of all that has a tag, in the order of the file, but for the header.
    fn parts(&self) -> Result<Vec<(u64, usize)>> {
        let footer = read_footer(&*self.reader, &self.path, &self.seal)?;
        let index = &self.tail.index;
        let blocks = (0..index.blocks()).map(|block| index.handle(block));
        let tail = [footer.filter, footer.index, footer.properties].into_iter().filter(|part| part.len > 0);
        let mut parts: Vec<_> = blocks.chain(tail).map(|part| (part.offset, part.len as usize)).collect();
        parts.push((footer_at(&*self.reader, &self.path)?, FOOTER_BYTES));
        Ok(parts)
    }

    /// Reads a part, and appends it sealed anew.
    fn push_part(&self, buffer: &mut Vec<u8>, seal: &FileSeal, offset: u64, len: usize) -> Result<()> {
        let stored = read_at(&*self.reader, &self.path, offset, len)?;
        let content = len.checked_sub(TAG_BYTES).map(|at| stored.split_at(at));
        let opened = content.and_then(|(content, tag)| self.seal.lend().open(offset.into(), content, 0, tag));
        let opened = opened.ok_or_else(|| damaged(&self.path, offset, "the checksum of a block differs"))?;
        let start = buffer.len();
        buffer.extend_from_slice(&opened);
        let tag = seal.lend().close(offset.into(), &mut buffer[start..], 0);
        buffer.extend_from_slice(&tag);
        Ok(())
    }
}
