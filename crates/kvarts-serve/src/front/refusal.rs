//! The errors that requests are answered with: those of the intake, and what a state machine says to a request.
pub use crate::intake::refusal::*;
use crate::machine::Error;
use kvarts_wire::v1;

/// What a state machine says to a request.
pub fn of_machine(refused: &Error) -> v1::Error {
    let kind = refused.kind();
    if kind == "Unavailable" {
        return v1::Error { hint: refused.hint().to_owned(), ..unavailable(refused.to_string()) };
    }
    if kind == "WrongShard" {
        return wrong_shard(refused.to_string(), None);
    }
    // As in `kvarts.base.error_table`.
    let code = match kind {
        "InvalidArgument" => "KV-1001",
        "LimitExceeded" => "KV-1004",
        "ClosedError" => return unavailable("the node stops"),
        "StorageFull" => "KV-2004",
        "CorruptionError" => "KV-2005",
        "NewerFormat" => "KV-2006",
        "StoreFailed" => "KV-2007",
        "StorageError" => "KV-2008",
        _ => "KV-1000",
    };
    v1::Error { retryable: refused.retryable(), ..error(code, kind, refused.to_string(), refused.hint()) }
}
