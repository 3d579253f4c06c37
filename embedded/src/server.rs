//! The server: how it is started, asked and stopped.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::lookup_host;

use crate::core::Settings;
use crate::faults::Faults;
use crate::log::Requests;
use crate::session::SessionId;
use crate::thread::{self, Running};
use crate::watch::WatchModes;
use crate::wire::frame::MAX_FRAME;

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
    running: Running,
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
        self.running.address.to_string()
    }

    /// The address it listens on.
    pub fn address(&self) -> SocketAddr {
        self.running.address
    }

    /// The handle that makes trouble.
    pub fn faults(&self) -> Faults {
        Faults::new(self.running.shared.clone())
    }

    /// The requests that arrived so far, in order, or since [`reset_requests`](Self::reset_requests).
    pub fn requests(&self) -> Requests {
        self.running.shared.core().log.snapshot()
    }

    /// Forgets the requests that arrived so far.
    pub fn reset_requests(&self) {
        self.running.shared.core().log.clear();
    }

    /// The sessions that live now.
    pub fn sessions(&self) -> Vec<SessionId> {
        let mut sessions: Vec<_> = self
            .running
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
        let core = self.running.shared.core();
        let nodes = core.main.tree.paths().filter(|node| match path {
            "/" => !is_inside(node, "/zookeeper"),
            path => is_inside(node, path),
        });
        let mut nodes: Vec<String> = nodes.map(str::to_owned).collect();
        nodes.sort_unstable();
        nodes
    }

    /// Stops the server until [`restart`](Self::restart): closes its port and its connections. Nodes, sessions and the log
    /// of requests stay in memory, and no session expires meanwhile, as with a real server that is down.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use zookeeper_embedded::Server;
    ///
    /// let server = Server::start().await?;
    /// server.stop().await;
    /// // What the client under test does now, it does without a server.
    /// server.restart().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn stop(&self) {
        let _ = self.running.shared.listen(false).await;
        self.running.shared.core().stopped();
        self.running.shared.thawed();
    }

    /// Starts a stopped server again, on the same port; stops it first where it runs. Each session has its full timeout
    /// again, as with a real server that comes back.
    ///
    /// # Errors
    /// When the port cannot be bound again, for instance because another program took it. The server stays stopped then.
    pub async fn restart(&self) -> io::Result<()> {
        self.stop().await;
        self.running.shared.listen(true).await?;
        self.running.shared.core().restarted();
        Ok(())
    }

    /// Stops the server and waits until it has closed its port and its connections. What it kept is gone.
    pub async fn shutdown(mut self) {
        self.running.end().await;
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
    request_limit: usize,
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
            request_limit: MAX_FRAME,
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

    /// The longest request in bytes, ZooKeeper's `jute.maxbuffer`, by default 1,048,575. At a longer one the server
    /// closes the connection.
    pub fn request_limit(mut self, bytes: usize) -> Self {
        self.request_limit = bytes;
        self
    }

    /// Starts the server; it serves when this returns.
    ///
    /// # Errors
    /// When the address cannot be resolved or bound or no thread can be started.
    pub async fn start(self) -> io::Result<Server> {
        let addresses: Vec<SocketAddr> = lookup_host(self.address.as_str()).await?.collect();
        let millis = |duration: Duration| i32::try_from(duration.as_millis()).unwrap_or(i32::MAX);
        let settings = Settings {
            tick: self.tick_time,
            min_session_timeout: millis(self.min_session_timeout.unwrap_or(self.tick_time * 2)),
            max_session_timeout: millis(self.max_session_timeout.unwrap_or(self.tick_time * 20)),
            watch_modes: self.watch_modes,
            request_limit: self.request_limit,
        };
        let running = thread::spawn(addresses, settings, self.container_check_interval).await?;
        Ok(Server { running })
    }
}
