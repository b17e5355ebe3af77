//! Who leads: every known node is asked at once, and the one that says "I" in the newest term is believed.
use super::groups::{Leader, META};
use super::link::{LinkId, Node, NodeId};
use super::live::{Live, Place};
use super::{Driver, failure};
use crate::client::call::Aim;
use kvarts_wire::v1;
use std::collections::BTreeSet;
use std::time::Duration;
use tokio::time::Instant;

const PAUSE_FIRST: Duration = Duration::from_millis(5);
const PAUSE_MAX: Duration = Duration::from_millis(200);

/// The search for it.
pub struct Search {
    /// Where to begin.
    hosts: Vec<String>,
    /// When all nodes are asked next; `None` while nobody looks for a leader.
    pub next: Option<Instant>,
    /// Zero again once an answer came.
    pub pause: Duration,
    /// Groups whose leader is looked for.
    pub wanted: BTreeSet<u64>,
    /// The map is known to be old.
    pub map_wanted: bool,
    /// A node has told of itself and of the map.
    pub heard: bool,
}

impl Search {
    pub fn new(hosts: Vec<String>) -> Self {
        let (wanted, map_wanted, heard) = (BTreeSet::new(), false, false);
        Self { hosts, next: None, pause: Duration::ZERO, wanted, map_wanted, heard }
    }
}

impl Driver {
    /// Begins to look for the leader of a group, unless that is under way.
    pub(super) fn seek(&mut self, group: u64, now: Instant) {
        self.search.wanted.insert(group);
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
            self.search.wanted.clear();
            return;
        }
        for (id, node) in self.nodes.iter_mut().enumerate().filter(|(_, node)| !node.probing) {
            node.probe(id, self.map.version, &self.sender);
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
        let before = self.map.version;
        self.learn_map(said.map_version, said.map);
        // Before it was heard of, nothing could be sent anywhere.
        let mut news = fresh || self.map.version > before || !self.search.heard;
        self.search.heard = true;
        let leads = said.leads.iter().map(|led| (led.group, led.term));
        let meta = (said.leader_id != 0 && said.leader_id == said.node_id).then_some((META, said.term));
        for (group, term) in meta.into_iter().chain(leads) {
            news |= self.claimed(id, group, term);
        }
        if self.search.wanted.is_empty() && !self.search.map_wanted {
            self.search.next = None;
        }
        if news {
            self.dispatch_leaderless();
            self.dispatch_resting();
        }
    }

    /// A node says that it leads a group. Returns whether that is news.
    fn claimed(&mut self, id: NodeId, group: u64, term: u64) -> bool {
        let assured = Instant::now();
        let found = Leader { node: id, term, assured };
        let known = &mut self.groups.get(group).leader;
        let old = match known {
            Some(leader) if leader.node == id => {
                *leader = found;
                self.search.wanted.remove(&group);
                return false;
            }
            Some(leader) if leader.term >= term => return false,
            Some(leader) => Some(leader.node),
            None => None,
        };
        *known = Some(found);
        self.search.wanted.remove(&group);
        if let Some(old) = old {
            self.recall(group, old);
        }
        self.dispatch_sessionless(group);
        true
    }

    /// What a node was asked of a group that it leads no more is sent again, elsewhere.
    fn recall(&mut self, group: u64, node: NodeId) {
        let Some(link) = self.nodes[node].link.as_ref().map(|link| link.id) else { return };
        let theirs = |live: &Live| {
            live.owner.shard == group
                && live.aim == Aim::Leader
                && matches!(live.place, Place::Stream(on, _) if on == link)
        };
        let ids: Vec<u64> = self.calls.iter().filter(|(_, live)| theirs(live)).map(|(id, _)| *id).collect();
        self.take_off(&ids);
        self.leaderless.extend(ids);
    }

    fn take_off(&mut self, ids: &[u64]) {
        for id in ids {
            if let Some(live) = self.calls.get_mut(id) {
                live.lose();
            }
        }
    }

    /// The stream to a node ended.
    pub(super) fn lost(&mut self, link: LinkId, why: String, too_large: Option<Box<v1::Error>>) {
        let Some(id) = self.node_of(link) else { return };
        if let Some(error) = too_large {
            self.drop_largest(link, error);
        }
        self.nodes[id].news = why;
        self.nodes[id].answers = false;
        let lost = self.groups.dethrone(id);
        self.drop_link(id);
        if !self.calls.is_empty() {
            lost.into_iter().for_each(|group| self.seek(group, Instant::now()));
        }
    }

    /// Ends the largest request of a stream with the error for it: sent again, it would end the next stream too.
    fn drop_largest(&mut self, link: LinkId, error: Box<v1::Error>) {
        let on_it = |live: &Live| matches!(live.place, Place::Stream(on, _) if on == link);
        let sizes = self.calls.iter().filter(|(_, live)| on_it(live)).map(|(id, live)| (live.bytes(), *id));
        if let Some((_, id)) = sizes.max() {
            self.finish(id, Err(error));
        }
    }

    /// A node does not lead a group, whatever we believed; it may have said who does.
    pub(super) fn dethrone(&mut self, id: NodeId, group: u64) {
        let leader = &mut self.groups.get(group).leader;
        if leader.as_ref().is_some_and(|leader| leader.node == id) {
            *leader = None;
        }
    }

    /// Ends a stream; what was on it is sent again, elsewhere.
    fn drop_link(&mut self, id: NodeId) {
        let Some(link) = self.nodes[id].link.take() else { return };
        let on_it = |place| matches!(place, Place::Stream(on, _) if on == link.id);
        let ids: Vec<u64> = self.calls.iter().filter(|(_, live)| on_it(live.place)).map(|(id, _)| *id).collect();
        self.take_off(&ids);
        for id in &ids {
            if let Some(group) = self.calls.get(id).map(|live| live.owner.shard) {
                self.seek(group, Instant::now());
            }
        }
        self.leaderless.extend(ids);
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
            self.nodes[id].probe(id, self.map.version, &self.sender);
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
            // They have the same deadline, and know better what became of them.
            Place::Parts => return,
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
