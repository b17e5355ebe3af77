//! Errors of `kvarts.v1` as gRPC statuses, and back.
use bytes::Bytes;
use kvarts_wire::v1;
use prost::Message;
use tonic::metadata::{BinaryMetadataValue, MetadataMap};
use tonic::{Code, Status};

/// Metadata of a status that holds the whole error.
pub const ERROR_KEY: &str = "kvarts-error-bin";
/// What goes into headers: they are limited on both sides.
const TEXT_BYTES_MAX: usize = 2 << 10;

/// Returns the status for an error.
pub fn status_of(mut error: v1::Error) -> Status {
    shorten(&mut error.message);
    shorten(&mut error.hint);
    let code = code_of(&error.kind);
    let text = match error.hint.as_str() {
        "" => error.message.clone(),
        hint => format!("{}; {hint}", error.message),
    };
    let mut metadata = MetadataMap::new();
    metadata.insert_bin(ERROR_KEY, BinaryMetadataValue::from_bytes(&error.encode_to_vec()));
    Status::with_metadata(code, text, metadata)
}

/// Returns the error that a status of ours holds.
pub fn error_of(status: &Status) -> Option<v1::Error> {
    let held: Bytes = status.metadata().get_bin(ERROR_KEY)?.to_bytes().ok()?;
    v1::Error::decode(held).ok()
}

fn code_of(kind: &str) -> Code {
    match kind {
        "InvalidArgument" | "WrongType" | "CodecError" => Code::InvalidArgument,
        "LimitExceeded" | "StorageFull" => Code::ResourceExhausted,
        "KeyNotFound" | "NotFound" | "StoreNotFound" => Code::NotFound,
        "NotLeader" | "WrongShard" | "ConditionFailed" | "FenceRejected" | "CodecMismatch" | "SessionExpired"
        | "ReadOnlyError" => Code::FailedPrecondition,
        "ConflictError" => Code::Aborted,
        "Compacted" => Code::OutOfRange,
        "Unavailable" | "ClosedError" => Code::Unavailable,
        "DeadlineExceeded" => Code::DeadlineExceeded,
        "AuthError" => Code::PermissionDenied,
        "CorruptionError" => Code::DataLoss,
        "StorageError" | "StoreFailed" => Code::Internal,
        // CommitUnknown among them.
        _ => Code::Unknown,
    }
}

fn shorten(text: &mut String) {
    if text.len() > TEXT_BYTES_MAX {
        let cut = (0..=TEXT_BYTES_MAX).rev().find(|&at| text.is_char_boundary(at));
        text.truncate(cut.unwrap_or(0));
        text.push('…');
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::intake::refusal;

    #[test]
    fn an_error_comes_back_whole() {
        let error = refusal::not_leader(1, 2, "host:1");
        let status = status_of(error.clone());
        assert_eq!((status.code(), error_of(&status)), (Code::FailedPrecondition, Some(error)));
        assert_eq!(status.message(), "node 1 does not lead, node 2 does; ask the leader");
    }

    #[test]
    fn a_long_message_is_cut_between_characters() {
        let mut error = refusal::unavailable("ü".repeat(TEXT_BYTES_MAX));
        error.message.insert(0, 'x');
        let held = error_of(&status_of(error)).expect("it holds an error").message;
        assert!(held.len() <= TEXT_BYTES_MAX + '…'.len_utf8() && held.ends_with("ü…"));
    }

    #[test]
    fn a_status_of_others_holds_no_error() {
        assert_eq!(error_of(&Status::internal("no")), None);
    }
}
