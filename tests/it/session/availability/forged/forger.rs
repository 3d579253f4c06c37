//! A link on which replies are forged, once that is switched on: pings are answered, and every transaction with an error
//! inside, which no leader gives that knows the session.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Mutex;
use zookeeper_testkit::{Op, background};

const OK: i32 = 0;
pub(super) const SESSION_EXPIRED: i32 = -112;
pub(super) const SESSION_MOVED: i32 = -118;

pub(super) struct Forger {
    pub(super) addr: SocketAddr,
    state: Arc<State>,
}

struct State {
    upstream: SocketAddr,
    /// What transactions are answered with.
    error: i32,
    forges: AtomicBool,
    forged: AtomicUsize,
}

impl Forger {
    pub(super) async fn start(upstream: SocketAddr, error: i32) -> Self {
        let state = Arc::new(State {
            upstream,
            error,
            forges: AtomicBool::new(false),
            forged: AtomicUsize::new(0),
        });
        let shared = Arc::clone(&state);
        let addr = background::run(async move {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let addr = listener.local_addr().unwrap();
            background::handle().spawn(accept(listener, shared));
            addr
        });
        Self {
            addr: addr.await,
            state,
        }
    }

    pub(super) fn forge(&self) {
        self.state.forges.store(true, Ordering::SeqCst);
    }

    pub(super) fn forged(&self) -> usize {
        self.state.forged.load(Ordering::SeqCst)
    }
}

async fn accept(listener: TcpListener, state: Arc<State>) {
    while let Ok((client, _)) = listener.accept().await {
        // A new connection would show what the session is.
        if state.forges() {
            continue;
        }
        let server = TcpStream::connect(state.upstream).await.unwrap();
        let (from_client, to_client) = client.into_split();
        let (from_server, to_server) = server.into_split();
        let to_client = Arc::new(Mutex::new(to_client));
        tokio::spawn(requests(
            from_client,
            to_server,
            Arc::clone(&to_client),
            Arc::clone(&state),
        ));
        tokio::spawn(replies(from_server, to_client, Arc::clone(&state)));
    }
}

impl State {
    fn forges(&self) -> bool {
        self.forges.load(Ordering::SeqCst)
    }

    /// The reply to a request; `None` where there is to be silence.
    fn reply(&self, xid: i32, op: Op) -> Option<Vec<u8>> {
        let mut body = Vec::new();
        match op {
            Op::Ping => {}
            Op::Multi => {
                self.forged.fetch_add(1, Ordering::SeqCst);
                // An error result of one operation, and the end of the list.
                body.extend(multi_header(-1, false, self.error));
                body.extend(self.error.to_be_bytes());
                body.extend(multi_header(-1, true, -1));
            }
            _ => return None,
        }
        let mut reply = Vec::new();
        reply.extend((16 + body.len() as i32).to_be_bytes());
        reply.extend(xid.to_be_bytes());
        reply.extend(1_i64.to_be_bytes());
        reply.extend(OK.to_be_bytes());
        reply.extend(body);
        Some(reply)
    }
}

fn multi_header(op: i32, is_last: bool, error: i32) -> Vec<u8> {
    let mut header = op.to_be_bytes().to_vec();
    header.push(u8::from(is_last));
    header.extend(error.to_be_bytes());
    header
}

async fn requests(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    back: Arc<Mutex<OwnedWriteHalf>>,
    state: Arc<State>,
) -> Option<()> {
    let mut is_connect = true;
    loop {
        let len = from.read_i32().await.ok()?;
        let mut frame = vec![0; usize::try_from(len).ok()?];
        from.read_exact(&mut frame).await.ok()?;
        if state.forges() && !is_connect {
            let number = |at: usize| i32::from_be_bytes(frame[at..at + 4].try_into().unwrap());
            if let Some(reply) = state.reply(number(0), Op::from(number(4))) {
                back.lock().await.write_all(&reply).await.ok()?;
            }
            continue;
        }
        is_connect = false;
        to.write_i32(len).await.ok()?;
        to.write_all(&frame).await.ok()?;
    }
}

/// What the server says is swallowed once replies are forged, its farewell included.
async fn replies(mut from: OwnedReadHalf, to: Arc<Mutex<OwnedWriteHalf>>, state: Arc<State>) -> Option<()> {
    let mut buffer = vec![0; 65_536];
    loop {
        let read = from.read(&mut buffer).await.unwrap_or(0);
        if state.forges() {
            if read == 0 {
                std::future::pending::<()>().await;
            }
            continue;
        }
        let mut to = to.lock().await;
        if read == 0 {
            to.shutdown().await.ok()?;
            return None;
        }
        to.write_all(&buffer[..read]).await.ok()?;
    }
}
