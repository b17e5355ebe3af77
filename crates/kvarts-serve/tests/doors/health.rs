//! Health, reflection, and the end.
use crate::node::{Node, get, within};
use kvarts_wire::v1;
use tonic::Code;
use tonic_health::pb::health_check_response::ServingStatus::{NotServing, Serving};
use tonic_health::pb::health_client::HealthClient;
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;

fn of(service: &str) -> HealthCheckRequest {
    HealthCheckRequest { service: service.to_owned() }
}

#[tokio::test]
async fn a_node_is_healthy_and_its_rows_while_a_leader_is_known() {
    let node = Node::start(1).await;
    let mut health = HealthClient::new(node.channel().await);
    let checked = health.check(of("")).await.unwrap().into_inner().status();
    assert_eq!(checked, Serving);
    let mut rows = loop {
        match health.watch(of("kvarts.v1.KV")).await {
            Ok(watched) => break watched.into_inner(),
            // It is known a moment after the door opens.
            Err(status) => assert_eq!(status.code(), Code::NotFound),
        }
    };
    assert_eq!(next(&mut rows).await, Serving as i32);
    node.small.follow(0, "");
    assert_eq!(next(&mut rows).await, NotServing as i32);
    assert_eq!(health.check(of("")).await.unwrap().into_inner().status(), Serving);
    node.small.follow(2, "127.0.0.1:1");
    assert_eq!(next(&mut rows).await, Serving as i32);
}

async fn next(watched: &mut tonic::Streaming<HealthCheckResponse>) -> i32 {
    within(watched.message()).await.unwrap().unwrap().status
}

#[tokio::test]
async fn reflection_lists_the_services() {
    let node = Node::start(1).await;
    let mut reflection = ServerReflectionClient::new(node.channel().await);
    let message_request = Some(MessageRequest::ListServices(String::new()));
    let asked = ServerReflectionRequest { message_request, ..Default::default() };
    let mut answers = reflection.server_reflection_info(tokio_stream::once(asked)).await.unwrap().into_inner();
    let answer = answers.message().await.unwrap().unwrap().message_response;
    let Some(MessageResponse::ListServicesResponse(listed)) = answer else { panic!("{answer:?}") };
    let names: Vec<_> = listed.service.into_iter().map(|service| service.name).collect();
    for name in ["KV", "Session", "Cluster", "Admin", "Peer"] {
        assert!(names.contains(&format!("kvarts.v1.{name}")), "{names:?}");
    }
    assert!(names.iter().any(|name| name == "grpc.health.v1.Health"), "{names:?}");
}

#[tokio::test]
async fn a_stop_answers_what_is_under_way_and_ends_streams() {
    let mut node = Node::start(1).await;
    let mut kv = node.kv().await;
    let (requests, outgoing) = tokio::sync::mpsc::channel(1);
    let outgoing = tokio_stream::wrappers::ReceiverStream::new(outgoing);
    let mut answers = kv.stream(outgoing).await.unwrap().into_inner();
    let mut health = HealthClient::new(node.channel().await);
    let mut watched = health.watch(of("")).await.unwrap().into_inner();
    assert_eq!(next(&mut watched).await, Serving as i32);
    node.small.hold();
    let kind = Some(v1::stream_request::Kind::Get(get(&["k"])));
    let request = v1::StreamRequest { id: 5, kind, ..Default::default() };
    requests.send(v1::StreamRequests { requests: vec![request] }).await.unwrap();
    node.holds(1).await;
    let small = node.small.clone();
    let stopping = tokio::spawn(async move { node.stop().await });
    assert_eq!(next(&mut watched).await, NotServing as i32);
    small.release(true);
    assert_eq!(within(answers.message()).await.unwrap().unwrap().responses[0].id, 5);
    assert_eq!(within(answers.message()).await.unwrap_err().code(), Code::Unavailable);
    within(stopping).await.unwrap();
}
