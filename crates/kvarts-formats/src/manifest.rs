//! The manifest: which files make up the store. Rewritten whole (temporary file, sync, rename, directory sync).
//!
//! The file header, then `next file u64, next tree u32, last revision u64`, the logs, the trees, and a tag over all that
//! follows the header. Lists and byte strings have their length (u32) in front. Only format 2 has compressions of trees.
use crate::bytes::{Reader, push_bytes};
use crate::checksum::TAG_BYTES;
use crate::compress::{ByLevel, Compression};
use crate::header::{FileHeader, FileKind, HEADER_BYTES};
use crate::seal::Seal;
use crate::{FORMAT_VERSION_MIN, FileId, FormatError, Result, Revision, TreeId};
use std::collections::HashSet;

/// Fewest bytes of an encoded table, tree, level and log: what a count may promise.
const TABLE_BYTES_MIN: usize = 80;
const TREE_BYTES_MIN: usize = 28;
const LEVEL_BYTES_MIN: usize = 4;
const LOG_BYTES_MIN: usize = 8;

/// One live table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableRecord {
    /// Its file.
    pub file: FileId,
    /// Bytes of the file.
    pub bytes: u64,
    /// Rows, tombstones included.
    pub rows: u64,
    /// Tombstones.
    pub tombstones: u64,
    /// Smallest revision in it.
    pub revision_min: Revision,
    /// Largest revision in it.
    pub revision_max: Revision,
    /// Earliest expiry (Unix milliseconds); `u64::MAX` where none expires.
    pub expiry_min_ms: u64,
    /// About when half of its rows will have expired (Unix milliseconds); `u64::MAX` where fewer expire.
    pub expiry_half_ms: u64,
    /// Distinct keys: the other rows are older versions of theirs.
    pub keys: u64,
    /// Smallest key.
    pub smallest: Vec<u8>,
    /// Largest key.
    pub largest: Vec<u8>,
}

/// One tree (keyspace).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TreeRecord {
    /// Its number.
    pub id: TreeId,
    /// Its name; the default keyspace is "default".
    pub name: String,
    /// Name of the key codec, as the Python side gave it.
    pub key_codec: String,
    /// Name of the value codec.
    pub value_codec: String,
    /// How its tables are compressed; `None`: as the store's are.
    pub compression: Option<ByLevel>,
    /// Every commit up to this revision is in tables: replay skips it for this tree.
    pub flushed: Revision,
    /// Tables by level; level 0 newest first, deeper levels by key.
    pub levels: Vec<Vec<TableRecord>>,
}

/// The whole manifest.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Manifest {
    /// Random number of the store, which every file header repeats.
    pub store: [u8; 16],
    /// No file id at or above this one has been used.
    pub next_file: u64,
    /// No tree id at or above this one has been used.
    pub next_tree: u32,
    /// No revision above this one is in any table; logs may hold later ones.
    pub last_revision: Revision,
    /// Logs to replay, oldest first. Empty after a clean close.
    pub logs: Vec<FileId>,
    /// The trees.
    pub trees: Vec<TreeRecord>,
}

/// The format that has compressions of trees.
const WITH_COMPRESSION: u32 = 2;

impl Manifest {
    /// The oldest format that holds what it says.
    pub fn version(&self) -> u32 {
        let is_plain = self.trees.iter().all(|tree| tree.compression.is_none());
        if is_plain { FORMAT_VERSION_MIN } else { WITH_COMPRESSION }
    }

    /// Encodes the manifest as the whole content of file `file`, not encrypted: header, body, tag.
    pub fn encode(&self, file: FileId) -> Vec<u8> {
        let (version, kind) = (self.version(), FileKind::Manifest);
        let header = FileHeader { version, kind, file, store: self.store, key: None };
        self.encode_sealed(&header, file)
    }

    /// Encodes the manifest behind its header, its body sealed. The store is the header's. Panics where its format cannot hold it.
    pub fn encode_sealed<'a>(&self, header: &FileHeader, seal: impl Into<Seal<'a>>) -> Vec<u8> {
        assert!(header.version >= self.version(), "a format that holds what the manifest says");
        let mut out = header.encode().to_vec();
        out.extend_from_slice(&self.next_file.to_le_bytes());
        out.extend_from_slice(&self.next_tree.to_le_bytes());
        out.extend_from_slice(&self.last_revision.0.to_le_bytes());
        push_count(&mut out, self.logs.len());
        self.logs.iter().for_each(|log| out.extend_from_slice(&log.0.to_le_bytes()));
        push_count(&mut out, self.trees.len());
        self.trees.iter().for_each(|tree| tree.push_to(&mut out, header.version));
        let tag = seal.into().close((HEADER_BYTES as u64).into(), &mut out[HEADER_BYTES..], 0);
        out.extend_from_slice(&tag);
        out
    }

    /// Decodes and checks a whole manifest file that is not encrypted. Errors: `Corrupt`, `NewerVersion`, `UnknownCipher`.
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        let header = FileHeader::decode(bytes, FileKind::Manifest)?;
        Self::decode_sealed(&header, header.file, bytes)
    }

    /// Decodes and checks a whole manifest file whose header was decoded. Errors: `Corrupt`.
    pub fn decode_sealed<'a>(header: &FileHeader, seal: impl Into<Seal<'a>>, bytes: &[u8]) -> Result<Self> {
        let Some((body, tag)) = bytes[HEADER_BYTES..].split_last_chunk::<TAG_BYTES>() else {
            return Err(FormatError::corrupt(bytes.len(), "the manifest is cut short"));
        };
        let Some(body) = seal.into().open((HEADER_BYTES as u64).into(), body, 0, tag) else {
            return Err(FormatError::corrupt(HEADER_BYTES, "the checksum of the manifest differs"));
        };
        let manifest = Self::read(header, &body).map_err(|error| error.moved(HEADER_BYTES))?;
        manifest.check().map_err(|what| FormatError::corrupt(HEADER_BYTES, what))?;
        Ok(manifest)
    }

    fn read(header: &FileHeader, body: &[u8]) -> Result<Self> {
        let mut reader = Reader::new(body);
        let manifest = Self {
            store: header.store,
            next_file: reader.u64()?,
            next_tree: reader.u32()?,
            last_revision: Revision(reader.u64()?),
            logs: read_list(&mut reader, LOG_BYTES_MIN, |reader| reader.u64().map(FileId))?,
            trees: read_list(&mut reader, TREE_BYTES_MIN, |reader| TreeRecord::read(reader, header.version))?,
        };
        reader.finish()?;
        Ok(manifest)
    }

    /// Checks what no engine would write; returns what is wrong.
    fn check(&self) -> std::result::Result<(), &'static str> {
        let (mut ids, mut names) = (HashSet::new(), HashSet::new());
        for tree in &self.trees {
            if tree.id.0 >= self.next_tree || !ids.insert(tree.id) || !names.insert(&tree.name) {
                return Err("a tree's number or name is used twice");
            }
            for (level, tables) in tree.levels.iter().enumerate() {
                check_level(level, tables)?;
            }
        }
        let tables = || self.trees.iter().flat_map(|tree| tree.levels.iter().flatten());
        let mut files = HashSet::new();
        for file in self.logs.iter().copied().chain(tables().map(|table| table.file)) {
            if file.0 >= self.next_file || !files.insert(file) {
                return Err("a file's number is used twice");
            }
        }
        if tables().any(|table| table.revision_max > self.last_revision) {
            return Err("a table holds a revision that was never given");
        }
        Ok(())
    }
}

/// Checks the tables of a level, and below level 0 that they are sorted and share no key.
fn check_level(level: usize, tables: &[TableRecord]) -> std::result::Result<(), &'static str> {
    for table in tables {
        let is_counted = table.tombstones <= table.rows && table.keys <= table.rows;
        if !is_counted || table.smallest > table.largest || table.revision_min > table.revision_max {
            return Err("the record of a table contradicts itself");
        }
    }
    if level > 0 && !tables.is_sorted_by(|left, right| left.largest < right.smallest) {
        return Err("tables of one level overlap");
    }
    Ok(())
}

impl TreeRecord {
    fn push_to(&self, out: &mut Vec<u8>, version: u32) {
        out.extend_from_slice(&self.id.0.to_le_bytes());
        out.extend_from_slice(&self.flushed.0.to_le_bytes());
        for text in [&self.name, &self.key_codec, &self.value_codec] {
            push_bytes(out, text.as_bytes());
        }
        if version >= WITH_COMPRESSION {
            let levels = self.compression.as_ref().map_or(&[][..], ByLevel::as_slice);
            push_count(out, levels.len());
            levels.iter().for_each(|level| out.extend_from_slice(&level.encode()));
        }
        push_count(out, self.levels.len());
        for level in &self.levels {
            push_count(out, level.len());
            level.iter().for_each(|table| table.push_to(out));
        }
    }

    fn read(reader: &mut Reader<'_>, version: u32) -> Result<Self> {
        Ok(Self {
            id: TreeId(reader.u32()?),
            flushed: Revision(reader.u64()?),
            name: read_text(reader)?,
            key_codec: read_text(reader)?,
            value_codec: read_text(reader)?,
            compression: if version >= WITH_COMPRESSION { read_compression(reader)? } else { None },
            levels: read_list(reader, LEVEL_BYTES_MIN, |reader| read_list(reader, TABLE_BYTES_MIN, TableRecord::read))?,
        })
    }
}

impl TableRecord {
    fn push_to(&self, out: &mut Vec<u8>) {
        let numbers = [
            self.file.0,
            self.bytes,
            self.rows,
            self.tombstones,
            self.revision_min.0,
            self.revision_max.0,
            self.expiry_min_ms,
            self.expiry_half_ms,
            self.keys,
        ];
        numbers.iter().for_each(|number| out.extend_from_slice(&number.to_le_bytes()));
        push_bytes(out, &self.smallest);
        push_bytes(out, &self.largest);
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self> {
        Ok(Self {
            file: FileId(reader.u64()?),
            bytes: reader.u64()?,
            rows: reader.u64()?,
            tombstones: reader.u64()?,
            revision_min: Revision(reader.u64()?),
            revision_max: Revision(reader.u64()?),
            expiry_min_ms: reader.u64()?,
            expiry_half_ms: reader.u64()?,
            keys: reader.u64()?,
            smallest: reader.bytes()?.to_vec(),
            largest: reader.bytes()?.to_vec(),
        })
    }
}

fn push_count(out: &mut Vec<u8>, count: usize) {
    out.extend_from_slice(&u32::try_from(count).expect("fewer than 2^32 of anything").to_le_bytes());
}

fn read_list<'a, T>(
    reader: &mut Reader<'a>,
    bytes_min: usize,
    mut read: impl FnMut(&mut Reader<'a>) -> Result<T>,
) -> Result<Vec<T>> {
    let count = reader.count(bytes_min)?;
    (0..count).map(|_| read(reader)).collect()
}

/// Reads how a tree is compressed: a list of two bytes for each level, empty where it is as the store's are.
fn read_compression(reader: &mut Reader<'_>) -> Result<Option<ByLevel>> {
    let at = reader.at();
    let levels = read_list(reader, 2, |reader| {
        let bytes = reader.take(2)?;
        Compression::decode([bytes[0], bytes[1]]).map_err(|error| error.moved(at))
    })?;
    if levels.is_empty() {
        return Ok(None);
    }
    ByLevel::new(levels)
        .map(Some)
        .ok_or_else(|| FormatError::corrupt(at, "a tree has compressions for too many levels"))
}

fn read_text(reader: &mut Reader<'_>) -> Result<String> {
    let at = reader.at();
    let text = std::str::from_utf8(reader.bytes()?);
    text.map(str::to_owned).map_err(|_| FormatError::corrupt(at, "a name is not UTF-8"))
}

#[cfg(test)]
mod tests;
