//! Which tables make up a tree, and how that changes.
use crate::table::Table;
use crate::{FileId, Revision};
use kvarts_formats::manifest::TableRecord;
use std::sync::Arc;

/// Number of levels, level 0 included.
pub const LEVELS: usize = 7;

/// One table of a version: what the manifest says and the open table.
#[derive(Clone)]
pub struct TableRef {
    /// As in the manifest.
    pub record: Arc<TableRecord>,
    /// The open table.
    pub table: Arc<Table>,
}

/// An immutable set of live tables of one tree.
#[derive(Clone, Default)]
pub struct Version {
    /// Tables by level; level 0 newest first (by `revision_max`), deeper levels by key without overlap.
    pub levels: Vec<Vec<TableRef>>,
    /// Every commit up to this revision is in these tables.
    pub flushed: Revision,
}

/// A change from one version to the next.
#[derive(Clone, Default)]
pub struct VersionEdit {
    /// Tables that come, with their level.
    pub added: Vec<(usize, TableRef)>,
    /// Tables that go, with their level.
    pub removed: Vec<(usize, FileId)>,
    /// New `flushed`, where a flush moved it.
    pub flushed: Option<Revision>,
}

impl Version {
    /// Returns this version with `edit` applied. Panics where the edit does not fit (overlap, unknown table): a bug.
    pub fn apply(&self, edit: &VersionEdit) -> Self {
        todo!("{}", edit.added.len())
    }

    /// Tables whose key range holds `key`, newest first: level 0 in order, then at most one per deeper level.
    pub fn candidates<'a>(&'a self, key: &'a [u8]) -> impl Iterator<Item = &'a TableRef> {
        let _ = key;
        std::iter::empty()
    }

    /// Tables of `level` that overlap the keys from `smallest` to `largest`, both included.
    pub fn overlapping(&self, level: usize, smallest: &[u8], largest: &[u8]) -> Vec<TableRef> {
        todo!("{level} {smallest:?} {largest:?}")
    }

    /// Bytes of a level.
    pub fn level_bytes(&self, level: usize) -> u64 {
        todo!("{level}")
    }
}
