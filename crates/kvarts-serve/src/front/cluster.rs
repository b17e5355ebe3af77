//! The services Cluster and Admin.
use super::desk::Desk;
use super::status::status_of;
use super::unary::Ask;
use crate::intake::{Intake, Reply, refusal};
use kvarts_wire::v1;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Instant;
use tonic::transport::Channel;
use tonic::{Request, Response, Status};

/// Cluster.
pub struct Cluster(pub Arc<Desk>);

#[tonic::async_trait]
impl v1::cluster_server::Cluster for Cluster {
    async fn describe(&self, request: Request<v1::DescribeRequest>) -> Result<Response<v1::DescribeResponse>, Status> {
        Ok(Response::new(self.0.intake.describe(request.into_inner())))
    }

    async fn list_keyspaces(
        &self,
        _request: Request<v1::ListKeyspacesRequest>,
    ) -> Result<Response<v1::ListKeyspacesResponse>, Status> {
        let keyspaces = self.0.intake.keyspaces().map_err(status_of)?;
        Ok(Response::new(v1::ListKeyspacesResponse { keyspaces }))
    }

    async fn make_keyspace(
        &self,
        request: Request<v1::MakeKeyspaceRequest>,
    ) -> Result<Response<v1::MakeKeyspaceResponse>, Status> {
        self.0.answer(request).await
    }
}

/// Admin.
pub struct Admin(pub Arc<Desk>);

#[tonic::async_trait]
impl v1::admin_server::Admin for Admin {
    async fn call(&self, request: Request<v1::AdminRequest>) -> Result<Response<v1::AdminResponse>, Status> {
        self.0.answer(request).await
    }
}

impl Ask for v1::MakeKeyspaceRequest {
    type Answer = v1::MakeKeyspaceResponse;

    fn check(&self, _desk: &Desk) -> Result<(), v1::Error> {
        Ok(())
    }

    fn ask(self, intake: &dyn Intake, deadline: Instant, reply: Reply<Self::Answer>) {
        let Self { name, key_codec, value_codec, create, shards, partition, ordered, bounds } = self;
        let mut arguments = json!({"name": name, "key_codec": key_codec, "value_codec": value_codec, "create": create});
        if shards > 0 || ordered || !partition.is_empty() {
            let bounds: Vec<String> = bounds.iter().map(|bound| hex(bound)).collect();
            arguments["space"] =
                json!({"shards": shards, "partition": partition, "ordered": ordered, "bounds": bounds});
        }
        let arguments = arguments.to_string();
        let answered = |answer: Result<String, v1::Error>| keyspace_of(&answer?);
        intake.call("make-keyspace".to_owned(), arguments, deadline, Box::new(move |answer| reply(answered(answer))));
    }

    fn late() -> v1::Error {
        refusal::deadline_exceeded()
    }

    async fn send(request: Request<Self>, way: Channel, _bytes_max: usize) -> Result<Response<Self::Answer>, Status> {
        v1::cluster_client::ClusterClient::new(way).make_keyspace(request).await
    }
}

impl Ask for v1::AdminRequest {
    type Answer = v1::AdminResponse;

    fn check(&self, _desk: &Desk) -> Result<(), v1::Error> {
        Ok(())
    }

    fn ask(self, intake: &dyn Intake, deadline: Instant, reply: Reply<Self::Answer>) {
        let answered = |answer| v1::AdminResponse { answer };
        intake.call(self.verb, self.arguments, deadline, Box::new(move |answer| reply(answer.map(answered))));
    }

    /// What operators ask for may come about later.
    fn late() -> v1::Error {
        v1::Error { retryable: false, maybe_applied: true, ..refusal::deadline_exceeded() }
    }

    async fn send(request: Request<Self>, way: Channel, bytes_max: usize) -> Result<Response<Self::Answer>, Status> {
        v1::admin_client::AdminClient::new(way).max_decoding_message_size(bytes_max).call(request).await
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Reads the keyspace that Python answers with.
fn keyspace_of(answer: &str) -> Result<v1::MakeKeyspaceResponse, v1::Error> {
    let read = || {
        let made: Value = serde_json::from_str(answer).ok()?;
        let text = |name: &str| Some(made.get(name)?.as_str()?.to_owned());
        let id = u32::try_from(made.get("id")?.as_u64()?).ok()?;
        Some(v1::Keyspace { id, name: text("name")?, key_codec: text("key_codec")?, value_codec: text("value_codec")? })
    };
    match read() {
        Some(keyspace) => Ok(v1::MakeKeyspaceResponse { keyspace: Some(keyspace) }),
        None => Err(refusal::error("KV-1000", "KvartsError", "the node answered with something else", "report it")),
    }
}
