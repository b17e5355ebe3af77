//! Unary calls.
use crate::node::{Node, get, kind_of, put, within};
use kvarts_serve::front::{FrontOptions, error_of};
use kvarts_wire::v1;
use std::time::Duration;
use tonic::{Code, Request};

#[tokio::test]
async fn what_was_written_is_read() {
    let node = Node::start(1).await;
    let mut kv = node.kv().await;
    let written = kv.write(put("colour", "blue")).await.unwrap().into_inner();
    let read = kv.get(get(&["colour", "shape"])).await.unwrap().into_inner();
    assert_eq!(written.result.unwrap().revision, 1);
    assert_eq!(read.rows[0], v1::get_response::Found { found: true, value: "blue".into(), revision: 1 });
    assert!(!read.rows[1].found);
}

#[tokio::test]
async fn a_session_is_the_revision_of_its_command() {
    let node = Node::start(1).await;
    let mut sessions = v1::session_client::SessionClient::new(node.channel().await);
    let first = sessions.open(v1::OpenSessionRequest::default()).await.unwrap().into_inner().session;
    let second = sessions.open(v1::OpenSessionRequest::default()).await.unwrap().into_inner().session;
    assert_eq!((first, second), (1, 2));
}

#[tokio::test]
async fn what_is_over_a_limit_is_refused_and_never_handed_in() {
    let node = Node::start(1).await;
    let mut kv = node.kv().await;
    let refused = |status: tonic::Status| (status.code(), error_of(&status).expect("it holds an error"));
    let (code, error) = refused(kv.write(put("k", vec![0; (8 << 20) + 1])).await.unwrap_err());
    assert_eq!((code, error.kind.as_str()), (Code::ResourceExhausted, "LimitExceeded"));
    assert_eq!((error.code.as_str(), error.hint.as_str()), ("KV-1004", "split it over several keys"));
    for (request, kind) in [
        (put("", "empty key"), "LimitExceeded"),
        (put(&"k".repeat((64 << 10) + 1), "long key"), "LimitExceeded"),
        (v1::WriteRequest::default(), "InvalidArgument"),
    ] {
        assert_eq!(kind_of(&kv.write(request).await.unwrap_err()), kind);
    }
    assert_eq!(kind_of(&kv.get(get(&["k", ""])).await.unwrap_err()), "LimitExceeded");
    assert!(node.small.deadlines().is_empty());
    kv.write(put("k", vec![0; 8 << 20])).await.unwrap();
}

#[tokio::test]
async fn a_message_over_the_limit_is_refused() {
    let node = Node::start(1).await;
    let status = node.kv().await.write(put("k", vec![0; 17 << 20])).await.unwrap_err();
    assert_eq!(status.code(), Code::OutOfRange);
}

#[tokio::test]
async fn an_answer_over_the_limit_is_refused() {
    let node = Node::start(1).await;
    let mut kv = node.kv().await;
    kv.write(put("k", vec![0; 6 << 20])).await.unwrap();
    let status = kv.get(get(&["k", "k", "k"])).await.unwrap_err();
    assert_eq!(kind_of(&status), "LimitExceeded");
}

// The node's own deadline: one that the client knows of may end the call there first.
#[tokio::test]
async fn a_call_that_waits_too_long_says_what_is_known() {
    let options = FrontOptions { request_timeout: Duration::from_millis(20), ..Default::default() };
    let node = Node::start_with(1, options).await;
    node.small.hold();
    let mut kv = node.kv().await;
    let read = kv.get(get(&["k"])).await.unwrap_err();
    assert_eq!((read.code(), kind_of(&read).as_str()), (Code::DeadlineExceeded, "DeadlineExceeded"));
    let written = kv.write(put("k", "v")).await.unwrap_err();
    assert_eq!(kind_of(&written), "CommitUnknown");
    assert!(error_of(&written).unwrap().maybe_applied);
}

#[tokio::test]
async fn the_intake_is_told_the_deadline() {
    let node = Node::start(1).await;
    let mut request = Request::new(get(&["k"]));
    request.set_timeout(Duration::from_secs(3600));
    let before = tokio::time::Instant::now().into_std();
    node.kv().await.get(request).await.unwrap();
    let left = node.small.deadlines()[0] - before;
    assert!((3590..=3600 + 20).contains(&left.as_secs()), "{left:?}");
}

#[tokio::test]
async fn a_caller_that_goes_away_is_forgotten() {
    let node = Node::start(1).await;
    let mut kv = node.kv().await;
    node.small.hold();
    let call = tokio::spawn({
        let mut kv = kv.clone();
        async move { kv.get(get(&["k"])).await }
    });
    node.holds(1).await;
    call.abort();
    assert!(call.await.unwrap_err().is_cancelled());
    node.small.release(true);
    let next = tokio::spawn(async move { kv.get(get(&["k"])).await });
    node.holds(1).await;
    node.small.release(true);
    within(next).await.unwrap().unwrap();
}

#[tokio::test]
async fn an_answer_that_is_dropped_does_not_leave_its_caller_waiting() {
    let node = Node::start(1).await;
    node.small.hold();
    let mut kv = node.kv().await;
    let call = tokio::spawn(async move { kv.write(put("k", "v")).await });
    node.holds(1).await;
    node.small.release(false);
    assert_eq!(kind_of(&within(call).await.unwrap().unwrap_err()), "CommitUnknown");
}
