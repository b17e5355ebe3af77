//! Cluster and Admin.
use crate::node::{Node, kind_of};
use crate::small::CLUSTER;
use kvarts_wire::v1;
use tonic::Code;

#[tokio::test]
async fn a_node_says_who_it_is_and_who_leads() {
    let node = Node::start(3).await;
    node.small.follow(2, "127.0.0.1:1");
    let mut cluster = v1::cluster_client::ClusterClient::new(node.channel().await);
    let told = cluster.describe(v1::DescribeRequest::default()).await.unwrap().into_inner();
    assert_eq!((&told.cluster_id[..], told.node_id, told.leader_id), (CLUSTER, 3, 2));
}

#[tokio::test]
async fn keyspaces_are_made_once_and_listed() {
    let node = Node::start(1).await;
    let mut cluster = v1::cluster_client::ClusterClient::new(node.channel().await);
    let asked = v1::MakeKeyspaceRequest {
        name: "a \"quoted\" name".to_owned(),
        key_codec: "str".to_owned(),
        value_codec: "json".to_owned(),
        create: true,
        ..v1::MakeKeyspaceRequest::default()
    };
    let absent = v1::MakeKeyspaceRequest { create: false, ..asked.clone() };
    let status = cluster.make_keyspace(absent.clone()).await.unwrap_err();
    assert_eq!((status.code(), kind_of(&status).as_str()), (Code::NotFound, "KeyNotFound"));
    let made = cluster.make_keyspace(asked.clone()).await.unwrap().into_inner().keyspace.unwrap();
    let found = cluster.make_keyspace(absent).await.unwrap().into_inner().keyspace.unwrap();
    let listed = cluster.list_keyspaces(v1::ListKeyspacesRequest {}).await.unwrap().into_inner().keyspaces;
    assert_eq!((made.id, &made.name, made.value_codec.as_str()), (1, &asked.name, "json"));
    assert_eq!((&found, &listed), (&made, &vec![made.clone()]));
}

#[tokio::test]
async fn admin_calls_go_to_python_and_back() {
    let node = Node::start(1).await;
    let mut admin = v1::admin_client::AdminClient::new(node.channel().await);
    let asked = |verb: &str| v1::AdminRequest { verb: verb.to_owned(), arguments: "{\"a\": 1}".to_owned() };
    assert_eq!(admin.call(asked("echo")).await.unwrap().into_inner().answer, "{\"a\": 1}");
    let status = admin.call(asked("dance")).await.unwrap_err();
    assert_eq!((status.code(), status.message()), (Code::InvalidArgument, "no verb dance; echo, make-keyspace"));
}
