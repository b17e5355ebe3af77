//! What `put(if_=...)` asks of a key.
use crate::arguments::revision_of;
use crate::fault::{Fault, Outcome};
use crate::tree::Tree;
use kvarts_engine::Revision;
use kvarts_engine::db::Entry;
use pyo3::intern;
use pyo3::prelude::*;

/// A condition, with its value encoded.
pub enum Condition {
    /// No entry.
    Absent,
    /// An entry.
    Present,
    /// An entry written by this revision.
    AtRevision(Revision),
    /// An entry with this value.
    Equals(Vec<u8>),
}

impl Condition {
    /// Takes it from a `kvarts.base.types.Condition`; `ANY` is `None`.
    pub fn from_python(tree: &Tree, given: &Bound<'_, PyAny>) -> Outcome<Option<Self>> {
        let py = given.py();
        let Ok(kind) = given.getattr(intern!(py, "kind")).and_then(|kind| kind.extract::<u8>()) else {
            return Err(Fault::wrong_type("if_= ANY, ABSENT, PRESENT, AtRevision(n) or Equals(value)", given));
        };
        let argument = given.getattr(intern!(py, "argument"))?;
        Ok(Some(match kind {
            0 => return Ok(None),
            1 => Self::Absent,
            2 => Self::Present,
            3 => Self::AtRevision(Revision(revision_of(&argument)?)),
            _ => Self::Equals(tree.encode_value(&argument)?.to_vec()),
        }))
    }

    /// Checks it against the entry found.
    pub fn check(&self, entry: Option<Entry<'_>>) -> Outcome<()> {
        let holds = match (self, entry) {
            (Self::Absent, found) => found.is_none(),
            (Self::Present, found) => found.is_some(),
            (Self::AtRevision(revision), found) => found.is_some_and(|entry| entry.revision == *revision),
            (Self::Equals(value), found) => found.is_some_and(|entry| entry.value == value),
        };
        if holds { Ok(()) } else { Err(Fault::Condition(entry.map(|entry| (entry.value.to_vec(), entry.revision)))) }
    }
}
