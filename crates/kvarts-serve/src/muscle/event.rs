//! What the muscle tells Python. Bytes of plain writes stay here, behind handles.
use super::failure::Failure;
use bytes::Bytes;

/// The fields of one message of the core that are numbers. `context` 0: none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MessageHead {
    /// `kvarts.raft.messages.MessageKind`.
    pub kind: u32,
    /// The node it is for.
    pub to: u64,
    /// The node that sends it.
    pub sender: u64,
    /// The sender's term.
    pub term: u64,
    /// Term of the entry before the first.
    pub log_term: u64,
    /// Index of the entry before the first.
    pub index: u64,
    /// The sender's commit index.
    pub commit: u64,
    /// The answer is no.
    pub reject: bool,
    /// Where the logs may meet.
    pub hint: u64,
    /// For whom a vote is.
    pub vote: u64,
    /// Number of a round of heartbeats.
    pub round: u64,
    /// The vote is at the leader's wish.
    pub forced: bool,
    /// The read that a follower asks about.
    pub context: u64,
}

/// What an entry of a received message holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReceivedPayload {
    /// Nothing: the first entry of a term.
    Nothing,
    /// Commands of users, behind a handle.
    Handle(u64),
    /// What Python reads itself.
    Bytes(Bytes),
}

/// An entry of a received message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReceivedEntry {
    /// Its term.
    pub term: u64,
    /// Its index.
    pub index: u64,
    /// `kvarts.raft.messages.EntryKind`.
    pub kind: u32,
    /// What it holds.
    pub payload: ReceivedPayload,
    /// Bytes of what it holds.
    pub size: u32,
}

/// A snapshot that came with a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReceivedSnapshot {
    /// The last entry in it.
    pub index: u64,
    /// That entry's term.
    pub term: u64,
    /// The membership at that entry.
    pub membership: Bytes,
    /// Its files.
    pub handle: u64,
}

/// A message of another node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    /// The group it is for.
    pub group: u64,
    /// Its numbers.
    pub head: MessageHead,
    /// Its entries.
    pub entries: Vec<ReceivedEntry>,
    /// Its snapshot.
    pub snapshot: Option<ReceivedSnapshot>,
}

/// Heartbeats of another node's leaders, and its answers to ours: of all groups together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Beats {
    /// The node that sent them, or that they are for.
    pub node: u64,
    /// Nobody waits for what comes of them.
    pub idle: bool,
    /// Group, term, commit index, round.
    pub heartbeats: Vec<(u64, u64, u64, u64)>,
    /// Group, term, round.
    pub answers: Vec<(u64, u64, u64)>,
}

impl Beats {
    /// Those between this node and another.
    pub fn new(node: u64, idle: bool) -> Self {
        Self { node, idle, ..Self::default() }
    }

    /// Tells whether there are none.
    pub fn is_empty(&self) -> bool {
        self.heartbeats.is_empty() && self.answers.is_empty()
    }
}

/// One thing that happened.
#[allow(missing_docs, reason = "fields whose names say it: a group's number, an entry's index")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A message came.
    Received(Box<Received>),
    /// Heartbeats and answers came.
    Beats(Beats),
    /// What turns up to this ticket wrote is durable, and what they held back is sent.
    Synced(u64),
    /// The state machine has reached an entry; the command of one that Python carries out.
    Applied { group: u64, index: u64, command: Option<Bytes> },
    /// A leader's snapshot is in the place of the state machine; its rows that Python owns.
    Restored { group: u64, index: u64, rows: Vec<(Vec<u8>, Vec<u8>)> },
    /// The state machine survives without the log up to an entry.
    Flushed { group: u64, index: u64 },
    /// Writes of clients wait: those behind the handle at the moment when a turn takes it.
    Write { group: u64, handle: u64, size: usize },
    /// Reads wait to be confirmed.
    Read { group: u64, context: u64 },
    /// A group that was asked for is there, with what its state machine holds.
    Opened { group: u64, index: u64, rows: Vec<(Vec<u8>, Vec<u8>)> },
    /// A node has come to send messages; what it says that it knows.
    PeerCame { node: u64, features: String },
    /// A word of another node, for Python.
    Word { node: u64, word: Bytes },
    /// Another node says that this one was removed from the cluster.
    Removed { by: u64 },
    /// What was sent last to a node is probably lost.
    PeerLost(u64),
    /// A snapshot arrived, or will not.
    SnapshotSent { group: u64, node: u64, delivered: bool },
    /// About how many bytes of tables are a shard's own, as it was at an epoch, and the token at which half of them end, if that
    /// is known.
    Measured { group: u64, epoch: u64, bytes: u64, middle: Option<Vec<u8>> },
    /// Somebody asks what Python answers.
    Call { id: u64, verb: String, arguments: String },
    /// The node must stop; why, unless it was asked to.
    Stop(Option<Failure>),
}
