//! What connections bring in: requests of clients, messages of other nodes. Never blocks on Python.
use super::apply::NORMAL;
use super::core::Core;
use super::event::{Beats, Event, Received, ReceivedEntry, ReceivedPayload, ReceivedSnapshot};
use super::group::Group;
use super::handles::{Held, WaitingWrite};
use super::keeper;
use super::members::{KEYSPACES, keyspace_of};
use super::pending::Answer;
use super::queue::Tone;
use super::reads::{Ask, WaitingRead};
use super::refusal;
use super::routes::{self, META, Route};
use super::send::{HEARTBEAT, HEARTBEAT_RESPONSE, head_of, membership_of};
use super::serve;
use crate::intake::{Intake, Reply};
use bytes::Bytes;
use kvarts_wire::v1;
use kvarts_wire::v1::operation::Kind as Step;
use prost::Message as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

/// `kvarts.raft.messages.MessageKind.APPEND_RESPONSE`.
const APPEND_RESPONSE: u32 = 2;

/// The door of a muscle.
pub struct Door(pub Arc<Core>);

impl Door {
    /// Takes a request in, unless there are too many, the node is on its way out, or it belongs elsewhere.
    fn admit<R>(&self, reply: Reply<R>, route: Result<Route, v1::Error>) -> Option<(Answer<R>, Arc<Group>)> {
        let core = &self.0;
        let answer = Answer::admit(&core.crowd, core.time.boot_ns(), reply);
        if answer.is_none() {
            core.stats.refused.one();
        }
        let answer = answer?;
        match route.and_then(|route| self.group(&route)) {
            Ok(group) => Some((answer, group)),
            Err(error) => {
                core.stats.refused.one();
                answer.refuse(error);
                None
            }
        }
    }

    fn group(&self, route: &Route) -> Result<Arc<Group>, v1::Error> {
        let core = &self.0;
        if core.failure().is_some() {
            return Err(refusal::unavailable("the node does not serve now"));
        }
        core.group(route.group).ok_or_else(|| {
            let node = core.config.node;
            match route.voters.iter().find(|voter| **voter != node) {
                Some(&other) if core.fences.why(route.group).is_some() => {
                    refusal::fenced(node, route.group, other, &core.members.address(other))
                }
                Some(_) if route.voters.contains(&node) => refusal::unavailable("the shard is being made here"),
                Some(&other) => refusal::no_replica(node, route.group, other, &core.members.address(other)),
                None => refusal::unavailable("the node does not serve now"),
            }
        })
    }

    /// Where a write goes: where the map says. One that was sent before, and that may have been done then, goes where it was
    /// sent to: the log of that shard knows what came of it, and lets nothing happen that is another shard's by now.
    fn of_write(&self, request: &v1::WriteRequest, command: &v1::Command) -> Result<Route, v1::Error> {
        let core = &self.0;
        let route = core.routes.of_command(command, request.owner.as_ref());
        let Some(owner) = request.owner.filter(|_| request.resent && command.session != 0) else { return route };
        let error = match route {
            Err(error) if error.kind == "WrongShard" => error,
            route => return route,
        };
        match core.group(owner.shard) {
            Some(group) if group.machine.is_cut() || !group.leads() => Ok(core.routes.of_resent(&owner)),
            // Whoever asked did not know that the keyspace has shards: none of its rows are here, whatever the log has.
            Some(_) if owner.shard == META => Err(v1::Error { settled: true, ..error }),
            Some(_) if core.routes.still_owns(command, &owner) => Ok(core.routes.of_resent(&owner)),
            // Its log would take anything.
            Some(_) => Err(refusal::unavailable("the shard has yet to come to the split that the map knows of")),
            None => Ok(core.routes.of_resent(&owner)),
        }
    }

    fn read(&self, group: &Arc<Group>, freshness: Option<&v1::Freshness>, ask: Ask, deadline: Instant) {
        let core = &self.0;
        let stale = freshness.is_some_and(|fresh| fresh.level() == v1::freshness::Level::Stale);
        if stale && freshness.is_some_and(|fresh| fresh.max_staleness_ms == 0) {
            core.stats.reads_at_once.one();
            serve::now(core, group, ask);
            return;
        }
        let Some(read) = serve::under_gate(core, group, WaitingRead { ask, deadline }) else {
            core.stats.reads_at_once.one();
            return;
        };
        // How old this node's state is it cannot tell; a follower asks the leader how far it must have come.
        if !stale && !group.leads() {
            core.stats.refused.one();
            read.ask.refuse(group.not_leader());
            return;
        }
        if let Some(context) = group.reads.add(read, || core.next_context()) {
            core.queue.push(Event::Read { group: group.id, context });
        }
    }
}

impl Intake for Door {
    fn get(&self, request: v1::GetRequest, deadline: Instant, reply: Reply<v1::GetResponse>) {
        let route = self.0.routes.of_keys(request.keyspace, &request.keys, request.owner.as_ref());
        if let Some((answer, group)) = self.admit(reply, route) {
            let freshness = request.freshness;
            self.read(&group, freshness.as_ref(), Ask::Get(request, answer), deadline);
        }
    }

    fn scan(&self, request: v1::ScanRequest, deadline: Instant, reply: Reply<v1::ScanResponse>) {
        let route = self.0.routes.of_scan(&request);
        let known = route.as_ref().ok().map(|route| v1::Owner { shard: route.group, epoch: route.epoch });
        if let Some((answer, group)) = self.admit(reply, route) {
            let freshness = request.freshness;
            // A split that takes place before the rows are read must be seen by the epoch.
            let owner = request.owner.or(known);
            let request = v1::ScanRequest { owner, ..request };
            self.read(&group, freshness.as_ref(), Ask::Scan(request, answer), deadline);
        }
    }

    fn write(&self, mut request: v1::WriteRequest, deadline: Instant, reply: Reply<v1::WriteResponse>) {
        let core = &self.0;
        let command = request.command.take().unwrap_or_default();
        let route = self.of_write(&request, &command);
        let epoch = route.as_ref().map_or(0, |route| route.epoch);
        let Some((answer, group)) = self.admit(reply, route) else { return };
        let epoch = if touches_ranges(&command) { epoch } else { 0 };
        let command = v1::Command { epoch, ..command };
        let command = Bytes::from(command.encode_length_delimited_to_vec());
        let size = command.len();
        let refused = if !group.leads() {
            Some(group.not_leader())
        } else if size > core.config.command_bytes_max {
            let most = core.config.command_bytes_max;
            Some(refusal::over_limit(format!("a write of {size} bytes is over {most} bytes"), "split it"))
        } else if !core.handles.has_room(size) {
            Some(refusal::unavailable("too many bytes wait to be written"))
        } else {
            None
        };
        if let Some(error) = refused {
            core.stats.refused.one();
            answer.refuse(error);
            return;
        }
        let write = WaitingWrite { command, answer: Some(answer), deadline };
        if let Some(handle) = core.handles.add_write(group.id, write, core.config.entry_bytes_max as u64) {
            core.queue.push_write(group.id, handle);
        }
    }

    fn call(&self, verb: String, arguments: String, deadline: Instant, reply: Reply<String>) {
        if let Some((answer, _)) = self.admit(reply, Ok(Route::meta())) {
            let id = self.0.calls.keep(answer, deadline);
            self.0.queue.push(Event::Call { id, verb, arguments });
        }
    }

    fn describe(&self, request: v1::DescribeRequest) -> v1::DescribeResponse {
        let core = &self.0;
        let (role, membership) =
            core.group(META).map(|group| (group.role(), group.machine.membership())).unwrap_or_default();
        let roles = core.groups().into_iter().map(|group| (group.id, group.role()));
        let leads = roles.filter(|(_, role)| role.leads);
        let known = core.routes.known();
        let map = if request.map_version == known.map.version { Vec::new() } else { routes::map_of(&known.map) };
        v1::DescribeResponse {
            cluster_id: Bytes::copy_from_slice(&core.config.cluster),
            node_id: core.config.node,
            leader_id: role.leader_id,
            term: role.term,
            nodes: core.members.nodes(&membership),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            leads: leads.map(|(group, role)| v1::Leadership { group, term: role.term }).collect(),
            map_version: known.map.version,
            map,
        }
    }

    fn keyspaces(&self) -> Result<Vec<v1::Keyspace>, v1::Error> {
        let Some(group) = self.0.group(META) else {
            return Err(refusal::unavailable("the node does not serve now"));
        };
        let rows = group.machine.system_scan(KEYSPACES).map_err(|error| refusal::of_machine(&error))?;
        Ok(rows.iter().filter_map(|(key, row)| keyspace_of(key, row)).collect())
    }

    fn peer_came(&self, from: u64, features: String) {
        self.0.queue.push(Event::PeerCame { node: from, features });
    }

    fn is_removed(&self, node: u64) -> bool {
        self.0.members.is_removed(node)
    }

    fn was_removed(&self, by: u64) {
        self.0.queue.push(Event::Removed { by });
    }

    fn peer_messages(&self, from: u64, batch: v1::PeerBatch) {
        let core = &self.0;
        let (mut idle, mut awaited) = (Beats::new(from, true), Beats::new(from, false));
        let mut events = Vec::with_capacity(batch.messages.len());
        for message in batch.messages {
            let beats = if message.idle { &mut idle } else { &mut awaited };
            if let Some(message) = not_a_beat(core, message, beats) {
                events.extend(received(core, from, message, None));
            }
        }
        for beats in [awaited, idle].into_iter().filter(|beats| !beats.is_empty()) {
            let tone = if beats.idle { Tone::Idle } else { Tone::Loud };
            events.push((Event::Beats(beats), tone));
        }
        core.queue.push_received(events);
    }

    fn peer_snapshot(&self, from: u64, message: v1::PeerMessage, dir: PathBuf) {
        let event = received(&self.0, from, message, Some(dir));
        self.0.queue.push_received(event.into_iter().collect());
    }

    fn peer_lost(&self, node: u64) {
        self.0.queue.push(Event::PeerLost(node));
    }

    fn identity(&self) -> (Vec<u8>, u64) {
        (self.0.config.cluster.clone(), self.0.config.node)
    }
}

/// Puts a heartbeat or an answer to the others of its batch; gives back any other message.
fn not_a_beat(core: &Core, message: v1::PeerMessage, beats: &mut Beats) -> Option<v1::PeerMessage> {
    let ours = message.to == core.config.node && message.sender == beats.node && core.failure().is_none();
    match message.kind {
        HEARTBEAT if ours => beats.heartbeats.push((message.group, message.term, message.commit, message.round)),
        HEARTBEAT_RESPONSE if ours => beats.answers.push((message.group, message.term, message.round)),
        _ => return Some(message),
    }
    core.stats.received.one();
    None
}

/// By keys alone it is seen whether a shard owns what a command touches.
fn touches_ranges(command: &v1::Command) -> bool {
    command.operations.iter().any(|operation| matches!(operation.kind, Some(Step::DeleteRange(_))))
}

/// Takes a message of another node: bytes stay here, handles go on.
fn received(core: &Core, from: u64, message: v1::PeerMessage, dir: Option<PathBuf>) -> Option<(Event, Tone)> {
    core.stats.received.one();
    if message.group == 0 {
        return Some((Event::Word { node: from, word: message.word }, Tone::Loud));
    }
    let size = message.entries.iter().map(|entry| entry.payload.len()).sum();
    let ours = message.to == core.config.node && message.sender == from && core.failure().is_none();
    // A snapshot's message comes with its files, or is worth nothing.
    if !ours || !core.handles.has_room(size) || message.snapshot.is_some() != dir.is_some() {
        core.stats.dropped.one();
        if let Some(dir) = dir {
            core.to_keeper(keeper::Job::Remove(dir));
        }
        return None;
    }
    let (group, head, membership) = (message.group, head_of(&message), membership_of(&message));
    let mark = message.snapshot.as_ref().map(|mark| (mark.index, mark.term));
    let snapshot = mark.zip(dir).map(|((index, term), dir)| {
        let handle = core.handles.keep(Held::Snapshot(dir));
        ReceivedSnapshot { index, term, membership, handle }
    });
    let entries = message.entries.into_iter().map(|entry| with_handle(core, entry)).collect();
    let tone = match head.kind {
        APPEND_RESPONSE if !head.reject => Tone::Stored { group, index: head.index },
        _ => Tone::Loud,
    };
    Some((Event::Received(Box::new(Received { group, head, entries, snapshot })), tone))
}

fn with_handle(core: &Core, entry: v1::PeerEntry) -> ReceivedEntry {
    let v1::PeerEntry { term, index, kind, payload } = entry;
    let size = payload.len() as u32;
    let payload = if kind != NORMAL {
        ReceivedPayload::Bytes(payload)
    } else if payload.is_empty() {
        ReceivedPayload::Nothing
    } else {
        ReceivedPayload::Handle(core.handles.keep(Held::Payload(payload)))
    };
    ReceivedEntry { term, index, kind, payload, size }
}
