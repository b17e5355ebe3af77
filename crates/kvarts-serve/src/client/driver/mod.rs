//! The one task that owns all state of a client: calls come in, go to the node they are for, and end.
//!
//! Rooms: `link` (a node's channel, stream and tasks), `live` (a call), `session` (exactly once), `search` (who leads), `groups`
//! (leader and session of each), `routes` (which shards a call is for), `gather` (the answers of several),
//! `answers` (what an answer or an error does to its call).
mod answers;
mod gather;
mod groups;
mod link;
mod live;
mod routes;
mod search;
mod session;

use super::call::{Aim, Answer, Call, Queue, Request, Unary};
use super::failure;
use super::handle::{ClientOptions, Inbox};
use groups::{Groups, META};
use kvarts_formats::shards::Map;
use link::{Event, LinkId, Node, NodeId};
use live::{Live, Place};
use routes::Route;
use search::Search;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::{Instant, sleep_until};

/// A node that leaves a request unanswered for so long may lead no more: the others are asked.
const SUSPICION: Duration = Duration::from_secs(1);
/// Sleep of a driver that waits for nothing.
const IDLE: Duration = Duration::from_secs(3600);

/// All state of a client.
pub struct Driver {
    inbox: Arc<Inbox>,
    events: UnboundedReceiver<Event>,
    sender: UnboundedSender<Event>,
    nodes: Vec<Node>,
    map: Map,
    /// Keyspaces of which single shards were learned since: good for keys, not for ranges.
    patched: BTreeSet<u32>,
    groups: Groups,
    search: Search,
    calls: HashMap<u64, Live>,
    next_call: u64,
    next_link: LinkId,
    /// Where the next stale read goes, round and round.
    next_stale: NodeId,
    /// Calls that wait for a leader.
    leaderless: Vec<u64>,
    /// Calls that a node was too busy for, and when they are sent again.
    resting: Vec<(Instant, u64)>,
    /// No deadline passes, and no silence becomes suspect, before.
    next_check: Instant,
    /// Queues whose readers must be told.
    untold: Vec<Arc<Queue>>,
}

impl Driver {
    /// Makes one that connects to nothing yet. Called inside the runtime, or before it runs.
    pub fn new(options: ClientOptions, inbox: Arc<Inbox>) -> Self {
        let (sender, events) = unbounded_channel();
        Self {
            inbox,
            events,
            sender,
            nodes: Vec::new(),
            map: Map::default(),
            patched: BTreeSet::new(),
            groups: Groups::default(),
            search: Search::new(options.hosts),
            calls: HashMap::new(),
            next_call: 1,
            next_link: 1,
            next_stale: 0,
            leaderless: Vec::new(),
            resting: Vec::new(),
            next_check: Instant::now() + IDLE,
            untold: Vec::new(),
        }
    }

    /// Runs until the inbox is closed.
    pub async fn run(mut self) {
        let inbox = Arc::clone(&self.inbox);
        let mut taken = Vec::new();
        let timer = sleep_until(self.next_check);
        tokio::pin!(timer);
        loop {
            let wake = self.next_wake();
            if timer.deadline() != wake {
                timer.as_mut().reset(wake);
            }
            tokio::select! {
                biased;
                Some(event) = self.events.recv() => self.handle(event),
                () = inbox.filled() => {}
                () = &mut timer => self.check(Instant::now()),
            }
            while let Ok(event) = self.events.try_recv() {
                self.handle(event);
            }
            if !inbox.take(&mut taken) {
                break;
            }
            self.admit(&mut taken);
            self.tell();
        }
        for id in self.calls.keys().copied().collect::<Vec<_>>() {
            let sent = self.calls.get(&id).is_some_and(Live::may_be_done);
            self.finish(id, Err(if sent { failure::unanswered() } else { failure::closed() }));
        }
        self.tell();
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Answers(link, responses) => self.answered(link, responses),
            Event::Probed(node, answer) => self.probed(node, answer),
            Event::Lost(link, why, too_large) => self.lost(link, why, too_large),
            Event::Ended(id, answer) => self.ended(id, answer),
        }
    }

    fn admit(&mut self, taken: &mut Vec<Call>) {
        for call in taken.drain(..) {
            let id = self.next_call;
            self.next_call += 1;
            self.next_check = self.next_check.min(call.deadline);
            self.calls.insert(id, Live::new(call));
            self.dispatch(id);
        }
    }

    /// Sends a call where it belongs, or puts it where it waits.
    fn dispatch(&mut self, id: u64) {
        let aim = match self.calls.get(&id).map(|live| live.aim.clone()) {
            Some(Aim::Node(address)) => return self.dispatch_to(id, &address),
            Some(aim) => aim,
            None => return,
        };
        // Nothing is known before a node was heard: neither the map nor who leads.
        let owner = match self.search.heard.then(|| self.route(id)) {
            Some(Route::To(owner)) => owner,
            Some(Route::Taken) => return,
            Some(Route::Unknown) | None => {
                self.leaderless.push(id);
                return self.seek(META, Instant::now());
            }
        };
        let Some(live) = self.calls.get_mut(&id) else { return };
        live.owner = owner;
        if live.once.is_some_and(|(group, ..)| group != owner.shard) {
            self.unbind(id);
        }
        let to = match aim {
            Aim::Any => self.stale_node(),
            _ => self.groups.leader(owner.shard).map(|leader| leader.node),
        };
        let Some(node) = to else {
            self.leaderless.push(id);
            return self.seek(owner.shard, Instant::now());
        };
        let Some(live) = self.calls.get(&id) else { return };
        match &live.request {
            Request::Unary(request) => {
                self.nodes[node].ask(id, request.clone(), live.deadline, &self.sender);
                self.place(id, Place::Outside);
            }
            Request::Write { .. } if live.once.is_none() && live.done.is_some() => self.dispatch_write(id, node),
            _ => self.send(id, node),
        }
    }

    /// A call for one node and no other: outside the streams.
    fn dispatch_to(&mut self, id: u64, address: &str) {
        let node = self.node_at(address);
        let Some(live) = self.calls.get(&id) else { return };
        match (node, &live.request) {
            (Ok(node), Request::Unary(request)) => {
                self.nodes[node].ask(id, request.clone(), live.deadline, &self.sender);
                self.place(id, Place::Outside);
            }
            (Err(why), _) => self.finish(id, Err(failure::unavailable(&format!("{address}: {why}")))),
            _ => self.finish(id, Err(failure::unavailable(&format!("{address} is asked for rows")))),
        }
    }

    /// Gives a write its sequence, or lets it wait for a session.
    fn dispatch_write(&mut self, id: u64, node: NodeId) {
        let Some(live) = self.calls.get_mut(&id) else { return };
        let group = live.owner.shard;
        let known = self.groups.get(group);
        let sequence = if known.session.id == 0 { None } else { known.session.next() };
        let Some(sequence) = sequence else {
            known.sessionless.push_back(id);
            return self.open_session(group);
        };
        live.once = Some((group, known.session.id, sequence));
        self.send(id, node);
    }

    fn send(&mut self, id: u64, node: NodeId) {
        let now = Instant::now();
        let Some(live) = self.calls.get_mut(&id) else { return };
        let group = live.once.map_or(live.owner.shard, |(group, ..)| group);
        let answered = self.groups.get(group).session.answered();
        let Some(request) = live.encode(id, answered, now) else { return };
        let node = &mut self.nodes[node];
        if node.link.is_none() {
            node.open(self.next_link, &self.sender);
            self.next_link += 1;
        }
        if let Some(link) = &node.link {
            live.place = Place::Stream(link.id, now);
            link.send(request);
            self.next_check = self.next_check.min(now + SUSPICION);
        }
    }

    /// Sends again what waited for a leader, or for a node that answers.
    fn dispatch_leaderless(&mut self) {
        for id in std::mem::take(&mut self.leaderless) {
            self.dispatch(id);
        }
    }

    /// Sends at once what was to be sent again later: there is news of shards or of who leads, so it may be served by now.
    fn dispatch_resting(&mut self) {
        for (_, id) in std::mem::take(&mut self.resting) {
            self.dispatch(id);
        }
    }

    /// Sends writes that waited for their session, as far as its window goes.
    fn dispatch_sessionless(&mut self, group: u64) {
        loop {
            let known = self.groups.get(group);
            if known.session.id == 0 || known.leader.is_none() {
                return;
            }
            let Some(id) = known.sessionless.pop_front() else { return };
            let left = known.sessionless.len();
            self.dispatch(id);
            if self.groups.get(group).sessionless.len() > left {
                return;
            }
        }
    }

    fn place(&mut self, id: u64, place: Place) {
        if let Some(live) = self.calls.get_mut(&id) {
            live.place = place;
        }
    }

    fn next_wake(&self) -> Instant {
        let rested = self.resting.iter().map(|(at, _)| *at);
        rested.chain(self.search.next).fold(self.next_check, Instant::min)
    }

    /// Does what is due: deadlines, rests, probes; and looks for nodes that are silent.
    fn check(&mut self, now: Instant) {
        let (due, resting): (Vec<_>, Vec<_>) = self.resting.drain(..).partition(|(at, _)| *at <= now);
        self.resting = resting;
        due.into_iter().for_each(|(_, id)| self.dispatch(id));
        if self.search.next.is_some_and(|at| at <= now) {
            self.probe_all(now);
        }
        if self.next_check <= now {
            self.check_calls(now);
        }
    }

    fn check_calls(&mut self, now: Instant) {
        let late: Vec<u64> = self.calls.iter().filter(|(_, live)| live.deadline <= now).map(|(id, _)| *id).collect();
        late.into_iter().for_each(|id| self.expire(id));
        let silences = self.calls.values().filter_map(|live| match live.place {
            Place::Stream(_, since) => {
                let group = live.owner.shard;
                let assured = self.groups.leader(group).map_or(since, |leader| leader.assured.max(since));
                Some((assured + SUSPICION, group))
            }
            _ => None,
        });
        let silences: Vec<(Instant, u64)> = silences.collect();
        for &(_, group) in silences.iter().filter(|(at, _)| *at <= now) {
            self.seek(group, now);
        }
        let suspect = silences.into_iter().map(|(at, _)| at).min();
        let deadline = self.calls.values().map(|live| live.deadline).min();
        let suspect = suspect.map(|at| if at <= now { now + SUSPICION } else { at });
        self.next_check = [deadline, suspect].into_iter().flatten().fold(now + IDLE, Instant::min);
    }

    fn tell(&mut self) {
        self.untold.drain(..).for_each(|queue| queue.tell());
    }
}
