//! One connection through the proxy: two directions, each with a reader that stamps frames with their time of arrival
//! and a writer that lets them pass, so that a delay delays without slowing the flow.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::fault::{Armed, Injection};
use super::frame::{Request, reply_xid};
use super::{Op, Shared};
use crate::{background, lock};

/// Which way a frame goes. The numbers index the settings per direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Direction {
    Requests = 0,
    Replies = 1,
}

/// What happens to a frame.
enum Verdict {
    Pass,
    /// It passes when the black hole that begins with it has been healed.
    Silence,
    Cut,
}

/// A frame with its length, or the end of the stream, and the time at which it may pass.
type Arrival = (Instant, Option<Vec<u8>>);

/// Connects `client` to the server and carries frames until an end closes or the proxy cuts.
pub(super) fn spawn(client: TcpStream, shared: Arc<Shared>) {
    // Held until the link is registered: a cut must find it, and its own end must not come first.
    let registry = Arc::clone(&shared);
    let mut state = lock(&registry.state);
    state.accepted.push(std::time::Instant::now());
    state.next_id += 1;
    let id = state.next_id;
    let task = background::handle().spawn(async move {
        let _deregister = Deregister(id, Arc::clone(&shared));
        carry(client, shared).await;
    });
    state.links.insert(id, task.abort_handle());
}

struct Deregister(u64, Arc<Shared>);

impl Drop for Deregister {
    fn drop(&mut self) {
        lock(&self.1.state).links.remove(&self.0);
    }
}

async fn carry(client: TcpStream, shared: Arc<Shared>) {
    let Ok(server) = TcpStream::connect(shared.upstream).await else {
        return;
    };
    for stream in [&client, &server] {
        let _ = stream.set_nodelay(true);
    }
    let (client_reads, client_writes) = client.into_split();
    let (server_reads, server_writes) = server.into_split();
    let link = Link {
        shared,
        awaited: Mutex::default(),
    };
    tokio::select! {
        () = link.direction(Direction::Requests, client_reads, server_writes) => {}
        () = link.direction(Direction::Replies, server_reads, client_writes) => {}
    }
}

/// One connection.
struct Link {
    shared: Arc<Shared>,
    /// Faults whose request has passed on this connection, with its xid.
    awaited: Mutex<Vec<(i32, Armed)>>,
}

impl Link {
    /// Returns when the connection has to be closed.
    async fn direction(&self, direction: Direction, from: OwnedReadHalf, to: OwnedWriteHalf) {
        let (arrivals, queue) = mpsc::unbounded_channel();
        tokio::select! {
            () = self.read(direction, from, arrivals) => {}
            () = self.write(direction, queue, to) => {}
        }
    }

    /// Never returns: the writer decides when an end of stream has passed too.
    async fn read(&self, direction: Direction, mut from: OwnedReadHalf, arrivals: mpsc::UnboundedSender<Arrival>) {
        let mut buffer = Vec::new();
        loop {
            let read = from.read_buf(&mut buffer).await.unwrap_or(0);
            let due = Instant::now() + self.delay(direction);
            while let Some(len) = frame_len(&buffer) {
                let rest = buffer.split_off(len);
                let _ = arrivals.send((due, Some(std::mem::replace(&mut buffer, rest))));
            }
            if read == 0 {
                let _ = arrivals.send((due, Some(buffer)));
                let _ = arrivals.send((due, None));
                return std::future::pending().await;
            }
        }
    }

    async fn write(&self, direction: Direction, mut queue: mpsc::UnboundedReceiver<Arrival>, mut to: OwnedWriteHalf) {
        let mut first = true;
        while let Some((due, frame)) = queue.recv().await {
            tokio::time::sleep_until(due).await;
            self.open(direction).await;
            match self.judge(direction, frame.as_deref(), first) {
                Verdict::Pass => {}
                Verdict::Silence => {
                    self.open(direction).await;
                    self.count(direction, frame.as_deref());
                }
                Verdict::Cut => return,
            }
            first = false;
            let passed = match frame {
                Some(frame) => to.write_all(&frame).await,
                // The server answers what it got before, and closes.
                None if direction == Direction::Requests => to.shutdown().await,
                None => return,
            };
            if passed.is_err() {
                return;
            }
        }
    }

    fn delay(&self, direction: Direction) -> Duration {
        lock(&self.shared.state).delays[direction as usize]
    }

    /// Waits while this direction is silenced.
    async fn open(&self, direction: Direction) {
        let mut holes = self.shared.holes.subscribe();
        let _ = holes.wait_for(|holes| !holes[direction as usize]).await;
    }

    fn judge(&self, direction: Direction, frame: Option<&[u8]>, first: bool) -> Verdict {
        match (direction, frame) {
            // The first frame of each direction is the connect, which has no header.
            _ if first => Verdict::Pass,
            (_, None) => Verdict::Pass,
            (Direction::Requests, Some(frame)) => self.judge_request(frame),
            (Direction::Replies, Some(frame)) => self.judge_reply(frame),
        }
    }

    fn judge_request(&self, frame: &[u8]) -> Verdict {
        let Some(request) = self.request(frame) else {
            return Verdict::Pass;
        };
        let mut state = lock(&self.shared.state);
        // Every fault counts the request, also where another one strikes at it.
        let due: Vec<bool> = state.armed.iter_mut().map(|armed| armed.is_due(&request)).collect();
        if let Some(index) = due.iter().position(|due| *due) {
            let armed = state.armed.remove(index);
            match armed.injection {
                Injection::CutBefore => {
                    armed.fire();
                    return Verdict::Cut;
                }
                Injection::SilenceBefore => {
                    self.silence(&armed);
                    return Verdict::Silence;
                }
                Injection::LoseReply | Injection::SilenceReply => lock(&self.awaited).push((request.xid, armed)),
            }
        }
        if !state.forgets {
            state.passed.push(request);
        }
        Verdict::Pass
    }

    fn judge_reply(&self, frame: &[u8]) -> Verdict {
        let xid = frame.get(4..).and_then(reply_xid);
        let mut awaited = lock(&self.awaited);
        let Some(index) = awaited.iter().position(|(awaited, _)| Some(*awaited) == xid) else {
            return Verdict::Pass;
        };
        let (_, armed) = awaited.remove(index);
        if armed.injection == Injection::SilenceReply {
            self.silence(&armed);
            return Verdict::Silence;
        }
        armed.fire();
        Verdict::Cut
    }

    /// Counts a request that was held back at first.
    fn count(&self, direction: Direction, frame: Option<&[u8]>) {
        if direction == Direction::Requests {
            lock(&self.shared.state)
                .passed
                .extend(frame.and_then(|frame| self.request(frame)));
        }
    }

    /// The request in `frame`, unless it is a ping.
    fn request(&self, frame: &[u8]) -> Option<Request> {
        let request = Request::parse(frame.get(4..)?, &self.shared.chroot)?;
        (request.op != Op::Ping).then_some(request)
    }

    fn silence(&self, armed: &Armed) {
        self.shared.holes.send_replace([true; 2]);
        armed.fire();
    }
}

/// Length of the first frame in `buffer` with its four bytes of length, once all of it is there.
fn frame_len(buffer: &[u8]) -> Option<usize> {
    /// Four-letter words have no length: their letters would be one of a gigabyte.
    const TOO_LONG: usize = 0x2000_0000;
    let len = usize::try_from(u32::from_be_bytes(buffer.get(..4)?.try_into().ok()?)).ok()?;
    if len > TOO_LONG {
        return Some(buffer.len());
    }
    (buffer.len() >= 4 + len).then_some(4 + len)
}
