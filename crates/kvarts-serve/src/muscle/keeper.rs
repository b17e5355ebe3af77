//! The thread for what takes long and nobody waits for: flushes, snapshots for other nodes, directories to remove.
use super::apply;
use super::core::Core;
use super::event::Event;
use super::group::Group;
use super::open;
use super::split;
use super::turn::Effects;
use crate::machine;
use bytes::Bytes;
use kvarts_wire::v1::{PeerMessage, SnapshotMark};
use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::Receiver;

/// What the thread is asked to do.
pub enum Job {
    /// Let a state machine go to disk.
    Flush(Arc<Group>),
    /// Send a group's newest snapshot with a message.
    SendSnapshot { group: u64, to: u64, message: PeerMessage },
    /// Make a group, or open again what a crash left of it.
    Open { group: u64, membership: Vec<u8> },
    /// Copy a group that is about to split.
    Stage { group: Arc<Group>, effects: Effects },
    /// Make the copy a group, if the split took place.
    Found { group: Arc<Group>, effects: Effects, taken: bool },
    /// Remove a directory that nobody needs.
    Remove(PathBuf),
    /// End.
    Stop,
}

/// Runs until it is told to stop.
pub fn run(core: &Core, jobs: &Receiver<Job>) {
    let (mut number, mut waiting) = (0, VecDeque::new());
    while let Some(job) = next(jobs, &mut waiting) {
        match job {
            Job::Flush(group) => {
                if let Err(error) = flush(core, &group) {
                    fail_unless_gone(core, &group, error);
                }
            }
            Job::SendSnapshot { group, to, message } => {
                number += 1;
                if !send_snapshot(core, group, to, message, number) {
                    core.queue.push(Event::SnapshotSent { group, node: to, delivered: false });
                }
            }
            Job::Open { group, membership } => {
                if let Some(membership) = core.may_open(group, membership)
                    && let Err(error) = open_group(core, group, &membership)
                {
                    core.fail(error.into());
                }
            }
            Job::Stage { group, effects } => match split::stage(core, &group, &effects) {
                Ok(()) => core.to_apply(apply::Job::Staged { group, effects }),
                Err(error) => {
                    fail_unless_gone(core, &group, error);
                    split::comes_no_more(core, &effects);
                }
            },
            Job::Found { group, effects, taken } => {
                if let Err(error) = split::found(core, &group, &effects, taken) {
                    fail_unless_gone(core, &group, error);
                }
                split::comes_no_more(core, &effects);
            }
            // What stays is removed at the next start.
            Job::Remove(dir) => drop(core.remove_dir(&dir)),
            Job::Stop => return,
        }
    }
}

/// The job that is next: in their order, but a copy becomes a group before another is made. Its keys are nobody's until then,
/// and those of a group that is yet to be copied are served.
pub fn next(jobs: &Receiver<Job>, waiting: &mut VecDeque<Job>) -> Option<Job> {
    if waiting.is_empty() {
        waiting.extend(jobs.recv());
    }
    waiting.extend(jobs.try_iter());
    let at = waiting.iter().position(|job| matches!(job, Job::Found { .. })).unwrap_or_default();
    waiting.remove(at)
}

/// A group that was closed meanwhile has nothing to fail with.
fn fail_unless_gone(core: &Core, group: &Group, error: machine::Error) {
    if core.group(group.id).is_some() {
        core.fail(error.into());
    }
}

fn open_group(core: &Core, id: u64, membership: &[u8]) -> kvarts_engine::Result<()> {
    if core.group(id).is_some() || core.fences.why(id).is_some() {
        return Ok(());
    }
    split::forget(core, id)?;
    open::add_group(core, id, membership)?;
    let Some(group) = core.group(id) else { return Ok(()) };
    let rows = group.machine.system_scan(apply::PYTHON_ROWS).map_err(|error| open::of_machine(core, id, error))?;
    core.queue.push(Event::Opened { group: id, index: group.machine.position().index, rows });
    Ok(())
}

/// Puts a state machine on disk, and says so where that is news.
pub fn flush(core: &Core, group: &Group) -> machine::Result<u64> {
    group.flushing.store(false, Ordering::Relaxed);
    group.unflushed_bytes.store(0, Ordering::Relaxed);
    group.unflushed_entries.store(0, Ordering::Relaxed);
    let before = group.machine.flushed()?.0.index;
    // What is applied is durable in the log, so the tables never get ahead of it.
    let index = group.machine.flush()?.index;
    core.stats.flushes.one();
    if index > before {
        core.queue.push(Event::Flushed { group: group.id, index });
    }
    Ok(index)
}

fn send_snapshot(core: &Core, id: u64, to: u64, mut message: PeerMessage, number: u64) -> bool {
    let (Some(group), Some(peers)) = (core.group(id), core.peers.get()) else { return false };
    let dir = core.outgoing().join(number.to_string());
    let Ok((position, membership)) = group.machine.checkpoint(&dir) else {
        drop(core.remove_dir(&dir));
        return false;
    };
    let membership = Bytes::from(membership);
    message.snapshot = Some(SnapshotMark { index: position.index, term: position.term, membership });
    let me = core.me();
    let sent = dir.clone();
    peers.send_snapshot(
        to,
        message,
        dir,
        Box::new(move |delivered| {
            me.stats.snapshots_sent.add(u64::from(delivered));
            me.queue.push(Event::SnapshotSent { group: id, node: to, delivered });
            me.to_keeper(Job::Remove(sent));
        }),
    );
    true
}
