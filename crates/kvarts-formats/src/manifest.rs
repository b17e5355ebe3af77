//! The manifest: which files make up the store. Rewritten whole (temporary file, sync, rename, directory sync).
use crate::{FileId, Result, Revision, TreeId};

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

impl Manifest {
    /// Encodes the manifest as the whole content of file `file`: header, body, tag.
    pub fn encode(&self, file: FileId) -> Vec<u8> {
        todo!("{self:?} {file:?}")
    }

    /// Decodes and checks a whole manifest file. Errors: `Corrupt`, `NewerVersion`, `UnknownCipher`.
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        todo!("{bytes:?}")
    }
}
