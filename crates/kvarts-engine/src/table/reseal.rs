//! A copy of a table under a key of its own, part by part: nothing is expanded, parsed or compressed again.
use super::open::{Loaded, damaged, footer_at, read_at, read_footer, read_header};
use super::{Table, table_path};
use crate::fs::{ReadFile, WriteFile};
use crate::keys::{Identity, KeyId, NewFile};
use crate::{Error, FileId, Result};
use kvarts_formats::checksum::TAG_BYTES;
use kvarts_formats::header::{FileHeader, FileKind};
use kvarts_formats::seal::FileSeal;
use kvarts_formats::table::FOOTER_BYTES;
use std::path::Path;
use std::sync::Arc;

/// Parts gather in memory up to this before they are written.
const BUFFER_BYTES: usize = 256 << 10;

impl Table {
    /// The master key that wraps the key of its file, if it is encrypted.
    pub fn key(&self) -> Result<Option<KeyId>> {
        let of = |header: &FileHeader| header.key.as_ref().map(|key| KeyId(key.id));
        match self.loaded.get() {
            Some(loaded) => Ok(of(&loaded.header)),
            None => {
                read_header(&*self.handle.reader()?, &self.path(), self.store.id, self.file()).map(|header| of(&header))
            }
        }
    }

    /// Copies it to `file` in `dir`, where every part lies at the same place under a new key, and opens the copy. Syncs the
    /// file, not the directory. On error no file is left. Errors: `Corruption`, `StorageFull`, `Io`.
    pub fn reseal(&self, dir: &Path, store: &Identity, file: FileId) -> Result<Arc<Self>> {
        let (loaded, fs, path) = (self.load()?, self.handle.fs(), table_path(dir, file));
        let out = fs.create(&path).map_err(|error| Error::io("create", &path, error))?;
        let new = store.begin_as(loaded.header.version, FileKind::Table, file);
        let written = new.and_then(|new| self.copy_to(loaded, out, &path, &new));
        written.and_then(|()| Self::open(fs, dir, store, file, &self.cache)).inspect_err(|_| {
            let _ = fs.remove(&path);
        })
    }

    fn copy_to(&self, loaded: &Loaded, mut out: Box<dyn WriteFile>, path: &Path, new: &NewFile) -> Result<()> {
        let failed = |error| Error::io("write", path, error);
        let mut buffer = new.header.encode().to_vec();
        let reader = self.handle.reader()?;
        for (offset, len) in self.parts(loaded, &*reader)? {
            let stored = read_at(&*reader, &self.path(), offset, len)?;
            self.push_part(&mut buffer, [&loaded.seal, &new.seal], offset, &stored)?;
            if buffer.len() >= BUFFER_BYTES {
                out.append(&buffer).map_err(failed)?;
                buffer.clear();
            }
        }
        out.append(&buffer).map_err(failed)?;
        out.sync().map_err(|error| Error::io("sync", path, error))
    }

    /// Offset and length of all that has a tag, in the order of the file, but for the header.
    fn parts(&self, loaded: &Loaded, reader: &dyn ReadFile) -> Result<Vec<(u64, usize)>> {
        let footer = read_footer(reader, &self.path(), &loaded.seal)?;
        let index = &loaded.tail.index;
        let blocks = (0..index.blocks()).map(|block| index.handle(block));
        let tail = [footer.filter, footer.index, footer.properties].into_iter().filter(|part| part.len > 0);
        let mut parts: Vec<_> = blocks.chain(tail).map(|part| (part.offset, part.len as usize)).collect();
        parts.push((footer_at(reader, &self.path())?, FOOTER_BYTES));
        Ok(parts)
    }

    /// Appends a part that is sealed with the first of `seals`, sealed with the second.
    fn push_part(&self, buffer: &mut Vec<u8>, seals: [&FileSeal; 2], offset: u64, stored: &[u8]) -> Result<()> {
        let [old, new] = seals;
        let content = stored.len().checked_sub(TAG_BYTES).map(|at| stored.split_at(at));
        let opened = content.and_then(|(content, tag)| old.lend().open(offset.into(), content, 0, tag));
        let opened = opened.ok_or_else(|| damaged(&self.path(), offset, "the checksum of a block differs"))?;
        let start = buffer.len();
        buffer.extend_from_slice(&opened);
        let tag = new.lend().close(offset.into(), &mut buffer[start..], 0);
        buffer.extend_from_slice(&tag);
        Ok(())
    }
}
