//! The services KV and Session.
use super::desk::Desk;
use super::flow::Flow;
use super::limits;
use super::pages::pages;
use super::unary::Ask;
use crate::intake::{Intake, Reply, refusal};
use futures_util::stream::BoxStream;
use kvarts_wire::v1;
use std::sync::Arc;
use std::time::Instant;
use tonic::transport::Channel;
use tonic::{Request, Response, Status, Streaming};

/// KV.
pub struct Kv(pub Arc<Desk>);

#[tonic::async_trait]
impl v1::kv_server::Kv for Kv {
    type ScanStream = BoxStream<'static, Result<v1::ScanResponse, Status>>;
    type StreamStream = Flow;

    async fn get(&self, request: Request<v1::GetRequest>) -> Result<Response<v1::GetResponse>, Status> {
        self.0.answer(request).await
    }

    async fn write(&self, request: Request<v1::WriteRequest>) -> Result<Response<v1::WriteResponse>, Status> {
        self.0.answer(request).await
    }

    async fn scan(&self, request: Request<v1::ScanRequest>) -> Result<Response<Self::ScanStream>, Status> {
        Ok(Response::new(Box::pin(pages(Arc::clone(&self.0), request)?)))
    }

    async fn stream(
        &self,
        request: Request<Streaming<v1::StreamRequests>>,
    ) -> Result<Response<Self::StreamStream>, Status> {
        Ok(Response::new(Flow::new(Arc::clone(&self.0), request.into_inner())))
    }
}

/// Session.
pub struct Session(pub Arc<Desk>);

#[tonic::async_trait]
impl v1::session_server::Session for Session {
    async fn open(
        &self,
        request: Request<v1::OpenSessionRequest>,
    ) -> Result<Response<v1::OpenSessionResponse>, Status> {
        self.0.answer(request).await
    }
}

impl Ask for v1::GetRequest {
    type Answer = v1::GetResponse;

    fn check(&self, _desk: &Desk) -> Result<(), v1::Error> {
        limits::check_get(self)
    }

    fn ask(self, intake: &dyn Intake, deadline: Instant, reply: Reply<Self::Answer>) {
        intake.get(self, deadline, reply);
    }

    fn late() -> v1::Error {
        refusal::deadline_exceeded()
    }

    async fn send(request: Request<Self>, way: Channel, bytes_max: usize) -> Result<Response<Self::Answer>, Status> {
        v1::kv_client::KvClient::new(way).max_decoding_message_size(bytes_max).get(request).await
    }
}

impl Ask for v1::WriteRequest {
    type Answer = v1::WriteResponse;

    fn check(&self, desk: &Desk) -> Result<(), v1::Error> {
        limits::check_write(self, &desk.options)
    }

    fn ask(self, intake: &dyn Intake, deadline: Instant, reply: Reply<Self::Answer>) {
        intake.write(self, deadline, reply);
    }

    fn late() -> v1::Error {
        refusal::commit_unknown("not answered in time")
    }

    async fn send(request: Request<Self>, way: Channel, bytes_max: usize) -> Result<Response<Self::Answer>, Status> {
        v1::kv_client::KvClient::new(way).max_decoding_message_size(bytes_max).write(request).await
    }
}

impl Ask for v1::OpenSessionRequest {
    type Answer = v1::OpenSessionResponse;

    fn check(&self, _desk: &Desk) -> Result<(), v1::Error> {
        Ok(())
    }

    fn ask(self, intake: &dyn Intake, deadline: Instant, reply: Reply<Self::Answer>) {
        let special = Some(v1::command::Special::OpenSession(v1::OpenSession {}));
        let command = Some(v1::Command { special, ..v1::Command::default() });
        let opened = |answer: v1::WriteResponse| v1::OpenSessionResponse {
            session: answer.result.map_or(0, |result| result.revision),
        };
        intake.write(
            v1::WriteRequest { command, owner: self.owner, resent: false },
            deadline,
            Box::new(move |answer| reply(answer.map(opened))),
        );
    }

    /// A session that nobody knows of goes by itself: asking again does no harm.
    fn late() -> v1::Error {
        refusal::deadline_exceeded()
    }

    async fn send(request: Request<Self>, way: Channel, _bytes_max: usize) -> Result<Response<Self::Answer>, Status> {
        v1::session_client::SessionClient::new(way).open(request).await
    }
}
