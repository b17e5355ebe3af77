//! What a request may ask for. Checked before it reaches the log: what stands there must be applicable everywhere.
use super::options::FrontOptions;
use super::refusal;
use crate::machine::check_command;
use bytes::Bytes;
use kvarts_wire::v1;
use kvarts_wire::v1::command::Special;
use kvarts_wire::v1::condition::Kind as Asked;
use kvarts_wire::v1::operation::Kind as Step;

/// Longest key, in bytes.
pub const KEY_BYTES_MAX: usize = 64 << 10;
/// Longest bound: a key with a byte behind it.
const BOUND_BYTES_MAX: usize = KEY_BYTES_MAX + 1;
/// Keys of one get.
pub const GET_KEYS_MAX: usize = 1 << 18;
/// Rows and bytes of a page, whatever the client asks for.
const PAGE_ROWS_MAX: u32 = 1 << 16;
const PAGE_BYTES_MAX: u32 = 1 << 20;

/// Checks a get.
pub fn check_get(request: &v1::GetRequest) -> Result<(), v1::Error> {
    if request.keys.len() > GET_KEYS_MAX {
        let message = format!("{} keys in one get are over {GET_KEYS_MAX}", request.keys.len());
        return Err(refusal::over_limit(message, "ask in parts"));
    }
    request.keys.iter().try_for_each(check_key)
}

/// Checks a write.
pub fn check_write(request: &v1::WriteRequest, options: &FrontOptions) -> Result<(), v1::Error> {
    let Some(command) = &request.command else {
        return Err(refusal::invalid("a write without a command", "set command"));
    };
    if let Some(Special::DropSessions(_) | Special::MoveLock(_)) = &command.special {
        return Err(refusal::invalid("a command that only nodes give", "set operations or open_session"));
    }
    // By the very words of the state machine: a command that it cannot read ends every node that reaches it in the log.
    check_command(command).map_err(|refused| refusal::of_machine(&refused))?;
    for operation in &command.operations {
        match &operation.kind {
            Some(Step::Put(put)) => {
                check_value(&put.value, options)?;
                check_condition(put.condition.as_ref(), options)?;
            }
            Some(Step::Delete(delete)) => check_condition(delete.condition.as_ref(), options)?,
            Some(Step::Incr(_) | Step::DeleteRange(_)) | None => {}
        }
    }
    Ok(())
}

/// Checks a scan, and keeps its pages small enough to be answered whole.
pub fn check_scan(request: &mut v1::ScanRequest) -> Result<(), v1::Error> {
    request.page_rows = request.page_rows.min(PAGE_ROWS_MAX);
    request.page_bytes = request.page_bytes.min(PAGE_BYTES_MAX);
    check_bounds(&request.start, &request.stop)
}

/// Checks the size of an answer.
pub fn check_answer(bytes: usize, options: &FrontOptions) -> Result<(), v1::Error> {
    if bytes <= options.message_bytes_max {
        return Ok(());
    }
    let message = format!("an answer of {bytes} bytes is over {} bytes", options.message_bytes_max);
    Err(refusal::over_limit(message, "ask for fewer keys at once"))
}

/// What a message is refused with that is too large to be read.
pub fn message_too_large(options: &FrontOptions) -> v1::Error {
    let message = format!("a message is over {} bytes", options.message_bytes_max);
    refusal::over_limit(message, "send it in parts, or store smaller values")
}

fn check_key(key: &Bytes) -> Result<(), v1::Error> {
    match key.len() {
        0 => Err(refusal::over_limit("an empty key", "a key has 1 byte to 64 KiB")),
        1..=KEY_BYTES_MAX => Ok(()),
        len => Err(refusal::over_limit(format!("a key of {len} bytes is over 64 KiB"), "shorten it, or hash it")),
    }
}

fn check_bounds(start: &Bytes, stop: &Bytes) -> Result<(), v1::Error> {
    match start.len().max(stop.len()) {
        0..=BOUND_BYTES_MAX => Ok(()),
        len => Err(refusal::over_limit(format!("a bound of {len} bytes is over 64 KiB"), "shorten it")),
    }
}

fn check_value(value: &Bytes, options: &FrontOptions) -> Result<(), v1::Error> {
    if value.len() <= options.value_bytes_max {
        return Ok(());
    }
    let message = format!("a value of {} bytes is over {} bytes", value.len(), options.value_bytes_max);
    Err(refusal::over_limit(message, "split it over several keys"))
}

fn check_condition(condition: Option<&v1::Condition>, options: &FrontOptions) -> Result<(), v1::Error> {
    match condition.and_then(|condition| condition.kind.as_ref()) {
        Some(Asked::Equals(value)) => check_value(value, options),
        _ => Ok(()),
    }
}
