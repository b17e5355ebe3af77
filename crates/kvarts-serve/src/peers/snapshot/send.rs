//! Sending a snapshot.
use super::super::handle::{Context, Done};
use super::super::options::PeerOptions;
use super::super::{pass, sender};
use super::files::checksum;
use bytes::Bytes;
use kvarts_engine::fs::{Fs, ReadFile};
use kvarts_wire::v1::peer_client::PeerClient;
use kvarts_wire::v1::{PeerMessage, SnapshotChunk};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::sync::mpsc::{Sender, channel};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Request;

/// Chunks between disk and connection.
const CHUNKS_WAITING: usize = 2;

/// Calls `done` with false where nobody else did: also when the runtime ends.
struct Promise(Option<Done>);

impl Promise {
    fn keep(mut self, delivered: bool) {
        if let Some(done) = self.0.take() {
            done(delivered);
        }
    }
}

impl Drop for Promise {
    fn drop(&mut self) {
        if let Some(done) = self.0.take() {
            done(false);
        }
    }
}

/// Sends a message with the files of `dir`.
pub async fn send(context: Arc<Context>, to: u64, address: String, message: PeerMessage, dir: PathBuf, done: Done) {
    let promise = Promise(Some(done));
    let delivered = deliver(&context, to, &address, message, dir).await.is_some();
    promise.keep(delivered);
}

async fn deliver(context: &Arc<Context>, to: u64, address: &str, message: PeerMessage, dir: PathBuf) -> Option<()> {
    let options = &context.options;
    let channel_to = sender::connect(address, options).await.ok()?;
    let (chunks, receiver) = channel(CHUNKS_WAITING);
    let mut request = Request::new(ReceiverStream::new(receiver));
    let (cluster, own) = context.intake.identity();
    pass::show(&mut request, &cluster, own, to);
    let mut client = PeerClient::new(channel_to);
    let call = client.snapshot(request);
    tokio::pin!(call);
    let reading = read(&context.fs, dir, message, &chunks, options);
    tokio::select! {
        // The other node does not want it, or is gone.
        _ = &mut call => return None,
        // Dropping the call resets the stream: the other node sees that it was cut off.
        read = reading => read?,
    }
    drop(chunks);
    tokio::time::timeout(options.stall_timeout, call).await.ok()?.ok().map(|_| ())
}

/// Reads the files into chunks. Nothing where one cannot be read, or none is taken for long.
async fn read(
    fs: &Arc<dyn Fs>,
    dir: PathBuf,
    message: PeerMessage,
    chunks: &Sender<SnapshotChunk>,
    options: &PeerOptions,
) -> Option<()> {
    let patience = options.stall_timeout;
    let names = on_disk(fs, {
        let dir = dir.clone();
        move |fs| fs.list(&dir)
    })
    .await?;
    let first =
        SnapshotChunk { message: Some(message), files: u32::try_from(names.len()).ok()?, ..SnapshotChunk::default() };
    chunks.send_timeout(first, patience).await.ok()?;
    for name in names {
        let path = dir.join(&name);
        let file = on_disk(fs, move |fs| fs.open(&path)).await?;
        let (mut offset, mut digest, len) = (0, checksum(), file.len());
        loop {
            let count = (len - offset).min(options.chunk_bytes as u64) as usize;
            let source = Arc::clone(&file);
            let data = on_disk(fs, move |_| read_at(&*source, offset, count)).await?;
            digest.update(&data);
            offset += count as u64;
            let last = offset == len;
            let crc = if last { digest.finalize() as u32 } else { 0 };
            let chunk = SnapshotChunk { file: name.clone(), data, last, crc, ..SnapshotChunk::default() };
            chunks.send_timeout(chunk, patience).await.ok()?;
            if last {
                break;
            }
        }
    }
    Some(())
}

fn read_at(file: &dyn ReadFile, offset: u64, count: usize) -> io::Result<Bytes> {
    let mut data = vec![0; count];
    file.read_exact_at(offset, &mut data)?;
    Ok(Bytes::from(data))
}

/// Runs something that may block on a thread for that.
async fn on_disk<R: Send + 'static>(
    fs: &Arc<dyn Fs>,
    run: impl FnOnce(&dyn Fs) -> io::Result<R> + Send + 'static,
) -> Option<R> {
    let fs = Arc::clone(fs);
    tokio::task::spawn_blocking(move || run(&*fs)).await.ok()?.ok()
}
