//! The door for other nodes.
use super::handle::Context;
use super::pass;
use super::snapshot;
use kvarts_wire::v1::peer_server::Peer;
use kvarts_wire::v1::{PeerBatch, PeerDone, SnapshotChunk};
use std::sync::Arc;
use tokio::sync::watch;
use tonic::metadata::MetadataMap;
use tonic::{Request, Response, Status, Streaming};

/// Peer.
pub struct PeerService {
    pub(super) context: Arc<Context>,
    pub(super) stop: watch::Receiver<bool>,
}

impl PeerService {
    fn check(&self, metadata: &MetadataMap) -> Result<u64, Status> {
        let (cluster, own) = self.context.intake.identity();
        let from = pass::check(metadata, &cluster, own)?;
        if self.context.intake.is_removed(from) { Err(pass::removed(own, from)) } else { Ok(from) }
    }
}

#[tonic::async_trait]
impl Peer for PeerService {
    async fn messages(&self, request: Request<Streaming<PeerBatch>>) -> Result<Response<PeerDone>, Status> {
        let from = self.check(request.metadata())?;
        self.context.intake.peer_came(from, pass::features(request.metadata()));
        let (mut batches, mut stop) = (request.into_inner(), self.stop.clone());
        let stopped = async move { drop(stop.wait_for(|stop| *stop).await) };
        tokio::pin!(stopped);
        loop {
            tokio::select! {
                batch = batches.message() => match batch? {
                    // It may have been removed since it came.
                    Some(_) if self.context.intake.is_removed(from) => {
                        let (_, own) = self.context.intake.identity();
                        return Err(pass::removed(own, from));
                    }
                    Some(batch) => self.context.intake.peer_messages(from, batch),
                    None => return Ok(Response::new(PeerDone {})),
                },
                () = &mut stopped => return Err(Status::unavailable("the node stops")),
            }
        }
    }

    async fn snapshot(&self, request: Request<Streaming<SnapshotChunk>>) -> Result<Response<PeerDone>, Status> {
        let from = self.check(request.metadata())?;
        let mut stop = self.stop.clone();
        tokio::select! {
            received = snapshot::receive(&self.context, from, request.into_inner()) => received?,
            _ = stop.wait_for(|stop| *stop) => return Err(Status::unavailable("the node stops")),
        }
        Ok(Response::new(PeerDone {}))
    }
}
