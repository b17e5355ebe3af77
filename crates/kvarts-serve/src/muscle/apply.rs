//! The one thread that applies: entries in order, barriers when their effects come, snapshots in place of all of it.
use super::checks;
use super::core::Core;
use super::event::Event;
use super::failure::{Failure, Outcome};
use super::fence;
use super::group::{Group, Writers};
use super::handles::WaitingWrite;
use super::keeper;
use super::open;
use super::refusal;
use super::serve;
use super::split;
use super::sync::Install;
use super::turn::{Apply, Effects};
use bytes::Bytes;
use kvarts_wire::v1;
use prost::Message as _;
use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::Receiver;

/// `kvarts.raft.messages.EntryKind`.
pub const NORMAL: u32 = 0;
const PYTHON: u32 = 2;

/// Memtables of all state machines together may take one part in so many of their memory before one is flushed.
const MEMTABLES_PART: usize = 4;
/// That is looked at once a group was given so many bytes more.
const LOOK_BYTES: u64 = 16 << 10;

/// Bytes of entries looked up at once.
const RUN_BYTES: u64 = 1 << 20;

/// System rows that Python owns.
pub const PYTHON_ROWS: &[u8] = b"config/";

/// What the thread is asked to do.
pub enum Job {
    /// Entries are committed.
    Apply { group: Arc<Group>, apply: Apply },
    /// The effects of a barrier.
    Effects { group: Arc<Group>, effects: Effects },
    /// The copy that the effects of a split want is made: they may take place.
    Staged { group: Arc<Group>, effects: Effects },
    /// A snapshot whose mark is durable.
    Install { group: Arc<Group>, install: Install },
    /// Flush once what was asked before is done.
    Flush(Arc<Group>),
    /// Nothing more will come of a group.
    Close(Arc<Group>),
    /// A replica serves nobody any more; the group that is let go for that.
    Fence { id: u64, group: Option<Arc<Group>>, why: String },
    /// A fenced replica is given up.
    Lift(u64),
    /// End.
    Stop,
}

/// Runs until it is told to stop, or something cannot be applied: then the node must stop.
pub fn run(core: &Core, jobs: &Receiver<Job>) {
    let mut queues: HashMap<u64, VecDeque<Apply>> = HashMap::new();
    // Groups that stand still while a copy of them is made.
    let mut copied: HashSet<u64> = HashSet::new();
    while let Ok(job) = jobs.recv() {
        let done = match job {
            Job::Apply { group, apply } => {
                let queue = queues.entry(group.id).or_default();
                queue.push_back(apply);
                if copied.contains(&group.id) { Ok(()) } else { work(core, &group, queue) }
            }
            Job::Effects { group, effects } if split::wants_copy(&group, &effects) => {
                copied.insert(group.id);
                core.to_keeper(keeper::Job::Stage { group, effects });
                Ok(())
            }
            Job::Effects { group, effects } => {
                split::comes_no_more(core, &effects);
                take_effects(core, &group, effects)
                    .and_then(|()| work(core, &group, queues.entry(group.id).or_default()))
            }
            Job::Staged { group, effects } => {
                copied.remove(&group.id);
                take_split(core, &group, effects).and_then(|()| work(core, &group, queues.entry(group.id).or_default()))
            }
            Job::Install { group, install } => {
                let queue = queues.entry(group.id).or_default();
                let still = copied.contains(&group.id);
                replace(core, &group, install).and_then(|()| if still { Ok(()) } else { work(core, &group, queue) })
            }
            Job::Flush(group) => {
                core.to_keeper(keeper::Job::Flush(group));
                Ok(())
            }
            Job::Close(group) => {
                queues.remove(&group.id);
                copied.remove(&group.id);
                group.give_up("the node holds this part of the data no longer");
                clear_away(core, &group)
            }
            Job::Fence { id, group, why } => {
                if group.is_some() {
                    queues.remove(&id);
                    copied.remove(&id);
                }
                fence::mark(core, id, group.as_deref(), why).map_err(Failure::from)
            }
            Job::Lift(id) => fence::lift(core, id).map_err(Failure::from),
            Job::Stop => return,
        };
        if let Err(reason) = done {
            core.fail(reason);
            return;
        }
    }
}

/// Applies what may be, up to a barrier whose effects are still to come.
fn work(core: &Core, group: &Arc<Group>, queue: &mut VecDeque<Apply>) -> Outcome<()> {
    while let Some(&apply) = queue.front() {
        let last = apply.last - u64::from(apply.barrier);
        if !apply_up_to(core, group, last)? {
            // A snapshot has taken the place of these entries in the log, and soon of the state machine.
            return Ok(());
        }
        queue.pop_front();
        let waits = apply.barrier && group.applied() < apply.last;
        let command = if waits { python_command(core, group, apply.last)? } else { None };
        // Whoever waits for a plain entry is answered here; a barrier's effects come from Python.
        if apply.barrier {
            core.queue.push(Event::Applied { group: group.id, index: apply.last, command });
        } else {
            core.queue.push_applied(group.id, apply.last);
        }
        serve_reached(core, group);
        if waits {
            return Ok(());
        }
    }
    Ok(())
}

/// Returns false where entries are not in the log any more.
fn apply_up_to(core: &Core, group: &Arc<Group>, last: u64) -> Outcome<bool> {
    while group.applied() < last {
        let next = group.applied() + 1;
        if core.log.first_index(group.id) > Some(next) {
            return Ok(false);
        }
        for meta in core.log.metas(group.id, next, last + 1, RUN_BYTES) {
            if meta.kind != NORMAL {
                let what = format!("entry {} of group {} is a barrier, and was applied as none", meta.index, group.id);
                return Err(Failure::lasting(what));
            }
            let payload = match core.log.payload(group.id, meta.index) {
                Ok(payload) => payload,
                // Replaced since by a snapshot.
                Err(_) if core.log.first_index(group.id) > Some(meta.index) => return Ok(false),
                Err(error) => return Err(error.into()),
            };
            apply_entry(core, group, meta.index, meta.term, &payload)?;
        }
        serve_reached(core, group);
    }
    Ok(true)
}

fn apply_entry(core: &Core, group: &Arc<Group>, index: u64, term: u64, payload: &Bytes) -> Outcome<()> {
    let writers = group.arrived(index);
    let begun_ns = core.time.boot_ns();
    let sessions = group.machine.sessions();
    let results = group.machine.apply(index, term, payload)?;
    let done_ns = core.time.boot_ns();
    group.set_applied(index);
    core.stats.apply.note(done_ns - begun_ns);
    if let Some(writers) = writers {
        core.stats.quorum.note(begun_ns.saturating_sub(writers.since_ns));
        answer(core, group, writers, term, results);
        core.stats.reply.note(core.time.boot_ns() - done_ns);
    }
    drop_old_sessions(core, group, sessions);
    account(core, group, payload.len() as u64);
    Ok(())
}

/// A leader has the sessions dropped that are too many: by an entry, so that all replicas drop the same. Asked for at every
/// further tenth, should the entry get lost.
fn drop_old_sessions(core: &Core, group: &Group, before: u64) {
    let (now, keep) = (group.machine.sessions(), core.config.sessions_max);
    let step = u64::from(keep / 10).max(1);
    if now <= u64::from(keep) || before / step >= now / step || !group.leads() {
        return;
    }
    let dropped = v1::command::Special::DropSessions(v1::DropSessions { keep });
    let command = v1::Command { special: Some(dropped), ..v1::Command::default() };
    let command = Bytes::from(command.encode_length_delimited_to_vec());
    let write = WaitingWrite { command, answer: None, deadline: core.time.now() };
    if let Some(handle) = core.handles.add_write(group.id, write, core.config.entry_bytes_max as u64) {
        core.queue.push_write(group.id, handle);
    }
}

fn answer(core: &Core, group: &Group, writers: Writers, term: u64, results: Vec<v1::Result>) {
    if writers.term != term {
        group.lose(Some(writers));
        return;
    }
    let now_ns = core.time.boot_ns();
    let mut results: Vec<Option<v1::Result>> = results.into_iter().map(Some).collect();
    for writer in writers.writers {
        core.stats.write.note(now_ns.saturating_sub(writer.answer.since_ns));
        let result = results.get_mut(writer.at).and_then(Option::take);
        writer.answer.give(match result {
            // It never takes place here: whoever asked goes to the other half.
            Some(result) if result.outcome() == v1::Outcome::WrongShard => Err(refusal::split_since()),
            result => Ok(v1::WriteResponse { result }),
        });
    }
}

/// Asks for a flush when enough was applied since the last.
fn account(core: &Core, group: &Arc<Group>, bytes: u64) {
    let before = group.unflushed_bytes.fetch_add(bytes, Ordering::Relaxed);
    let bytes = before + bytes;
    let entries = group.unflushed_entries.fetch_add(1, Ordering::Relaxed) + 1;
    if bytes >= core.config.flush_bytes || entries >= core.config.flush_entries {
        flush_later(core, group);
    } else if before / LOOK_BYTES != bytes / LOOK_BYTES
        && core.memory.memtables() > core.memory.bytes() / MEMTABLES_PART
    {
        // Each has little, perhaps, and all together too much.
        if let Some(largest) = core.largest_unflushed() {
            flush_later(core, &largest);
        }
    }
}

fn flush_later(core: &Core, group: &Arc<Group>) {
    if !group.flushing.swap(true, Ordering::Relaxed) {
        core.to_keeper(keeper::Job::Flush(Arc::clone(group)));
    }
}

fn python_command(core: &Core, group: &Group, index: u64) -> Outcome<Option<Bytes>> {
    let metas = core.log.metas(group.id, index, index + 1, RUN_BYTES);
    if metas.first().is_none_or(|meta| meta.kind != PYTHON) {
        return Ok(None);
    }
    Ok(Some(core.log.payload(group.id, index)?))
}

/// The effects of a split whose copy is made. Its group may have gone meanwhile, or have got a snapshot from after the split.
fn take_split(core: &Core, group: &Arc<Group>, effects: Effects) -> Outcome<()> {
    if core.group(group.id).is_none() {
        split::comes_no_more(core, &effects);
        return Ok(());
    }
    let taken = effects.index == group.applied() + 1;
    take_effects(core, group, effects.clone())?;
    core.to_keeper(keeper::Job::Found { group: Arc::clone(group), effects, taken });
    Ok(())
}

fn take_effects(core: &Core, group: &Arc<Group>, effects: Effects) -> Outcome<()> {
    if effects.index != group.applied() + 1 {
        return Ok(());
    }
    let Some(term) = core.log.term_at(group.id, effects.index) else {
        return Ok(());
    };
    let begun_ns = core.time.boot_ns();
    group.machine.apply_effects(effects.index, term, Some(&effects.membership), &effects.rows)?;
    core.stats.apply.note(core.time.boot_ns() - begun_ns);
    // Its index had another entry before, perhaps, with writers.
    group.lose(group.arrived(effects.index));
    group.set_applied(effects.index);
    if effects.check > 0 {
        checks::begin(core, group, effects.check);
    }
    account(core, group, 0);
    serve_reached(core, group);
    Ok(())
}

/// A leader's snapshot takes the place of the state machine.
fn replace(core: &Core, group: &Arc<Group>, install: Install) -> Outcome<()> {
    if install.index > group.applied() {
        group.machine.replace(&install.dir)?;
        let index = group.machine.position().index;
        group.skip_to(index);
        group.set_applied(index);
        core.stats.snapshots_installed.one();
        let rows = group.machine.system_scan(PYTHON_ROWS)?;
        let id = group.id;
        core.queue.push_all([Event::Restored { group: id, index, rows }, Event::Flushed { group: id, index }]);
        serve_reached(core, group);
    }
    core.to_keeper(keeper::Job::Remove(install.dir));
    Ok(())
}

/// Nothing more will come of a group: its log is forgotten, its files go.
fn clear_away(core: &Core, group: &Group) -> Outcome<()> {
    group.machine.close()?;
    // From here on a directory without a log is no loss.
    open::mark_closed(core, group.id)?;
    let written = core.log.remove_group(group.id)?;
    core.log.sync_to(written)?;
    // The name is free for the group's return at once; what stays behind goes when the node starts.
    let to = open::put_aside(core, &core.shard(group.id))?;
    core.to_keeper(keeper::Job::Remove(to));
    core.closed(group.id);
    Ok(())
}

fn serve_reached(core: &Core, group: &Arc<Group>) {
    for batch in group.reads.reached(group.applied()) {
        serve::later(core, group, batch);
    }
}
