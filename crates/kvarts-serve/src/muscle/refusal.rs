//! The errors that a muscle answers with; names, codes and flags are those of `kvarts.base.error_table`.
use kvarts_wire::v1;

fn error(code: &str, kind: &str, message: impl Into<String>, hint: &str) -> v1::Error {
    v1::Error {
        code: code.to_owned(),
        kind: kind.to_owned(),
        message: message.into(),
        hint: hint.to_owned(),
        ..v1::Error::default()
    }
}

/// This node does not lead; `leader_id` 0: nobody is known to. The request had no effect.
pub fn not_leader(node: u64, leader_id: u64, leader_address: &str) -> v1::Error {
    let (message, hint) = match leader_id {
        0 => (format!("node {node} does not lead, and knows of no leader"), "try again in a moment"),
        other => (format!("node {node} does not lead, node {other} does"), "ask the leader"),
    };
    let mut refusal = error("KV-3002", "NotLeader", message, hint);
    (refusal.retryable, refusal.leader_id) = (true, leader_id);
    leader_address.clone_into(&mut refusal.leader_address);
    refusal
}

/// Too much waits here, or the node is on its way out. The request had no effect.
pub fn unavailable(message: impl Into<String>) -> v1::Error {
    let mut refusal = error("KV-3001", "Unavailable", message, "try again in a moment");
    refusal.retryable = true;
    refusal
}

/// A read waited too long.
pub fn deadline_exceeded() -> v1::Error {
    let mut refusal = error("KV-3003", "DeadlineExceeded", "not answered in time", "give it a longer timeout");
    refusal.retryable = true;
    refusal
}

/// A write waited too long, or the node no longer learns what became of it.
pub fn commit_unknown(message: impl Into<String>) -> v1::Error {
    let hint = "read before writing again, or write with a session";
    let mut refusal = error("KV-3004", "CommitUnknown", message, hint);
    refusal.maybe_applied = true;
    refusal
}

/// An argument that cannot be.
pub fn invalid(message: impl Into<String>, hint: &str) -> v1::Error {
    error("KV-1001", "InvalidArgument", message, hint)
}

/// Too large.
pub fn over_limit(message: impl Into<String>, hint: &str) -> v1::Error {
    error("KV-1004", "LimitExceeded", message, hint)
}

/// What a state machine says to a request.
pub fn of_machine(_error: &crate::machine::Error) -> v1::Error {
    unavailable("the state machine")
}
