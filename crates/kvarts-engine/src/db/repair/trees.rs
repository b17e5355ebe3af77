//! The trees that come out of what is found.
use crate::memtable::Memtable;
use crate::table::Table;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What was found of one tree.
pub(super) struct FoundTree {
    /// Names of key codec and value codec.
    pub(super) codecs: (String, String),
    /// Its tables, as far as they are whole.
    pub(super) tables: Vec<Arc<Table>>,
    /// Rows of logs.
    pub(super) mem: Arc<Memtable>,
}

/// Trees by name.
#[derive(Default)]
pub(super) struct Found {
    pub(super) trees: BTreeMap<String, FoundTree>,
}

impl Found {
    /// The tree of a name, made where it is new.
    pub(super) fn tree(&mut self, name: &str, codecs: &(String, String)) -> &mut FoundTree {
        let new = || FoundTree { codecs: codecs.clone(), tables: Vec::new(), mem: Memtable::new() };
        self.trees.entry(name.to_owned()).or_insert_with(new)
    }
}
