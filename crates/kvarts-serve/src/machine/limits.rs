//! What is refused before it is logged: whatever passes here can be applied by every replica.
use super::{Error, Result};
use kvarts_engine::options::KEY_BYTES_MAX;
use kvarts_wire::v1;
use kvarts_wire::v1::command::Special;
use kvarts_wire::v1::condition::Kind as Ask;
use kvarts_wire::v1::operation::Kind as Step;
use prost::Message;

/// Longest value in bytes.
pub const VALUE_BYTES_MAX: usize = 16 << 20;
/// Largest command in bytes, encoded.
pub const BATCH_BYTES_MAX: usize = 32 << 20;

/// Checks a command that a client sent. Errors: `InvalidArgument`, `LimitExceeded`.
pub fn check_command(command: &v1::Command) -> Result<()> {
    if command.encoded_len() > BATCH_BYTES_MAX {
        let what = format!("a write of {} bytes; at most {BATCH_BYTES_MAX} go at once", command.encoded_len());
        return Err(Error::limit(what, "split it"));
    }
    if let Some(fence) = &command.fence {
        check_key(&fence.lock, "a lock's name")?;
    }
    if command.session != 0 && command.sequence == 0 {
        return Err(Error::invalid("a sequence of 0", "count the writes of a session from 1"));
    }
    match &command.special {
        Some(_) if !command.operations.is_empty() => {
            return Err(Error::invalid("a special command with operations", "send them apart"));
        }
        Some(Special::MoveLock(moved)) => return check_key(&moved.lock, "a lock's name"),
        Some(Special::OpenSession(_) | Special::DropSessions(_)) => return Ok(()),
        None if command.operations.is_empty() => {
            return Err(Error::invalid("a command without operations", "send at least one"));
        }
        None => {}
    }
    command.operations.iter().try_for_each(check_operation)
}

fn check_operation(operation: &v1::Operation) -> Result<()> {
    match &operation.kind {
        Some(Step::Put(put)) => {
            if put.value.len() > VALUE_BYTES_MAX {
                let what = format!("a value takes up to {VALUE_BYTES_MAX} bytes, this one has {}", put.value.len());
                return Err(Error::limit(what, "split the value over several keys"));
            }
            if put.keep_ttl && put.ttl_ms != 0 {
                return Err(Error::invalid("a ttl, and that of the value before", "one of the two"));
            }
            check_key(&put.key, "a key").and_then(|()| check_condition(put.condition.as_ref()))
        }
        Some(Step::Delete(delete)) => {
            check_key(&delete.key, "a key").and_then(|()| check_condition(delete.condition.as_ref()))
        }
        Some(Step::DeleteRange(range)) => check_bound(&range.start).and_then(|()| check_bound(&range.stop)),
        Some(Step::Incr(incr)) => {
            if v1::incr::Encoding::try_from(incr.encoding).is_err() {
                return Err(Error::invalid(format!("an encoding {}", incr.encoding), "DECIMAL or U64"));
            }
            check_key(&incr.key, "a key")
        }
        None => Err(Error::invalid("an operation of no kind that is known here", "upgrade the nodes first")),
    }
}

fn check_condition(condition: Option<&v1::Condition>) -> Result<()> {
    match condition.and_then(|condition| condition.kind.as_ref()) {
        Some(Ask::Absent(false) | Ask::Present(false)) => {
            Err(Error::invalid("a condition set to false", "leave the condition out, or ask for the contrary"))
        }
        _ => Ok(()),
    }
}

/// Checks a read. Errors: `InvalidArgument`, `LimitExceeded`.
pub fn check_get(request: &v1::GetRequest) -> Result<()> {
    request.keys.iter().try_for_each(|key| check_key(key, "a key"))
}

/// Checks a scan. Errors: `LimitExceeded`.
pub fn check_scan(request: &v1::ScanRequest) -> Result<()> {
    check_bound(&request.start).and_then(|()| check_bound(&request.stop))
}

fn check_key(key: &[u8], what: &str) -> Result<()> {
    if key.is_empty() || key.len() > KEY_BYTES_MAX {
        let what = format!("{what} takes 1 to {KEY_BYTES_MAX} bytes, this one has {}", key.len());
        return Err(Error::limit(what, "shorten the key, or keep the long part in the value"));
    }
    Ok(())
}

/// A bound may be one byte longer than a key: the key right after the longest.
fn check_bound(bound: &[u8]) -> Result<()> {
    if bound.len() > KEY_BYTES_MAX + 1 {
        return Err(Error::limit(format!("a bound of {} bytes", bound.len()), "keys take up to 64 KiB"));
    }
    Ok(())
}
