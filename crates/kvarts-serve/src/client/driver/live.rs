//! A call while the driver has it, and what is sent for it.
use super::super::call::{Aim, Call, Completion, Request};
use super::gather::Gather;
use super::link::LinkId;
use kvarts_wire::v1;
use kvarts_wire::v1::stream_request::Kind;
use prost::Message;
use std::time::Duration;
use tokio::time::Instant;

/// First and longest rest of a call that a node was too busy for.
const REST_FIRST: Duration = Duration::from_millis(5);
const REST_MAX: Duration = Duration::from_millis(200);

/// A call that has no outcome yet.
pub struct Live {
    pub request: Request,
    pub aim: Aim,
    pub deadline: Instant,
    /// `None`: the driver's own, to open a session.
    pub done: Option<Completion>,
    pub place: Place,
    /// The shard it is for; otherwise the map says it.
    pub fixed: Option<v1::Owner>,
    /// The shard it was sent to last, or is waiting for.
    pub owner: v1::Owner,
    /// What came of its parts.
    pub gather: Option<Gather>,
    /// Group, session and sequence of a write, once it has them.
    pub once: Option<(u64, u64, u64)>,
    /// It was sent, and nobody knows what came of that.
    pub uncertain: bool,
    rest: Duration,
}

/// Where a call is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Waits for a leader, a session or its turn.
    Waiting,
    /// On a stream, since then.
    Stream(LinkId, Instant),
    /// Under way outside the streams.
    Outside,
    /// Waits for its parts.
    Parts,
}

impl Live {
    pub fn new(call: Call) -> Self {
        let Call { request, aim, deadline, done } = call;
        Self::with(request, aim, deadline, Some(done))
    }

    /// The driver's own call that opens a session of a group.
    pub fn opening(request: Request, group: u64, deadline: Instant) -> Self {
        let owner = v1::Owner { shard: group, epoch: 0 };
        Self { fixed: Some(owner), owner, ..Self::with(request, Aim::Leader, deadline, None) }
    }

    /// A part of another call.
    pub fn part(request: Request, aim: Aim, deadline: Instant, done: Completion) -> Self {
        Self::with(request, aim, deadline, Some(done))
    }

    fn with(request: Request, aim: Aim, deadline: Instant, done: Option<Completion>) -> Self {
        let place = Place::Waiting;
        let (fixed, owner, gather, once) = (None, v1::Owner::default(), None, None);
        let (uncertain, rest) = (false, REST_FIRST);
        Self { request, aim, deadline, done, place, fixed, owner, gather, once, uncertain, rest }
    }

    pub fn is_write(&self) -> bool {
        matches!(self.request, Request::Write { .. })
    }

    /// Tells whether it is a write that a node may have taken.
    pub fn may_be_done(&self) -> bool {
        self.is_write() && (self.uncertain || matches!(self.place, Place::Stream(..)))
    }

    /// The shard that a write was sent to, if nobody knows what came of that: its log does, wherever the keys are now.
    pub fn judge(&self) -> Option<v1::Owner> {
        (self.uncertain && self.once.is_some()).then_some(self.owner)
    }

    /// Returns what goes on the stream. `answered`: of the session.
    pub fn encode(&self, id: u64, answered: u64, now: Instant) -> Option<v1::StreamRequest> {
        let owner = Some(self.owner);
        let kind = match &self.request {
            Request::Get(request) | Request::GetAt(request, _) => {
                Kind::Get(v1::GetRequest { owner, ..request.clone() })
            }
            Request::Scan(request) => Kind::Scan(v1::ScanRequest { owner, ..request.clone() }),
            Request::Write { command, .. } => {
                let (_, session, sequence) = self.once.unwrap_or_default();
                let command = v1::Command { session, sequence, answered, ..command.clone() };
                let resent = self.judge().is_some();
                Kind::Write(v1::WriteRequest { command: Some(command), owner, resent })
            }
            Request::Page(..) | Request::Moment { .. } | Request::Shards { .. } | Request::Unary(_) => return None,
        };
        let left = self.deadline.saturating_duration_since(now).as_millis();
        Some(v1::StreamRequest { id, timeout_ms: u32::try_from(left.max(1)).unwrap_or(u32::MAX), kind: Some(kind) })
    }

    /// Bytes of the request, about.
    pub fn bytes(&self) -> usize {
        match &self.request {
            Request::Get(request) | Request::GetAt(request, _) => request.encoded_len(),
            Request::Write { command, .. } => command.encoded_len(),
            Request::Scan(request) => request.encoded_len(),
            Request::Page(..) | Request::Moment { .. } | Request::Shards { .. } | Request::Unary(_) => 0,
        }
    }

    /// Takes the call off a stream that gave no answer.
    pub fn lose(&mut self) {
        if let Place::Stream(..) = self.place {
            self.uncertain |= self.is_write();
        }
        self.place = Place::Waiting;
    }

    /// Returns how long the call rests before it is sent again: longer each time.
    pub fn rest(&mut self) -> Duration {
        let rest = self.rest;
        self.rest = (rest * 2).min(REST_MAX);
        rest
    }
}
