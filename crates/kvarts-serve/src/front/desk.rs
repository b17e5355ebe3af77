//! What all services of the front door share.
use super::forward::Leaders;
use super::options::FrontOptions;
use crate::intake::Intake;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tonic::metadata::MetadataMap;

/// Time by which we answer earlier than the client's deadline, which ends the call on both sides without a word of ours.
const MARGIN: Duration = Duration::from_millis(20);
/// Longest time a request may take: later deadlines are brought forward.
const TIMEOUT_MAX: Duration = Duration::from_secs(24 * 3600);

/// Intake, limits, ways to other nodes, and the news that the node stops.
pub struct Desk {
    pub intake: Arc<dyn Intake>,
    pub options: FrontOptions,
    pub leaders: Leaders,
    pub stop: watch::Receiver<bool>,
}

impl Desk {
    /// When a unary call must be answered.
    pub fn deadline(&self, metadata: &MetadataMap) -> Instant {
        let asked = metadata.get("grpc-timeout").and_then(|value| parse_timeout(value.to_str().ok()?));
        let timeout = match asked {
            Some(timeout) => timeout.saturating_sub(MARGIN.min(timeout / 8)),
            None => self.options.request_timeout,
        };
        now() + timeout.min(TIMEOUT_MAX)
    }
}

/// The runtime's clock: what its timers are compared with.
pub fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// Reads a header such as "150m". Source: gRPC over HTTP/2, Timeout.
fn parse_timeout(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let count: u64 = digits.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_secs(count * 3600),
        "M" => Duration::from_secs(count * 60),
        "S" => Duration::from_secs(count),
        "m" => Duration::from_millis(count),
        "u" => Duration::from_micros(count),
        "n" => Duration::from_nanos(count),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_are_read_as_grpc_writes_them() {
        let table = [
            ("1H", Some(Duration::from_secs(3600))),
            ("2M", Some(Duration::from_secs(120))),
            ("3S", Some(Duration::from_secs(3))),
            ("150m", Some(Duration::from_millis(150))),
            ("99999999u", Some(Duration::from_micros(99_999_999))),
            ("5n", Some(Duration::from_nanos(5))),
            ("", None),
            ("m", None),
            ("5", None),
            ("+5m", None),
            ("123456789m", None),
            ("5ü", None),
        ];
        for (text, expected) in table {
            assert_eq!(parse_timeout(text), expected, "{text}");
        }
    }
}
