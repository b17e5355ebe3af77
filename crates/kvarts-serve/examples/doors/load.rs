//! The client's side: keeps calls under way for a while, and says what came of it.
use crate::Outcome;
use futures_util::stream::{FuturesUnordered, StreamExt};
use kvarts_wire::v1;
use kvarts_wire::v1::admin_client::AdminClient;
use kvarts_wire::v1::kv_client::KvClient;
use kvarts_wire::v1::stream_request::Kind as Ask;
use std::error::Error;
use std::time::Duration;
use tokio::sync::mpsc::channel;
use tokio::time::Instant;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Channel, Endpoint};

/// Bytes of a key, of a value.
const KEY_BYTES: usize = 16;
const VALUE_BYTES: usize = 100;

/// What was done: calls, and messages that held their answers.
struct Done {
    calls: u64,
    messages: u64,
}

/// Measures and prints all rows.
pub async fn run(address: &str, seconds: f64) -> Outcome {
    let channel = Endpoint::from_shared(format!("http://{address}"))?.tcp_nodelay(true).connect().await?;
    let span = Duration::from_secs_f64(seconds);
    println!("{:<34} {:>10} {:>16} {:>14} {:>10}", "", "calls/s", "server us/call", "mean us/call", "per answer");
    for under_way in [1, 64] {
        let row = measure(&channel, unary(&channel, under_way, span)).await?;
        print(&format!("unary get, {under_way} under way"), under_way, &row);
    }
    for (name, ask) in [("get", get as fn() -> Ask), ("put", put)] {
        for (under_way, together) in [(1, 1), (64, 1), (64, 64), (1024, 1024)] {
            let row = measure(&channel, stream(&channel, ask, under_way, together, span)).await?;
            let how = if together == 1 { "apart" } else { "together" };
            print(&format!("stream {name}, {under_way} under way, {how}"), under_way, &row);
        }
    }
    Ok(())
}

fn print(name: &str, under_way: usize, (done, wall, cpu): &(Done, Duration, u64)) {
    let calls = done.calls as f64;
    let rate = calls / wall.as_secs_f64();
    let (server, mean) = (*cpu as f64 / 1e3 / calls, under_way as f64 * 1e6 / rate);
    println!("{name:<34} {rate:>10.0} {server:>16.2} {mean:>14.1} {:>10.1}", calls / done.messages as f64);
}

/// Runs a load, and returns with what it did the time it took, and the server's CPU time in nanoseconds.
async fn measure(
    channel: &Channel,
    load: impl Future<Output = Result<Done, Box<dyn Error>>>,
) -> Result<(Done, Duration, u64), Box<dyn Error>> {
    let (before, start) = (cpu(channel).await?, Instant::now());
    let done = load.await?;
    let wall = start.elapsed();
    Ok((done, wall, cpu(channel).await? - before))
}

async fn cpu(channel: &Channel) -> Result<u64, Box<dyn Error>> {
    let request = v1::AdminRequest { verb: "cpu".to_owned(), arguments: String::new() };
    Ok(AdminClient::new(channel.clone()).call(request).await?.into_inner().answer.parse()?)
}

async fn unary(channel: &Channel, under_way: usize, span: Duration) -> Result<Done, Box<dyn Error>> {
    let call = || {
        let mut kv = KvClient::new(channel.clone());
        async move {
            let Ask::Get(request) = get() else { return Ok(()) };
            kv.get(request).await.map(|_| ())
        }
    };
    let end = Instant::now() + span;
    let mut calls: FuturesUnordered<_> = (0..under_way).map(|_| call()).collect();
    let mut count = 0;
    while let Some(answer) = calls.next().await {
        answer?;
        count += 1;
        if Instant::now() < end {
            calls.push(call());
        }
    }
    Ok(Done { calls: count, messages: count })
}

/// Keeps so many requests under way, each message with up to `together` of them.
async fn stream(
    channel_to: &Channel,
    ask: fn() -> Ask,
    under_way: usize,
    together: usize,
    span: Duration,
) -> Result<Done, Box<dyn Error>> {
    let (requests, outgoing) = channel(under_way);
    let mut answers = KvClient::new(channel_to.clone()).stream(ReceiverStream::new(outgoing)).await?.into_inner();
    let end = Instant::now() + span;
    let (mut next, mut done, mut free) = (0, Done { calls: 0, messages: 0 }, under_way);
    loop {
        while free > 0 && Instant::now() < end {
            let count = free.min(together);
            let batch = (next..next + count as u64)
                .map(|id| v1::StreamRequest { id, timeout_ms: 0, kind: Some(ask()) })
                .collect();
            requests.send(v1::StreamRequests { requests: batch }).await?;
            (next, free) = (next + count as u64, free - count);
        }
        if done.calls == next {
            return Ok(done);
        }
        let answered = answers.message().await?.ok_or("the stream ended")?.responses.len();
        done.messages += 1;
        done.calls += answered as u64;
        free += answered;
    }
}

fn get() -> Ask {
    Ask::Get(v1::GetRequest { keys: vec![vec![b'k'; VALUE_BYTES].into()], ..v1::GetRequest::default() })
}

fn put() -> Ask {
    let put =
        v1::Put { key: vec![b'k'; KEY_BYTES].into(), value: vec![b'v'; VALUE_BYTES].into(), ..v1::Put::default() };
    let operations = vec![v1::Operation { kind: Some(v1::operation::Kind::Put(put)) }];
    Ask::Write(v1::WriteRequest {
        command: Some(v1::Command { operations, ..v1::Command::default() }),
        ..Default::default()
    })
}
