//! Repair: what is whole of a damaged store goes into a new one, and what is gone is listed. The old one stays as it is.
//!
//! Where the manifest is whole, it says which tables and logs count, and to which tree they belong. Where it is not, all that
//! lie there count; a table then belongs to a tree that an older manifest names for it, or to one of its own, since nothing in
//! it says. Of the rows of a key the newest that is whole is kept, with its revision; where that is a tombstone, none is. So
//! where a newer row was lost, an older one may come back: `gone` says which keys that may be.
use super::floor::Floor;
use super::manifest::{place, tables_format, tree_record};
use super::open::{Named, header_of, is_ours, list, named, new_store_id, parent};
use super::open_read::lock;
use super::{Damage, TreeInfo};
use crate::clock::Clock;
use crate::fs::{Fs, guard, hold};
use crate::iter::{BoxCursor, MergeCursor};
use crate::options::Options;
use crate::table::{BlockCache, Table, table_path};
use crate::version::{LEVELS, Version};
use crate::{Error, FileId, Result, Revision, TreeId};
use kvarts_formats::manifest::Manifest;
use std::path::Path;
use std::sync::Arc;

mod known;
mod logs;
mod trees;
mod write;

use known::Known;
use trees::Found;

/// What a repair has saved, and what is gone.
#[derive(Clone, Debug, Default)]
pub struct RepairReport {
    /// Tables of which at least one block was whole.
    pub tables: u64,
    /// Blocks that were whole.
    pub blocks: u64,
    /// Batches found in logs.
    pub batches: u64,
    /// Bytes of tables and logs that were looked at.
    pub bytes: u64,
    /// Newest revision found.
    pub revision: Revision,
    /// Each tree of the new store, and how many rows it has.
    pub trees: Vec<(String, u64)>,
    /// What is damaged, by tree (empty: of any).
    pub gone: Vec<Gone>,
}

/// One place of which not all could be saved.
#[derive(Clone, Debug)]
pub struct Gone {
    /// Name of the tree; empty where it may be any.
    pub tree: String,
    /// File, offset, what is wrong, and the keys concerned: where both are empty, any may be.
    pub damage: Damage,
    /// False where the damage is in what is not needed: every row was found all the same.
    pub rows_gone: bool,
}

/// A repair at work.
pub(super) struct Repair<'a> {
    fs: &'a Arc<dyn Fs>,
    from: &'a Path,
    cache: Arc<BlockCache>,
    known: Known,
    report: RepairReport,
    progress: &'a mut dyn FnMut(u64, u64) -> bool,
    all_bytes: u64,
    stopped: bool,
    /// The log read last that has no `End` record, and where its records end.
    unended: Option<(FileId, u64)>,
}

/// Salvages the store at `from` into a new one at `to`, which must not exist, or be an empty directory.
///
/// `one_tree` names the tree that tables and batches belong to of which nothing says to which. `progress` gets (bytes done,
/// bytes in all) and ends the work by returning false. Errors: `NotFound` (nothing of a store is there), `Locked`, `Unsafe`, `InvalidArgument`, `StorageFull`, `Io`: then
/// nothing is left at `to`.
pub fn repair(
    fs: &Arc<dyn Fs>,
    clock: &dyn Clock,
    from: &Path,
    to: &Path,
    options: Options,
    one_tree: Option<&str>,
    progress: &mut dyn FnMut(u64, u64) -> bool,
) -> Result<RepairReport> {
    let options = options.validate()?;
    if !fs.exists(from).map_err(|error| Error::io("looking for", from, error))? {
        return Err(Error::NotFound(from.to_owned()));
    }
    let fs = &hold(fs, from)?;
    guard(&**fs, from, &is_ours, false)?;
    let _lock = lock(&**fs, from)?;
    let names = list(&**fs, from)?;
    if !names.iter().any(|name| !matches!(named(name), Named::Foreign)) {
        return Err(Error::NotFound(from.to_owned()));
    }
    refuse_encrypted(&**fs, from, &names)?;
    let is_new = prepare(&**fs, to)?;
    let mut report = RepairReport::default();
    let known = Known::find(fs, from, &names, one_tree, &mut report);
    let all_bytes = known.files().map(|path| fs.open(&from.join(path)).map_or(0, |file| file.len())).sum();
    let cache = BlockCache::new(0);
    let mut repair = Repair { fs, from, cache, known, report, progress, all_bytes, stopped: false, unended: None };
    let done = repair.run(to, &options, new_store_id(clock));
    if done.is_err() {
        for name in fs.list(to).unwrap_or_default() {
            let _ = fs.remove(&to.join(name));
        }
        if is_new {
            let _ = fs.remove_dir(to);
        }
    }
    done.map(|()| repair.report)
}

/// Without its keys nothing of an encrypted file is told from damage.
fn refuse_encrypted(fs: &dyn Fs, dir: &Path, names: &[String]) -> Result<()> {
    for name in names {
        if header_of(fs, dir, name).is_some_and(|header| header.key.is_some()) {
            return Err(Error::invalid(
                format!("{} is encrypted, and repair reads no encrypted files yet", dir.join(name).display()),
                "open it with mode=\"r\" and its key, and export what can be read",
            ));
        }
    }
    Ok(())
}

/// Makes the directory, or finds it empty. Returns whether it was made.
fn prepare(fs: &dyn Fs, to: &Path) -> Result<bool> {
    let doing = |error| Error::io("making the new store", to, error);
    if fs.exists(to).map_err(doing)? {
        return match fs.list(to).map_err(doing)?.is_empty() {
            true => Ok(false),
            false => Err(Error::invalid(format!("{} is not empty", to.display()), "give a path that does not exist")),
        };
    }
    let above = parent(to);
    if !fs.exists(&above).map_err(doing)? {
        return Err(Error::NotFound(above));
    }
    fs.create_dir(to).and_then(|()| fs.sync_dir(&above)).map_err(doing)?;
    Ok(true)
}

impl Repair<'_> {
    fn run(&mut self, to: &Path, options: &Options, store: [u8; 16]) -> Result<()> {
        let mut found = Found::default();
        for (file, owner) in self.known.tables.clone() {
            self.take_table(file, &owner, &mut found);
            self.go_on()?;
        }
        for file in self.known.logs.clone() {
            self.take_log(file, &mut found);
            self.go_on()?;
        }
        self.check_reach();
        let mut files = 1..;
        let mut next_file = move || FileId(files.next().expect("numbers do not end"));
        let (mut records, mut format) = (Vec::new(), 0);
        self.report.revision = self.report.revision.max(self.known.last_revision);
        for (id, (name, tree)) in found.trees.into_iter().enumerate() {
            let sources: Vec<BoxCursor> = tree.tables.iter().map(|table| table.cursor(false)).collect();
            let sources = std::iter::once(tree.mem.cursor()).chain(sources).collect();
            let own = self.known.compressions.get(&name).cloned();
            let compression = own.as_ref().unwrap_or(&options.compression).at(LEVELS - 1);
            let writer = write::Writer { fs: self.fs, to, store, options, compression, cache: &self.cache };
            let (tables, rows) = writer.write(MergeCursor::new(sources), &mut next_file)?;
            let mut levels = vec![Vec::new(); LEVELS];
            levels[LEVELS - 1] = tables;
            let (key_codec, value_codec) = tree.codecs;
            let id = TreeId(id as u32);
            let info = TreeInfo { id, name: name.clone(), key_codec, value_codec, compression: own };
            let version = Version::new(levels, self.report.revision);
            format = format.max(tables_format([&version]));
            records.push(tree_record(&info, &version));
            self.report.trees.push((name, rows));
        }
        let manifest_file = next_file();
        let manifest = Manifest {
            store,
            next_file: manifest_file.0 + 1,
            next_tree: records.len() as u32,
            last_revision: self.report.revision,
            logs: Vec::new(),
            trees: records,
        };
        place(&**self.fs, to, &manifest, &store.into(), (manifest_file, format), &mut Floor::default(), Revision::ZERO)
            .map_err(|failure| failure.error)
    }

    fn take_table(&mut self, file: FileId, owner: &known::Owner, found: &mut Found) {
        let path = table_path(self.from, file);
        let record = owner.record.as_ref();
        let salvaged = Table::salvage(self.fs, self.from, self.known.store, file, record, &self.cache);
        for lost in salvaged.lost {
            let rows_gone = lost.keys.is_some();
            let tree = owner.name.clone();
            self.report.gone.push(Gone { tree, damage: Damage::of(&path, lost), rows_gone });
        }
        let tree = found.tree(&owner.name, &owner.codecs);
        if let Some(table) = salvaged.table {
            self.report.tables += 1;
            self.report.blocks += salvaged.blocks;
            self.report.revision = self.report.revision.max(table.record().revision_max);
            self.advance(table.record().bytes);
            tree.tables.push(table);
        }
    }

    fn go_on(&self) -> Result<()> {
        if self.stopped { Err(Error::invalid("the repair was stopped", "begin again")) } else { Ok(()) }
    }

    fn advance(&mut self, bytes: u64) {
        self.report.bytes += bytes;
        self.stopped |= !(self.progress)(self.report.bytes.min(self.all_bytes), self.all_bytes);
    }
}
