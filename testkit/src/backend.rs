//! Which server the tests run on.

use std::net::{SocketAddr, ToSocketAddrs};

use tokio::sync::OnceCell;

use crate::{RealServer, ServerOptions, background};

/// The kind of server behind a [`Fixture`](crate::Fixture).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backend {
    /// A real ZooKeeper.
    Real,
}

impl Backend {
    /// What `ZK_TEST_SERVER` names: `real` (the default).
    pub fn from_env() -> Self {
        match std::env::var("ZK_TEST_SERVER").as_deref() {
            Err(_) | Ok("" | "real") => Self::Real,
            Ok(other) => panic!("ZK_TEST_SERVER={other} is no server of ours; it is one of: real"),
        }
    }
}

/// A server of either backend.
#[derive(Debug)]
pub struct TestServer(Kind);

#[derive(Debug)]
enum Kind {
    Real(RealServer),
    /// One that somebody else runs: it cannot be frozen or killed from here.
    External(SocketAddr),
}

impl TestServer {
    /// The one that the tests of this process share, started at the first use. `ZOOKEEPER_CONNECT` may name a running
    /// real server to be used in its place.
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
            Some(servers) if backend == Backend::Real => Self(Kind::External(first_address(&servers))),
            _ => Self::start(backend, ServerOptions::new()).await,
        }
    }

    /// Starts a server of its own. `options` are for the real one.
    pub async fn start(backend: Backend, options: ServerOptions) -> Self {
        // On the background runtime, where a server made of tasks outlives the runtime of the test.
        background::run(async move {
            match backend {
                Backend::Real => Self(Kind::Real(options.start().await)),
            }
        })
        .await
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        match &self.0 {
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
        self.own("freeze").freeze().await;
    }

    /// Continues it.
    pub async fn thaw(&self) {
        self.own("thaw").thaw().await;
    }

    /// Ends it without a farewell.
    pub async fn kill(&self) {
        self.own("kill").kill().await;
    }

    /// Ends it if it runs and starts it again with the same port and data. Returns when it serves.
    pub async fn restart(&self) {
        self.own("restart").restart().await;
    }

    /// The process behind it, if it is a real server of ours.
    pub fn real(&self) -> Option<&RealServer> {
        match &self.0 {
            Kind::Real(server) => Some(server),
            Kind::External(_) => None,
        }
    }

    fn own(&self, verb: &str) -> &RealServer {
        self.real().unwrap_or_else(|| {
            panic!("cannot {verb} the server of ZOOKEEPER_CONNECT: such tests call Fixture::with_own_server")
        })
    }
}

fn first_address(servers: &str) -> SocketAddr {
    let first = servers.split([',', '/']).next().unwrap_or_default();
    let resolved = first.to_socket_addrs().ok().and_then(|mut addresses| addresses.next());
    resolved.unwrap_or_else(|| panic!("ZOOKEEPER_CONNECT={servers} does not start with host:port"))
}
