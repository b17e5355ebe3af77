//! What waits for the log, and the one thread that syncs it.
//!
//! At most one sync is under way; what later turns write gathers for the next. What a turn held back leaves in the order
//! of the turns: after its sync where it asked for one, else as soon as nothing before it waits.
use super::apply::Job;
use super::core::Core;
use super::failure::Outcome;
use super::send;
use super::turn::Outgoing;
use crate::nodelog::LogPosition;
use kvarts_engine::Error;
use kvarts_engine::sync::{Condvar, Mutex};
use std::collections::VecDeque;
use std::path::PathBuf;

/// A snapshot that takes the place of a state machine once its mark in the log is durable.
#[derive(Debug)]
pub struct Install {
    /// The group.
    pub group: u64,
    /// The last entry in it.
    pub index: u64,
    /// Its files.
    pub dir: PathBuf,
}

/// What a turn held back.
#[derive(Debug)]
pub struct Held {
    /// The turn's number.
    pub ticket: u64,
    /// It waits for a sync.
    pub must_sync: bool,
    /// Groups whose entries the turn wrote as their leader: its own log counts for what is committed.
    pub led: Vec<u64>,
    /// What leaves then.
    pub outgoing: Vec<Outgoing>,
    /// What is installed then.
    pub installs: Vec<Install>,
}

#[derive(Debug, Default)]
struct State {
    held: VecDeque<Held>,
    /// Something of `held` asked for a sync that has not begun.
    dirty: bool,
    /// The thread syncs, or lets go of what its sync made durable: nobody else may let go of anything.
    busy: bool,
    /// How far the log was written when the last turn was.
    written: Option<LogPosition>,
    stop: bool,
}

/// Turns that wait for the log.
#[derive(Debug, Default)]
pub struct Syncs {
    state: Mutex<State>,
    changed: Condvar,
}

impl Syncs {
    /// Takes what a turn held back; `written` is where its writes end. Lets go of what waits for nothing.
    pub fn hold(&self, core: &Core, held: Held, written: Option<LogPosition>) {
        let mut state = self.state.lock();
        state.dirty |= held.must_sync;
        state.written = written.or(state.written.take());
        state.held.push_back(held);
        let mut free = Vec::new();
        while !state.busy && state.held.front().is_some_and(|first| !first.must_sync) {
            free.extend(state.held.pop_front());
        }
        let due = state.dirty && !state.busy;
        drop(state);
        let_go(core, free);
        if due {
            self.changed.notify_one();
        }
    }

    /// How many turns wait.
    pub fn waiting(&self) -> usize {
        self.state.lock().held.len()
    }

    /// Lets the thread end.
    pub fn stop(&self) {
        self.state.lock().stop = true;
        self.changed.notify_one();
    }

    /// The thread. Returns when it is told to stop, or when a sync failed.
    pub fn run(&self, core: &Core) {
        while let Some((count, written)) = self.begin() {
            let begun_ns = core.time.boot_ns();
            if let Err(reason) = self.sync(core, count, written) {
                core.fail(reason);
                return;
            }
            core.stats.sync.note(core.time.boot_ns() - begun_ns);
            let mut done: Vec<Held> = self.state.lock().held.drain(..count).collect();
            while !done.is_empty() {
                let_go(core, done);
                done = self.next_free();
            }
        }
    }

    /// Waits until a sync is due. Returns how many turns it covers.
    fn begin(&self) -> Option<(usize, Option<LogPosition>)> {
        let mut state = self.state.lock();
        while !state.dirty && !state.stop {
            self.changed.wait(&mut state);
        }
        if state.stop {
            return None;
        }
        (state.busy, state.dirty) = (true, false);
        Some((state.held.len(), state.written))
    }

    fn sync(&self, core: &Core, count: usize, written: Option<LogPosition>) -> Outcome<()> {
        let installs = self.state.lock().held.iter().take(count).any(|held| !held.installs.is_empty());
        if installs {
            let incoming = core.incoming();
            core.fs.sync_dir(&incoming).map_err(|error| Error::io("syncing", &incoming, error))?;
        }
        match written {
            Some(written) if core.config.durable => Ok(core.log.sync_to(written)?),
            _ => Ok(()),
        }
    }

    /// What waits for nothing now. The thread is busy no more where there is none.
    fn next_free(&self) -> Vec<Held> {
        let mut state = self.state.lock();
        let mut free = Vec::new();
        while state.held.front().is_some_and(|first| !first.must_sync) {
            free.extend(state.held.pop_front());
        }
        state.busy = !free.is_empty();
        free
    }
}

/// Lets go of what some turns held back, in their order; all of it to one node goes together.
fn let_go(core: &Core, turns: Vec<Held>) {
    let (mut outgoing, mut done) = (Vec::new(), Vec::with_capacity(turns.len()));
    for held in turns {
        for install in held.installs {
            if let Some(group) = core.group(install.group) {
                core.to_apply(Job::Install { group, install });
            }
        }
        outgoing.extend(held.outgoing);
        done.push((held.led, held.ticket));
    }
    send::send(core, outgoing, Vec::new());
    core.queue.push_synced(done);
}
