//! The errors that connections and muscle answer with; names, codes and flags are those of `kvarts.base.error_table`.
use kvarts_wire::v1;

/// Returns an error without flags.
pub fn error(code: &str, kind: &str, message: impl Into<String>, hint: &str) -> v1::Error {
    v1::Error {
        code: code.to_owned(),
        kind: kind.to_owned(),
        message: message.into(),
        hint: hint.to_owned(),
        ..v1::Error::default()
    }
}

/// An argument that cannot be.
pub fn invalid(message: impl Into<String>, hint: &str) -> v1::Error {
    error("KV-1001", "InvalidArgument", message, hint)
}

/// Too large, or too small.
pub fn over_limit(message: impl Into<String>, hint: &str) -> v1::Error {
    error("KV-1004", "LimitExceeded", message, hint)
}

/// Too much waits here, or the node is on its way out. The request had no effect.
pub fn unavailable(message: impl Into<String>) -> v1::Error {
    v1::Error { retryable: true, ..error("KV-3001", "Unavailable", message, "try again in a moment") }
}

/// This node does not lead; `leader_id` 0: nobody is known to. The request had no effect.
pub fn not_leader(node: u64, leader_id: u64, leader_address: &str) -> v1::Error {
    let (message, hint) = match leader_id {
        0 => (format!("node {node} does not lead, and knows of no leader"), "try again in a moment"),
        other => (format!("node {node} does not lead, node {other} does"), "ask the leader"),
    };
    let leader_address = leader_address.to_owned();
    v1::Error { retryable: true, leader_id, leader_address, ..error("KV-3002", "NotLeader", message, hint) }
}

/// The shard that was asked does not own what it was asked for, as far as is known here. The request had no effect.
pub fn wrong_shard(message: impl Into<String>, owner: Option<v1::Shard>) -> v1::Error {
    let owners = owner.into_iter().collect();
    v1::Error { retryable: true, owners, ..error("KV-3008", "WrongShard", message, "ask with the newer shard map") }
}

/// The shard's log came to the write behind a split, and no longer owned what it touches. It did not take place, and no copy of it
/// will.
pub fn split_since() -> v1::Error {
    v1::Error { settled: true, ..wrong_shard("the shard was split: another one owns it by now", None) }
}

/// This node keeps nothing of what was asked for; `other` does. The request had no effect.
pub fn no_replica(node: u64, group: u64, other: u64, address: &str) -> v1::Error {
    let message = format!("node {node} keeps no replica of shard {group}");
    let (leader_id, leader_address) = (other, address.to_owned());
    v1::Error { retryable: true, leader_id, leader_address, ..error("KV-3002", "NotLeader", message, "ask another") }
}

/// This node's replica was found to differ from the others, and serves nobody. The request had no effect.
pub fn fenced(node: u64, group: u64, other: u64, address: &str) -> v1::Error {
    let message = format!("the replica of shard {group} on node {node} is fenced: it differs from the others");
    v1::Error { message, ..no_replica(node, group, other, address) }
}

/// A read waited too long.
pub fn deadline_exceeded() -> v1::Error {
    v1::Error {
        retryable: true,
        ..error("KV-3003", "DeadlineExceeded", "not answered in time", "give it a longer timeout")
    }
}

/// A write waited too long, or nobody here learns what became of it.
pub fn commit_unknown(message: impl Into<String>) -> v1::Error {
    let hint = "read before writing again, or write with a session";
    v1::Error { maybe_applied: true, ..error("KV-3004", "CommitUnknown", message, hint) }
}
