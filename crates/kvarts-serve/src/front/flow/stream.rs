//! The stream itself, as gRPC polls it.
use super::super::desk::{Desk, now};
use super::super::limits;
use super::super::status::status_of;
use super::answers::{Answers, Ticket};
use crate::intake::refusal;
use futures_util::Stream;
use futures_util::future::BoxFuture;
use kvarts_wire::v1;
use kvarts_wire::v1::stream_request::Kind as Ask;
use kvarts_wire::v1::stream_response::Kind as Say;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use std::vec;
use tonic::{Code, Status, Streaming};

/// What a page of a scan weighs beside a get or a write.
const SCAN_WEIGHT: usize = 32;
/// Keys of a get that weigh as much as one more get.
const KEYS_PER_WEIGHT: usize = 16;

/// Requests in, answers out.
pub struct Flow {
    desk: Arc<Desk>,
    incoming: Streaming<v1::StreamRequests>,
    /// Requests of the message read last that were not taken in yet.
    waiting: vec::IntoIter<v1::StreamRequest>,
    answers: Arc<Answers>,
    /// Weight of the requests taken in whose answers were not sent.
    weight: usize,
    /// No more comes in; what is under way is answered still.
    ended: bool,
    /// How it ends then; the end is clean without.
    failure: Option<Status>,
    stopped: BoxFuture<'static, ()>,
}

impl Flow {
    /// A stream of which nothing was read yet.
    pub fn new(desk: Arc<Desk>, incoming: Streaming<v1::StreamRequests>) -> Self {
        let mut stop = desk.stop.clone();
        let stopped = Box::pin(async move { drop(stop.wait_for(|stop| *stop).await) });
        let answers = Arc::new(Answers::new(desk.options.message_bytes_max));
        let waiting = Vec::new().into_iter();
        Self { desk, incoming, waiting, answers, weight: 0, ended: false, failure: None, stopped }
    }

    /// Takes in requests until there is an answer, or as many are under way as may be, or none is there.
    fn take_in(&mut self, context: &mut Context<'_>) {
        let mut bytes = self.answers.unpark();
        while self.weight < self.desk.options.stream_weight_max && bytes < self.desk.options.stream_bytes_max {
            if self.waiting.len() == 0 && !self.read(context) {
                return;
            }
            let now = now();
            while self.weight < self.desk.options.stream_weight_max
                && let Some(request) = self.waiting.next()
            {
                self.hand_in(request, now);
            }
            bytes = self.answers.unpark();
            if bytes > 0 {
                return;
            }
        }
    }

    /// Reads the next message. False where there is none now, or the last one was read.
    fn read(&mut self, context: &mut Context<'_>) -> bool {
        if self.ended {
            return false;
        }
        match Pin::new(&mut self.incoming).poll_next(context) {
            Poll::Pending => return false,
            Poll::Ready(Some(Ok(batch))) => {
                self.waiting = batch.requests.into_iter();
                return true;
            }
            Poll::Ready(Some(Err(status))) if status.code() == Code::OutOfRange => {
                self.failure = Some(status_of(limits::message_too_large(&self.desk.options)));
            }
            Poll::Ready(Some(Err(status))) => self.failure = Some(status),
            Poll::Ready(None) => {}
        }
        self.ended = true;
        false
    }

    /// Hands a request to the intake.
    fn hand_in(&mut self, request: v1::StreamRequest, now: Instant) {
        let options = &self.desk.options;
        let timeout = match request.timeout_ms {
            0 => options.request_timeout,
            asked => Duration::from_millis(asked.into()),
        };
        let (deadline, intake) = (now + timeout, &self.desk.intake);
        let weight = weight_of(request.kind.as_ref());
        self.weight += weight;
        let ticket = Ticket::new(&self.answers, request.id, weight, matches!(request.kind, Some(Ask::Write(_))));
        match request.kind {
            Some(Ask::Get(get)) => match limits::check_get(&get) {
                Ok(()) => intake.get(get, deadline, ticket.reply(Say::Get)),
                Err(error) => ticket.give(Say::Error(error)),
            },
            Some(Ask::Write(write)) => match limits::check_write(&write, options) {
                Ok(()) => intake.write(write, deadline, ticket.reply(Say::Write)),
                Err(error) => ticket.give(Say::Error(error)),
            },
            Some(Ask::Scan(mut scan)) => match limits::check_scan(&mut scan) {
                Ok(()) => intake.scan(scan, deadline, ticket.reply(Say::Scan)),
                Err(error) => ticket.give(Say::Error(error)),
            },
            None => ticket.give(Say::Error(refusal::invalid("a request of no kind", "set get, write or scan"))),
        }
    }
}

impl Stream for Flow {
    type Item = Result<v1::StreamResponses, Status>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        loop {
            this.take_in(context);
            if let Some(batch) = this.answers.take() {
                this.weight -= batch.weight;
                return Poll::Ready(Some(Ok(v1::StreamResponses { responses: batch.responses })));
            }
            if this.ended && this.weight == 0 && this.waiting.len() == 0 {
                return Poll::Ready(this.failure.take().map(Err));
            }
            if !this.ended && this.stopped.as_mut().poll(context).is_ready() {
                // What is under way is answered; the client asks another node for the rest.
                this.ended = true;
                this.waiting = Vec::new().into_iter();
                this.failure = Some(status_of(refusal::unavailable("the node stops")));
                continue;
            }
            if this.answers.park(context.waker()) {
                return Poll::Pending;
            }
        }
    }
}

impl Drop for Flow {
    fn drop(&mut self) {
        self.answers.close();
    }
}

fn weight_of(kind: Option<&Ask>) -> usize {
    match kind {
        Some(Ask::Get(get)) => 1 + get.keys.len() / KEYS_PER_WEIGHT,
        Some(Ask::Scan(_)) => SCAN_WEIGHT,
        Some(Ask::Write(_)) | None => 1,
    }
}
