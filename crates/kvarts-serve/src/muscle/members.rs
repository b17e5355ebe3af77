//! Who is in the cluster, for those who ask: addresses as Python said, membership and keyspaces as stored.
use kvarts_engine::sync::RwLock;
use kvarts_wire::v1;
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};

/// Keyspaces among a group's system rows: see `kvarts.statemachine.configuration`.
pub const KEYSPACES: &[u8] = b"config/keyspace/";

/// Addresses by node.
#[derive(Default)]
pub struct Members {
    addresses: RwLock<BTreeMap<u64, String>>,
    removed: RwLock<BTreeSet<u64>>,
}

/// As `kvarts.node.codec` writes it.
#[derive(Default, Deserialize)]
struct Membership {
    #[serde(default)]
    voters: Vec<u64>,
    #[serde(default)]
    outgoing: Vec<u64>,
    #[serde(default)]
    learners: Vec<u64>,
}

/// As `kvarts.statemachine.configuration` writes it.
#[derive(Deserialize)]
struct Keyspace {
    id: u32,
    key: String,
    value: String,
}

impl Members {
    /// Python says where nodes listen.
    pub fn set(&self, addresses: BTreeMap<u64, String>) {
        *self.addresses.write() = addresses;
    }

    /// Python says which nodes were removed.
    pub fn set_removed(&self, removed: BTreeSet<u64>) {
        *self.removed.write() = removed;
    }

    /// Whether a node was removed.
    pub fn is_removed(&self, node: u64) -> bool {
        self.removed.read().contains(&node)
    }

    /// Where nodes listen.
    pub fn addresses(&self) -> BTreeMap<u64, String> {
        self.addresses.read().clone()
    }

    /// Where a node listens; empty where that is not known.
    pub fn address(&self, node: u64) -> String {
        self.addresses.read().get(&node).cloned().unwrap_or_default()
    }

    /// All nodes of a membership, and those beside it that have an address.
    pub fn nodes(&self, membership: &[u8]) -> Vec<v1::Node> {
        let Membership { voters, outgoing, learners } = serde_json::from_slice(membership).unwrap_or_default();
        let mut nodes = self.addresses.read().clone();
        for id in voters.iter().chain(&outgoing).chain(&learners) {
            nodes.entry(*id).or_default();
        }
        let voter = |id: &u64| voters.contains(id) || outgoing.contains(id);
        let described = |(id, address)| v1::Node { id, address, voter: voter(&id), learner: learners.contains(&id) };
        nodes.into_iter().map(described).collect()
    }
}

/// The keyspace that a system row stands for; nothing where it is none.
pub fn keyspace_of(key: &[u8], row: &[u8]) -> Option<v1::Keyspace> {
    let name = String::from_utf8(key.strip_prefix(KEYSPACES)?.to_vec()).ok()?;
    let Keyspace { id, key: key_codec, value: value_codec } = serde_json::from_slice(row).ok()?;
    Some(v1::Keyspace { id, name, key_codec, value_codec })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_are_those_of_the_membership_and_those_with_an_address() {
        let members = Members::default();
        members.set(BTreeMap::from([(1, "a:1".to_owned()), (9, "z:9".to_owned())]));
        let text = br#"{"auto_leave":false,"learners":[3],"learners_next":[],"outgoing":[2],"voters":[1]}"#;
        let nodes: Vec<_> = members.nodes(text).into_iter().map(|n| (n.id, n.address, n.voter, n.learner)).collect();
        let expected = [(1, "a:1", true, false), (2, "", true, false), (3, "", false, true), (9, "z:9", false, false)];
        assert_eq!(nodes, expected.map(|(id, address, voter, learner)| (id, address.to_owned(), voter, learner)));
    }

    #[test]
    fn a_row_of_the_configuration_is_a_keyspace() {
        let row = br#"{"id":7,"key":"str","options":{},"value":"json"}"#;
        let found = keyspace_of(b"config/keyspace/users", row).unwrap();
        assert_eq!((found.id, &*found.name, &*found.key_codec, &*found.value_codec), (7, "users", "str", "json"));
        assert!(keyspace_of(b"config/node/1", row).is_none());
    }
}
