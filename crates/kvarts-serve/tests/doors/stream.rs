//! KV.Stream: batches both ways.
use crate::node::{Node, get, put, within};
use kvarts_serve::front::{FrontOptions, error_of};
use kvarts_wire::v1;
use kvarts_wire::v1::stream_request::Kind as Ask;
use kvarts_wire::v1::stream_response::Kind as Say;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::sync::mpsc::{Sender, channel};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status, Streaming};

struct Talk {
    requests: Sender<v1::StreamRequests>,
    answers: Streaming<v1::StreamResponses>,
}

impl Talk {
    async fn begin(node: &Node) -> Self {
        let (requests, outgoing) = channel(16);
        let mut kv = node.kv().await.max_encoding_message_size(usize::MAX);
        let answers = kv.stream(ReceiverStream::new(outgoing)).await.unwrap().into_inner();
        Self { requests, answers }
    }

    async fn ask(&self, requests: impl IntoIterator<Item = (u64, Ask)>) {
        let with_id = |(id, kind)| v1::StreamRequest { id, kind: Some(kind), timeout_ms: 0 };
        let requests = requests.into_iter().map(with_id).collect();
        self.requests.send(v1::StreamRequests { requests }).await.unwrap();
    }

    async fn answers(&mut self) -> Result<Vec<v1::StreamResponse>, Status> {
        Ok(within(self.answers.message()).await?.map(|batch| batch.responses).unwrap_or_default())
    }

    /// Takes so many answers.
    async fn take(&mut self, count: usize) -> Vec<v1::StreamResponse> {
        let mut taken = Vec::new();
        while taken.len() < count {
            taken.extend(self.answers().await.unwrap());
        }
        taken
    }
}

fn error_in(response: &v1::StreamResponse) -> &v1::Error {
    match &response.kind {
        Some(Say::Error(error)) => error,
        other => panic!("{other:?} is no error"),
    }
}

#[tokio::test]
async fn requests_of_all_kinds_are_answered_by_id() {
    let node = Node::start(1).await;
    let mut talk = Talk::begin(&node).await;
    talk.ask([(1, Ask::Write(put("a", "1"))), (2, Ask::Write(put("b", "2")))]).await;
    talk.ask([(3, Ask::Get(get(&["b"]))), (4, Ask::Scan(v1::ScanRequest::default()))]).await;
    let nothing = v1::StreamRequest { id: 5, ..Default::default() };
    talk.requests.send(v1::StreamRequests { requests: vec![nothing] }).await.unwrap();
    let mut answers = talk.take(5).await;
    answers.sort_by_key(|answer| answer.id);
    assert!(matches!(&answers[0].kind, Some(Say::Write(_))));
    let Some(Say::Get(read)) = &answers[2].kind else { panic!("{:?}", answers[2]) };
    assert_eq!(read.rows[0].value, "2");
    let Some(Say::Scan(page)) = &answers[3].kind else { panic!("{:?}", answers[3]) };
    assert_eq!((&page.keys[..], page.more), (&b"ab"[..], false));
    assert_eq!(error_in(&answers[4]).kind, "InvalidArgument");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_requests_are_under_way_at_once() {
    let node = Node::start(1).await;
    node.small.hold();
    let mut talk = Talk::begin(&node).await;
    for first in (0..1000).step_by(50) {
        talk.ask((first..first + 50).map(|id| (id, Ask::Write(put(&format!("k{id}"), "v"))))).await;
    }
    node.holds(1000).await;
    let small = Arc::clone(&node.small);
    let released = std::thread::spawn(move || small.release(true)).join().unwrap();
    let ids: BTreeSet<u64> = talk.take(1000).await.iter().map(|answer| answer.id).collect();
    assert_eq!((released, ids), (1000, (0..1000).collect()));
}

// One thread: the connection runs once all answers are there.
#[tokio::test(flavor = "current_thread")]
async fn answers_that_are_ready_together_go_together() {
    let node = Node::start(1).await;
    node.small.hold();
    let mut talk = Talk::begin(&node).await;
    talk.ask((0..100).map(|id| (id, Ask::Get(get(&["k"]))))).await;
    node.holds(100).await;
    node.small.release(true);
    let ids: Vec<u64> = talk.answers().await.unwrap().iter().map(|answer| answer.id).collect();
    assert_eq!(ids, (0..100).rev().collect::<Vec<_>>());
}

#[tokio::test]
async fn no_more_is_taken_in_than_may_be_under_way() {
    let options = FrontOptions { stream_weight_max: 8, ..Default::default() };
    let node = Node::start_with(1, options).await;
    node.small.hold();
    let mut talk = Talk::begin(&node).await;
    talk.ask((0..60).map(|id| (id, Ask::Get(get(&["k"]))))).await;
    talk.ask((60..100).map(|id| (id, Ask::Get(get(&["k"]))))).await;
    let mut answered = 0;
    while answered < 100 {
        node.holds(8.min(100 - answered)).await;
        let released = node.small.release(true);
        answered += talk.take(released).await.len();
    }
    assert_eq!(node.small.held(), (0, 8));
}

#[tokio::test]
async fn large_answers_come_in_several_messages() {
    let node = Node::start(1).await;
    let mut talk = Talk::begin(&node).await;
    talk.ask([(0, Ask::Write(put("k", vec![7; 700 << 10])))]).await;
    talk.take(1).await;
    node.small.hold();
    talk.ask((1..=10).map(|id| (id, Ask::Get(get(&["k"]))))).await;
    node.holds(10).await;
    node.small.release(true);
    for _ in 0..10 {
        assert_eq!(talk.answers().await.unwrap().len(), 1);
    }
}

#[tokio::test]
async fn what_is_over_a_limit_is_refused_and_the_stream_goes_on() {
    let node = Node::start(1).await;
    let mut talk = Talk::begin(&node).await;
    talk.ask([(1, Ask::Write(put("k", vec![0; (8 << 20) + 1]))), (2, Ask::Write(put("k", vec![0; 7 << 20])))]).await;
    let answers = talk.take(2).await;
    assert_eq!((answers[0].id, error_in(&answers[0]).kind.as_str()), (1, "LimitExceeded"));
    assert_eq!(error_in(&answers[0]).hint, "split it over several keys");
    talk.ask([(3, Ask::Get(get(&["k", "k", "k"])))]).await;
    assert_eq!(error_in(&talk.take(1).await[0]).hint, "ask for fewer keys at once");
    talk.ask([(4, Ask::Get(get(&["k"])))]).await;
    assert!(matches!(talk.take(1).await[0].kind, Some(Say::Get(_))));
}

#[tokio::test]
async fn a_message_over_the_limit_ends_the_stream_once_the_rest_is_answered() {
    let node = Node::start(1).await;
    node.small.hold();
    let mut talk = Talk::begin(&node).await;
    talk.ask([(1, Ask::Get(get(&["k"])))]).await;
    node.holds(1).await;
    talk.ask([(2, Ask::Write(put("k", vec![0; 17 << 20])))]).await;
    node.small.release(true);
    assert_eq!(talk.take(1).await[0].id, 1);
    let status = talk.answers().await.unwrap_err();
    assert_eq!((status.code(), error_of(&status).unwrap().kind.as_str()), (Code::ResourceExhausted, "LimitExceeded"));
}

#[tokio::test]
async fn an_end_of_requests_ends_the_stream_once_all_are_answered() {
    let node = Node::start(1).await;
    node.small.hold();
    let talk = Talk::begin(&node).await;
    talk.ask([(1, Ask::Get(get(&["k"])))]).await;
    let Talk { requests, mut answers } = talk;
    drop(requests);
    node.holds(1).await;
    node.small.release(true);
    assert_eq!(within(answers.message()).await.unwrap().unwrap().responses[0].id, 1);
    assert!(within(answers.message()).await.unwrap().is_none());
}

#[tokio::test]
async fn answers_that_are_dropped_say_so() {
    let node = Node::start(1).await;
    node.small.hold();
    let mut talk = Talk::begin(&node).await;
    talk.ask([(1, Ask::Get(get(&["k"]))), (2, Ask::Write(put("k", "v")))]).await;
    node.holds(2).await;
    node.small.release(false);
    let mut answers = talk.take(2).await;
    answers.sort_by_key(|answer| answer.id);
    let kinds: Vec<_> = answers.iter().map(|answer| error_in(answer).kind.as_str()).collect();
    assert_eq!(kinds, ["Unavailable", "CommitUnknown"]);
}

/// A value that counts its deaths.
struct Mortal(Arc<AtomicUsize>);

impl AsRef<[u8]> for Mortal {
    fn as_ref(&self) -> &[u8] {
        b"mortal"
    }
}

impl Drop for Mortal {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[tokio::test]
async fn a_stream_that_is_dropped_drops_its_answers() {
    let node = Node::start(1).await;
    let dead = Arc::new(AtomicUsize::new(0));
    let mut talk = Talk::begin(&node).await;
    node.small.hold();
    talk.ask((0..3).map(|id| (id, Ask::Get(get(&["k"]))))).await;
    node.holds(3).await;
    // The first is answered, so that the stream is known to work.
    node.small.release(true);
    talk.take(3).await;
    node.small.mortal(bytes::Bytes::from_owner(Mortal(Arc::clone(&dead))));
    talk.ask((10..14).map(|id| (id, Ask::Get(get(&["mortal"]))))).await;
    node.holds(4).await;
    drop(talk);
    node.small.release(true);
    node.small.forget();
    within(async {
        while dead.load(Ordering::SeqCst) == 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn each_request_has_its_own_deadline() {
    let options = FrontOptions { request_timeout: std::time::Duration::from_secs(77), ..Default::default() };
    let node = Node::start_with(1, options).await;
    let mut talk = Talk::begin(&node).await;
    let request = |id, timeout_ms| v1::StreamRequest { id, timeout_ms, kind: Some(Ask::Get(get(&["k"]))) };
    let before = tokio::time::Instant::now().into_std();
    talk.requests.send(v1::StreamRequests { requests: vec![request(1, 0), request(2, 500_000)] }).await.unwrap();
    talk.take(2).await;
    let left: Vec<_> = node.small.deadlines().iter().map(|deadline| (*deadline - before).as_secs()).collect();
    assert!((77..97).contains(&left[0]) && (500..520).contains(&left[1]), "{left:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_does_not_read_is_not_read_from() {
    let options = FrontOptions { stream_bytes_max: 1 << 20, stream_weight_max: 64, ..Default::default() };
    let node = Node::start_with(1, options).await;
    let mut talk = Talk::begin(&node).await;
    talk.ask([(0, Ask::Write(put("k", vec![7; 1 << 20])))]).await;
    talk.take(1).await;
    // 1,000 answers of 1 MiB do not fit anywhere: requests must stay with the client.
    let requests = talk.requests.clone();
    let asking = tokio::spawn(async move {
        for id in 1..=1000 {
            let kind = Some(Ask::Get(get(&["k"])));
            let request = v1::StreamRequest { id, kind, ..Default::default() };
            requests.send(v1::StreamRequests { requests: vec![request] }).await.unwrap();
        }
    });
    let first = talk.take(1).await;
    assert_eq!(first[0].id, 1);
    let taken_in = node.small.deadlines().len();
    assert!(taken_in < 500, "{taken_in} requests were taken in for one answer that was read");
    talk.take(999).await;
    asking.await.unwrap();
}
