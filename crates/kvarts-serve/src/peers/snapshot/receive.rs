//! Receiving a snapshot.
use super::super::handle::Context;
use super::files::{Files, Refused};
use kvarts_wire::v1::{PeerMessage, SnapshotChunk};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tokio::sync::mpsc::{Receiver, channel};
use tonic::{Status, Streaming};

/// Chunks between connection and disk.
const CHUNKS_WAITING: usize = 4;

/// What the connection hands to the thread that writes: a chunk, or nothing once the stream ended as it should.
type Step = Option<SnapshotChunk>;

/// Receives a snapshot, and hands it on. Errors: `DATA_LOSS` where it is not as it should be, `INTERNAL` where it cannot be
/// written, `RESOURCE_EXHAUSTED` where others come in; nothing stays of it then.
pub async fn receive(context: &Arc<Context>, from: u64, mut chunks: Streaming<SnapshotChunk>) -> Result<(), Status> {
    let Ok(place) = Arc::clone(&context.receiving).try_acquire_owned() else {
        return Err(Status::resource_exhausted("other snapshots are being received; try again later"));
    };
    let first = next(context, &mut chunks).await?.unwrap_or_default();
    let Some(message) = first.message else {
        return Err(Status::invalid_argument("a snapshot begins with its message"));
    };
    if message.snapshot.is_none() || message.sender != from {
        return Err(Status::invalid_argument("the message is none of a snapshot that this node sends"));
    }
    let (steps, written) = {
        let (steps, receiver) = channel(CHUNKS_WAITING);
        let context = Arc::clone(context);
        let write = move || {
            let _place = place;
            write(&context, from, message, first.files, receiver)
        };
        (steps, tokio::task::spawn_blocking(write))
    };
    // Whoever drops this drops `steps`, and the thread sees that no end came.
    loop {
        let step = next(context, &mut chunks).await?;
        let end = step.is_none();
        if steps.send(step).await.is_err() || end {
            break; // Sent whole, or refused meanwhile.
        }
    }
    match written.await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(refused @ Refused::Wrong(_))) => Err(Status::data_loss(format!("snapshot refused: {refused}"))),
        Ok(Err(refused @ Refused::Io(_))) => Err(Status::internal(format!("snapshot refused: {refused}"))),
        Err(_) => Err(Status::internal("snapshot refused: the thread that wrote it ended")),
    }
}

async fn next(context: &Context, chunks: &mut Streaming<SnapshotChunk>) -> Result<Option<SnapshotChunk>, Status> {
    match tokio::time::timeout(context.options.stall_timeout, chunks.message()).await {
        Ok(chunk) => chunk,
        Err(_) => Err(Status::deadline_exceeded("no chunk of the snapshot came for long")),
    }
}

/// Writes what comes, on a thread that may block, and hands it on.
fn write(
    context: &Context,
    from: u64,
    message: PeerMessage,
    expected: u32,
    mut steps: Receiver<Step>,
) -> Result<(), Refused> {
    let dir = make_dir(context)?;
    let mut files = Files::new(Arc::clone(&context.fs), dir.clone(), expected);
    let outcome = loop {
        match steps.blocking_recv() {
            Some(Some(chunk)) => {
                if let Err(refused) = files.add(&chunk) {
                    break Err(refused);
                }
            }
            Some(None) => break files.finish(),
            None => break Err(Refused::Wrong("the connection broke".to_owned())),
        }
    };
    match &outcome {
        Ok(()) => context.intake.peer_snapshot(from, message, dir),
        Err(_) if files.discard() => context.spare_dirs.lock().push(dir),
        // The next start of the node removes it.
        Err(_) => {}
    }
    outcome
}

/// Makes a directory that is nobody else's.
fn make_dir(context: &Context) -> io::Result<PathBuf> {
    if let Some(spare) = context.spare_dirs.lock().pop() {
        return Ok(spare);
    }
    loop {
        let number = context.next_dir.fetch_add(1, Ordering::Relaxed);
        let dir = context.incoming.join(number.to_string());
        match context.fs.create_dir(&dir) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            made => return made.map(|()| dir),
        }
    }
}
