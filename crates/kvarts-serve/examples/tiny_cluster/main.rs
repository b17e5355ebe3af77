//! A cluster for tests of clients: nodes of one process that share one map in memory. No Raft, no disk.
//!
//! `tiny_cluster 3` prints one line of JSON with the nodes' addresses, then obeys lines of standard input, each answered with
//! "ok": `lead N` (0: nobody leads), `kill N`, `start N`, `hang N`, `wake N`, `swallow COUNT` (writes that take place
//! but are not answered: their streams break), `forget COUNT` (the same, and sessions are forgotten), `expire` (sessions
//! are forgotten now), `busy COUNT` (requests refused as too many), `lag MS`, `answers BYTES` (more is refused).
//! It ends with its standard input.
mod services;
mod world;

use kvarts_wire::v1;
use services::Tiny;
use std::io::{self, BufRead, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::net::TcpStream;
use tokio::runtime::{Builder, Runtime};
use tokio_stream::StreamExt;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::Server;
use world::World;

/// Largest message taken; larger ones end their stream. Below what clients are told, so that it can be met.
const MESSAGE_BYTES_MAX: usize = 6 << 20;

type AnyError = Box<dyn std::error::Error>;

/// A node: its address, and the runtime it lives in. Without one it is dead.
struct Node {
    address: SocketAddr,
    runtime: Option<Runtime>,
}

fn main() -> Result<(), AnyError> {
    let count: u64 = std::env::args().nth(1).map_or(Ok(1), |count| count.parse())?;
    let world = Arc::new(Mutex::new(World::new()));
    let mut nodes = Vec::new();
    for id in 1..=count {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        let known = v1::Node { id, address: address.to_string(), voter: true, learner: false };
        lock(&world).nodes.push(known);
        nodes.push(Node { address, runtime: Some(serve(id, listener, &world)?) });
    }
    let addresses: Vec<String> = nodes.iter().map(|node| format!("\"{}\"", node.address)).collect();
    println!("{{\"addresses\": [{}]}}", addresses.join(", "));
    io::stdout().flush()?;
    for line in io::stdin().lock().lines() {
        obey(&line?, &mut nodes, &world)?;
        println!("ok");
        io::stdout().flush()?;
    }
    Ok(())
}

fn obey(line: &str, nodes: &mut [Node], world: &Arc<Mutex<World>>) -> Result<(), AnyError> {
    let (word, number) = line.split_once(' ').unwrap_or((line, "0"));
    let number: u64 = number.parse()?;
    match word {
        "kill" => {
            if let Some(runtime) = nodes[number as usize - 1].runtime.take() {
                runtime.shutdown_background();
            }
        }
        "start" => {
            let node = &mut nodes[number as usize - 1];
            node.runtime = Some(serve(number, TcpListener::bind(node.address)?, world)?);
        }
        _ => lock(world).obey(word, number)?,
    }
    Ok(())
}

fn serve(id: u64, listener: TcpListener, world: &Arc<Mutex<World>>) -> Result<Runtime, AnyError> {
    let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let tiny = Tiny { id, world: Arc::clone(world) };
    listener.set_nonblocking(true)?;
    let listener = {
        let _inside = runtime.enter();
        TcpListenerStream::new(tokio::net::TcpListener::from_std(listener)?).map(without_delay)
    };
    runtime.spawn(
        Server::builder()
            .add_service(v1::kv_server::KvServer::new(tiny.clone()).max_decoding_message_size(MESSAGE_BYTES_MAX))
            .add_service(v1::cluster_server::ClusterServer::new(tiny.clone()))
            .add_service(v1::admin_server::AdminServer::new(tiny))
            .serve_with_incoming(listener),
    );
    Ok(runtime)
}

fn without_delay(stream: io::Result<TcpStream>) -> io::Result<TcpStream> {
    stream.and_then(|stream| stream.set_nodelay(true).map(|()| stream))
}

fn lock(world: &Mutex<World>) -> MutexGuard<'_, World> {
    world.lock().unwrap_or_else(PoisonError::into_inner)
}
