//! What a node shows another one at the door: its cluster, itself, and whom it takes the other for.
use std::fmt::Write;
use tonic::metadata::{AsciiMetadataValue, MetadataMap};
use tonic::{Code, Request, Status};

const CLUSTER: &str = "kvarts-cluster";
const FROM: &str = "kvarts-from";
const TO: &str = "kvarts-to";
const FEATURES: &str = "kvarts-features";
const REMOVED: &str = "kvarts-removed";

/// Puts the pass on a request.
pub fn show<Q>(request: &mut Request<Q>, cluster: &[u8], from: u64, to: u64) {
    let metadata = request.metadata_mut();
    for (key, text) in [(CLUSTER, hex(cluster)), (FROM, from.to_string()), (TO, to.to_string())] {
        metadata.insert(key, AsciiMetadataValue::try_from(text).expect("digits are ASCII"));
    }
}

/// Says what the sender knows, in Python's words.
pub fn tell_features<Q>(request: &mut Request<Q>, features: &str) {
    if let Ok(text) = AsciiMetadataValue::try_from(features) {
        request.metadata_mut().insert(FEATURES, text);
    }
}

/// Returns what a sender said that it knows; nothing where it is older than that word.
pub fn features(metadata: &MetadataMap) -> String {
    metadata.get(FEATURES).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned()
}

/// Returns who asks. Errors: `PERMISSION_DENIED` for a node of another cluster, one that means another node, or no node.
pub fn check(metadata: &MetadataMap, cluster: &[u8], own: u64) -> Result<u64, Status> {
    let text = |key| metadata.get(key).and_then(|value| value.to_str().ok());
    let number = |key| text(key).and_then(|text| text.parse::<u64>().ok());
    let (Some(theirs), Some(from), Some(to)) = (text(CLUSTER), number(FROM), number(TO)) else {
        return Err(denied("this door is for nodes of the cluster, which show who they are"));
    };
    if theirs != hex(cluster) {
        return Err(denied(&format!("node {own} belongs to another cluster than node {from}; check its address")));
    }
    if to != own {
        return Err(denied(&format!("node {own} listens here, not node {to}; check its address")));
    }
    if from == own || from == 0 {
        return Err(denied(&format!("node {from} cannot be a peer of node {own}: is a node's number used twice?")));
    }
    Ok(from)
}

/// The refusal of a node that was removed.
pub fn removed(own: u64, from: u64) -> Status {
    let mut metadata = MetadataMap::new();
    metadata.insert(REMOVED, AsciiMetadataValue::from_static("1"));
    let why = format!("node {from} was removed from the cluster, says node {own}");
    Status::with_metadata(Code::PermissionDenied, why, metadata)
}

/// Tells whether a refusal is that one.
pub fn says_removed(status: &Status) -> bool {
    status.code() == Code::PermissionDenied && status.metadata().contains_key(REMOVED)
}

fn denied(why: &str) -> Status {
    Status::permission_denied(why)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
