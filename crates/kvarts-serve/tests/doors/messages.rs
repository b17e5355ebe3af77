//! Messages between nodes.
use crate::node::{Node, within};
use crate::small::{CLUSTER, Event};
use kvarts_serve::front::FrontOptions;
use kvarts_wire::v1;
use kvarts_wire::v1::peer_client::PeerClient;
use std::collections::BTreeMap;
use tonic::{Code, Request};

fn message(index: u64, payload: usize) -> v1::PeerBatch {
    let entry = v1::PeerEntry { term: 1, index, kind: 0, payload: vec![index as u8; payload].into() };
    let message = v1::PeerMessage { group: 1, sender: 1, to: 2, index, entries: vec![entry], ..Default::default() };
    v1::PeerBatch { messages: vec![message] }
}

async fn next_messages(node: &mut Node) -> Vec<u64> {
    match node.event().await {
        Event::Messages(1, messages) => messages.iter().map(|message| message.index).collect(),
        other => panic!("{other:?}"),
    }
}

async fn two() -> (Node, Node) {
    let (one, two) = (Node::start(1).await, Node::start(2).await);
    one.peers.set(BTreeMap::from([(2, two.address.clone())]));
    (one, two)
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_arrive_in_order_and_whole() {
    let (one, mut two) = two().await;
    for index in 0..5_000 {
        assert!(one.peers.send(2, message(index, (index % 7) as usize * 100)));
    }
    let mut seen = Vec::new();
    while seen.len() < 5_000 {
        let Event::Messages(from, messages) = two.event().await else { panic!("no messages") };
        for message in messages {
            assert_eq!((from, message.entries[0].payload.len() as u64), (1, message.index % 7 * 100));
            seen.push(message.index);
        }
    }
    assert_eq!(seen, (0..5_000).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_message_of_the_largest_entry_arrives() {
    let (one, mut two) = two().await;
    one.peers.send(2, message(1, 17 << 20));
    assert_eq!(next_messages(&mut two).await, [1]);
}

#[tokio::test]
async fn nobody_is_told_of_a_node_without_an_address() {
    let one = Node::start(1).await;
    assert!(!one.peers.send(2, message(1, 1)));
}

#[tokio::test]
async fn a_lost_connection_is_told_once_and_made_again() {
    let (mut one, mut two) = two().await;
    one.peers.send(2, message(1, 1));
    assert_eq!(next_messages(&mut two).await, [1]);
    let address = two.address.clone();
    two.stop().await;
    assert_eq!(one.event().await, Event::Lost(2));
    let mut two = Node::start_at(2, &address, FrontOptions::default()).await;
    // What is sent while there is no connection may be lost.
    let index = within(async {
        for index in 2.. {
            one.peers.send(2, message(index, 1));
            tokio::task::yield_now().await;
            if let Ok(event) = two.events.try_recv() {
                let Event::Messages(1, messages) = event else { panic!("{event:?}") };
                return messages[0].index;
            }
        }
        0
    })
    .await;
    assert!(index >= 2);
    assert!(one.events.try_recv().is_err(), "one loss is told once");
}

#[tokio::test]
async fn a_node_that_moves_is_found_at_its_new_address() {
    let (mut one, mut two) = two().await;
    one.peers.send(2, message(1, 1));
    assert_eq!(next_messages(&mut two).await, [1]);
    let mut moved = Node::start(2).await;
    one.peers.set(BTreeMap::from([(2, moved.address.clone())]));
    one.peers.send(2, message(2, 1));
    assert_eq!(next_messages(&mut moved).await, [2]);
    one.peers.set(BTreeMap::new());
    assert!(!one.peers.send(2, message(3, 1)));
    assert!(one.events.try_recv().is_err());
}

#[tokio::test]
async fn strangers_are_refused() {
    let mut node = Node::start(2).await;
    let hex: String = CLUSTER.iter().map(|byte| format!("{byte:02x}")).collect();
    let mut peer = PeerClient::new(node.channel().await);
    for (cluster, from, to, why) in [
        (Some("00ff"), Some("1"), Some("2"), "another cluster"),
        (Some(hex.as_str()), Some("1"), Some("3"), "not node 3"),
        (Some(hex.as_str()), Some("2"), Some("2"), "used twice"),
        (Some(hex.as_str()), Some("0"), Some("2"), "used twice"),
        (Some(hex.as_str()), Some("one"), Some("2"), "show who they are"),
        (Some(hex.as_str()), Some("1"), None, "show who they are"),
        (None, Some("1"), Some("2"), "show who they are"),
    ] {
        let shown = [("kvarts-cluster", cluster), ("kvarts-from", from), ("kvarts-to", to)];
        let mut messages = Request::new(tokio_stream::once(message(1, 1)));
        let mut snapshot = Request::new(tokio_stream::once(v1::SnapshotChunk::default()));
        for (key, value) in shown.iter().filter_map(|(key, value)| Some((*key, (*value)?))) {
            messages.metadata_mut().insert(key, value.parse().unwrap());
            snapshot.metadata_mut().insert(key, value.parse().unwrap());
        }
        for status in [peer.messages(messages).await.unwrap_err(), peer.snapshot(snapshot).await.unwrap_err()] {
            assert_eq!(status.code(), Code::PermissionDenied);
            assert!(status.message().contains(why), "{status:?}");
        }
    }
    assert!(node.events.try_recv().is_err());
}

#[tokio::test]
async fn a_node_of_another_cluster_learns_that_its_messages_are_lost() {
    let (mut one, two) = (Node::start(1).await, Node::start(3).await);
    // Node 3 listens where node 2 is looked for.
    one.peers.set(BTreeMap::from([(2, two.address.clone())]));
    one.peers.send(2, message(1, 1));
    assert_eq!(one.event().await, Event::Lost(2));
}
