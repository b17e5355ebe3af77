//! Who leads: every known node is asked at once, and the one that says "I" in the newest term is believed.
use super::link::{LinkId, Node, NodeId};
use super::live::{Live, Place};
use super::{Driver, failure};
use kvarts_wire::v1;
use std::time::Duration;
use tokio::time::Instant;

const PAUSE_FIRST: Duration = Duration::from_millis(5);
const PAUSE_MAX: Duration = Duration::from_millis(200);

/// The node that calls and writes go to.
pub struct Leader {
    pub node: NodeId,
    pub term: u64,
}

/// The search for it.
pub struct Search {
    /// Where to begin.
    hosts: Vec<String>,
    /// When all nodes are asked next; `None` while nobody looks for a leader.
    pub next: Option<Instant>,
    /// Zero again once an answer came.
    pub pause: Duration,
    /// When the leader last said that it leads.
    pub assured: Option<Instant>,
}

impl Search {
    pub fn new(hosts: Vec<String>) -> Self {
        Self { hosts, next: None, pause: Duration::ZERO, assured: None }
    }
}

impl Driver {
    /// Begins to look for a leader, unless that is under way.
    pub(super) fn seek(&mut self, now: Instant) {
        if self.search.next.is_some() {
            return;
        }
        if self.nodes.is_empty() {
            for host in self.search.hosts.clone() {
                let _ = self.node_at(&host);
            }
        }
        if self.search.pause.is_zero() {
            self.probe_all(now);
        } else {
            self.search.next = Some(now + self.search.pause);
        }
    }

    /// Asks every node that is not being asked, and again after a pause that grows.
    pub(super) fn probe_all(&mut self, now: Instant) {
        if self.calls.is_empty() {
            self.search.next = None;
            return;
        }
        for (id, node) in self.nodes.iter_mut().enumerate().filter(|(_, node)| !node.probing) {
            node.probe(id, &self.sender);
        }
        self.search.pause = (self.search.pause * 2).clamp(PAUSE_FIRST, PAUSE_MAX);
        self.search.next = Some(now + self.search.pause);
    }

    /// Takes note of what a node says about the cluster.
    pub(super) fn probed(&mut self, id: NodeId, answer: Result<v1::DescribeResponse, String>) {
        let node = &mut self.nodes[id];
        node.probing = false;
        let fresh = answer.is_ok() && !node.answers;
        node.answers = answer.is_ok();
        let said = match answer {
            Ok(said) => said,
            Err(why) => {
                node.news = why;
                return;
            }
        };
        node.news = match said.leader_id {
            0 => "knows no leader".to_owned(),
            leader if leader == said.node_id => "leads".to_owned(),
            leader => format!("says that node {leader} leads"),
        };
        for known in said.nodes.iter().filter(|known| !known.address.is_empty()) {
            let _ = self.node_at(&known.address);
        }
        if said.leader_id != 0 && said.leader_id == said.node_id {
            self.claimed(id, said.term);
        }
        if fresh && self.leader.is_none() {
            self.dispatch_leaderless();
        }
    }

    /// A node says that it leads.
    fn claimed(&mut self, id: NodeId, term: u64) {
        match &mut self.leader {
            Some(leader) if leader.node == id => leader.term = term,
            Some(leader) if leader.term >= term => return,
            Some(leader) => {
                let old = leader.node;
                self.drop_link(old);
                self.leader = Some(Leader { node: id, term });
            }
            None => self.leader = Some(Leader { node: id, term }),
        }
        self.search.next = None;
        self.search.assured = Some(Instant::now());
        self.dispatch_leaderless();
        self.dispatch_sessionless();
    }

    /// The stream to a node ended.
    pub(super) fn lost(&mut self, link: LinkId, why: String, too_large: Option<Box<v1::Error>>) {
        let Some(id) = self.node_of(link) else { return };
        if let Some(error) = too_large {
            self.drop_largest(link, error);
        }
        self.nodes[id].news = why;
        self.nodes[id].answers = false;
        self.dethrone(id);
        self.drop_link(id);
    }

    /// Ends the largest request of a stream with the error for it: sent again, it would end the next stream too.
    fn drop_largest(&mut self, link: LinkId, error: Box<v1::Error>) {
        let on_it = |live: &Live| matches!(live.place, Place::Stream(on, _) if on == link);
        let sizes = self.calls.iter().filter(|(_, live)| on_it(live)).map(|(id, live)| (live.bytes(), *id));
        if let Some((_, id)) = sizes.max() {
            self.finish(id, Err(error));
        }
    }

    /// A node does not lead, whatever we believed; it may have said who does.
    pub(super) fn dethrone(&mut self, id: NodeId) {
        if self.leader.as_ref().is_some_and(|leader| leader.node == id) {
            self.leader = None;
        }
    }

    /// Ends a stream; what was on it is sent again, elsewhere.
    fn drop_link(&mut self, id: NodeId) {
        let Some(link) = self.nodes[id].link.take() else { return };
        let on_it = |place| matches!(place, Place::Stream(on, _) if on == link.id);
        let ids: Vec<u64> = self.calls.iter().filter(|(_, live)| on_it(live.place)).map(|(id, _)| *id).collect();
        for id in &ids {
            if let Some(live) = self.calls.get_mut(id) {
                live.lose();
            }
        }
        self.leaderless.extend(ids);
        if !self.leaderless.is_empty() {
            self.seek(Instant::now());
        }
    }

    /// Returns the node that a stream goes to.
    pub(super) fn node_of(&self, link: LinkId) -> Option<NodeId> {
        self.nodes.iter().position(|node| node.link.as_ref().is_some_and(|open| open.id == link))
    }

    /// Returns the node at an address; a new one is asked at once while a leader is looked for.
    pub(super) fn node_at(&mut self, address: &str) -> Result<NodeId, String> {
        if let Some(id) = self.nodes.iter().position(|node| &*node.address == address) {
            return Ok(id);
        }
        let id = self.nodes.len();
        self.nodes.push(Node::new(address)?);
        if self.search.next.is_some() {
            self.nodes[id].probe(id, &self.sender);
        }
        Ok(id)
    }

    /// Returns the next node that answers, for reads that may be stale.
    pub(super) fn stale_node(&mut self) -> Option<NodeId> {
        let count = self.nodes.len();
        let from = self.next_stale;
        let found = (from..from + count).map(|id| id % count).find(|&id| self.nodes[id].answers);
        self.next_stale = found.map_or(0, |id| id + 1);
        found
    }

    /// A call's time is over.
    pub(super) fn expire(&mut self, id: u64) {
        let Some(live) = self.calls.get(&id) else { return };
        let asked = match live.place {
            Place::Stream(link, _) => self.node_of(link).map(|node| self.nodes[node].address.to_string()),
            Place::Outside => Some("the leader".to_owned()),
            Place::Waiting => None,
        };
        let error = match asked {
            _ if live.uncertain => failure::unknown("a leader that was lost"),
            Some(node) if live.is_write() => failure::unknown(&node),
            Some(node) => failure::deadline(&node),
            None => failure::unavailable(&self.news()),
        };
        self.finish(id, Err(error));
    }

    /// What came of each node.
    fn news(&self) -> String {
        let news: Vec<String> = self.nodes.iter().map(|node| format!("{} {}", node.address, node.news)).collect();
        if news.is_empty() { "no host has an address".to_owned() } else { news.join("; ") }
    }
}
