//! Messages on their way out: all of a turn to one node go together, with the bytes that the log holds.
use super::core::Core;
use super::event::{Beats, MessageHead};
use super::keeper;
use super::turn::Outgoing;
use bytes::Bytes;
use kvarts_wire::v1::{PeerBatch, PeerEntry, PeerMessage};

/// `kvarts.raft.messages.MessageKind` of heartbeats and their answers.
pub const HEARTBEAT: u32 = 7;
/// See [`HEARTBEAT`].
pub const HEARTBEAT_RESPONSE: u32 = 8;

/// Sends messages. What cannot be sent is dropped: Raft repeats it.
pub fn send(core: &Core, outgoing: Vec<Outgoing>, beats: Vec<Beats>) {
    let mut batches: Vec<(u64, PeerBatch)> = Vec::new();
    for each in outgoing {
        let to = each.head.to;
        if each.snapshot {
            core.to_keeper(keeper::Job::SendSnapshot { group: each.group, to, message: message_of(&each) });
            continue;
        }
        let Some(message) = with_bytes(core, &each) else {
            core.stats.unsent.one();
            continue;
        };
        batch_for(&mut batches, to).messages.push(message);
    }
    for each in beats {
        let to = each.node;
        batch_for(&mut batches, to).messages.extend(messages_of(core.config.node, each));
    }
    let Some(peers) = core.peers.get() else { return };
    for (to, batch) in batches {
        let count = batch.messages.len() as u64;
        let counter = if peers.send(to, batch) { &core.stats.sent } else { &core.stats.unsent };
        counter.add(count);
    }
}

fn batch_for(batches: &mut Vec<(u64, PeerBatch)>, to: u64) -> &mut PeerBatch {
    let at = batches.iter().position(|(node, _)| *node == to).unwrap_or_else(|| {
        batches.push((to, PeerBatch::default()));
        batches.len() - 1
    });
    &mut batches[at].1
}

/// Heartbeats and answers as the messages that they are between nodes.
fn messages_of(sender: u64, beats: Beats) -> impl Iterator<Item = PeerMessage> {
    let Beats { node: to, idle, heartbeats, answers } = beats;
    let bare = move |group, kind, term| PeerMessage { group, kind, to, sender, term, idle, ..PeerMessage::default() };
    let asked = heartbeats.into_iter().map(move |(group, term, commit, round)| PeerMessage {
        commit,
        round,
        ..bare(group, HEARTBEAT, term)
    });
    let answered = answers
        .into_iter()
        .map(move |(group, term, round)| PeerMessage { round, ..bare(group, HEARTBEAT_RESPONSE, term) });
    asked.chain(answered)
}

/// Puts in the entries' bytes; nothing where one was superseded in the turn that sends it.
fn with_bytes(core: &Core, outgoing: &Outgoing) -> Option<PeerMessage> {
    let mut message = message_of(outgoing);
    message.entries.reserve(outgoing.entries.len());
    for meta in &outgoing.entries {
        if core.log.term_at(outgoing.group, meta.index) != Some(meta.term) {
            return None;
        }
        match core.log.payload(outgoing.group, meta.index) {
            Ok(payload) => {
                message.entries.push(PeerEntry { term: meta.term, index: meta.index, kind: meta.kind, payload })
            }
            Err(error) => {
                core.fail(error.into());
                return None;
            }
        }
    }
    Some(message)
}

fn message_of(outgoing: &Outgoing) -> PeerMessage {
    let MessageHead { kind, to, sender, term, log_term, index, commit, reject, hint, vote, round, forced, context } =
        outgoing.head;
    PeerMessage {
        group: outgoing.group,
        kind,
        to,
        sender,
        term,
        log_term,
        index,
        commit,
        entries: Vec::new(),
        reject,
        hint,
        vote,
        round,
        forced,
        context,
        snapshot: None,
        word: Bytes::new(),
        idle: false,
    }
}

/// Sends a word to another node, if it can be reached. Nobody repeats it.
pub fn tell(core: &Core, to: u64, word: Bytes) {
    let message = PeerMessage { to, sender: core.config.node, word, ..PeerMessage::default() };
    if let Some(peers) = core.peers.get() {
        peers.send(to, PeerBatch { messages: vec![message] });
    }
}

/// The numbers of a message that came.
pub fn head_of(message: &PeerMessage) -> MessageHead {
    MessageHead {
        kind: message.kind,
        to: message.to,
        sender: message.sender,
        term: message.term,
        log_term: message.log_term,
        index: message.index,
        commit: message.commit,
        reject: message.reject,
        hint: message.hint,
        vote: message.vote,
        round: message.round,
        forced: message.forced,
        context: message.context,
    }
}

/// Bytes that a snapshot's mark carries.
pub fn membership_of(message: &PeerMessage) -> Bytes {
    message.snapshot.as_ref().map(|mark| mark.membership.clone()).unwrap_or_default()
}
