//! One group of a node: its state machine, who waits for it, and what Python said of its leader.
use super::checks::Checks;
use super::pending::Answer;
use super::reads::Reads;
use super::refusal;
use crate::machine::Machine;
use kvarts_engine::sync::{Mutex, RwLock};
use kvarts_wire::v1;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

/// Who leads, as Python said last.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Role {
    /// This node does.
    pub leads: bool,
    /// Its term.
    pub term: u64,
    /// The leader; 0: not known.
    pub leader_id: u64,
    /// Where it listens.
    pub leader_address: String,
}

/// A write that is in the log.
pub struct Writer {
    /// Its place among the commands of its entry.
    pub at: usize,
    /// Who waits.
    pub answer: Answer<v1::WriteResponse>,
    /// Until when.
    pub deadline: Instant,
}

/// The writers of one entry.
pub struct Writers {
    /// The term it was appended in.
    pub term: u64,
    /// When it was appended.
    pub since_ns: u64,
    /// Who waits for it.
    pub writers: Vec<Writer>,
}

/// One group.
pub struct Group {
    /// Its number.
    pub id: u64,
    /// The node it is on.
    pub node: u64,
    /// Its state machine.
    pub machine: Machine,
    /// A flush is due and not yet done.
    pub flushing: AtomicBool,
    /// Reads that wait.
    pub reads: Reads,
    /// Digests of its rows.
    pub checks: Checks,
    /// Bytes applied since the state machine was flushed.
    pub unflushed_bytes: AtomicU64,
    /// Entries applied since then.
    pub unflushed_entries: AtomicU64,
    /// The index that the state machine has reached.
    applied: AtomicU64,
    role: RwLock<Role>,
    /// Until when linearizable reads need no round, by the clock that never stops; 0: they do.
    gate_ms: AtomicU64,
    /// What such reads wait for: the index that was committed when the gate was set.
    gate_index: AtomicU64,
    writers: Mutex<BTreeMap<u64, Writers>>,
}

impl Group {
    /// Takes over a state machine.
    pub fn new(id: u64, node: u64, machine: Machine) -> Self {
        let applied = AtomicU64::new(machine.position().index);
        Self {
            id,
            node,
            machine,
            flushing: AtomicBool::new(false),
            reads: Reads::default(),
            checks: Checks::default(),
            unflushed_bytes: AtomicU64::new(0),
            unflushed_entries: AtomicU64::new(0),
            applied,
            role: RwLock::default(),
            gate_ms: AtomicU64::new(0),
            gate_index: AtomicU64::new(0),
            writers: Mutex::default(),
        }
    }

    /// The index that the state machine has reached.
    pub fn applied(&self) -> u64 {
        self.applied.load(Ordering::Acquire)
    }

    /// Only the thread that applies may raise it.
    pub fn set_applied(&self, index: u64) {
        self.applied.store(index, Ordering::Release);
    }

    /// Who leads.
    pub fn role(&self) -> Role {
        self.role.read().clone()
    }

    /// Tells whether this node leads.
    pub fn leads(&self) -> bool {
        self.role.read().leads
    }

    /// Python says who leads.
    pub fn set_role(&self, role: Role) {
        *self.role.write() = role;
    }

    /// The refusal of what only a leader may do.
    pub fn not_leader(&self) -> v1::Error {
        let role = self.role();
        refusal::not_leader(self.node, role.leader_id, &role.leader_address)
    }

    /// Until when reads need no round.
    pub fn gate_ms(&self) -> u64 {
        self.gate_ms.load(Ordering::Acquire)
    }

    /// What such reads wait for.
    pub fn gate_index(&self) -> u64 {
        self.gate_index.load(Ordering::Acquire)
    }

    /// Python says until when reads need no round, and what they wait for.
    pub fn set_gate(&self, until_ms: u64, index: u64) {
        // The index first: a read looks at the time first. One that sees the old index of an open gate was asked for before
        // anybody could hear of the new; a closed gate keeps its index for reads that have just seen it open.
        if until_ms > 0 {
            self.gate_index.store(index, Ordering::Release);
        }
        self.gate_ms.store(until_ms, Ordering::Release);
    }

    /// Keeps the writers of an entry. Those of an entry that had its index before are told that it lost its place.
    pub fn wait(&self, index: u64, writers: Writers) {
        let lost = self.writers.lock().insert(index, writers);
        self.lose(lost);
    }

    /// Lets go of the writers of an entry.
    pub fn arrived(&self, index: u64) -> Option<Writers> {
        self.writers.lock().remove(&index)
    }

    /// The entry at an index is another than these writers' entry: theirs never commits.
    pub fn lose(&self, lost: Option<Writers>) {
        for writer in lost.into_iter().flat_map(|lost| lost.writers) {
            writer.answer.refuse(self.not_leader());
        }
    }

    /// A snapshot went past these entries: whether they are in it is not known.
    pub fn skip_to(&self, index: u64) {
        let mut writers = self.writers.lock();
        let rest = writers.split_off(&(index + 1));
        let skipped = std::mem::replace(&mut *writers, rest);
        drop(writers);
        for writer in skipped.into_values().flat_map(|each| each.writers) {
            writer.answer.refuse(refusal::commit_unknown("a snapshot took the place of the log"));
        }
    }

    /// Answers writers whose time is over. Returns how many.
    pub fn expire(&self, now: Instant) -> usize {
        let mut late = Vec::new();
        for each in self.writers.lock().values_mut() {
            late.extend(each.writers.extract_if(.., |writer| writer.deadline <= now));
        }
        let count = late.len();
        for writer in late {
            writer.answer.refuse(refusal::commit_unknown("not answered in time"));
        }
        count + self.reads.expire(now)
    }

    /// Answers whoever waits: nothing more will come of it here.
    pub fn give_up(&self, message: &str) {
        let writers = std::mem::take(&mut *self.writers.lock());
        for writer in writers.into_values().flat_map(|each| each.writers) {
            writer.answer.refuse(refusal::commit_unknown(message));
        }
        for read in self.reads.clear() {
            read.ask.refuse(refusal::unavailable(message));
        }
    }

    /// Entries whose writers wait.
    pub fn waiting_entries(&self) -> usize {
        self.writers.lock().len()
    }
}
