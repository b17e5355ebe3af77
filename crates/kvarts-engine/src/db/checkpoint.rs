//! Checkpoints: a copy of the store, or of one tree, by hard links.
use super::floor::{self, Floor};
use super::flush::Sealed;
use super::manifest::{MANIFEST, MANIFEST_TMP, place, tables_format, tree_record};
use super::open::parent;
use super::state::Shared;
use super::trees::TreeShared;
use super::{Db, Tree};
use crate::table::table_path;
use crate::version::Version;
use crate::{Error, FileId, Result, Revision};
use kvarts_formats::manifest::Manifest;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Tables of some trees that hold all of them as of one revision, and no later row.
struct Cut {
    revision: Revision,
    trees: Vec<(Arc<TreeShared>, Arc<Version>)>,
}

impl Db {
    /// Makes a copy of the store at `to` (which must not exist, or be an empty directory) by hard links; it opens as a
    /// store of its own. One tree only where `tree` is given. Consistent: all trees at one revision. Durable on return; where
    /// it fails, what it has made goes again.
    pub fn checkpoint(&self, tree: Option<&Tree>, to: &Path) -> Result<Revision> {
        let shared = &*self.shared;
        shared.check_writable()?;
        let is_new = shared.prepare_target(to)?;
        let done = shared.cut(tree.map(|tree| &tree.shared)).and_then(|cut| {
            shared.link_cut(&cut, to)?;
            Ok(cut.revision)
        });
        if done.is_err() && is_new {
            let _ = shared.fs.remove_dir(to);
        }
        // A store that was closed meanwhile finds its own files no more: that is no fault of the disk.
        done.map_err(|error| if shared.is_closed() { Error::Closed } else { error })
    }
}

impl Shared {
    /// Makes the directory, or finds it empty. Returns whether it was made.
    fn prepare_target(&self, to: &Path) -> Result<bool> {
        let doing = |error| Error::io("making the checkpoint", to, error);
        if to.starts_with(&self.dir) {
            return Err(Error::invalid(
                format!("{} lies in the store itself", to.display()),
                "give a path beside the store's directory",
            ));
        }
        if self.fs.exists(to).map_err(doing)? {
            if self.fs.list(to).map_err(doing)?.is_empty() {
                return Ok(false);
            }
            return Err(Error::invalid(
                format!("{} exists and is not empty", to.display()),
                "give a path that does not exist",
            ));
        }
        let parent = parent(to);
        if !self.fs.exists(&parent).map_err(doing)? {
            return Err(Error::NotFound(parent));
        }
        self.fs.create_dir(to).map_err(doing)?;
        Ok(true)
    }

    /// Flushes all rows up to now, and no later ones, and takes the tables.
    ///
    /// `flushing` is held from the seal until the tables are taken: no memtable that was begun after it gets in.
    fn cut(&self, only: Option<&Arc<TreeShared>>) -> Result<Cut> {
        let mut write = self.write.lock();
        self.check_writable()?;
        self.seal_all(&mut write);
        let revision = Revision(self.applied.load(Ordering::Acquire));
        let _flushing = self.flushing.lock();
        let mems: Vec<Sealed> = self.sealed_mems();
        drop(write);
        for (tree, mem) in &mems {
            self.flush_mem(tree, mem)?;
        }
        let install = self.install.lock();
        let trees: Vec<_> = install
            .trees
            .values()
            .filter(|tree| only.is_none_or(|only| only.id() == tree.id()))
            .map(|tree| (Arc::clone(tree), Arc::clone(&tree.state.load().version)))
            .collect();
        match only {
            Some(only) if trees.is_empty() => Err(only.gone()),
            _ => Ok(Cut { revision, trees }),
        }
    }

    /// Links the tables of `cut` into `to` and writes a manifest there. On failure all of it goes again, the manifest first:
    /// none is left that names tables which are gone.
    fn link_cut(&self, cut: &Cut, to: &Path) -> Result<()> {
        let files: Vec<FileId> = cut
            .trees
            .iter()
            .flat_map(|(_, version)| version.levels.iter().flatten().map(|table| table.record.file))
            .collect();
        let linked = files.iter().try_for_each(|&file| {
            let (from, link) = (table_path(&self.dir, file), table_path(to, file));
            self.fs.link(&from, &link).map_err(|error| link_error(&link, error))
        });
        let done = linked.and_then(|()| self.place_cut(cut, to));
        if done.is_err() {
            let names = self.fs.list(to).unwrap_or_default();
            let floors = names.iter().filter(|name| floor::parse(name).is_some()).map(String::as_str);
            let others = [MANIFEST, MANIFEST_TMP].into_iter().chain(floors).map(|name| to.join(name));
            for path in others.chain(files.iter().map(|&file| table_path(to, file))) {
                let _ = self.fs.remove(&path);
            }
        }
        done
    }

    fn place_cut(&self, cut: &Cut, to: &Path) -> Result<()> {
        let next_tree = cut.trees.iter().map(|(tree, _)| tree.id().0 + 1).max().unwrap_or(0);
        let file = self.new_file();
        let manifest = Manifest {
            store: self.store.id,
            next_file: self.next_file.load(Ordering::Relaxed),
            next_tree,
            last_revision: cut.revision,
            logs: Vec::new(),
            trees: cut.trees.iter().map(|(tree, version)| tree_record(&tree.info(), version)).collect(),
        };
        let format = tables_format(cut.trees.iter().map(|(_, version)| &**version));
        let mut floor = Floor::default();
        place(&*self.fs, to, &manifest, &self.store, (file, format), &mut floor, Revision::ZERO)
            .map_err(|failure| failure.error)?;
        let parent = parent(to);
        self.fs.sync_dir(&parent).map_err(|error| Error::io("syncing", &parent, error))
    }
}

fn link_error(link: &Path, error: io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::CrossesDevices => Error::invalid(
            format!("{} is on another file system: tables cannot be linked there", link.display()),
            "give a path on the file system of the store, then copy the checkpoint",
        ),
        _ => Error::io("linking", link, error),
    }
}
