//! A small intake that really keeps rows, in a map; it can hold answers back, and follow another leader.
use bytes::Bytes;
use kvarts_engine::sync::Mutex;
use kvarts_serve::intake::{Intake, Reply, refusal};
use kvarts_wire::v1;
use kvarts_wire::v1::operation::Kind as Step;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Instant;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

pub const CLUSTER: &[u8] = b"\x01\xabcluster";

/// Versions of a row, oldest first; nothing where it was deleted.
type Versions = Vec<(u64, Option<Bytes>)>;

/// What other nodes did.
#[derive(Debug, PartialEq)]
pub enum Event {
    Messages(u64, Vec<v1::PeerMessage>),
    Snapshot(u64, v1::PeerMessage, PathBuf),
    Lost(u64),
}

#[derive(Default)]
struct State {
    rows: BTreeMap<(u32, Bytes), Versions>,
    revision: u64,
    keyspaces: Vec<v1::Keyspace>,
    leader: (u64, String),
    /// Answers are held back while this is set.
    holding: bool,
    held: Vec<Box<dyn FnOnce() + Send>>,
    held_peak: usize,
    deadlines: Vec<Instant>,
}

pub struct Small {
    node: u64,
    state: Mutex<State>,
    events: UnboundedSender<Event>,
}

impl Small {
    /// Node `node`, which leads itself.
    pub fn new(node: u64) -> (Self, UnboundedReceiver<Event>) {
        let (events, receiver) = unbounded_channel();
        let state = State { leader: (node, String::new()), ..State::default() };
        (Self { node, state: Mutex::new(state), events }, receiver)
    }

    pub fn follow(&self, leader: u64, address: &str) {
        self.state.lock().leader = (leader, address.to_owned());
    }

    pub fn hold(&self) {
        self.state.lock().holding = true;
    }

    /// How many answers are held back, and how many were at most.
    pub fn held(&self) -> (usize, usize) {
        let state = self.state.lock();
        (state.held.len(), state.held_peak)
    }

    /// Gives the answers held back, the last one first, or drops them.
    pub fn release(&self, give: bool) -> usize {
        let held = std::mem::take(&mut self.state.lock().held);
        let count = held.len();
        for answer in held.into_iter().rev() {
            if give {
                answer();
            }
        }
        count
    }

    /// Keeps a row under the key "mortal".
    pub fn mortal(&self, value: Bytes) {
        self.state.lock().rows.insert((0, "mortal".into()), vec![(1, Some(value))]);
    }

    /// Forgets all rows.
    pub fn forget(&self) {
        self.state.lock().rows.clear();
    }

    pub fn deadlines(&self) -> Vec<Instant> {
        self.state.lock().deadlines.clone()
    }

    /// Answers now, or once released.
    fn answer<R: Send + 'static>(&self, deadline: Instant, answer: Result<R, v1::Error>, reply: Reply<R>) {
        let mut state = self.state.lock();
        state.deadlines.push(deadline);
        if state.holding {
            state.held.push(Box::new(move || reply(answer)));
            state.held_peak = state.held_peak.max(state.held.len());
        } else {
            drop(state);
            reply(answer);
        }
    }

    fn check_leader(&self) -> Result<(), v1::Error> {
        let (leader, address) = self.state.lock().leader.clone();
        if leader == self.node { Ok(()) } else { Err(refusal::not_leader(self.node, leader, &address)) }
    }

    fn read(&self, request: &v1::GetRequest) -> Result<v1::GetResponse, v1::Error> {
        self.check_leader()?;
        let state = self.state.lock();
        let row = |key: &Bytes| {
            let versions = state.rows.get(&(request.keyspace, key.clone()));
            match versions.and_then(|versions| versions.last()) {
                Some((revision, Some(value))) => {
                    v1::get_response::Found { found: true, value: value.clone(), revision: *revision }
                }
                _ => v1::get_response::Found::default(),
            }
        };
        Ok(v1::GetResponse { rows: request.keys.iter().map(row).collect(), revision: state.revision, now_ms: 1 })
    }

    fn change(&self, command: v1::Command) -> Result<v1::WriteResponse, v1::Error> {
        self.check_leader()?;
        let mut state = self.state.lock();
        state.revision += 1;
        let revision = state.revision;
        for operation in command.operations {
            let (keyspace, key, value) = match operation.kind {
                Some(Step::Put(put)) => (put.keyspace, put.key, Some(put.value)),
                Some(Step::Delete(delete)) => (delete.keyspace, delete.key, None),
                other => return Err(refusal::invalid(format!("not here: {other:?}"), "put or delete")),
            };
            state.rows.entry((keyspace, key)).or_default().push((revision, value));
        }
        Ok(v1::WriteResponse { result: Some(v1::Result { revision, ..v1::Result::default() }) })
    }

    fn page(&self, request: &v1::ScanRequest) -> Result<v1::ScanResponse, v1::Error> {
        self.check_leader()?;
        let state = self.state.lock();
        let asked = request.freshness.map_or(0, |fresh| fresh.revision);
        let revision = if asked == 0 { state.revision } else { asked };
        let inside = |key: &Bytes| {
            let above =
                request.start.is_empty() || *key > request.start || (*key == request.start && !request.exclude_start);
            let below =
                request.stop.is_empty() || *key < request.stop || (*key == request.stop && request.include_stop);
            above && below
        };
        let rows = state.rows.iter().filter(|((keyspace, key), _)| *keyspace == request.keyspace && inside(key));
        let mut seen: Vec<(&Bytes, u64, &Bytes)> = rows
            .filter_map(|((_, key), versions)| {
                let newest = versions.iter().rev().find(|(written, _)| *written <= revision)?;
                Some((key, newest.0, newest.1.as_ref()?))
            })
            .collect();
        if request.reverse {
            seen.reverse();
        }
        let limit = if request.limit == 0 { usize::MAX } else { request.limit as usize };
        let size = if request.page_rows == 0 { 100 } else { request.page_rows as usize }.min(limit);
        let (mut page, mut keys, mut values) =
            (v1::ScanResponse { revision, now_ms: 7, ..Default::default() }, vec![], vec![]);
        page.more = seen.len() > size;
        seen.truncate(size);
        let shown = if request.count_only { &seen[seen.len().saturating_sub(1)..] } else { &seen[..] };
        for (key, revision, value) in shown {
            keys.extend_from_slice(key);
            values.extend_from_slice(value);
            page.key_ends.push(keys.len() as u32);
            page.value_ends.push(values.len() as u32);
            page.revisions.push(*revision);
        }
        page.count = if request.count_only { seen.len() as u64 } else { 0 };
        (page.keys, page.values) = (keys.into(), values.into());
        Ok(page)
    }

    fn make_keyspace(&self, arguments: &str) -> Result<String, v1::Error> {
        self.check_leader()?;
        let asked: serde_json::Value = serde_json::from_str(arguments).expect("arguments are JSON");
        let text = |name: &str| asked[name].as_str().expect("a text").to_owned();
        let mut state = self.state.lock();
        let known = state.keyspaces.iter().find(|keyspace| keyspace.name == text("name")).cloned();
        let made = match known {
            Some(keyspace) => keyspace,
            None if asked["create"] == false => {
                return Err(refusal::error("KV-1002", "KeyNotFound", "no such keyspace", "create=True"));
            }
            None => {
                let id = state.keyspaces.len() as u32 + 1;
                let (key_codec, value_codec) = (text("key_codec"), text("value_codec"));
                let keyspace = v1::Keyspace { id, name: text("name"), key_codec, value_codec };
                state.keyspaces.push(keyspace.clone());
                keyspace
            }
        };
        let v1::Keyspace { id, name, key_codec, value_codec } = made;
        Ok(serde_json::json!({"id": id, "name": name, "key_codec": key_codec, "value_codec": value_codec}).to_string())
    }
}

impl Intake for Small {
    fn get(&self, request: v1::GetRequest, deadline: Instant, reply: Reply<v1::GetResponse>) {
        self.answer(deadline, self.read(&request), reply);
    }

    fn write(&self, request: v1::WriteRequest, deadline: Instant, reply: Reply<v1::WriteResponse>) {
        self.answer(deadline, self.change(request.command.unwrap_or_default()), reply);
    }

    fn scan(&self, request: v1::ScanRequest, deadline: Instant, reply: Reply<v1::ScanResponse>) {
        self.answer(deadline, self.page(&request), reply);
    }

    fn call(&self, verb: String, arguments: String, deadline: Instant, reply: Reply<String>) {
        let answer = match verb.as_str() {
            "echo" => self.check_leader().map(|()| arguments),
            "make-keyspace" => self.make_keyspace(&arguments),
            _ => Err(refusal::invalid(format!("no verb {verb}"), "echo, make-keyspace")),
        };
        self.answer(deadline, answer, reply);
    }

    fn describe(&self, _request: v1::DescribeRequest) -> v1::DescribeResponse {
        let leader_id = self.state.lock().leader.0;
        v1::DescribeResponse { cluster_id: CLUSTER.into(), node_id: self.node, leader_id, ..Default::default() }
    }

    fn keyspaces(&self) -> Result<Vec<v1::Keyspace>, v1::Error> {
        Ok(self.state.lock().keyspaces.clone())
    }

    fn peer_came(&self, _from: u64, _features: String) {}

    fn peer_messages(&self, from: u64, batch: v1::PeerBatch) {
        let _ = self.events.send(Event::Messages(from, batch.messages));
    }

    fn peer_snapshot(&self, from: u64, message: v1::PeerMessage, dir: PathBuf) {
        let _ = self.events.send(Event::Snapshot(from, message, dir));
    }

    fn peer_lost(&self, node: u64) {
        let _ = self.events.send(Event::Lost(node));
    }

    fn identity(&self) -> (Vec<u8>, u64) {
        (CLUSTER.to_vec(), self.node)
    }
}
