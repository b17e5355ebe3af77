//! Errors that the client itself finds, and those that a gRPC status carries.
use bytes::Bytes;
use kvarts_wire::v1;
use prost::Message;
use tonic::{Code, Status};

/// Metadata of a status with the error in full.
const DETAILS: &str = "kvarts-error-bin";

fn failure(kind: &str, message: String, hint: &str, retryable: bool, maybe_applied: bool) -> Box<v1::Error> {
    let (kind, hint) = (kind.to_owned(), hint.to_owned());
    Box::new(v1::Error { kind, message, hint, retryable, maybe_applied, ..v1::Error::default() })
}

/// The client was closed before the call, or during it.
pub fn closed() -> Box<v1::Error> {
    failure("ClosedError", "the store is closed".to_owned(), "", false, false)
}

/// No node that leads was found in time. `tried`: what came of each.
pub fn unavailable(tried: &str) -> Box<v1::Error> {
    let hint = "check that a majority of the nodes runs and can be reached; a longer timeout= waits longer";
    failure("Unavailable", format!("no leader answered in time: {tried}"), hint, true, false)
}

/// What must lie in one shard touches several.
pub fn cross_shard(message: &str, ordered: bool) -> Box<v1::Error> {
    let hint = if ordered {
        "create the keyspace with shards=1, or do it shard by shard"
    } else {
        "create the keyspace with partition=, such as Until(b\"/\"), so that keys used together lie together"
    };
    failure("CrossShard", message.to_owned(), hint, false, false)
}

/// A scan has read of shards that are others by now.
pub fn shards_changed() -> Box<v1::Error> {
    failure("Unavailable", "the shards of the scan are others by now".to_owned(), "begin it again", true, false)
}

/// A node was asked and did not answer in time; nothing was written.
pub fn deadline(node: &str) -> Box<v1::Error> {
    failure("DeadlineExceeded", format!("no answer from {node} in time"), "a longer timeout= waits longer", true, false)
}

/// A write was sent and no answer came in time.
pub fn unknown(node: &str) -> Box<v1::Error> {
    let message =
        format!("the write was sent to {node} and no answer came in time: it may have taken place, or still will");
    failure("CommitUnknown", message, "read before you write again, or write what may be written twice", false, true)
}

/// The store was closed while a write was under way.
pub fn unanswered() -> Box<v1::Error> {
    let message =
        "the store was closed before the write was answered: it may have taken place, or still will".to_owned();
    failure("CommitUnknown", message, "wait for what you have written before you close the store", false, true)
}

/// The session of a write that was sent before is gone: nobody knows whether the write took place.
pub fn session_expired() -> Box<v1::Error> {
    let message = "the cluster has forgotten this client's session: the write may have taken place".to_owned();
    failure("SessionExpired", message, "read before you write again", false, true)
}

/// Takes the error out of a status, or makes one of its code.
pub fn from_status(status: &Status) -> Box<v1::Error> {
    if let Some(details) = status.metadata().get_bin(DETAILS).and_then(|value| value.to_bytes().ok())
        && let Ok(error) = v1::Error::decode(Bytes::from(details.to_vec()))
    {
        return Box::new(error);
    }
    let message = status.message().to_owned();
    match status.code() {
        Code::InvalidArgument | Code::NotFound => failure("InvalidArgument", message, "", false, false),
        Code::ResourceExhausted | Code::OutOfRange => failure("LimitExceeded", message, "", false, false),
        Code::DeadlineExceeded => failure("DeadlineExceeded", message, "", true, false),
        Code::Unimplemented => failure("InvalidArgument", message, "the nodes run an older kvarts", false, false),
        Code::Unavailable | Code::Cancelled | Code::Unknown | Code::FailedPrecondition | Code::Aborted => {
            failure("Unavailable", message, "", true, false)
        }
        code => failure("KvartsError", format!("{code:?}: {message}"), "", false, false),
    }
}
