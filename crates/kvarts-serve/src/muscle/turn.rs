//! What Python wants done, in the order in which it is: see `kvarts.replication.turn.Turn`.
use super::event::{Beats, MessageHead};
use crate::nodelog::EntryMeta;
use bytes::Bytes;

/// What an entry is to hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Payload {
    /// The bytes behind these handles; of none the empty payload.
    Handles(Vec<u64>),
    /// These.
    Bytes(Bytes),
}

/// An entry to append.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewEntry {
    /// Its term.
    pub term: u64,
    /// Its index.
    pub index: u64,
    /// `kvarts.raft.messages.EntryKind`.
    pub kind: u32,
    /// What it holds.
    pub payload: Payload,
}

/// A leader's snapshot to install.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewSnapshot {
    /// The last entry in it.
    pub index: u64,
    /// That entry's term.
    pub term: u64,
    /// The membership at that entry.
    pub membership: Bytes,
    /// Its files.
    pub handle: u64,
}

/// What to append for one group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    /// The group.
    pub group: u64,
    /// Term, vote and commit.
    pub hard_state: Option<(u64, u64, u64)>,
    /// Takes the place of log and state machine.
    pub snapshot: Option<NewSnapshot>,
    /// They supersede what stood at their indexes and after.
    pub entries: Vec<NewEntry>,
}

/// A message to another node; the bytes of its entries are in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outgoing {
    /// The group it is for.
    pub group: u64,
    /// Its numbers.
    pub head: MessageHead,
    /// Its entries.
    pub entries: Vec<EntryMeta>,
    /// True where it carries a snapshot: the newest there is goes.
    pub snapshot: bool,
}

/// What a barrier does: to be stored together with its position.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Effects {
    /// The group.
    pub group: u64,
    /// The barrier's index.
    pub index: u64,
    /// The membership at the barrier.
    pub membership: Bytes,
    /// System rows; None removes.
    pub rows: Vec<(Vec<u8>, Option<Vec<u8>>)>,
    /// The group that begins here with a copy of all rows.
    pub founding: Option<Founding>,
    /// The number of the digest of all rows that is to be made here; 0: none.
    pub check: u64,
}

/// A group that begins as a copy of another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Founding {
    /// Its number.
    pub group: u64,
    /// Its first members.
    pub membership: Bytes,
    /// System rows that differ.
    pub rows: Vec<(Vec<u8>, Option<Vec<u8>>)>,
}

/// Entries to apply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Apply {
    /// The group.
    pub group: u64,
    /// The first of them.
    pub first: u64,
    /// The last of them.
    pub last: u64,
    /// The last one waits for its effects.
    pub barrier: bool,
}

/// Why a write was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// Ask the leader.
    NotLeader,
    /// Ask the same node later.
    Busy,
    /// It can never be carried out.
    Unreadable,
    /// Another entry has its place.
    Superseded,
    /// What became of it is not known.
    Unknown,
}

/// A write that is not proposed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WriteRefused {
    /// The group.
    pub group: u64,
    /// The write.
    pub handle: u64,
    /// Whom to ask; 0: not known.
    pub leader: u64,
    /// Why.
    pub why: Why,
}

/// One turn.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Turn {
    /// (group, milliseconds of the clock that never stops, index): until when linearizable reads need no round but only
    /// wait until `index` is applied; 0: they do need one.
    pub gates: Vec<(u64, u64, u64)>,
    /// Its number, where something of it waits for the log.
    pub ticket: Option<u64>,
    /// What it writes is to be durable.
    pub must_sync: bool,
    /// To append.
    pub writes: Vec<Write>,
    /// To send at once.
    pub sends: Vec<Outgoing>,
    /// To send when everything asked to be durable so far is.
    pub held: Vec<Outgoing>,
    /// Of barriers.
    pub effects: Vec<Effects>,
    /// Groups whose state machine is to go to disk.
    pub flushes: Vec<u64>,
    /// To apply.
    pub applies: Vec<Apply>,
    /// (group, context, index): reads that may be served once `index` is applied.
    pub reads: Vec<(u64, u64, u64)>,
    /// (group, context, leader): reads that were not confirmed.
    pub reads_refused: Vec<(u64, u64, u64)>,
    /// Writes that were not proposed.
    pub writes_refused: Vec<WriteRefused>,
    /// (group, index): what the log needs no more.
    pub compactions: Vec<(u64, u64)>,
    /// Handles that end here.
    pub release: Vec<u64>,
    /// Groups of which nothing more will come.
    pub closed: Vec<u64>,
    /// Heartbeats and answers to send at once, by node.
    pub beats: Vec<Beats>,
}
