//! A node's directory when it starts: log and state machines, made to agree, and what was left lying about.
use super::config::Config;
use super::core::Core;
use super::fence;
use super::group::Group;
use super::keeper;
use super::perform::install_dir;
use super::split;
use crate::machine::{self, Machine, MachineOptions};
use crate::nodelog::{NodeLog, NodeLogOptions};
use kvarts_engine::db::Memory;
use kvarts_engine::fs::{Fs, guard, hold};
use kvarts_engine::{Error, Result};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The log keeps recent entries in one part in so many of the node's memory.
const LOG_PART: usize = 4;
/// Memory that state machines are given, if the node has it: a command may take a quarter of it.
const MEMORY_BYTES_MIN: usize = 64 << 20;
/// Says of a shard's directory that its group was closed: without a log it may go.
const CLOSED: &str = "CLOSED";
/// Name of a directory that goes: this, and a number.
const ASIDE: &str = "closed-";

/// Makes the directories of a node. Errors: `Unsafe` where others can change what lies in one that is there.
pub fn make_dirs(fs: &Arc<dyn Fs>, config: &Config) -> Result<()> {
    let is_new = make_dir(fs, &config.data)?;
    for name in ["log", "shards", "incoming", "outgoing"] {
        make_dir(fs, &config.data.join(name))?;
    }
    // Its own name lasts only with the directory above it.
    let above = config.data.parent().filter(|above| is_new && !above.as_os_str().is_empty());
    for dir in [Some(&*config.data), above].into_iter().flatten() {
        fs.sync_dir(dir).map_err(|error| Error::io("syncing", dir, error))?;
    }
    Ok(())
}

/// Opens a node's log.
pub fn open_log(fs: &Arc<dyn Fs>, config: &Config) -> Result<NodeLog> {
    // Of the cluster's id and the node's number: a log of another node is no log of ours.
    let mut id = [0; 16];
    for (to, from) in id.iter_mut().zip(&config.cluster) {
        *to = *from;
    }
    for (to, from) in id[8..].iter_mut().zip(config.node.to_be_bytes()) {
        *to ^= from;
    }
    let dir = config.data.join("log");
    let fs = hold(fs, &dir)?;
    guard(&*fs, &dir, &|_| true, false)?;
    let cache_bytes = log_cache_bytes(config.memory_bytes);
    NodeLog::open(fs, &dir, id, NodeLogOptions { cache_bytes, ..NodeLogOptions::default() })
}

/// Tells whether it was not there before.
fn make_dir(fs: &Arc<dyn Fs>, dir: &Path) -> Result<bool> {
    let is_new = match fs.create_dir(dir) {
        Ok(()) => true,
        Err(error) if error.kind() == ErrorKind::AlreadyExists => false,
        Err(error) => return Err(Error::io("making", dir, error)),
    };
    guard(&**fs, dir, &|_| false, false).map(|_| is_new)
}

/// Opens the state machines of all groups of the log.
pub fn open_groups(core: &Core) -> Result<()> {
    split::settle(core)?;
    for id in core.log.groups() {
        unmark_closed(core, id)?;
        if fence::find(core, id)? {
            continue;
        }
        let machine = open_machine(core, id)?;
        install_received(core, id, &machine)?;
        check(core, id, &machine)?;
        core.insert_group(Arc::new(Group::new(id, core.config.node, machine)));
    }
    split::sweep(core)?;
    sweep_closed(core)?;
    sweep(core)
}

/// Notes, durably, that a group's directory may go once its log is gone.
pub fn mark_closed(core: &Core, id: u64) -> Result<()> {
    let dir = core.shard(id);
    let path = dir.join(CLOSED);
    core.fs.create(&path).map_err(|error| Error::io("making", &path, error))?;
    core.fs.sync_dir(&dir).map_err(|error| Error::io("syncing", &dir, error))
}

/// The log is still there: a crash came before the group was closed.
fn unmark_closed(core: &Core, id: u64) -> Result<()> {
    let path = core.shard(id).join(CLOSED);
    match core.fs.remove(&path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(Error::io("removing", &path, error)),
        _ => Ok(()),
    }
}

/// Gives the directory of a group that was closed another name, by which it is known that it may go. Returns it.
pub fn put_aside(core: &Core, dir: &Path) -> Result<PathBuf> {
    let aside = core.shards().join(format!("{ASIDE}{}", core.next_context()));
    core.fs.rename(dir, &aside).map_err(|error| Error::io("renaming", dir, error))?;
    Ok(aside)
}

/// Removes directories of groups that were closed, as far as a crash left them.
fn sweep_closed(core: &Core) -> Result<()> {
    let (shards, groups) = (core.shards(), core.log.groups());
    for name in core.fs.list(&shards).map_err(|error| Error::io("listing", &shards, error))? {
        let mut dir = shards.join(&name);
        if !name.starts_with(ASIDE) {
            let held = name.parse().is_ok_and(|id: u64| groups.contains(&id));
            if held || !core.fs.exists(&dir.join(CLOSED)).unwrap_or(false) {
                continue;
            }
            dir = put_aside(core, &dir)?;
        }
        core.remove_dir(&dir).map_err(|error| Error::io("removing", &dir, error))?;
    }
    Ok(())
}

/// Adds a group whose first members are known, or one that waits to be told (no membership).
pub fn add_group(core: &Core, id: u64, membership: &[u8]) -> Result<()> {
    let machine = open_machine(core, id)?;
    let founding = !membership.is_empty();
    // A crash may have come between the two.
    if founding && machine.position().index == 0 {
        machine.apply_effects(1, 0, Some(membership), &[]).map_err(|error| of_machine(core, id, error))?;
        machine.flush().map_err(|error| of_machine(core, id, error))?;
    }
    let written = core.log.add_group(id, u64::from(founding), 0)?;
    core.log.sync_to(written)?;
    core.insert_group(Arc::new(Group::new(id, core.config.node, machine)));
    Ok(())
}

/// Makes a group of the state machine in `dir`, which is at the position where groups begin. Durable on return.
pub fn adopt(core: &Core, id: u64, dir: &Path) -> Result<()> {
    let written = core.log.add_group(id, 1, 0)?;
    core.log.sync_to(written)?;
    take_name(core, dir, id)?;
    let machine = open_machine(core, id)?;
    core.insert_group(Arc::new(Group::new(id, core.config.node, machine)));
    Ok(())
}

/// Gives a directory the name of a group's. What a group of that number left there goes.
pub fn take_name(core: &Core, dir: &Path, id: u64) -> Result<()> {
    let (shards, to) = (core.shards(), core.shard(id));
    if core.fs.exists(&to).map_err(|error| Error::io("looking at", &to, error))? {
        core.to_keeper(keeper::Job::Remove(put_aside(core, &to)?));
    }
    core.fs.rename(dir, &to).map_err(|error| Error::io("renaming", dir, error))?;
    core.fs.sync_dir(&shards).map_err(|error| Error::io("syncing", &shards, error))
}

/// Bytes of recent entries that the log keeps in memory: a quarter of what the node was given.
fn log_cache_bytes(node_bytes: usize) -> usize {
    (node_bytes / LOG_PART).min(NodeLogOptions::default().cache_bytes)
}

/// The budget of all state machines of a node together: what the log leaves.
pub fn memory_of_machines(node_bytes: usize) -> Arc<Memory> {
    let bytes = (node_bytes - log_cache_bytes(node_bytes)).max(node_bytes.min(MEMORY_BYTES_MIN));
    // Twice the engine's own share: versions of the retention window outlive a flush, so what is flushed early is
    // written again and again by compaction.
    Memory::new(bytes, (bytes / 8).clamp(64 << 10, 64 << 20))
}

fn open_machine(core: &Core, id: u64) -> Result<Machine> {
    let (holder, holds) = (format!("node {}", core.config.node), Arc::clone(&core.holds));
    let options = MachineOptions { holder, holds, ..MachineOptions::default() };
    let (memory, fs) = (Arc::clone(&core.memory), Arc::clone(&core.fs));
    Machine::open_sharing(memory, fs, &core.shard(id), options).map_err(|error| of_machine(core, id, error))
}

/// Installs a snapshot whose mark is in the log and which the state machine has not taken yet.
fn install_received(core: &Core, id: u64, machine: &Machine) -> Result<()> {
    let Some((index, term, _)) = core.log.snapshot_mark(id) else { return Ok(()) };
    let dir = install_dir(core, id, index, term);
    if machine.position().index < index && core.fs.exists(&dir).map_err(|error| Error::io("looking at", &dir, error))? {
        machine.replace(&dir).map_err(|error| of_machine(core, id, error))?;
    }
    Ok(())
}

/// The log must go on where the state machine ends.
fn check(core: &Core, id: u64, machine: &Machine) -> Result<()> {
    let applied = machine.position().index;
    let (first, last) = (core.log.first_index(id).unwrap_or(1), core.log.last_index(id).unwrap_or(0));
    if applied + 1 >= first && applied <= last {
        return Ok(());
    }
    let what = format!("group {id} has applied entry {applied}, but its log holds entries {first} to {last}");
    Err(Error::Corruption { file: core.shard(id), offset: 0, what })
}

/// Removes snapshots that were on their way, in or out.
fn sweep(core: &Core) -> Result<()> {
    for dir in [core.incoming(), core.outgoing()] {
        for name in core.fs.list(&dir).map_err(|error| Error::io("listing", &dir, error))? {
            let old = dir.join(name);
            core.remove_dir(&old).map_err(|error| Error::io("removing", &old, error))?;
        }
    }
    Ok(())
}

/// The engine's error for what a state machine says when it is opened.
pub fn of_machine(core: &Core, id: u64, error: machine::Error) -> Error {
    match error {
        machine::Error::Engine(error) => error,
        other => Error::Corruption { file: core.shard(id), offset: 0, what: other.to_string() },
    }
}
