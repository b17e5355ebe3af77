//! The front door of a tiny node.
use crate::world::World;
use kvarts_engine::clock::{Clock, OsClock};
use kvarts_wire::v1;
use kvarts_wire::v1::stream_request::Kind as Ask;
use kvarts_wire::v1::stream_response::Kind as Say;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio_stream::{Stream, StreamExt};
use tonic::{Request, Response, Status, Streaming};

const PAGE_ROWS: usize = 1024;
const PAGE_BYTES: usize = 256 << 10;

/// One node.
#[derive(Clone)]
pub struct Tiny {
    pub id: u64,
    pub world: Arc<Mutex<World>>,
}

/// A request on the stream that gets no answer.
enum Silent {
    /// The stream ends.
    Broken,
    /// The node hangs.
    Hung,
}

impl Tiny {
    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for ever while the node hangs.
    async fn awake(&self) {
        let hung = self.world().hung.contains(&self.id);
        if hung {
            std::future::pending::<()>().await;
        }
    }

    fn answer(&self, requests: v1::StreamRequests) -> Result<v1::StreamResponses, Silent> {
        let mut world = self.world();
        if world.hung.contains(&self.id) {
            return Err(Silent::Hung);
        }
        let mut responses = Vec::with_capacity(requests.requests.len());
        for request in requests.requests {
            let said = match (request.kind, self.refusal(&mut world)) {
                (Some(Ask::Get(get)), refusal) => read(get.freshness.as_ref(), &world, refusal)
                    .map_or_else(|error| Say::Error(*error), |(revision, now)| say_rows(&world, &get, revision, now)),
                (Some(Ask::Scan(scan)), refusal) => read(scan.freshness.as_ref(), &world, refusal).map_or_else(
                    |error| Say::Error(*error),
                    |(revision, now)| Say::Scan(page(&world, &scan, revision, now)),
                ),
                (Some(Ask::Write(_)), Some(refusal)) => Say::Error(refusal),
                (Some(Ask::Write(write)), None) => {
                    let result = Some(world.apply(write.command.unwrap_or_default()));
                    if world.swallow > 0 {
                        world.swallowed();
                        return Err(Silent::Broken);
                    }
                    Say::Write(v1::WriteResponse { result })
                }
                (None, _) => continue,
            };
            responses.push(v1::StreamResponse { id: request.id, kind: Some(said) });
        }
        Ok(v1::StreamResponses { responses })
    }

    fn refusal(&self, world: &mut World) -> Option<v1::Error> {
        if world.busy > 0 {
            world.busy -= 1;
            return Some(error("Unavailable", "too many requests"));
        }
        if world.leader == self.id {
            return None;
        }
        let leader = world.nodes.iter().find(|node| node.id == world.leader);
        let leader_address = leader.map(|node| node.address.clone()).unwrap_or_default();
        Some(v1::Error { leader_id: world.leader, leader_address, ..error("NotLeader", "this node does not lead") })
    }
}

fn error(kind: &str, message: &str) -> v1::Error {
    let (kind, message, code) = (kind.to_owned(), message.to_owned(), "KV-3000".to_owned());
    v1::Error { kind, message, code, retryable: true, ..v1::Error::default() }
}

/// Returns revision and time of a read, or why it may not take place.
fn read(
    freshness: Option<&v1::Freshness>,
    world: &World,
    refusal: Option<v1::Error>,
) -> Result<(u64, u64), Box<v1::Error>> {
    let fresh = freshness.copied().unwrap_or_default();
    let stale = fresh.level() == v1::freshness::Level::Stale;
    match refusal {
        Some(refusal) if !stale => return Err(Box::new(refusal)),
        Some(_) if fresh.max_staleness_ms != 0 && world.lag_ms > fresh.max_staleness_ms => {
            return Err(Box::new(error("Unavailable", "this node lags")));
        }
        _ => {}
    }
    let now_ms = if fresh.now_ms == 0 { OsClock::default().unix_ms() } else { fresh.now_ms };
    Ok((if fresh.revision == 0 { world.revision } else { fresh.revision }, now_ms))
}

fn say_rows(world: &World, request: &v1::GetRequest, revision: u64, now_ms: u64) -> Say {
    let answer = get_rows(world, request, revision, now_ms);
    if answer.rows.iter().map(|row| row.value.len()).sum::<usize>() <= world.answer_bytes_max {
        return Say::Get(answer);
    }
    Say::Error(v1::Error { retryable: false, ..error("LimitExceeded", "the answer would be too large") })
}

fn get_rows(world: &World, request: &v1::GetRequest, revision: u64, now_ms: u64) -> v1::GetResponse {
    let found = |key: &bytes::Bytes| match world.get(request.keyspace, key, revision, now_ms) {
        Some(row) => {
            let value = if request.keys_only { None } else { row.value.clone() };
            v1::get_response::Found { found: true, value: value.unwrap_or_default(), revision: row.revision }
        }
        None => v1::get_response::Found::default(),
    };
    v1::GetResponse { rows: request.keys.iter().map(found).collect(), revision, now_ms }
}

fn page(world: &World, request: &v1::ScanRequest, revision: u64, now_ms: u64) -> v1::ScanResponse {
    let mut page = v1::ScanResponse { revision, now_ms, ..v1::ScanResponse::default() };
    let limit = if request.limit == 0 { usize::MAX } else { request.limit as usize };
    let most = if request.page_rows == 0 { PAGE_ROWS } else { request.page_rows as usize };
    let (mut keys, mut values) = (Vec::new(), Vec::new());
    for (count, (key, row)) in world.range(request, revision, now_ms).enumerate().take(limit) {
        if request.count_only {
            page.count += 1;
            continue;
        }
        if count == most || keys.len() + values.len() >= PAGE_BYTES {
            page.more = true;
            break;
        }
        keys.extend_from_slice(key);
        page.key_ends.push(keys.len() as u32);
        page.revisions.push(row.revision);
        if !request.keys_only {
            values.extend_from_slice(row.value.as_deref().unwrap_or_default());
            page.value_ends.push(values.len() as u32);
        }
    }
    (page.keys, page.values) = (keys.into(), values.into());
    page
}

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl v1::kv_server::Kv for Tiny {
    type ScanStream = Answers<v1::ScanResponse>;
    type StreamStream = Answers<v1::StreamResponses>;

    async fn get(&self, _request: Request<v1::GetRequest>) -> Result<Response<v1::GetResponse>, Status> {
        Err(Status::unimplemented("use the stream"))
    }

    async fn write(&self, _request: Request<v1::WriteRequest>) -> Result<Response<v1::WriteResponse>, Status> {
        Err(Status::unimplemented("use the stream"))
    }

    async fn scan(&self, _request: Request<v1::ScanRequest>) -> Result<Response<Self::ScanStream>, Status> {
        Err(Status::unimplemented("use the stream"))
    }

    async fn stream(
        &self,
        request: Request<Streaming<v1::StreamRequests>>,
    ) -> Result<Response<Self::StreamStream>, Status> {
        let tiny = self.clone();
        let answers = request.into_inner().map(move |batch| match tiny.answer(batch?) {
            Ok(answers) => Ok(Some(answers)),
            Err(Silent::Hung) => Ok(None),
            Err(Silent::Broken) => Err(Status::unavailable("swallowed")),
        });
        Ok(Response::new(Box::pin(answers.filter_map(Result::transpose))))
    }
}

#[tonic::async_trait]
impl v1::cluster_server::Cluster for Tiny {
    async fn describe(&self, _: Request<v1::DescribeRequest>) -> Result<Response<v1::DescribeResponse>, Status> {
        self.awake().await;
        let world = self.world();
        Ok(Response::new(v1::DescribeResponse {
            cluster_id: b"tiny".as_slice().into(),
            node_id: self.id,
            leader_id: world.leader,
            term: world.term,
            nodes: world.nodes.clone(),
            version: "0".to_owned(),
            ..v1::DescribeResponse::default()
        }))
    }

    async fn list_keyspaces(
        &self,
        _: Request<v1::ListKeyspacesRequest>,
    ) -> Result<Response<v1::ListKeyspacesResponse>, Status> {
        self.awake().await;
        Ok(Response::new(v1::ListKeyspacesResponse { keyspaces: self.world().keyspaces.clone() }))
    }

    async fn make_keyspace(
        &self,
        request: Request<v1::MakeKeyspaceRequest>,
    ) -> Result<Response<v1::MakeKeyspaceResponse>, Status> {
        self.awake().await;
        let request = request.into_inner();
        let mut world = self.world();
        let known = world.keyspaces.iter().find(|keyspace| keyspace.name == request.name).cloned();
        let keyspace = match known {
            Some(keyspace) => keyspace,
            None if !request.create => return Err(Status::not_found(format!("no keyspace {:?}", request.name))),
            None => {
                let v1::MakeKeyspaceRequest { name, key_codec, value_codec, .. } = request;
                let id = world.keyspaces.len() as u32 + 1;
                let made = v1::Keyspace { id, name, key_codec, value_codec };
                world.keyspaces.push(made.clone());
                made
            }
        };
        Ok(Response::new(v1::MakeKeyspaceResponse { keyspace: Some(keyspace) }))
    }
}

#[tonic::async_trait]
impl v1::admin_server::Admin for Tiny {
    async fn call(&self, request: Request<v1::AdminRequest>) -> Result<Response<v1::AdminResponse>, Status> {
        self.awake().await;
        let v1::AdminRequest { verb, arguments } = request.into_inner();
        let revision = self.world().revision;
        let answer = format!("{{\"verb\": {verb:?}, \"arguments\": {arguments:?}, \"revision\": {revision}}}");
        Ok(Response::new(v1::AdminResponse { answer }))
    }
}
