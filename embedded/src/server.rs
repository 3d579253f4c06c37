//! The server: how it is started, asked and stopped.

use std::io;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::net::{TcpListener, ToSocketAddrs, lookup_host};
use tokio::sync::{Notify, mpsc, oneshot};

use crate::core::{Core, CoreGuard, Settings};
use crate::faults::Faults;
use crate::log::Requests;
use crate::net;
use crate::session::SessionId;
use crate::watch::WatchModes;

/// A ZooKeeper server inside this process: single, in memory, on loopback unless told otherwise.
///
/// It runs on a thread of its own and does not care which runtime started it: a server in a `static` serves every
/// test of a binary. Dropping it shuts it down.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use zookeeper_client::{Acls, Client, CreateMode};
/// use zookeeper_embedded::Server;
///
/// let server = Server::start().await?;
/// let client = Client::connect(&server.connect_string()).await?;
/// client.create("/greeting", b"hello", &CreateMode::Persistent.with_acls(Acls::anyone_all())).await?;
/// assert_eq!(client.get_data("/greeting").await?.0, b"hello");
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Server {
    shared: Arc<Shared>,
    address: SocketAddr,
    thread: Option<JoinHandle<()>>,
    /// Closed by the thread when it ends.
    ended: oneshot::Receiver<()>,
}

impl Server {
    /// Starts a server on a free port of 127.0.0.1, with the defaults of [`Builder`].
    ///
    /// # Errors
    /// When no port can be bound or no thread can be started.
    pub async fn start() -> io::Result<Self> {
        Self::builder().start().await
    }

    /// Begins a server with other than the default settings.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// Where clients connect: `127.0.0.1:port`.
    pub fn connect_string(&self) -> String {
        self.address.to_string()
    }

    /// The address it listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The handle that makes trouble.
    pub fn faults(&self) -> Faults {
        Faults::new(self.shared.clone())
    }

    /// The requests that arrived so far, in order, or since [`reset_requests`](Self::reset_requests).
    pub fn requests(&self) -> Requests {
        self.shared.core().log.snapshot()
    }

    /// Forgets the requests that arrived so far.
    pub fn reset_requests(&self) {
        self.shared.core().log.clear();
    }

    /// The sessions that live now.
    pub fn sessions(&self) -> Vec<SessionId> {
        let mut sessions: Vec<_> = self
            .shared
            .core()
            .sessions
            .by_expiry()
            .map(|(_, id, _)| SessionId(id))
            .collect();
        sessions.sort_unstable();
        sessions
    }

    /// The paths of all nodes at or below `path`, sorted: what is left behind. The server's own `/zookeeper` is only
    /// listed when `path` asks for it.
    pub fn nodes(&self, path: &str) -> Vec<String> {
        let is_inside = |node: &str, top: &str| node == top || crate::tree::is_below(node, top);
        let core = self.shared.core();
        let nodes = core.main.tree.paths().filter(|node| match path {
            "/" => !is_inside(node, "/zookeeper"),
            path => is_inside(node, path),
        });
        let mut nodes: Vec<String> = nodes.map(str::to_owned).collect();
        nodes.sort_unstable();
        nodes
    }

    /// Stops the server and waits until it has closed its port and its connections.
    pub async fn shutdown(mut self) {
        self.shared.stop.notify_one();
        let _ = (&mut self.ended).await;
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shared.stop.notify_one();
        // The thread never waits for anything but its sockets and ends at once.
        if let Some(thread) = self.thread.take() {
            if thread.thread().id() != std::thread::current().id() {
                let _ = thread.join();
            }
        }
    }
}

/// The settings of a server that is about to start.
#[derive(Clone, Debug)]
#[must_use = "a builder does nothing until `start`"]
pub struct Builder {
    address: String,
    tick_time: Duration,
    min_session_timeout: Option<Duration>,
    max_session_timeout: Option<Duration>,
    container_check_interval: Duration,
    watch_modes: WatchModes,
}

impl Default for Builder {
    fn default() -> Self {
        Self {
            address: "127.0.0.1:0".to_owned(),
            tick_time: Duration::from_millis(500),
            min_session_timeout: None,
            max_session_timeout: None,
            container_check_interval: Duration::from_secs(1),
            watch_modes: WatchModes::default(),
        }
    }
}

impl Builder {
    /// Where to listen, by default `127.0.0.1:0`: any free port.
    pub fn address(mut self, address: impl Into<String>) -> Self {
        self.address = address.into();
        self
    }

    /// The unit in which sessions are measured, by default 500 ms. A session expires at the first multiple of it after
    /// its timeout is over.
    pub fn tick_time(mut self, tick: Duration) -> Self {
        self.tick_time = tick.max(Duration::from_millis(1));
        self
    }

    /// The shortest session timeout, by default two ticks. A client that asks for less gets this.
    pub fn min_session_timeout(mut self, timeout: Duration) -> Self {
        self.min_session_timeout = Some(timeout);
        self
    }

    /// The longest session timeout, by default twenty ticks. A client that asks for more gets this.
    pub fn max_session_timeout(mut self, timeout: Duration) -> Self {
        self.max_session_timeout = Some(timeout);
        self
    }

    /// How often empty containers and outlived nodes are looked for, by default every second.
    pub fn container_check_interval(mut self, interval: Duration) -> Self {
        self.container_check_interval = interval.max(Duration::from_millis(1));
        self
    }

    /// What happens when a connection watches the same node in more than one way, by default as in ZooKeeper 3.8.
    pub fn watch_modes(mut self, modes: WatchModes) -> Self {
        self.watch_modes = modes;
        self
    }

    /// Starts the server; it serves when this returns.
    ///
    /// # Errors
    /// When the address cannot be resolved or bound or no thread can be started.
    pub async fn start(self) -> io::Result<Server> {
        let listener = bind(self.address.as_str()).await?;
        let address = listener.local_addr()?;
        let millis = |duration: Duration| i32::try_from(duration.as_millis()).unwrap_or(i32::MAX);
        let settings = Settings {
            tick: self.tick_time,
            min_session_timeout: millis(self.min_session_timeout.unwrap_or(self.tick_time * 2)),
            max_session_timeout: millis(self.max_session_timeout.unwrap_or(self.tick_time * 20)),
            watch_modes: self.watch_modes,
        };
        let (commands, inbox) = mpsc::unbounded_channel();
        let shared = Arc::new(Shared {
            core: Mutex::new(Core::new(settings, seed(address))),
            thaw: Notify::new(),
            stop: Notify::new(),
            commands,
        });
        let (ending, ended) = oneshot::channel();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let main = run(shared.clone(), listener, inbox, self.container_check_interval);
        let thread = std::thread::Builder::new()
            .name(format!("zookeeper-{}", address.port()))
            .spawn(move || {
                runtime.block_on(main);
                drop(runtime);
                drop(ending);
            })?;
        Ok(Server {
            shared,
            address,
            thread: Some(thread),
            ended,
        })
    }
}

/// What the server's thread and the handles share.
#[derive(Debug)]
pub(crate) struct Shared {
    core: Mutex<Core>,
    thaw: Notify,
    stop: Notify,
    commands: mpsc::UnboundedSender<Listen>,
}

/// Asks the server's thread to listen or not to listen.
#[derive(Debug)]
struct Listen {
    on: bool,
    done: oneshot::Sender<io::Result<()>>,
}

impl Shared {
    pub(crate) fn core(&self) -> CoreGuard<'_, Core> {
        // A predicate of the user may have panicked under the lock, before anything was changed.
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until the server is not frozen.
    pub(crate) async fn while_frozen(&self) {
        loop {
            let thaw = self.thaw.notified();
            tokio::pin!(thaw);
            // Counts as waiting before the flag is read: a thaw in between is not missed.
            thaw.as_mut().enable();
            if !self.core().is_frozen() {
                return;
            }
            thaw.await;
        }
    }

    pub(crate) fn thawed(&self) {
        self.thaw.notify_waiters();
    }

    pub(crate) async fn listen(&self, on: bool) -> io::Result<()> {
        let (done, result) = oneshot::channel();
        let gone = || io::Error::new(io::ErrorKind::NotConnected, "the server is shut down");
        self.commands.send(Listen { on, done }).map_err(|_| gone())?;
        result.await.map_err(|_| gone())?
    }
}

/// The server's thread.
async fn run(
    shared: Arc<Shared>,
    listener: StdListener,
    mut inbox: mpsc::UnboundedReceiver<Listen>,
    container_check_interval: Duration,
) {
    let Ok(address) = listener.local_addr() else { return };
    let mut accepting = listen(listener, &shared).ok();
    tokio::spawn(expire(shared.clone()));
    tokio::spawn(reap(shared.clone(), container_check_interval));
    loop {
        let Listen { on, done } = tokio::select! {
            command = inbox.recv() => match command {
                Some(command) => command,
                None => return,
            },
            () = shared.stop.notified() => return,
        };
        let result = match (on, accepting.take()) {
            (true, Some(task)) => {
                accepting = Some(task);
                Ok(())
            }
            (false, Some(task)) => {
                task.abort();
                // The port is free once the task is gone.
                let _ = task.await;
                Ok(())
            }
            (false, None) => Ok(()),
            (true, None) => match bind(address).await.and_then(|listener| listen(listener, &shared)) {
                Ok(task) => {
                    accepting = Some(task);
                    Ok(())
                }
                Err(error) => Err(error),
            },
        };
        let _ = done.send(result);
    }
}

fn listen(listener: StdListener, shared: &Arc<Shared>) -> io::Result<tokio::task::JoinHandle<()>> {
    let listener = TcpListener::from_std(listener)?;
    Ok(tokio::spawn(net::accept(listener, shared.clone())))
}

/// Binds outside of any runtime, because another one will serve it.
async fn bind(address: impl ToSocketAddrs) -> io::Result<StdListener> {
    let mut failure = io::Error::new(io::ErrorKind::InvalidInput, "no address to listen on");
    for address in lookup_host(address).await? {
        match StdListener::bind(address) {
            Ok(listener) => {
                listener.set_nonblocking(true)?;
                return Ok(listener);
            }
            Err(error) => failure = error,
        }
    }
    Err(failure)
}

async fn expire(shared: Arc<Shared>) {
    loop {
        let pause = shared.core().until_next_tick();
        tokio::time::sleep(pause).await;
        shared.core().expire_due();
    }
}

async fn reap(shared: Arc<Shared>, interval: Duration) {
    loop {
        tokio::time::sleep(interval).await;
        shared.core().reap();
    }
}

/// Keeps the session ids of servers apart, in this process and in others.
fn seed(address: SocketAddr) -> i64 {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_micros();
    i64::try_from(now & 0xff_ffff_ffff).unwrap_or(0) ^ (i64::from(address.port()) << 24)
}
