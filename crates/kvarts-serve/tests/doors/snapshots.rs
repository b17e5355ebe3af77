//! Snapshots between nodes.
use crate::node::{Node, incoming, within};
use crate::small::{CLUSTER, Event};
use kvarts_engine::fs::Fs;
use kvarts_wire::v1;
use kvarts_wire::v1::peer_client::PeerClient;
use std::collections::BTreeMap;
use std::path::Path;
use tokio::sync::oneshot;
use tonic::{Code, Request, Status};

const FILES: [(&str, usize); 4] = [("000001.sst", 2_500), ("000002.sst", 3_000), ("CURRENT", 0), ("MANIFEST-1", 1)];

fn message() -> v1::PeerMessage {
    let snapshot = Some(v1::SnapshotMark { index: 9, term: 2, membership: "members".into() });
    v1::PeerMessage { group: 1, sender: 1, to: 2, snapshot, ..Default::default() }
}

fn content(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at * 7 % 251) as u8).collect()
}

fn checkpoint(node: &Node, dir: &Path) {
    node.fs.create_dir(dir).unwrap();
    for (name, len) in FILES {
        node.fs.create(&dir.join(name)).unwrap().append(&content(len)).unwrap();
    }
}

async fn sent(from: &Node, dir: &str) -> bool {
    let (done, delivered) = oneshot::channel();
    from.peers.send_snapshot(2, message(), dir.into(), Box::new(move |whole| done.send(whole).unwrap()));
    within(delivered).await.unwrap()
}

#[tokio::test]
async fn a_snapshot_of_several_files_arrives_whole() {
    let (one, mut two) = (Node::start(1).await, Node::start(2).await);
    one.peers.set(BTreeMap::from([(2, two.address.clone())]));
    checkpoint(&one, Path::new("/checkpoint"));
    assert!(sent(&one, "/checkpoint").await);
    let Event::Snapshot(from, told, dir) = two.event().await else { panic!("no snapshot") };
    assert_eq!((from, told, dir.parent()), (1, message(), Some(incoming().as_path())));
    assert_eq!(two.fs.list(&dir).unwrap(), FILES.map(|(name, _)| name));
    for (name, len) in FILES {
        assert_eq!(two.fs.read(&dir.join(name)).unwrap(), content(len), "{name}");
    }
    assert!(sent(&one, "/checkpoint").await);
    let Event::Snapshot(.., second) = two.event().await else { panic!("no snapshot") };
    assert_ne!(second, dir);
}

#[tokio::test]
async fn a_snapshot_that_cannot_be_read_or_sent_is_not_delivered() {
    let (one, mut two) = (Node::start(1).await, Node::start(2).await);
    checkpoint(&one, Path::new("/checkpoint"));
    assert!(!sent(&one, "/checkpoint").await, "nobody knows where node 2 listens");
    one.peers.set(BTreeMap::from([(2, two.address.clone())]));
    assert!(!sent(&one, "/nowhere").await);
    let address = two.address.clone();
    two.stop().await;
    assert!(!sent(&one, "/checkpoint").await, "nobody listens at {address}");
    assert!(two.events.try_recv().is_err());
}

fn chunk(file: &str, data: &[u8]) -> v1::SnapshotChunk {
    let mut digest = crc_fast::Digest::new(crc_fast::CrcAlgorithm::Crc32Iscsi);
    digest.update(data);
    let (file, data, crc) = (file.to_owned(), data.to_vec().into(), digest.finalize() as u32);
    v1::SnapshotChunk { file, data, last: true, crc, ..Default::default() }
}

/// Sends chunks behind a message that promises so many files.
async fn offer(node: &Node, files: u32, chunks: Vec<v1::SnapshotChunk>) -> Result<(), Status> {
    let first = v1::SnapshotChunk { message: Some(message()), files, ..Default::default() };
    let mut request = Request::new(tokio_stream::iter([first].into_iter().chain(chunks)));
    let hex: String = CLUSTER.iter().map(|byte| format!("{byte:02x}")).collect();
    for (key, value) in [("kvarts-cluster", hex.as_str()), ("kvarts-from", "1"), ("kvarts-to", "2")] {
        request.metadata_mut().insert(key, value.parse().unwrap());
    }
    PeerClient::new(node.channel().await).snapshot(request).await.map(|_| ())
}

#[tokio::test]
async fn a_snapshot_that_is_damaged_or_cut_off_is_refused_and_nothing_stays() {
    let mut node = Node::start(2).await;
    let mut flipped = chunk("b", b"some bytes");
    flipped.data = b"some bytfs".to_vec().into();
    let unfinished = v1::SnapshotChunk { last: false, ..chunk("b", b"some bytes") };
    let good = || chunk("a", b"good");
    for (files, chunks, why) in [
        (2, vec![good(), flipped], "has checksum"),
        (3, vec![good(), chunk("b", b"")], "2 of 3 files came"),
        (1, vec![good(), chunk("b", b"")], "one file more"),
        (2, vec![good(), unfinished], "cut off"),
        (2, vec![good(), chunk("../b", b"out")], "no name of a file"),
    ] {
        let status = offer(&node, files, chunks).await.unwrap_err();
        assert_eq!(status.code(), Code::DataLoss, "{status:?}");
        assert!(status.message().contains(why), "{status:?}");
    }
    for dir in node.fs.list(&incoming()).unwrap() {
        assert!(node.fs.list(&incoming().join(dir)).unwrap().is_empty());
    }
    offer(&node, 1, vec![good()]).await.unwrap();
    let Event::Snapshot(1, _, dir) = node.event().await else { panic!("no snapshot") };
    assert_eq!(node.fs.list(&dir).unwrap(), ["a"]);
}

#[tokio::test]
async fn a_snapshot_without_its_message_is_refused() {
    let node = Node::start(2).await;
    let mut request = Request::new(tokio_stream::once(chunk("a", b"")));
    let hex: String = CLUSTER.iter().map(|byte| format!("{byte:02x}")).collect();
    for (key, value) in [("kvarts-cluster", hex.as_str()), ("kvarts-from", "1"), ("kvarts-to", "2")] {
        request.metadata_mut().insert(key, value.parse().unwrap());
    }
    let status = PeerClient::new(node.channel().await).snapshot(request).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
}
