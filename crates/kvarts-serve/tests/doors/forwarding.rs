//! Unary requests that came to a node that does not lead.
use crate::node::{Node, get, kind_of, put};
use kvarts_serve::front::{FrontOptions, error_of};
use kvarts_wire::v1;
use std::time::Duration;
use tonic::Code;

async fn leader_and_follower() -> (Node, Node) {
    let (leader, follower) = (Node::start(1).await, Node::start(2).await);
    follower.small.follow(1, &leader.address);
    (leader, follower)
}

#[tokio::test]
async fn every_unary_request_is_sent_on_to_the_leader() {
    let (leader, follower) = leader_and_follower().await;
    let mut kv = follower.kv().await;
    assert_eq!(kv.write(put("k", "v")).await.unwrap().into_inner().result.unwrap().revision, 1);
    assert_eq!(kv.get(get(&["k"])).await.unwrap().into_inner().rows[0].value, "v");
    let channel = follower.channel().await;
    let mut sessions = v1::session_client::SessionClient::new(channel.clone());
    assert_eq!(sessions.open(v1::OpenSessionRequest::default()).await.unwrap().into_inner().session, 2);
    let mut cluster = v1::cluster_client::ClusterClient::new(channel.clone());
    let asked = v1::MakeKeyspaceRequest { name: "n".to_owned(), create: true, ..Default::default() };
    assert_eq!(cluster.make_keyspace(asked).await.unwrap().into_inner().keyspace.unwrap().id, 1);
    let mut admin = v1::admin_client::AdminClient::new(channel);
    let asked = v1::AdminRequest { verb: "echo".to_owned(), arguments: "{}".to_owned() };
    assert_eq!(admin.call(asked).await.unwrap().into_inner().answer, "{}");
    assert_eq!(leader.small.deadlines().len(), 5);
}

#[tokio::test]
async fn what_the_leader_refuses_comes_back_whole() {
    let (_leader, follower) = leader_and_follower().await;
    let mut admin = v1::admin_client::AdminClient::new(follower.channel().await);
    // Unknown verbs are refused by both; this one only by the leader.
    let asked = v1::AdminRequest {
        verb: "make-keyspace".to_owned(),
        arguments: "{\"name\":\"n\",\"create\":false}".to_owned(),
    };
    let status = admin.call(asked).await.unwrap_err();
    assert_eq!((status.code(), error_of(&status).unwrap().hint.as_str()), (Code::NotFound, "create=True"));
}

#[tokio::test]
async fn a_node_without_the_shard_reaches_its_leader_by_way_of_one_that_keeps_it() {
    let (leader, follower) = leader_and_follower().await;
    let stranger = Node::start(3).await;
    stranger.small.follow(2, &follower.address);
    let mut kv = stranger.kv().await;
    assert_eq!(kv.write(put("k", "v")).await.unwrap().into_inner().result.unwrap().revision, 1);
    assert_eq!(kv.get(get(&["k"])).await.unwrap().into_inner().rows[0].value, "v");
    assert_eq!((follower.small.deadlines().len(), leader.small.deadlines().len()), (2, 2));
}

#[tokio::test]
async fn a_request_is_sent_on_twice_at_most() {
    let (one, two) = (Node::start(1).await, Node::start(2).await);
    one.small.follow(2, &two.address);
    two.small.follow(1, &one.address);
    let status = one.kv().await.get(get(&["k"])).await.unwrap_err();
    assert_eq!((status.code(), error_of(&status).unwrap().leader_id), (Code::FailedPrecondition, 2));
    assert_eq!((one.small.deadlines().len(), two.small.deadlines().len()), (2, 1));
}

#[tokio::test]
async fn a_leader_without_an_address_is_not_asked() {
    let node = Node::start(1).await;
    node.small.follow(0, "");
    let status = node.kv().await.get(get(&["k"])).await.unwrap_err();
    assert_eq!(kind_of(&status), "NotLeader");
    assert!(error_of(&status).unwrap().retryable);
}

#[tokio::test]
async fn the_deadline_is_kept_on_the_way() {
    let leader = Node::start(1).await;
    let options = FrontOptions { request_timeout: Duration::from_secs(5), ..Default::default() };
    let follower = Node::start_with(2, options).await;
    follower.small.follow(1, &leader.address);
    follower.kv().await.write(put("k", "v")).await.unwrap();
    // What is left is counted anew where it arrives; the leader's own default would be 5 seconds later.
    let (there, here) = (leader.small.deadlines()[0], follower.small.deadlines()[0]);
    assert!(there < here + Duration::from_secs(4), "{there:?} is late for {here:?}");
}

#[tokio::test]
async fn a_leader_that_is_gone_is_unavailable() {
    let (mut leader, follower) = leader_and_follower().await;
    leader.stop().await;
    let status = follower.kv().await.get(get(&["k"])).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
}
