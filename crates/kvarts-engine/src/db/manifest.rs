//! The manifest of a store: how it is built, put in place, and changed together with the trees.
//!
//! MANIFEST.tmp is written and synced, renamed, and the directory synced. Only then does anything go that the manifest
//! before it named.
use super::TreeInfo;
use super::floor::{Bound, Floor};
use super::state::Shared;
use super::trees::{Mem, TreeShared, TreeState};
use crate::compaction::{self, Debt};
use crate::fs::Fs;
use crate::keys::{Identity, NewFile};
use crate::log::log_path;
use crate::version::{Version, VersionEdit};
use crate::{Error, FileId, Result, Revision, TreeId};
use kvarts_formats::header::{FileHeader, FileKind};
use kvarts_formats::manifest::{Manifest, TreeRecord};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Name of the manifest.
pub(super) const MANIFEST: &str = "MANIFEST";
/// Name of a manifest that is being written.
pub(super) const MANIFEST_TMP: &str = "MANIFEST.tmp";

/// What the install lock guards.
pub(super) struct Install {
    /// Live trees.
    pub(super) trees: BTreeMap<TreeId, Arc<TreeShared>>,
    /// The next tree id to give out.
    pub(super) next_tree: u32,
    /// Which manifest was in place, for whoever finds an older one.
    pub(super) floor: Floor,
    /// A revision whose record is durable, and the log that holds it.
    pub(super) reached: (FileId, Revision),
}

/// A tree whose state is about to change: its next version, and the memtable that is now in tables.
pub(super) struct Pending<'a> {
    tree: TreeId,
    version: &'a Version,
    flushed: Option<&'a Arc<Mem>>,
}

/// How putting a manifest in place failed.
pub(super) struct ManifestFailure {
    /// Why.
    pub(super) error: Error,
    /// True where the new manifest may be found after a crash all the same: nothing it names may be removed.
    pub(super) maybe_placed: bool,
}

/// What the manifest says of a tree.
pub(super) fn tree_record(info: &TreeInfo, version: &Version) -> TreeRecord {
    TreeRecord {
        id: info.id,
        name: info.name.clone(),
        key_codec: info.key_codec.clone(),
        value_codec: info.value_codec.clone(),
        compression: info.compression.clone(),
        flushed: version.flushed,
        levels: version
            .levels
            .iter()
            .map(|level| level.iter().map(|table| (*table.record).clone()).collect())
            .collect(),
    }
}

/// The newest format of the tables of `versions`, as far as it is known. A manifest is of no older one: whoever reads it can read them.
pub(super) fn tables_format<'a>(versions: impl IntoIterator<Item = &'a Version>) -> u32 {
    let tables = versions.into_iter().flat_map(Version::tables);
    tables.map(|(_, table)| table.table.format()).max().unwrap_or_default()
}

/// Returns the header of the manifest at `path`, and what its bytes say. Only the keys of `store` count: its number stands in the manifest.
///
/// Errors: `Corruption`, `NewerFormat`, `WrongKey`.
pub(super) fn read_manifest(path: &Path, bytes: &[u8], store: &Identity) -> Result<(FileHeader, Manifest)> {
    let damaged = |error| Error::format(path, 0, error);
    let header = FileHeader::decode(bytes, FileKind::Manifest).map_err(damaged)?;
    let seal = store.open(path, &header)?;
    let manifest = Manifest::decode_sealed(&header, &seal, bytes).map_err(damaged)?;
    Ok((header, manifest))
}

/// Puts `manifest` in place in `dir` as a file of at least a format, and raises the floor to it; durable on return. Its logs reach
/// `revision`.
pub(super) fn place(
    fs: &dyn Fs,
    dir: &Path,
    manifest: &Manifest,
    store: &Identity,
    (file, format): (FileId, u32),
    floor: &mut Floor,
    revision: Revision,
) -> std::result::Result<(), ManifestFailure> {
    let (tmp, path) = (dir.join(MANIFEST_TMP), dir.join(MANIFEST));
    let begun = store.begin_as(manifest.version().max(format), FileKind::Manifest, file);
    let NewFile { header, seal } = begun.map_err(|error| ManifestFailure { error, maybe_placed: false })?;
    let written = (|| {
        if fs.exists(&tmp)? {
            fs.remove(&tmp)?;
        }
        let mut out = fs.create(&tmp)?;
        out.append(&manifest.encode_sealed(&header, &seal))?;
        out.sync()
    })();
    written.map_err(|error| ManifestFailure {
        error: Error::io("writing the manifest", &tmp, error),
        maybe_placed: false,
    })?;
    let placed = fs.rename(&tmp, &path).and_then(|()| fs.sync_dir(dir)).and_then(|()| {
        let bound = Bound { manifest: file, revision };
        floor.raise(fs, dir, bound)
    });
    placed.map_err(|error| ManifestFailure {
        error: Error::io("replacing the manifest", &path, error),
        maybe_placed: true,
    })
}

impl Install {
    /// Notes that the log is durable up to the last row of `mem`.
    pub(super) fn reach(&mut self, mem: &Mem) {
        self.reached = self.reached.max((mem.end.load().file, mem.revision_max()));
    }

    /// Notes that the log is durable up to its end. Called with `write` held.
    pub(super) fn reach_all(&mut self) {
        let trees: Vec<Arc<TreeShared>> = self.trees.values().cloned().collect();
        for tree in trees {
            tree.state.load().mems().for_each(|mem| self.reach(mem));
        }
    }
}

impl Shared {
    /// Installs `edit` in `tree`, and drops the memtable that it flushed: durable first, then visible.
    ///
    /// Where the tree was dropped meanwhile, or nothing was put in place, the added tables go again.
    pub(super) fn install(&self, tree: &TreeShared, edit: &VersionEdit, flushed: Option<&Arc<Mem>>) -> Result<()> {
        let mut install = self.install.lock();
        if tree.dropped.load(Ordering::Acquire) {
            discard(edit);
            return Ok(());
        }
        let before = tree.state.load_full();
        let version = Arc::new(before.version.apply(edit));
        let pending = Pending { tree: tree.id(), version: &version, flushed };
        if let Some(mem) = flushed {
            install.reach(mem);
        }
        if let Err(error) = self.write_manifest(&mut install, Some(&pending)) {
            if !self.is_poisoned() {
                discard(edit);
            }
            return Err(error);
        }
        tree.change(|state| TreeState {
            active: Arc::clone(&state.active),
            sealed: state.sealed.iter().filter(|&mem| !is_same(flushed, mem)).map(Arc::clone).collect(),
            version,
            waste: Arc::clone(&state.waste),
        });
        if let Some(mem) = flushed {
            self.sealed_gone(std::slice::from_ref(mem));
        }
        for table in edit.obsolete(&before.version) {
            table.table.mark_obsolete();
        }
        self.installed(&mut install);
        Ok(())
    }

    /// Writes the manifest as of now, with `pending` in place of the state that tree has. Deletes logs it no longer names.
    ///
    /// Errors: one that may pass where nothing changed on disk; `Poisoned` otherwise.
    pub(super) fn write_manifest(&self, install: &mut Install, pending: Option<&Pending<'_>>) -> Result<()> {
        let oldest = self.oldest_log(install, pending);
        let logs = self.logs.lock().iter().map(|&(file, _)| file).filter(|&file| file >= oldest).collect();
        let (file, revision) = install.reached;
        let reached = if self.options.log && file >= oldest { revision } else { Revision::ZERO };
        self.place_manifest(install, pending, logs, reached)?;
        let stale: Vec<FileId> = {
            let mut logs = self.logs.lock();
            let kept = logs.iter().position(|&(file, _)| file >= oldest).unwrap_or(logs.len());
            logs.drain(..kept).map(|(file, _)| file).collect()
        };
        self.remove_logs(&stale);
        Ok(())
    }

    /// Puts a manifest with these logs in place, which durably reach a revision.
    pub(super) fn place_manifest(
        &self,
        install: &mut Install,
        pending: Option<&Pending<'_>>,
        logs: Vec<FileId>,
        reached: Revision,
    ) -> Result<()> {
        let file = self.new_file();
        let mut format = 0;
        let mut record = |tree: &Arc<TreeShared>| {
            let version = match pending {
                Some(pending) if pending.tree == tree.id() => pending.version,
                _ => &tree.state.load().version,
            };
            format = format.max(tables_format([version]));
            tree_record(&tree.info(), version)
        };
        let manifest = Manifest {
            store: self.store.id,
            next_file: self.next_file.load(Ordering::Relaxed),
            next_tree: install.next_tree,
            last_revision: Revision(self.applied.load(Ordering::Acquire)),
            logs,
            trees: install.trees.values().map(&mut record).collect(),
        };
        let floor = &mut install.floor;
        place(&*self.fs, &self.dir, &manifest, &self.store, (file, format), floor, reached).map_err(|failure| {
            match failure.error {
                passing if passing.may_pass() && !failure.maybe_placed => passing,
                other => self.poison(other),
            }
        })
    }

    /// Removes log files. A file that stays is removed by the next open: its id is below the first that counts.
    pub(super) fn remove_logs(&self, files: &[FileId]) {
        for &file in files {
            let _ = self.fs.remove(&log_path(&self.dir, file));
        }
    }

    /// Brings the numbers that depend on the set of tables up to date, and wakes those who wait for them.
    pub(super) fn installed(&self, install: &mut Install) {
        let (mut debt, mut memory) = (Debt::default(), 0);
        for tree in install.trees.values() {
            let version = Arc::clone(&tree.state.load().version);
            let of_tree = compaction::debt(&version, &self.options);
            debt = Debt { runs: debt.runs.max(of_tree.runs), bytes: debt.bytes + of_tree.bytes };
            memory += version.levels.iter().flatten().map(|table| table.table.memory_bytes()).sum::<usize>();
        }
        self.set_debt(debt);
        let before = self.index_bytes.swap(memory, Ordering::Relaxed);
        self.memory.indexes_took(before, memory, &self.cache);
        self.progress();
    }

    /// The oldest log that recovery still needs.
    ///
    /// The end of the log is read first: a record in an earlier file is then already noted in its memtable.
    fn oldest_log(&self, install: &Install, pending: Option<&Pending<'_>>) -> FileId {
        let mut oldest = self.appended.load().file;
        let flushed = pending.and_then(|pending| pending.flushed);
        for tree in install.trees.values() {
            let state = tree.state.load();
            for mem in state.mems().filter(|&mem| !is_same(flushed, mem)) {
                oldest = oldest.min(mem.first_log());
            }
        }
        oldest
    }
}

/// Removes the tables of an edit that was not installed.
fn discard(edit: &VersionEdit) {
    let moved = |file| edit.removed.iter().any(|&(_, removed)| removed == file);
    for (_, added) in edit.added.iter().filter(|(_, added)| !moved(added.record.file)) {
        added.table.mark_obsolete();
    }
}

fn is_same(flushed: Option<&Arc<Mem>>, mem: &Arc<Mem>) -> bool {
    flushed.is_some_and(|flushed| Arc::ptr_eq(flushed, mem))
}
