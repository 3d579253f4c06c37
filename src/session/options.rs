//! How to connect.

use std::time::Duration;

use bytes::Bytes;
use tokio::runtime::Handle;
use zookeeper_client as zk;

use super::cluster::Cluster;
use super::coordinator::Coordinator;
use super::lease::LeaseClock;
use crate::error::classify;

/// The largest identity, in bytes. It is written into every contender's node.
const IDENTITY_LIMIT: usize = 64 * 1024;

/// What a server takes by default: requests of up to 1 MiB less one byte (`jute.maxbuffer`), less some room for path, ACL
/// and the transaction around the data.
pub(super) const DEFAULT_REQUEST_LIMIT: usize = 1_040_000;

/// What our own small requests need.
const SMALLEST_REQUEST_LIMIT: usize = 4 * 1024;

/// Options of a connection to an ensemble.
///
/// ```no_run
/// use std::time::Duration;
/// use zookeeper_recipes::ConnectOptions;
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let zk = ConnectOptions::new()
///     .session_timeout(Duration::from_secs(8))
///     .auth("digest", "payments:secret")
///     .identity("settlement-7")
///     .connect("zk1:2181,zk2:2181,zk3:2181/payments")
///     .await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
#[must_use = "options do nothing until `connect` is called"]
pub struct ConnectOptions {
    pub(super) session_timeout: Duration,
    pub(super) lease_margin: Option<Duration>,
    pub(super) auths: Vec<Auth>,
    pub(super) acls: Vec<zk::Acl>,
    pub(super) identity: Bytes,
    /// Whether the user chose the identity.
    pub(super) has_own_identity: bool,
    pub(super) request_limit: usize,
    pub(super) max_sessions: usize,
    pub(super) long_wait: Duration,
    pub(super) line_limit: usize,
    pub(super) runtime: Option<Handle>,
    pub(super) lazy: bool,
    pub(super) create_chroot: bool,
    #[cfg(feature = "tls")]
    pub(super) tls: Option<zk::TlsOptions>,
    #[cfg(feature = "sasl")]
    pub(super) sasl: Option<zk::SaslOptions>,
}

/// One credential; its secret is not printed.
#[derive(Clone)]
pub(super) struct Auth {
    scheme: String,
    credential: Vec<u8>,
}

impl std::fmt::Debug for Auth {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Auth")
            .field("scheme", &self.scheme)
            .finish_non_exhaustive()
    }
}

impl Default for ConnectOptions {
    fn default() -> Self {
        Self::new()
    }
}

impl ConnectOptions {
    /// A session timeout of 10 seconds, no credentials, nodes that everybody may use.
    pub fn new() -> Self {
        Self {
            session_timeout: Duration::from_secs(10),
            lease_margin: None,
            auths: Vec::new(),
            acls: zk::Acls::anyone_all().to_vec(),
            identity: default_identity(),
            has_own_identity: false,
            request_limit: DEFAULT_REQUEST_LIMIT,
            max_sessions: 16,
            long_wait: Duration::from_secs(30),
            line_limit: usize::MAX,
            runtime: None,
            lazy: false,
            create_chroot: false,
            #[cfg(feature = "tls")]
            tls: None,
            #[cfg(feature = "sasl")]
            sasl: None,
        }
    }

    /// The session timeout to ask for; the ensemble may grant another one within its bounds (by default 2 to 20 of
    /// its ticks). How long a crashed holder blocks others; how long a hold outlives a cut connection is a third to a half of
    /// it.
    pub fn session_timeout(mut self, timeout: Duration) -> Self {
        self.session_timeout = timeout;
        self
    }

    /// How much earlier than the session timeout a hold ends: at least half a tick of the ensemble, and something
    /// for the rates of the clocks. By default 26 % of the negotiated timeout, which is enough for every tick that a
    /// server with default bounds can have; smaller values let holds survive longer cuts. At most 30 %.
    pub fn lease_margin(mut self, margin: Duration) -> Self {
        self.lease_margin = Some(margin);
        self
    }

    /// Adds a credential, for example `("digest", "user:password")`. Every new session presents it again.
    pub fn auth(mut self, scheme: impl Into<String>, credential: impl Into<Vec<u8>>) -> Self {
        self.auths.push(Auth {
            scheme: scheme.into(),
            credential: credential.into(),
        });
        self
    }

    /// The ACL of every node that recipes create, parents included. By default anyone may do anything.
    pub fn acls(mut self, acls: impl Into<Vec<zk::Acl>>) -> Self {
        self.acls = acls.into();
        self
    }

    /// Sets the identity of this process: text or bytes, at most 64 KiB. The default is host name and process id.
    ///
    /// It is the data of the node of each of our contenders. Others see it in
    /// [`contenders`](crate::FairLock::contenders).
    ///
    /// An identity that stays the same over a restart lets a process recognise the node of its former session, behind
    /// which it waits until that session expires: the log says so, for locks, elections and all that stands in a line,
    /// during the first two session timeouts. That node is never taken over and never removed, since the process that
    /// looks dead may be frozen. For groups see [`join_when_free`](crate::Group::join_when_free).
    pub fn identity(mut self, identity: impl Into<Vec<u8>>) -> Self {
        self.identity = Bytes::from(identity.into());
        self.has_own_identity = true;
        self
    }

    /// Sets the largest request, in bytes of paths and data. The default is 1,040,000, which fits the default
    /// `jute.maxbuffer` of a server. Set it to a little less than that of yours.
    ///
    /// A server closes the connection at a larger request. With this limit, the call fails with
    /// [`Error::TooLarge`](crate::Error::TooLarge) instead, and nothing is sent.
    pub fn request_limit(mut self, bytes: usize) -> Self {
        self.request_limit = bytes;
        self
    }

    /// Sets how many sessions the coordinator may open that own nodes. The default is 16.
    ///
    /// One is enough for most processes, and is all that they have. Its nodes take at most 786,432 bytes of paths: some
    /// 6,500 places with paths of 60 bytes (ZOOKEEPER-4306). What exceeds that gets a further session, by itself and
    /// unseen. Each is a connection, of which a server takes 60 from one address by default (`maxClientCnxns`). One that
    /// owns nothing is closed after a session timeout.
    ///
    /// A session watches some 800 of these nodes itself. All others are watched by one more session, which owns nothing
    /// and is replaced when it loses its server. It sends a `sync` five times per session timeout.
    ///
    /// Each lock, election, permit, member or claim has all its nodes in one of them. Beyond this many sessions a place is
    /// refused with [`Error::SessionsFull`](crate::Error::SessionsFull).
    pub fn max_sessions(mut self, sessions: usize) -> Self {
        self.max_sessions = sessions;
        self
    }

    /// Sets how long a wait for a lock, a permit or a leadership may be before a warning in the log names what it waits
    /// for. The default is 30 seconds.
    pub fn long_wait(mut self, wait: Duration) -> Self {
        self.long_wait = wait;
        self
    }

    /// Sets how many contenders may stand in one line. A further one leaves it at once, with
    /// [`Error::LineFull`](crate::Error::LineFull). By default there is no limit.
    ///
    /// Clients in Java fail to list a directory with about 17,000 contenders; from 13,000 on the log warns of it.
    pub fn line_limit(mut self, contenders: usize) -> Self {
        self.line_limit = contenders;
        self
    }

    /// Chooses the runtime on which the connection is served, heartbeats are sent and abandoned nodes are removed.
    ///
    /// By default that is a thread which all coordinators of the process share. It keeps holds alive while your own
    /// runtime is blocked, and costs some 10 microseconds a request. With a runtime of yours, **a blocked runtime loses
    /// holds**, and their loss is noticed late.
    pub fn runtime(mut self, runtime: Handle) -> Self {
        self.runtime = Some(runtime);
        self
    }

    /// Sets whether [`connect`](Self::connect) returns at once, and the first session is opened in the background. The
    /// default is false.
    ///
    /// It is for a service that has to start while the ensemble is away. What is asked of the coordinator waits for the
    /// session. An ensemble that does not answer, an unknown host and a chroot that does not exist are then waited out;
    /// the log and [`Coordinator::health`] say which. Only refused credentials end the coordinator. Until there is a
    /// session, its state is [`Connecting`](crate::SessionState::Connecting).
    ///
    /// ```no_run
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// let zk = zookeeper_recipes::ConnectOptions::new().lazy(true).connect("zk1:2181,zk2:2181").await?;
    /// println!("{}", zk.health());
    /// # Ok(())
    /// # }
    /// ```
    pub fn lazy(mut self, lazy: bool) -> Self {
        self.lazy = lazy;
        self
    }

    /// Sets whether a chroot that does not exist is made, with what is missing above it: persistent nodes with the ACL of
    /// [`acls`](Self::acls). The default is false: [`ConnectError::NoChroot`], since a chroot that is not there is more
    /// often a wrong one.
    ///
    /// ```no_run
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// let options = zookeeper_recipes::ConnectOptions::new().create_chroot(true);
    /// let zk = options.connect("zk1:2181,zk2:2181/services/payments").await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn create_chroot(mut self, create: bool) -> Self {
        self.create_chroot = create;
        self
    }

    /// Connects with TLS. A handshake that fails is [`ConnectError::Unreachable`]; the log of `zookeeper_client` says why.
    #[cfg(feature = "tls")]
    #[cfg_attr(docsrs, doc(cfg(feature = "tls")))]
    pub fn tls(mut self, options: zk::TlsOptions) -> Self {
        self.tls = Some(options);
        self
    }

    /// Authenticates with SASL. A wrong password is [`ConnectError::AuthFailed`].
    ///
    /// **An unknown user gets a session without an identity**, as does any user of a server that has no SASL: Java servers
    /// answer both as if all were well. The ACLs of the nodes refuse it then.
    #[cfg(feature = "sasl")]
    #[cfg_attr(docsrs, doc(cfg(feature = "sasl")))]
    pub fn sasl(mut self, options: impl Into<zk::SaslOptions>) -> Self {
        self.sasl = Some(options.into());
        self
    }

    /// Connects to `cluster`, given as `host:port,host:port/chroot`, and opens the first session; in the background with
    /// [`lazy`](Self::lazy).
    ///
    /// # Errors
    /// [`ConnectError`] if no server answers within the session timeout, if no host is known, if the chroot does not
    /// exist, or if the connect string or an option is not usable. Once connected, the coordinator reconnects by itself.
    ///
    /// # Cancel safety
    /// Dropping the future abandons the connection; a session that was opened already is closed.
    pub async fn connect(self, cluster: &str) -> Result<Coordinator, ConnectError> {
        self.validate()?;
        Coordinator::open(self, cluster).await
    }

    fn validate(&self) -> Result<(), ConnectError> {
        let problem = if self.session_timeout < Duration::from_millis(100) {
            "the session timeout must be at least 100 ms"
        } else if self.session_timeout > Duration::from_secs(24 * 60 * 60) {
            "the session timeout must be at most a day"
        } else if self.identity.len() > IDENTITY_LIMIT {
            "the identity must be at most 64 KiB"
        } else if self.request_limit < SMALLEST_REQUEST_LIMIT {
            "the request limit must be at least 4 KiB"
        } else if self.max_sessions == 0 {
            "there must be at least one session"
        } else if self.acls.is_empty() {
            "the ACL must not be empty"
        } else {
            return Ok(());
        };
        Err(ConnectError::Options { reason: problem.into() })
    }

    fn uses_tls(&self) -> bool {
        #[cfg(feature = "tls")]
        return self.tls.is_some();
        #[cfg(not(feature = "tls"))]
        false
    }

    /// Opens one session, in one pass over the servers.
    pub(super) async fn open_session(&self, cluster: &str) -> Result<zk::Client, zk::Error> {
        let mut connector = zk::Client::connector()
            .with_session_timeout(self.session_timeout)
            .with_connection_timeout(LeaseClock::connection_timeout(self.session_timeout))
            .with_fail_eagerly();
        for Auth { scheme, credential } in &self.auths {
            connector = connector.with_auth(scheme, credential);
        }
        #[cfg(feature = "sasl")]
        if let Some(sasl) = &self.sasl {
            connector = connector.with_sasl(sasl.clone());
        }
        #[cfg(feature = "tls")]
        if let Some(tls) = &self.tls {
            return connector.with_tls(tls.clone()).secure_connect(cluster).await;
        }
        connector.connect(cluster).await
    }
}

/// Why no coordinator could be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The connect string is malformed.
    #[error("invalid connect string {cluster:?}: {reason}; expected host:port,host:port/chroot")]
    ConnectString {
        /// The string as given.
        cluster: String,
        /// What is wrong.
        reason: String,
    },
    /// An option is out of its bounds.
    #[error("invalid option: {reason}")]
    Options {
        /// The option and its bounds.
        reason: String,
    },
    /// No server opened a session in time.
    #[error("no server of {cluster} opened a session within {} ms; {}", after.as_millis(), what_to_check(*tls))]
    Unreachable {
        /// The connect string.
        cluster: String,
        /// How long was tried.
        after: Duration,
        /// Whether it was tried with TLS.
        tls: bool,
        /// The last error.
        source: zk::Error,
    },
    /// The ensemble refused the credentials, or demands some.
    #[error(
        "the ensemble refused the credentials, or demands some; connect with right ones by ConnectOptions::auth or \
         ConnectOptions::sasl"
    )]
    AuthFailed,
    /// The chroot of the connect string does not exist.
    #[error("the chroot of {cluster} does not exist; create that node, or set ConnectOptions::create_chroot")]
    NoChroot {
        /// The connect string.
        cluster: String,
    },
    /// The chroot does not exist, and could not be made.
    #[error("the chroot of {cluster} does not exist and could not be made; create that node with other rights")]
    CreateChroot {
        /// The connect string.
        cluster: String,
        /// The answer.
        source: zk::Error,
    },
    /// No host of the connect string is known.
    #[error("unknown host {host:?}: {reason}; check the connect string and the resolver")]
    UnknownHost {
        /// The first host that is not known.
        host: String,
        /// What the resolver says.
        reason: String,
    },
    /// There is no runtime to serve the connection.
    #[error("no runtime to serve the connection: {reason}")]
    Runtime {
        /// What is wrong.
        reason: String,
    },
}

classify!(ConnectError, Self::Unreachable { .. } => Nature::TIMEOUT);

impl ConnectError {
    pub(super) fn from_client(cluster: &Cluster, options: &ConnectOptions, error: zk::Error) -> Self {
        let cluster = cluster.to_string();
        let (after, tls) = (options.session_timeout, options.uses_tls());
        match error {
            zk::Error::BadArguments(reason) => Self::ConnectString {
                cluster,
                reason: (*reason).to_owned(),
            },
            zk::Error::AuthFailed => Self::AuthFailed,
            source => Self::Unreachable {
                cluster,
                after,
                tls,
                source,
            },
        }
    }
}

/// The client does not tell why a TLS handshake failed, but in its log.
fn what_to_check(tls: bool) -> &'static str {
    match tls {
        true => {
            "does ZooKeeper run there, with TLS on that port, and does each side trust the other's certificate? \
             The log of zookeeper_client says more"
        }
        false => "does ZooKeeper run there, with a quorum, and without TLS on that port?",
    }
}

fn default_identity() -> Bytes {
    let host = std::env::var("HOSTNAME")
        .ok()
        .or_else(|| std::fs::read_to_string("/etc/hostname").ok())
        .map(|host| host.trim().to_owned())
        .filter(|host| !host.is_empty() && host.len() < 256)
        .unwrap_or_else(|| "unknown".to_owned());
    format!("{host}:{}", std::process::id()).into()
}

#[cfg(test)]
mod tests;
