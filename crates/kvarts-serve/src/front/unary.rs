//! One request, one answer: asked here, and sent on where another node leads.
use super::desk::{Desk, now};
use super::forward::{relayed, sent_on};
use super::limits;
use super::status::status_of;
use crate::intake::{Intake, Reply};
use kvarts_wire::v1;
use prost::Message;
use std::future::Future;
use std::time::Instant;
use tokio::sync::oneshot;
use tonic::transport::Channel;
use tonic::{Request, Response, Status};

/// A request that the intake answers, here or on the node that leads.
pub trait Ask: Clone + Send + Sync + Sized + 'static {
    /// What it is answered with.
    type Answer: Message + 'static;

    /// Tells whether it may be asked.
    fn check(&self, desk: &Desk) -> Result<(), v1::Error>;
    /// Asks it.
    fn ask(self, intake: &dyn Intake, deadline: Instant, reply: Reply<Self::Answer>);
    /// The error for an answer that does not come in time.
    fn late() -> v1::Error;
    /// Asks another node.
    fn send(
        request: Request<Self>,
        channel: Channel,
        bytes_max: usize,
    ) -> impl Future<Output = Result<Response<Self::Answer>, Status>> + Send;
}

impl Desk {
    /// Answers a request. A caller that goes away drops this; what the intake then says is dropped with it.
    pub async fn answer<Q: Ask>(&self, request: Request<Q>) -> Result<Response<Q::Answer>, Status> {
        let deadline = self.deadline(request.metadata());
        let (metadata, _, message) = request.into_parts();
        message.check(self).map_err(status_of)?;
        let asked = message.clone();
        let error = match wait(deadline, Q::late, |reply| asked.ask(&*self.intake, deadline, reply)).await {
            Ok(answer) => {
                limits::check_answer(answer.encoded_len(), &self.options).map_err(status_of)?;
                return Ok(Response::new(answer));
            }
            Err(error) => error,
        };
        let Some((channel, hop)) = self.leaders.way(&error, &metadata) else { return Err(status_of(error)) };
        let request = sent_on(message, hop, deadline, now());
        let sent = Q::send(request, channel, 2 * self.options.message_bytes_max);
        match tokio::time::timeout_at(deadline.into(), sent).await {
            Ok(Ok(answer)) => Ok(Response::new(answer.into_inner())),
            Ok(Err(status)) => Err(relayed(&status)),
            Err(_) => Err(status_of(Q::late())),
        }
    }
}

/// Asks, and waits for the answer until the deadline. `late` is the error where it does not come.
pub async fn wait<R: Send + 'static>(
    deadline: Instant,
    late: fn() -> v1::Error,
    ask: impl FnOnce(Reply<R>),
) -> Result<R, v1::Error> {
    let (sender, answer) = oneshot::channel();
    // Nobody waits any more where the caller went away.
    ask(Box::new(move |answer| drop(sender.send(answer))));
    match tokio::time::timeout_at(deadline.into(), answer).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(_)) | Err(_) => Err(late()),
    }
}
