//! A shard's group that splits: its state machine is copied for the other half, by hard links, and the copy becomes a group.
//!
//! In this order, so that a crash in between leaves one owner and loses nothing:
//! 1. `stage` (keeper): the copy is whole and durable under a name of its own, `split-<child>-<parent>-<index>`;
//! 2. `apply`: the parent takes the entry, and owns its half only;
//! 3. `found` (keeper): the parent's tables hold that; only then the child's log is made, and the copy gets its name.
//!
//! The group of a child takes no part in anything before 3, so a parent that has to take the entry again, since its tables did
//! not hold it, makes the copy anew. Meanwhile whoever asks for the child waits (`Core::comes`): the map may name it before the
//! copy is made, and a child that began empty could neither vote nor be read until a leader had sent it all.
//! A node that starts goes on where it stopped (`sweep`).
use super::apply;
use super::core::Core;
use super::event::Event;
use super::group::Group;
use super::keeper;
use super::open;
use super::turn::{Effects, Founding};
use kvarts_engine::{Error, Result};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// (child, parent, index of the parent's entry).
type Copied = (u64, u64, u64);

/// Name of a directory with a copy: this, the child's number, the parent's, the index of the entry.
const STAGED: &str = "split-";
/// End of the name while the copy is made.
const HALF: &str = "new";

/// Copies a group's state machine, as it is before the entry, for its child. Nothing where the child has been here before.
pub fn stage(core: &Core, group: &Group, effects: &Effects) -> crate::machine::Result<()> {
    let Some(Founding { group: child, membership, rows }) = &effects.founding else { return Ok(()) };
    if core.log.groups().contains(child) {
        return Ok(());
    }
    let to = staged_dir(core, *child, group.id, effects.index);
    let half = to.with_extension(HALF);
    for dir in [&half, &to] {
        remove(core, dir)?;
    }
    group.machine.found(&half, membership, rows)?;
    if group.machine.position().index + 1 != effects.index {
        // A leader's snapshot came in between: nobody knows which of the two was copied.
        return Ok(remove(core, &half)?);
    }
    core.fs.rename(&half, &to).map_err(|error| Error::io("renaming", &half, error))?;
    sync_shards(core).map_err(Into::into)
}

/// Makes the copy a group, once the parent's tables hold that it has split. `taken`: the parent has taken the entry; else the
/// copy is of no use.
pub fn found(core: &Core, group: &Group, effects: &Effects, taken: bool) -> crate::machine::Result<()> {
    let Some(Founding { group: child, .. }) = &effects.founding else { return Ok(()) };
    let staged = staged_dir(core, *child, group.id, effects.index);
    if !core.fs.exists(&staged).map_err(|error| Error::io("looking at", &staged, error))? {
        return Ok(());
    }
    if taken {
        keeper::flush(core, group)?;
    }
    if !taken || core.log.groups().contains(child) {
        return Ok(remove(core, &staged)?);
    }
    open::adopt(core, *child, &staged)?;
    let Some(child) = core.group(*child) else { return Ok(()) };
    let rows = child.machine.system_scan(apply::PYTHON_ROWS)?;
    core.queue.push(Event::Opened { group: child.id, index: child.machine.position().index, rows });
    Ok(())
}

/// The child of these effects is there, or will not come by them: it may be opened from now on.
pub fn comes_no_more(core: &Core, effects: &Effects) {
    if let Some(founding) = &effects.founding {
        core.came(founding.group);
    }
}

/// Removes a copy that was made for a group which now comes in another way.
pub fn forget(core: &Core, child: u64) -> Result<()> {
    for (_, dir) in staged(core)?.into_iter().filter(|(copy, _)| copy.0 == child) {
        remove(core, &dir)?;
    }
    Ok(())
}

/// Gives copies their place whose group is in the log: a crash came before they had their name.
pub fn settle(core: &Core) -> Result<()> {
    for ((child, ..), dir) in staged(core)?.into_iter().filter(|((child, ..), _)| core.log.groups().contains(child)) {
        let to = core.shard(child);
        if core.fs.exists(&to).map_err(|error| Error::io("looking at", &to, error))? {
            remove(core, &dir)?;
        } else {
            open::take_name(core, &dir, child)?;
        }
    }
    Ok(())
}

/// Goes on with splits that a crash came into: those whose parent's tables hold the entry; removes other copies. All groups
/// of the log are open.
pub fn sweep(core: &Core) -> Result<()> {
    for ((child, parent, index), dir) in staged(core)? {
        match core.group(parent) {
            Some(parent) if parent.machine.position().index >= index => open::adopt(core, child, &dir)?,
            _ => remove(core, &dir)?,
        }
    }
    Ok(())
}

/// Whole copies and where they lie. Removes others.
fn staged(core: &Core) -> Result<Vec<(Copied, PathBuf)>> {
    let shards = core.shards();
    let mut found = Vec::new();
    for name in core.fs.list(&shards).map_err(|error| Error::io("listing", &shards, error))? {
        let Some(numbers) = name.strip_prefix(STAGED) else { continue };
        let dir = shards.join(&name);
        match numbers.split('-').map(str::parse).collect::<std::result::Result<Vec<u64>, _>>().as_deref() {
            Ok(&[child, parent, index]) => found.push(((child, parent, index), dir)),
            _ => remove(core, &dir)?,
        }
    }
    Ok(found)
}

fn staged_dir(core: &Core, child: u64, parent: u64, index: u64) -> PathBuf {
    core.shards().join(format!("{STAGED}{child}-{parent}-{index}"))
}

fn remove(core: &Core, dir: &Path) -> Result<()> {
    if !core.fs.exists(dir).map_err(|error| Error::io("looking at", dir, error))? {
        return Ok(());
    }
    core.remove_dir(dir).map_err(|error| Error::io("removing", dir, error))
}

fn sync_shards(core: &Core) -> Result<()> {
    let shards = core.shards();
    core.fs.sync_dir(&shards).map_err(|error| Error::io("syncing", &shards, error))
}

/// Whether effects want a copy first.
pub fn wants_copy(group: &Arc<Group>, effects: &Effects) -> bool {
    effects.founding.is_some() && effects.index == group.applied() + 1
}
