//! Sockets: accepting connections, reading frames into the core, writing its outboxes.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::core::Step;
use crate::fourletter;
use crate::outbox::Outbox;
use crate::thread::Shared;
use crate::watch::ConnectionId;
use crate::wire::frame::next_frame;

/// A connection that has not shaken hands by then is closed.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a connection that is being closed may take to read what is still queued for it.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(2);
/// As many bytes are read at once; small, because there may be thousands of idle connections.
const READ_CHUNK: usize = 4 << 10;
/// Frames are gathered into writes of about this size.
const WRITE_CHUNK: usize = 64 << 10;

/// Accepts connections until the future is dropped.
pub(crate) async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                tokio::spawn(serve(stream, shared.clone()));
            }
            Err(error) => {
                // Out of file descriptors, or the peer is gone already: others may still be served.
                tracing::warn!(%error, "cannot accept a connection");
                sleep(Duration::from_millis(10)).await;
            }
        }
    }
}

async fn serve(stream: TcpStream, shared: Arc<Shared>) {
    let _ = stream.set_nodelay(true);
    let Ok(peer) = stream.peer_addr() else { return };
    let (id, outbox) = shared.core().open(peer.to_string(), &peer.ip().to_string());
    let _gone = Gone {
        shared: shared.clone(),
        id,
    };
    let (read, write) = stream.into_split();
    tokio::select! {
        // The reader goes first: what it makes the core say is then written in the same turn.
        biased;
        never = reader(read, id, &outbox, &shared) => match never {},
        result = writer(write, &outbox, &shared) => {
            if let Err(error) = result {
                tracing::trace!(%peer, %error, "connection broke");
            }
        }
    }
}

/// Tells the core that a connection is gone, however its task ends.
struct Gone {
    shared: Arc<Shared>,
    id: ConnectionId,
}

impl Drop for Gone {
    fn drop(&mut self) {
        self.shared.core().closed(self.id);
    }
}

/// Reads until the end, then leaves it to the writer to flush and close.
async fn reader(read: OwnedReadHalf, id: ConnectionId, outbox: &Outbox, shared: &Shared) -> std::convert::Infallible {
    if let Err(error) = read_frames(read, id, outbox, shared).await {
        tracing::debug!(%error, "connection closed");
    }
    outbox.close();
    std::future::pending().await
}

async fn read_frames(mut read: OwnedReadHalf, id: ConnectionId, outbox: &Outbox, shared: &Shared) -> io::Result<()> {
    let mut buf = BytesMut::new();
    let started = Instant::now();
    let mut greeted = false;
    let limit = shared.core().settings.request_limit;
    loop {
        shared.while_frozen().await;
        buf.reserve(READ_CHUNK);
        let len = if greeted || shared.core().is_deaf(id) {
            read.read_buf(&mut buf).await?
        } else {
            let left = HANDSHAKE_TIMEOUT.saturating_sub(started.elapsed());
            match timeout(left, read.read_buf(&mut buf)).await {
                Ok(len) => len?,
                Err(_) if shared.core().is_frozen() || shared.core().is_deaf(id) => continue,
                Err(_) => return Err(io::ErrorKind::TimedOut.into()),
            }
        };
        if len == 0 {
            return Ok(());
        }
        if shared.core().is_deaf(id) {
            buf.clear();
            continue;
        }
        if !greeted {
            if let Some(command) = fourletter::command(&buf) {
                shared.while_frozen().await;
                let text = command.answer(&mut shared.core());
                outbox.push(text.into(), None);
                return Ok(());
            }
        }
        while let Some(frame) =
            next_frame(&mut buf, limit).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?
        {
            outbox.room().await;
            loop {
                let step = shared.core().receive(id, &frame);
                match step {
                    Step::Continue => break,
                    Step::Stop => return Ok(()),
                    Step::Frozen => shared.while_frozen().await,
                }
            }
            greeted = true;
        }
        if buf.is_empty() && buf.capacity() > READ_CHUNK {
            // Gives back what a large frame took.
            buf = BytesMut::new();
        }
    }
}

async fn writer(mut write: OwnedWriteHalf, outbox: &Outbox, shared: &Shared) -> io::Result<()> {
    let mut chunk = BytesMut::new();
    while let Some(frame) = outbox.next().await {
        if let Some(at) = frame.not_before {
            tokio::select! {
                () = sleep_until(at.into()) => {}
                // What is held back is lost with the connection.
                () = outbox.closed() => break,
            }
        }
        shared.while_frozen().await;
        chunk.extend_from_slice(&frame.bytes);
        while chunk.len() < WRITE_CHUNK {
            let Some(frame) = outbox.try_next() else { break };
            chunk.extend_from_slice(&frame.bytes);
        }
        flush(&mut write, &chunk, outbox).await?;
        chunk.clear();
    }
    write.shutdown().await
}

/// Writes all, but does not wait long for a peer that does not read once the connection is to be closed.
async fn flush(write: &mut OwnedWriteHalf, chunk: &[u8], outbox: &Outbox) -> io::Result<()> {
    let written = write.write_all(chunk);
    tokio::pin!(written);
    tokio::select! {
        biased;
        result = &mut written => result,
        () = outbox.closed() => timeout(FLUSH_TIMEOUT, written).await?,
    }
}
