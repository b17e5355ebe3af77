//! What a client knows of each group: who leads it, and its session there.
use super::link::NodeId;
use super::session::Session;
use std::collections::{BTreeMap, VecDeque};
use tokio::time::Instant;

/// The group of the configuration, and of keyspaces without shards.
pub const META: u64 = 1;

/// The node that calls and writes of a group go to.
pub struct Leader {
    pub node: NodeId,
    pub term: u64,
    /// When it last said that it leads.
    pub assured: Instant,
}

/// One group.
#[derive(Default)]
pub struct Group {
    pub leader: Option<Leader>,
    pub session: Session,
    /// Writes that wait for the session, or for room in its window.
    pub sessionless: VecDeque<u64>,
}

/// All groups that were asked for so far.
#[derive(Default)]
pub struct Groups(BTreeMap<u64, Group>);

impl Groups {
    /// A group, made if it was never asked for.
    pub fn get(&mut self, group: u64) -> &mut Group {
        self.0.entry(group).or_default()
    }

    /// The node that leads a group.
    pub fn leader(&self, group: u64) -> Option<&Leader> {
        self.0.get(&group)?.leader.as_ref()
    }

    /// A node leads nothing any more. Returns what it led.
    pub fn dethrone(&mut self, node: NodeId) -> Vec<u64> {
        let led = |group: &Group| group.leader.as_ref().is_some_and(|leader| leader.node == node);
        let lost: Vec<u64> = self.0.iter().filter(|(_, group)| led(group)).map(|(id, _)| *id).collect();
        for id in &lost {
            self.get(*id).leader = None;
        }
        lost
    }
}
