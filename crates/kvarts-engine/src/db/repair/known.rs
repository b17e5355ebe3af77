//! What is known of a damaged store: from its manifest, from an older or unfinished one, from names and headers.
use super::{Gone, RepairReport};
use crate::db::Damage;
use crate::db::floor::Floor;
use crate::db::manifest::{MANIFEST, MANIFEST_TMP, read_manifest};
use crate::db::open::{Named, header_of, logs_to_replay, named};
use crate::fs::Fs;
use crate::keys::Identity;
use crate::{Error, FileId, Revision, TreeId};
use kvarts_formats::compress::ByLevel;
use kvarts_formats::manifest::{Manifest, TableRecord};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

/// Codecs of a tree of which nothing is known.
const BYTES: &str = "bytes";

/// The tree a table belongs to.
#[derive(Clone)]
pub(super) struct Owner {
    pub(super) name: String,
    pub(super) codecs: (String, String),
    pub(super) record: Option<TableRecord>,
}

/// What is known of a store before its tables and logs are read.
pub(super) struct Known {
    /// The random number of the store.
    pub(super) store: [u8; 16],
    pub(super) last_revision: Revision,
    /// The revision that the logs reached durably.
    pub(super) reach: Revision,
    /// How trees are compressed that say it for themselves.
    pub(super) compressions: BTreeMap<String, ByLevel>,
    /// Tables that count.
    pub(super) tables: BTreeMap<FileId, Owner>,
    /// Logs that count, oldest first.
    pub(super) logs: Vec<FileId>,
    /// Trees by id.
    trees: BTreeMap<TreeId, (String, (String, String))>,
    /// Where every tree is known: others were dropped.
    is_complete: bool,
    one_tree: Option<String>,
}

impl Known {
    pub(super) fn find(
        fs: &Arc<dyn Fs>,
        dir: &Path,
        names: &[String],
        one_tree: Option<&str>,
        report: &mut RepairReport,
    ) -> Self {
        let read = |name: &str| {
            let path = dir.join(name);
            let bytes = fs.read(&path).map_err(|error| Error::io("reading", &path, error))?;
            read_manifest(&path, &bytes, &Identity::from([0; 16]))
        };
        let found = read(MANIFEST);
        let mut reach = Revision::ZERO;
        let whole = match &found {
            Ok((header, manifest)) => Floor::find(names).check(dir, header.file).map(|reached| {
                reach = reached;
                manifest.clone()
            }),
            Err(error) => Err(error.clone()),
        };
        if let Err(error) = &whole {
            report.gone.push(Gone { tree: String::new(), damage: manifest_damage(dir, error), rows_gone: false });
        }
        let is_complete = whole.is_ok();
        // One that was being written, or an older one, still tells names.
        let manifest = whole.ok().or_else(|| read(MANIFEST_TMP).ok().map(|(_, manifest)| manifest));
        let manifest = manifest.or_else(|| found.ok().map(|(_, manifest)| manifest));
        let store = manifest.as_ref().map_or_else(|| commonest_store(&**fs, dir, names), |manifest| manifest.store);
        let mut known = Self {
            store,
            last_revision: manifest.as_ref().map_or(Revision::ZERO, |manifest| manifest.last_revision),
            reach,
            compressions: BTreeMap::new(),
            tables: BTreeMap::new(),
            logs: Vec::new(),
            trees: BTreeMap::new(),
            is_complete,
            one_tree: one_tree.map(str::to_owned),
        };
        if let Some(manifest) = &manifest {
            known.take_manifest(manifest, names);
        }
        if !is_complete {
            known.take_names(names);
        }
        known
    }

    fn take_manifest(&mut self, manifest: &Manifest, names: &[String]) {
        let exists = |file: FileId| names.iter().any(|name| named(name) == Named::Table(file));
        for tree in &manifest.trees {
            let codecs = (tree.key_codec.clone(), tree.value_codec.clone());
            self.trees.insert(tree.id, (tree.name.clone(), codecs.clone()));
            if let Some(own) = &tree.compression {
                self.compressions.insert(tree.name.clone(), own.clone());
            }
            // An older manifest names tables that have gone since.
            for record in tree.levels.iter().flatten().filter(|record| self.is_complete || exists(record.file)) {
                let owner = Owner { name: tree.name.clone(), codecs: codecs.clone(), record: Some(record.clone()) };
                self.tables.insert(record.file, owner);
            }
        }
        if self.is_complete {
            self.logs = logs_to_replay(manifest, names);
        } else if manifest.next_tree == 1 && self.one_tree.is_none() {
            self.one_tree = manifest.trees.first().map(|tree| tree.name.clone());
        }
    }

    fn take_names(&mut self, names: &[String]) {
        for name in names {
            match named(name) {
                Named::Log(file) => self.logs.push(file),
                Named::Table(file) if !self.tables.contains_key(&file) => {
                    let name = self.one_tree.clone().unwrap_or_else(|| format!("recovered-{}", file.0));
                    let owner = Owner { codecs: self.codecs_of(&name), name, record: None };
                    self.tables.insert(file, owner);
                }
                _ => {}
            }
        }
        self.logs.sort_unstable();
    }

    fn codecs_of(&self, name: &str) -> (String, String) {
        let known = self.trees.values().find(|(known, _)| known == name).map(|(_, codecs)| codecs.clone());
        known.unwrap_or_else(|| (BYTES.to_owned(), BYTES.to_owned()))
    }

    /// Name and codecs of the tree that a batch names; `None` where it was dropped.
    pub(super) fn tree_of(&self, id: TreeId) -> Option<(String, (String, String))> {
        if let Some((name, codecs)) = self.trees.get(&id) {
            return Some((name.clone(), codecs.clone()));
        }
        if self.is_complete {
            return None;
        }
        let name = self.one_tree.clone().unwrap_or_else(|| format!("recovered-tree-{}", id.0));
        Some((name.clone(), self.codecs_of(&name)))
    }

    /// Names of the files that will be read.
    pub(super) fn files(&self) -> impl Iterator<Item = String> {
        let tables = self.tables.keys().map(|file| format!("{:06}.table", file.0));
        tables.chain(self.logs.iter().map(|file| format!("{:06}.log", file.0)))
    }
}

fn manifest_damage(dir: &Path, error: &Error) -> Damage {
    let file = dir.join(MANIFEST);
    let (offset, what) = match error {
        Error::Corruption { offset, what, .. } => (*offset, what.clone()),
        other => (0, other.to_string()),
    };
    Damage { file, offset, what, smallest: Vec::new(), largest: Vec::new() }
}

/// The store that most files say they are of.
fn commonest_store(fs: &dyn Fs, dir: &Path, names: &[String]) -> [u8; 16] {
    let mut counts: BTreeMap<[u8; 16], usize> = BTreeMap::new();
    for name in names {
        if let Some(header) = header_of(fs, dir, name) {
            *counts.entry(header.store).or_default() += 1;
        }
    }
    counts.into_iter().max_by_key(|&(_, count)| count).map_or([0; 16], |(store, _)| store)
}
