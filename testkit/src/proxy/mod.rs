//! A TCP proxy in front of a server, which knows enough of ZooKeeper's protocol to count requests and to strike at one.
//!
//! * `op`, `frame`: what passes
//! * `counts`: what has passed
//! * `fault`: what shall not pass
//! * `link`: one connection, both directions

mod counts;
mod fault;
mod frame;
mod link;
mod op;

pub use counts::Counts;
pub use fault::{Fault, Injection, When};
pub use frame::Request;
pub use op::Op;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinHandle};

use crate::{background, lock, port};
use fault::Armed;
use link::Direction;

/// A proxy on 127.0.0.1 in front of one server. It runs on the testkit's own runtime and ends on drop.
///
/// One client per proxy, and its counts are that client's requests.
#[derive(Debug)]
pub struct Proxy {
    port: u16,
    shared: Arc<Shared>,
    listener: tokio::sync::Mutex<Option<JoinHandle<()>>>,
}

impl Proxy {
    /// Starts a proxy in front of `upstream`.
    pub async fn start(upstream: SocketAddr) -> Self {
        Self::start_with_chroot(upstream, "").await
    }

    /// Starts a proxy that leaves `chroot` off the paths in its counts and faults, as the client does.
    pub async fn start_with_chroot(upstream: SocketAddr, chroot: &str) -> Self {
        let shared = Arc::new(Shared {
            upstream,
            chroot: chroot.trim_end_matches('/').to_owned(),
            state: Mutex::default(),
            holes: watch::Sender::new([false; 2]),
        });
        for _ in 0..5 {
            let port = port::free();
            if let Ok(listener) = listen(port, &shared).await {
                return Self {
                    port,
                    shared,
                    listener: tokio::sync::Mutex::new(Some(listener)),
                };
            }
        }
        panic!("lost the race for a free port five times in a row");
    }

    /// Where the proxy listens.
    pub fn addr(&self) -> SocketAddr {
        port::local(self.port)
    }

    /// `host:port` of the proxy.
    pub fn connect_string(&self) -> String {
        self.addr().to_string()
    }

    /// Closes all connections now. New ones are accepted.
    pub fn cut(&self) {
        self.shared.cut();
    }

    /// Closes all connections and refuses new ones, like a host without a server.
    pub async fn refuse(&self) {
        if let Some(listener) = self.listener.lock().await.take() {
            listener.abort();
            // Joined, because the port is closed only when the task has been dropped.
            let _ = listener.await;
        }
        self.cut();
    }

    /// Accepts connections again after [`refuse`](Self::refuse).
    pub async fn accept(&self) {
        let mut listener = self.listener.lock().await;
        if listener.is_none() {
            *listener = Some(
                listen(self.port, &self.shared)
                    .await
                    .expect("the proxy's port is free to be taken again"),
            );
        }
    }

    /// Silences both directions: connections stay open and new ones are accepted, but nothing passes, not even a close.
    /// What was sent meanwhile passes at [`heal`](Self::heal), as TCP would have it.
    pub fn black_hole(&self) {
        self.shared.holes.send_replace([true; 2]);
    }

    /// Silences only what the server sends: requests are applied, and no reply comes.
    pub fn black_hole_replies(&self) {
        self.shared.holes.send_replace([false, true]);
    }

    /// Ends a black hole.
    pub fn heal(&self) {
        self.shared.holes.send_replace([false; 2]);
    }

    /// Delays each direction by this much from now on; zero ends it. A round trip takes twice as long.
    pub fn delay(&self, delay: Duration) {
        lock(&self.shared.state).delays = [delay; 2];
    }

    /// Delays what the client sends.
    pub fn delay_requests(&self, delay: Duration) {
        lock(&self.shared.state).delays[Direction::Requests as usize] = delay;
    }

    /// Delays what the server sends.
    pub fn delay_replies(&self, delay: Duration) {
        lock(&self.shared.state).delays[Direction::Replies as usize] = delay;
    }

    /// Does `injection` once, at the request that `when` describes.
    pub fn inject(&self, when: When, injection: Injection) -> Fault {
        let mut state = lock(&self.shared.state);
        state.next_id += 1;
        let id = state.next_id;
        let (armed, fired) = Armed::new(id, when, injection);
        state.described.insert(id, format!("{injection:?} at {:?}", armed.when));
        state.armed.push(armed);
        Fault {
            id,
            fired,
            shared: Arc::clone(&self.shared),
        }
    }

    /// [`Injection::LoseReply`]: forwards the request, then cuts the connection before its reply passes.
    pub fn lose_reply(&self, when: When) -> Fault {
        self.inject(when, Injection::LoseReply)
    }

    /// [`Injection::CutBefore`]: cuts the connection before the request is forwarded.
    pub fn cut_before(&self, when: When) -> Fault {
        self.inject(when, Injection::CutBefore)
    }

    /// The requests forwarded to the server since the start or the last reset.
    pub fn requests(&self) -> Counts {
        self.shared.counts()
    }

    /// Forgets the requests and the accepted connections counted so far.
    pub fn reset_counts(&self) {
        let mut state = lock(&self.shared.state);
        state.passed.clear();
        state.accepted.clear();
    }

    /// From now on no request is remembered: where millions pass, and memory is measured.
    pub fn forget_requests(&self) {
        let mut state = lock(&self.shared.state);
        state.passed = Vec::new();
        state.forgets = true;
    }

    /// When each connection was accepted, since the start or the last [`reset_counts`](Self::reset_counts).
    pub fn accepted(&self) -> Vec<Instant> {
        lock(&self.shared.state).accepted.clone()
    }

    /// How many connections are open.
    pub fn connections(&self) -> usize {
        lock(&self.shared.state).links.len()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        if let Some(listener) = self.listener.get_mut().take() {
            listener.abort();
        }
        self.cut();
    }
}

async fn listen(port: u16, shared: &Arc<Shared>) -> std::io::Result<JoinHandle<()>> {
    let shared = Arc::clone(shared);
    background::run(async move {
        let listener = TcpListener::bind(port::local(port)).await?;
        Ok(background::handle().spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                link::spawn(client, Arc::clone(&shared));
            }
        }))
    })
    .await
}

/// What the connections of a proxy have in common.
#[derive(Debug)]
struct Shared {
    upstream: SocketAddr,
    chroot: String,
    state: Mutex<State>,
    /// Whether requests and replies are held back.
    holes: watch::Sender<[bool; 2]>,
}

#[derive(Debug, Default)]
struct State {
    delays: [Duration; 2],
    passed: Vec<Request>,
    forgets: bool,
    accepted: Vec<Instant>,
    armed: Vec<Armed>,
    described: HashMap<u64, String>,
    links: HashMap<u64, AbortHandle>,
    next_id: u64,
}

impl Shared {
    fn cut(&self) {
        let links: Vec<AbortHandle> = lock(&self.state).links.drain().map(|(_, link)| link).collect();
        links.iter().for_each(AbortHandle::abort);
    }

    fn counts(&self) -> Counts {
        Counts::new(lock(&self.state).passed.clone())
    }

    fn describe(&self, fault: u64) -> String {
        lock(&self.state).described.get(&fault).cloned().unwrap_or_default()
    }

    fn disarm(&self, fault: u64) {
        lock(&self.state).armed.retain(|armed| armed.id != fault);
    }
}
