//! Replicas that were found to differ from the others of their group: they serve nobody, vote for nobody and lead nobody,
//! until their files are given up.
//!
//! A fenced group is none of the node's groups: no request reaches it, no message, no turn. Its log and its rows stay as they
//! are, for whoever wants to know what happened, under the mark `FENCED`, which holds why. A start that finds the mark opens
//! the group no more. The meta group, without which a node is none, is only marked: Python stops the node.
use super::apply;
use super::core::Core;
use super::group::Group;
use super::keeper;
use super::open;
use super::routes::META;
use kvarts_engine::sync::Mutex;
use kvarts_engine::{Error, Result};
use std::collections::BTreeMap;

/// The mark in a shard's directory.
const FENCED: &str = "FENCED";
/// Its name while it is written.
const NEW: &str = "FENCED.new";

/// Groups that are fenced, why, and whether a restart would know.
#[derive(Default)]
pub struct Fences(Mutex<BTreeMap<u64, (String, bool)>>);

impl Fences {
    /// Why a group is fenced, if it is.
    pub fn why(&self, group: u64) -> Option<String> {
        self.0.lock().get(&group).map(|(why, _)| why.clone())
    }

    /// All that a restart would know of, with why.
    pub fn durable(&self) -> BTreeMap<u64, String> {
        let all = self.0.lock();
        all.iter().filter(|(_, (_, durable))| *durable).map(|(id, (why, _))| (*id, why.clone())).collect()
    }

    fn note(&self, group: u64, why: String, durable: bool) {
        self.0.lock().insert(group, (why, durable));
    }
}

/// Finds out, when the node starts, whether a group is fenced.
pub fn find(core: &Core, id: u64) -> Result<bool> {
    let path = core.shard(id).join(FENCED);
    if !core.fs.exists(&path).map_err(|error| Error::io("looking for", &path, error))? {
        return Ok(false);
    }
    let why = core.fs.read(&path).map_err(|error| Error::io("reading", &path, error))?;
    core.fences.note(id, String::from_utf8_lossy(&why).into_owned(), true);
    Ok(true)
}

/// Fences a group from this moment on. That a restart knows of it comes later: see `Fences::durable`.
pub fn begin(core: &Core, id: u64, why: String) {
    if core.fences.why(id).is_some() {
        return;
    }
    core.fences.note(id, why.clone(), false);
    let group = if id == META { None } else { core.take_group(id) };
    core.to_apply(apply::Job::Fence { id, group, why });
}

/// Makes it last: on the thread that applies, after what it was given before.
pub fn mark(core: &Core, id: u64, group: Option<&Group>, why: String) -> crate::machine::Result<()> {
    if let Some(group) = group {
        group.give_up("this replica differs from the others and was fenced");
        group.machine.close()?;
    }
    write(core, id, &why)?;
    core.fences.note(id, why, true);
    Ok(())
}

fn write(core: &Core, id: u64, why: &str) -> Result<()> {
    let (dir, new) = (core.shard(id), core.shard(id).join(NEW));
    let failed = |error| Error::io("writing", &new, error);
    if core.fs.exists(&new).map_err(failed)? {
        core.fs.remove(&new).map_err(failed)?;
    }
    let mut file = core.fs.create(&new).map_err(failed)?;
    file.append(why.as_bytes()).map_err(failed)?;
    file.sync().map_err(failed)?;
    core.fs.rename(&new, &dir.join(FENCED)).map_err(failed)?;
    core.fs.sync_dir(&dir).map_err(failed)
}

/// Gives up log and rows of a fenced group: it may be opened again, empty.
pub fn lift(core: &Core, id: u64) -> Result<()> {
    if core.fences.why(id).is_none() {
        return Ok(());
    }
    // From here on a directory without a log is no loss.
    open::mark_closed(core, id)?;
    let written = core.log.remove_group(id)?;
    core.log.sync_to(written)?;
    let to = open::put_aside(core, &core.shard(id))?;
    core.to_keeper(keeper::Job::Remove(to));
    core.fences.0.lock().remove(&id);
    core.closed(id);
    Ok(())
}
