//! Which server the tests run on.

use std::net::{SocketAddr, ToSocketAddrs};

use tokio::sync::OnceCell;
use zookeeper_embedded::Server;

use crate::{RealServer, ServerOptions, background};

/// The kind of server behind a [`Fixture`](crate::Fixture).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backend {
    /// The one in this process, which needs nothing installed.
    Embedded,
    /// A real ZooKeeper.
    Real,
}

impl Backend {
    /// What `ZK_TEST_SERVER` names: `embedded` (the default) or `real`.
    pub fn from_env() -> Self {
        match std::env::var("ZK_TEST_SERVER").as_deref() {
            Err(_) | Ok("" | "embedded") => Self::Embedded,
            Ok("real") => Self::Real,
            Ok(other) => panic!("ZK_TEST_SERVER={other} is no server of ours; it is one of: embedded, real"),
        }
    }
}

/// A server of either backend.
#[derive(Debug)]
pub struct TestServer(Kind);

#[derive(Debug)]
enum Kind {
    Embedded(Server),
    Real(RealServer),
    /// One that runs already: it cannot be frozen or killed from here.
    External(SocketAddr),
}

impl TestServer {
    /// The one that the tests of this process share, started at the first use. With `ZK_TEST_SERVER=real`,
    /// `ZOOKEEPER_CONNECT` may name a running server to be used in its place.
    pub async fn shared() -> &'static Self {
        static SHARED: OnceCell<TestServer> = OnceCell::const_new();
        SHARED.get_or_init(|| background::run(Self::start_shared())).await
    }

    async fn start_shared() -> Self {
        let backend = Backend::from_env();
        match std::env::var("ZOOKEEPER_CONNECT")
            .ok()
            .filter(|servers| !servers.is_empty())
        {
            Some(servers) if backend == Backend::Real => Self::external(&servers),
            _ => Self::start(backend, ServerOptions::new()).await,
        }
    }

    /// Starts a server of its own. Of `options`, the embedded one takes the tick, the bounds of session timeouts, the
    /// check interval of containers and the limit of a request; the others have no meaning for it.
    pub async fn start(backend: Backend, options: ServerOptions) -> Self {
        // On the background runtime, where a server made of tasks outlives the runtime of the test.
        background::run(async move {
            match backend {
                Backend::Embedded => Self(Kind::Embedded(options.start_embedded().await)),
                Backend::Real => Self(Kind::Real(options.start().await)),
            }
        })
        .await
    }

    /// One that runs already: the first of `servers`, given as `host:port,host:port`.
    pub(crate) fn external(servers: &str) -> Self {
        Self(Kind::External(first_address(servers)))
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        match &self.0 {
            Kind::Embedded(server) => server.address(),
            Kind::Real(server) => server.addr(),
            Kind::External(addr) => *addr,
        }
    }

    /// `host:port` for clients.
    pub fn connect_string(&self) -> String {
        self.addr().to_string()
    }

    /// Makes it silent, with its connections open and new ones accepted, until [`thaw`](Self::thaw).
    pub async fn freeze(&self) {
        match &self.0 {
            Kind::Embedded(server) => server.faults().freeze(),
            Kind::Real(server) => server.freeze().await,
            Kind::External(_) => self.cannot("freeze"),
        }
    }

    /// Continues it.
    pub async fn thaw(&self) {
        match &self.0 {
            Kind::Embedded(server) => server.faults().thaw(),
            Kind::Real(server) => server.thaw().await,
            Kind::External(_) => self.cannot("thaw"),
        }
    }

    /// Ends it without a farewell, frozen or not. Both kinds keep nodes and sessions, and give each session its full timeout
    /// again when they are back.
    pub async fn kill(&self) {
        match &self.0 {
            Kind::Embedded(server) => server.stop().await,
            Kind::Real(server) => server.kill().await,
            Kind::External(_) => self.cannot("kill"),
        }
    }

    /// Ends it if it runs and starts it again with the same port and data. Returns when it serves.
    pub async fn restart(&self) {
        match &self.0 {
            Kind::Embedded(server) => {
                let restarted = server.restart().await;
                restarted.unwrap_or_else(|err| panic!("cannot listen on {} again: {err}", self.addr()));
            }
            Kind::Real(server) => server.restart().await,
            Kind::External(_) => self.cannot("restart"),
        }
    }

    /// The embedded server, with its faults and its request log, if it is one.
    pub fn embedded(&self) -> Option<&Server> {
        match &self.0 {
            Kind::Embedded(server) => Some(server),
            Kind::Real(_) | Kind::External(_) => None,
        }
    }

    /// The process behind it, if it is a real server of ours.
    pub fn real(&self) -> Option<&RealServer> {
        match &self.0 {
            Kind::Real(server) => Some(server),
            Kind::Embedded(_) | Kind::External(_) => None,
        }
    }

    fn cannot(&self, verb: &str) -> ! {
        panic!("cannot {verb} the server of ZOOKEEPER_CONNECT: such tests call Fixture::with_own_server")
    }
}

fn first_address(servers: &str) -> SocketAddr {
    let first = servers.split([',', '/']).next().unwrap_or_default();
    let resolved = first.to_socket_addrs().ok().and_then(|mut addresses| addresses.next());
    resolved.unwrap_or_else(|| panic!("{servers:?} does not start with host:port: is ZOOKEEPER_CONNECT right?"))
}
