//! What stands for a table in a version, and the change from one version to the next.
use super::Version;
use crate::table::Table;
use crate::{FileId, Revision};
use kvarts_formats::manifest::TableRecord;
use std::fmt;
use std::sync::Arc;

/// What the manifest says about a table: all that versions and compaction policies look at.
pub trait HasRecord {
    /// Returns the table's record.
    fn record(&self) -> &TableRecord;
}

/// One table of a version: what the manifest says and the open table.
#[derive(Clone)]
pub struct TableRef {
    /// As in the manifest.
    pub record: Arc<TableRecord>,
    /// The open table.
    pub table: Arc<Table>,
}

impl TableRef {
    /// A table, with what is to stand in the manifest of it.
    pub fn of(table: Arc<Table>) -> Self {
        Self { record: Arc::clone(table.shared_record()), table }
    }
}

impl HasRecord for TableRef {
    fn record(&self) -> &TableRecord {
        &self.record
    }
}

impl HasRecord for Arc<TableRecord> {
    fn record(&self) -> &TableRecord {
        self
    }
}

/// A change from one version to the next.
#[derive(Clone)]
pub struct VersionEdit<T = TableRef> {
    /// Tables that come, with their level.
    pub added: Vec<(usize, T)>,
    /// Tables that go, with their level. A table moved to another level stands in both lists.
    pub removed: Vec<(usize, FileId)>,
    /// New `flushed`, where a flush moved it.
    pub flushed: Option<Revision>,
}

impl<T> Default for VersionEdit<T> {
    fn default() -> Self {
        Self { added: Vec::new(), removed: Vec::new(), flushed: None }
    }
}

impl<T: HasRecord + Clone> VersionEdit<T> {
    /// Tables of `before` that are gone for good after this edit: those to mark obsolete once the manifest that no longer
    /// names them is durable. Tables that only moved are not among them.
    pub fn obsolete(&self, before: &Version<T>) -> Vec<T> {
        let stays = |file: FileId| self.added.iter().any(|(_, table)| table.record().file == file);
        let gone = self.removed.iter().filter(|(_, file)| !stays(*file));
        gone.filter_map(|&(level, file)| before.levels[level].iter().find(|table| table.record().file == file))
            .cloned()
            .collect()
    }
}

impl<T: HasRecord> fmt::Debug for VersionEdit<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("edit")?;
        for (level, table) in &self.added {
            write!(f, " +{}@L{level}", table.record().file.0)?;
        }
        for (level, file) in &self.removed {
            write!(f, " -{}@L{level}", file.0)?;
        }
        self.flushed.map_or(Ok(()), |revision| write!(f, " flushed={}", revision.0))
    }
}
