//! Taking connections.
use futures_util::{Stream, stream};
use std::io;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};

/// Pause after the operating system refused to hand over a connection: out of descriptors, it would refuse at once again.
const PAUSE: Duration = Duration::from_millis(50);

/// Connections as they come in, without Nagle's delay.
pub fn connections(listener: TcpListener) -> impl Stream<Item = io::Result<TcpStream>> {
    stream::unfold(listener, |listener| async move {
        loop {
            match listener.accept().await {
                Ok((socket, _)) if socket.set_nodelay(true).is_ok() => return Some((Ok(socket), listener)),
                Ok(_) => {} // It is gone already.
                Err(_) => tokio::time::sleep(PAUSE).await,
            }
        }
    })
}
