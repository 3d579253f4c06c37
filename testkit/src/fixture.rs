//! What one test gets: a chroot of its own on a server, and means to look at it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use zookeeper_client::{Acls, Client, CreateMode, Error, SessionInfo, Stat};

use crate::{Backend, Proxy, ServerOptions, TestServer, background, eventually, eventually_some};

/// How long [`Fixture::assert_no_nodes_left`] waits for what is still being removed.
const CLEAN_UP_PATIENCE: Duration = Duration::from_secs(10);

/// How long an inspection tries again on a server that is being restarted.
const RECONNECT_PATIENCE: Duration = Duration::from_secs(30);

/// The inspecting session outlasts a server that is frozen for longer than the session under test.
const RAW_SESSION_TIMEOUT: Duration = Duration::from_secs(40);

/// A server that is starting may leave a connect unanswered. The client's own patience, 2/5 of the session, is too long.
const RAW_CONNECTION_TIMEOUT: Duration = Duration::from_secs(4);

/// A fresh chroot `/t-<uuid>` for one test.
#[derive(Debug)]
pub struct Fixture {
    name: String,
    chroot: String,
    server: Server,
    /// `host:port` of all servers, comma separated.
    servers: String,
    raw: Client,
}

#[derive(Debug)]
enum Server {
    Shared(&'static TestServer),
    Own(Box<TestServer>),
}

impl Fixture {
    /// A fresh chroot on the server that the tests of this process share. `name` is said in failures.
    pub async fn new(name: &str) -> Self {
        Self::on(name, Server::Shared(TestServer::shared().await)).await
    }

    /// A fresh chroot on a server of its own, to be frozen, killed and restarted.
    pub async fn with_own_server(name: &str) -> Self {
        Self::with_own_server_options(name, ServerOptions::new()).await
    }

    /// As [`with_own_server`](Self::with_own_server), with `options`.
    pub async fn with_own_server_options(name: &str, options: ServerOptions) -> Self {
        Self::on(
            name,
            Server::Own(Box::new(TestServer::start(Backend::from_env(), options).await)),
        )
        .await
    }

    /// A fresh chroot on an embedded server of its own, whatever `ZK_TEST_SERVER` says: for faults that only it has.
    pub async fn with_embedded_server(name: &str) -> Self {
        let server = TestServer::start(Backend::Embedded, ServerOptions::new()).await;
        Self::on(name, Server::Own(Box::new(server))).await
    }

    /// A fresh chroot on the ensemble `servers`, given as `host:port,host:port`, which runs already.
    pub async fn on_ensemble(name: &str, servers: &str) -> Self {
        let first = Server::Own(Box::new(TestServer::external(servers)));
        Self::on_servers(name, first, servers.to_owned()).await
    }

    async fn on(name: &str, server: Server) -> Self {
        let servers = server.get().connect_string();
        Self::on_servers(name, server, servers).await
    }

    async fn on_servers(name: &str, server: Server, servers: String) -> Self {
        let chroot = format!("/t-{}", uuid::Uuid::new_v4().simple());
        let connector = Client::connector()
            .with_session_timeout(RAW_SESSION_TIMEOUT)
            .with_connection_timeout(RAW_CONNECTION_TIMEOUT);
        let root = connect(servers.clone(), connector).await.unwrap_or_else(|err| {
            panic!("{name}: no session on the ZooKeeper at {servers}: {err}; `scripts/test.sh` brings one up")
        });
        let options = CreateMode::Persistent.with_acls(Acls::anyone_all());
        root.create(&chroot, name.as_bytes(), &options)
            .await
            .unwrap_or_else(|err| panic!("{name}: no chroot: {err}"));
        let raw = root.chroot(chroot.clone()).expect("the chroot is a valid path");
        Self {
            name: name.to_owned(),
            chroot,
            server,
            servers,
            raw,
        }
    }

    /// `host:port/chroot` for the client under test.
    pub fn connect_string(&self) -> String {
        format!("{}{}", self.servers, self.chroot)
    }

    /// The chroot.
    pub fn chroot(&self) -> &str {
        &self.chroot
    }

    /// The server behind it.
    pub fn server(&self) -> &TestServer {
        self.server.get()
    }

    /// A client in the chroot, to inspect and to interfere with. Its session is its own and lasts as long as the fixture.
    pub fn raw(&self) -> &Client {
        &self.raw
    }

    /// One more client in the chroot, with a session of its own.
    pub async fn connect(&self) -> Client {
        self.connect_with(Client::connector()).await
    }

    /// One more client in the chroot, as `connector` has it.
    pub async fn connect_with(&self, connector: zookeeper_client::Connector) -> Client {
        let connected = connect(self.connect_string(), connector).await;
        connected.unwrap_or_else(|err| panic!("{}: no further session: {err}", self.name))
    }

    /// A proxy in front of the server, and `host:port/chroot` through it.
    pub async fn proxied(&self) -> (Proxy, String) {
        let proxy = Proxy::start_with_chroot(self.server().addr(), &self.chroot).await;
        let connect_string = format!("{}{}", proxy.addr(), self.chroot);
        (proxy, connect_string)
    }

    /// Expires a session behind its client's back. Returns when the server has removed its ephemeral nodes.
    ///
    /// A second client takes the session over and closes it. The first one may take it back in between, so this is
    /// repeated until the server no longer knows the session.
    pub async fn expire(&self, session: &SessionInfo) {
        loop {
            let connector = Client::connector().with_session(session.clone()).with_fail_eagerly();
            match connect(self.servers.clone(), connector).await {
                Ok(client) => drop(client),
                Err(Error::SessionExpired) => break,
                Err(Error::ConnectionLoss | Error::Timeout | Error::NoHosts) => {}
                Err(err) => panic!("{}: cannot take over session {}: {err}", self.name, session.id()),
            }
            background::sleep(Duration::from_millis(20)).await;
        }
        // The session is refused as soon as its end is queued; a sync passes after that.
        self.inspect("sync", || self.raw.sync("/"))
            .await
            .unwrap_or_else(|err| self.fail("cannot sync", &err));
    }

    /// Names of the children of `path`, sorted; none if there is no such node.
    pub async fn children(&self, path: &str) -> Vec<String> {
        match self.inspect("list", || self.raw.list_children(path)).await {
            Ok(mut children) => {
                children.sort();
                children
            }
            Err(Error::NoNode) => Vec::new(),
            Err(err) => self.fail(&format!("cannot list {path}"), &err),
        }
    }

    /// All nodes below the chroot.
    pub async fn tree(&self) -> BTreeMap<String, Stat> {
        let mut tree = BTreeMap::new();
        let mut unvisited = vec!["/".to_owned()];
        while let Some(parent) = unvisited.pop() {
            for child in self.children(&parent).await {
                let path = format!("{}/{child}", parent.trim_end_matches('/'));
                match self.inspect("stat", || self.raw.check_stat(&path)).await {
                    Ok(Some(stat)) => _ = tree.insert(path.clone(), stat),
                    Ok(None) => continue,
                    Err(err) => self.fail(&format!("cannot look at {path}"), &err),
                }
                unvisited.push(path);
            }
        }
        tree
    }

    /// Paths of all ephemeral nodes below the chroot, with the session that owns each.
    pub async fn ephemerals(&self) -> BTreeMap<String, i64> {
        let tree = self.tree().await.into_iter();
        tree.filter(|(_, stat)| stat.ephemeral_owner != 0)
            .map(|(path, stat)| (path, stat.ephemeral_owner))
            .collect()
    }

    /// Waits until no ephemeral node is left in the chroot and `dirs` have no children, for ten seconds at most; then
    /// panics with what is left.
    pub async fn assert_no_nodes_left(&self, dirs: &[&str]) {
        self.assert_no_nodes_left_within(CLEAN_UP_PATIENCE, dirs).await;
    }

    /// [`assert_no_nodes_left`](Self::assert_no_nodes_left) with another patience.
    pub async fn assert_no_nodes_left_within(&self, patience: Duration, dirs: &[&str]) {
        let started = std::time::Instant::now();
        loop {
            let left = self.left(dirs).await;
            if left.is_empty() {
                return;
            }
            assert!(
                started.elapsed() < patience,
                "{}: left behind after {patience:?}:\n{left}",
                self.name
            );
            background::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Asks again while the connection is lost, as it is for a moment after a restart of the server.
    async fn inspect<T, Fut>(&self, what: &str, ask: impl Fn() -> Fut) -> Result<T, Error>
    where
        Fut: Future<Output = Result<T, Error>>,
    {
        let answered = eventually_some(RECONNECT_PATIENCE, format!("{}: {what}", self.name), || {
            let answer = ask();
            async { Some(answer.await).filter(|answer| !matches!(answer, Err(Error::ConnectionLoss))) }
        });
        answered.await
    }

    fn fail(&self, what: &str, err: &Error) -> ! {
        panic!("{}: {what}: {err}", self.name)
    }

    async fn left(&self, dirs: &[&str]) -> String {
        let mut left = String::new();
        for (path, stat) in self.tree().await {
            let in_dirs = dirs
                .iter()
                .any(|dir| path.strip_prefix(*dir).is_some_and(|rest| rest.starts_with('/')));
            if stat.ephemeral_owner != 0 {
                let _ = writeln!(
                    left,
                    "  {path} (czxid {}, session {:#x})",
                    stat.czxid, stat.ephemeral_owner
                );
            } else if in_dirs {
                let _ = writeln!(left, "  {path} (czxid {}, not ephemeral)", stat.czxid);
            }
        }
        left
    }

    /// Waits until `path` has `count` children.
    pub async fn until_children(&self, path: &str, count: usize) {
        let what = format!("{}: {path} has {count} children", self.name);
        eventually(CLEAN_UP_PATIENCE, what, || async {
            self.children(path).await.len() == count
        })
        .await;
    }
}

impl Server {
    fn get(&self) -> &TestServer {
        match self {
            Self::Shared(server) => server,
            Self::Own(server) => server,
        }
    }
}

/// Connects on the background runtime, where the session is served then, whatever the test does with its own runtime.
async fn connect(servers: String, connector: zookeeper_client::Connector) -> Result<Client, Error> {
    background::run(async move { connector.connect(&servers).await }).await
}
