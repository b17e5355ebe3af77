//! Carrying out a turn. Nothing here waits: not for a disk to sync, nor for a socket, nor for what is applied.
use super::apply::Job;
use super::core::Core;
use super::failure::{Failure, Outcome};
use super::group::{Group, Writer, Writers};
use super::handles::Held;
use super::keeper;
use super::refusal;
use super::send;
use super::serve;
use super::sync::{self, Install};
use super::turn::{NewEntry, NewSnapshot, Payload, Turn, Why, WriteRefused};
use crate::nodelog::{EntryMeta, GroupWrite, HardState, LogPosition};
use bytes::{BufMut, Bytes, BytesMut};
use kvarts_engine::Error;
use std::mem;
use std::path::PathBuf;

/// Bytes of the stamp before an entry's commands.
const STAMP_BYTES: usize = 8;

/// Carries out a turn. Does nothing where the node has failed: Python hears of that by an event.
pub fn perform(core: &Core, mut turn: Turn) {
    if core.failure().is_some() {
        return;
    }
    // Before anything leaves that lets another lead.
    for &(id, until_ms, index) in &turn.gates {
        if let Some(group) = core.group(id) {
            group.set_gate(until_ms, index);
        }
    }
    if let Err(reason) = write_and_send(core, &mut turn) {
        core.fail(reason);
        return;
    }
    for apply in turn.applies {
        core.queue.entry_arrived(apply.group, apply.last);
        if let Some(group) = core.group(apply.group) {
            core.to_apply(Job::Apply { group, apply });
        }
    }
    for refused in turn.writes_refused {
        refuse_write(core, refused);
    }
    for (group, context, leader) in turn.reads_refused {
        refuse_reads(core, group, context, leader);
    }
    for (id, context, index) in turn.reads {
        if let Some(group) = core.group(id)
            && let Some(batch) = group.reads.confirm(context, index, || group.applied())
        {
            serve::later(core, &group, batch);
        }
    }
    for handle in turn.release {
        release(core, handle);
    }
    for id in turn.closed {
        if let Some(group) = core.remove_group(id) {
            core.to_apply(Job::Close(group));
        }
    }
}

/// In this order: write, compact, take effects, flush, send, hold.
fn write_and_send(core: &Core, turn: &mut Turn) -> Outcome<()> {
    let mut installs = Vec::new();
    let led = led_by_us(core, turn);
    if turn.ticket.is_some() || !turn.applies.is_empty() {
        core.queue.expect_quiet();
    }
    let written = append(core, turn, &mut installs)?;
    for &(group, index) in &turn.compactions {
        core.log.compact(group, index)?;
    }
    for effects in turn.effects.drain(..) {
        if let Some(group) = core.group(effects.group) {
            if let Some(founding) = &effects.founding {
                // Before Python hears that the parent has split, and asks for the child.
                core.comes(founding.group);
            }
            core.to_apply(Job::Effects { group, effects });
        }
    }
    for id in turn.flushes.drain(..) {
        if let Some(group) = core.group(id) {
            // Behind the effects, which it is to hold.
            core.to_apply(Job::Flush(group));
        }
    }
    send::send(core, mem::take(&mut turn.sends), mem::take(&mut turn.beats));
    if let Some(ticket) = turn.ticket {
        let outgoing = mem::take(&mut turn.held);
        core.syncs.hold(core, sync::Held { ticket, must_sync: turn.must_sync, led, outgoing, installs }, written);
    }
    Ok(())
}

fn led_by_us(core: &Core, turn: &Turn) -> Vec<u64> {
    let writing = turn.writes.iter().map(|write| write.group);
    writing.filter(|group| core.group(*group).is_some_and(|group| group.leads())).collect()
}

/// Appends what all groups write, at once. Returns where it ends, if there is any.
fn append(core: &Core, turn: &mut Turn, installs: &mut Vec<Install>) -> Outcome<Option<LogPosition>> {
    let writes = mem::take(&mut turn.writes);
    if writes.is_empty() {
        return Ok(None);
    }
    let begun_ns = core.time.boot_ns();
    let stamp_us = core.time.unix_us();
    let mut appended = Vec::with_capacity(writes.len());
    for write in writes {
        let Some(group) = core.group(write.group) else { continue };
        let hard_state = write.hard_state.map(|(term, vote, commit)| HardState { term, vote, commit });
        let snapshot = match write.snapshot {
            Some(snapshot) => Some(take_snapshot(core, &group, snapshot, installs)?),
            None => None,
        };
        if let Some(last) = write.entries.last().filter(|_| group.leads()) {
            // Before the handles are taken: a write that comes from now on goes with the next entry.
            let company = turn.sends.iter().any(|sent| sent.group == group.id && !sent.entries.is_empty());
            core.queue.wait_for_entry(group.id, last.index, company);
        }
        let mut entries = Vec::with_capacity(write.entries.len());
        for entry in write.entries {
            entries.push(whole(core, &group, entry, stamp_us, begun_ns)?);
        }
        core.stats.entries.add(entries.len() as u64);
        core.stats.entry_bytes.add(entries.iter().map(|(_, payload)| payload.len() as u64).sum());
        appended.push(GroupWrite { group: write.group, hard_state, snapshot, entries });
    }
    let written = core.log.append(&appended)?;
    core.stats.append.note(core.time.boot_ns() - begun_ns);
    Ok(Some(written))
}

/// An entry with its bytes; whoever waits for it is kept until it is applied.
fn whole(core: &Core, group: &Group, entry: NewEntry, stamp_us: u64, now_ns: u64) -> Outcome<(EntryMeta, Bytes)> {
    let payload = match entry.payload {
        Payload::Bytes(bytes) => bytes,
        Payload::Handles(handles) if handles.is_empty() => Bytes::new(),
        Payload::Handles(handles) => {
            let (payload, writers) = gather(core, &handles, stamp_us, now_ns)?;
            if !writers.is_empty() {
                group.wait(entry.index, Writers { term: entry.term, since_ns: now_ns, writers });
            }
            payload
        }
    };
    let size = payload.len() as u32;
    Ok((EntryMeta { term: entry.term, index: entry.index, kind: entry.kind, size }, payload))
}

/// The payload that handles stand for: another node's as it is, or our clients' commands behind a stamp.
fn gather(core: &Core, handles: &[u64], stamp_us: u64, now_ns: u64) -> Outcome<(Bytes, Vec<Writer>)> {
    let mut commands = Vec::new();
    let mut writers = Vec::new();
    for &handle in handles {
        match core.handles.take(handle) {
            Some(Held::Payload(payload)) if handles.len() == 1 => return Ok((payload, writers)),
            Some(Held::Writes { writes, .. }) => {
                for write in writes {
                    if let Some(answer) = write.answer {
                        core.stats.queue.note(now_ns.saturating_sub(answer.since_ns));
                        writers.push(Writer { at: commands.len(), answer, deadline: write.deadline });
                    }
                    commands.push(write.command);
                }
            }
            _ => return Err(Failure::lasting(format!("handle {handle} stands for no command"))),
        }
    }
    let size = commands.iter().map(Bytes::len).sum::<usize>();
    let mut payload = BytesMut::with_capacity(STAMP_BYTES + size);
    payload.put_u64_le(stamp_us);
    for command in commands {
        payload.put(command);
    }
    Ok((payload.freeze(), writers))
}

/// Gives a snapshot's files the name by which a restart finds them, should it come before they are installed.
fn take_snapshot(
    core: &Core,
    group: &Group,
    snapshot: NewSnapshot,
    installs: &mut Vec<Install>,
) -> Outcome<(u64, u64, Vec<u8>)> {
    let NewSnapshot { index, term, membership, handle } = snapshot;
    let Some(Held::Snapshot(received)) = core.handles.take(handle) else {
        return Err(Failure::lasting(format!("handle {handle} stands for no snapshot")));
    };
    let dir = install_dir(core, group.id, index, term);
    core.fs.rename(&received, &dir).map_err(|error| Error::io("renaming", &received, error))?;
    installs.push(Install { group: group.id, index, dir });
    Ok((index, term, membership.to_vec()))
}

/// Where the files of a snapshot lie whose mark is in the log.
pub fn install_dir(core: &Core, group: u64, index: u64, term: u64) -> PathBuf {
    core.incoming().join(format!("install-{group}-{index}-{term}"))
}

fn refuse_write(core: &Core, refused: WriteRefused) {
    // The handle is released by this turn, too.
    let Some(Held::Writes { writes, .. }) = core.handles.take(refused.handle) else { return };
    let address = core.members.address(refused.leader);
    for answer in writes.into_iter().filter_map(|write| write.answer) {
        core.stats.refused.one();
        answer.refuse(match refused.why {
            Why::NotLeader | Why::Superseded => refusal::not_leader(core.config.node, refused.leader, &address),
            Why::Busy => refusal::unavailable("too much waits to be committed"),
            Why::Unreadable => refusal::invalid("the command cannot be read", ""),
            Why::Unknown => refusal::commit_unknown("what became of the write is not known here"),
        });
    }
}

fn refuse_reads(core: &Core, group: u64, context: u64, leader: u64) {
    let Some(group) = core.group(group) else { return };
    let address = core.members.address(leader);
    for read in group.reads.reject(context).into_iter().flatten() {
        core.stats.refused.one();
        read.ask.refuse(refusal::not_leader(core.config.node, leader, &address));
    }
}

fn release(core: &Core, handle: u64) {
    match core.handles.take(handle) {
        Some(Held::Snapshot(dir)) => core.to_keeper(keeper::Job::Remove(dir)),
        Some(Held::Writes { writes, .. }) => {
            for answer in writes.into_iter().filter_map(|write| write.answer) {
                answer.refuse(refusal::not_leader(core.config.node, 0, ""));
            }
        }
        Some(Held::Payload(_)) | None => {}
    }
}
