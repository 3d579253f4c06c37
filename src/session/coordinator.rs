//! [`Coordinator`]: the handle that recipes are made from.

use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures::future;
use tokio::runtime::Handle;
use tokio::sync::{oneshot, watch};
use tokio::time;
use zookeeper_client as zk;

use super::cluster::Cluster;
use super::config::SessionConfig;
use super::containers::Containers;
use super::core::Session;
use super::guid_prefix::GuidPrefix;
use super::lease::LeaseClock;
use super::moment::Moment;
use super::options::{ConnectError, ConnectOptions};
use super::path_states::PathStates;
use super::pool::{Pool, Room};
use super::retry::RetryBudget;
use super::shutdown::{Draining, Unfinished};
use super::state::{SessionState, lock};
use super::stats::{Counters, Stats};
use super::watching::WatchingSession;
use super::{chroot, runtime};
use crate::error::Error;
use crate::metrics::UserName;
use crate::observer::Observer;

/// A connection to an ensemble that outlives its sessions; a cheap handle to share and clone.
///
/// Behind it one task supervises the session (reconnects, confirms the lease of what is held, replaces an expired
/// session) and one removes abandoned nodes. They run on a thread that all coordinators of the process share, so that a
/// blocked runtime of yours costs no hold; [`ConnectOptions::runtime`] chooses another one.
///
/// **Close the coordinator before you exit**, or the others wait until the session expires. When the last clone is dropped,
/// guards and recipes included, the session is closed in the background; a process that exits does not wait for that.
///
/// # Examples
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let zk = zookeeper_recipes::connect("zk1:2181,zk2:2181,zk3:2181/payments").await?;
/// println!("{:?}", zk.states().current());
/// // Clones are cheap, and share the session.
/// let lock = zookeeper_recipes::FairLock::new(&zk.clone(), "/accounts/17")?;
/// // Gives back what is held, and ends the session; do this before the process exits.
/// zk.close().await;
/// # Ok(())
/// # }
/// ```
#[doc(alias = "CuratorFramework")]
#[doc(alias = "KazooClient")]
#[derive(Clone, Debug)]
pub struct Coordinator {
    inner: Arc<CoordinatorInner>,
    metrics_name: UserName,
}

#[derive(Debug)]
struct CoordinatorInner {
    pool: Arc<Pool>,
    config: Arc<SessionConfig>,
    states: watch::Receiver<SessionState>,
    path_states: PathStates,
}

impl Coordinator {
    pub(super) async fn open(options: ConnectOptions, cluster: &str) -> Result<Self, ConnectError> {
        let cluster = Cluster::parse(cluster)?;
        let runtime = match &options.runtime {
            Some(runtime) => runtime.clone(),
            None => runtime::shared()?,
        };
        let opened = runtime::run(&runtime, Self::open_on(runtime.clone(), options, cluster));
        opened
            .await
            .unwrap_or_else(|reason| Err(ConnectError::Runtime { reason }))
    }

    async fn open_on(runtime: Handle, options: ConnectOptions, cluster: Cluster) -> Result<Self, ConnectError> {
        let timeout = options.session_timeout;
        let first = match options.lazy {
            true => None,
            false => Some(open_first(&runtime, &options, &cluster).await?),
        };
        let config = Arc::new(SessionConfig {
            identity: options.identity.clone(),
            guid_prefix: GuidPrefix::new(),
            has_own_identity: options.has_own_identity,
            began: Instant::now(),
            acls: options.acls.clone(),
            lease_margin: options.lease_margin,
            connection_timeout: LeaseClock::connection_timeout(timeout),
            chroot_len: cluster.chroot_len(),
            long_wait: options.long_wait,
            line_limit: options.line_limit,
            runtime: runtime.clone(),
            retired: Mutex::default(),
            undeletable: Mutex::default(),
            request_limit: options.request_limit,
            max_sessions: options.max_sessions,
            retries: RetryBudget::default(),
            containers: Containers::default(),
            draining: Draining::default(),
            last_problem: Mutex::default(),
            past: Mutex::default(),
            sessions: Mutex::default(),
            counters: Counters::default(),
            watching: WatchingSession::new(&options, &cluster, &runtime),
        });
        let (pool, states) = Pool::new(options, cluster, Arc::clone(&config), first);
        Ok(Self {
            inner: Arc::new(CoordinatorInner {
                pool,
                config,
                states,
                path_states: PathStates::default(),
            }),
            metrics_name: UserName::default(),
        })
    }

    /// The state of the session, for display and logging; of several, the worst. Holds do not depend on it, see
    /// [`Hold::lost`](crate::Hold::lost).
    pub fn states(&self) -> Observer<SessionState> {
        Observer::new(self.inner.states.clone())
    }

    /// Returns this coordinator under a name: the sessions are the same, and what is made with it carries the label `name`
    /// in [metrics](crate::metrics). Give a few names, such as those of services: each is a series of its own.
    ///
    /// ```no_run
    /// # async fn example(zk: zookeeper_recipes::Coordinator) -> Result<(), zookeeper_recipes::Error> {
    /// use zookeeper_recipes::FairLock;
    ///
    /// let settlement = zk.named("settlement");
    /// let lock = FairLock::new(&settlement, "/accounts/17")?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn named(&self, name: &str) -> Self {
        Self {
            metrics_name: UserName::new(name),
            ..self.clone()
        }
    }

    /// The label `name`.
    pub(crate) fn metrics_name(&self) -> &UserName {
        &self.metrics_name
    }

    /// What the coordinator has and does at this moment, in numbers: a cheap snapshot that costs no request, for metrics,
    /// health checks and log lines.
    ///
    /// ```no_run
    /// # async fn example(zk: zookeeper_recipes::Coordinator) {
    /// let stats = zk.stats();
    /// println!("{} holds, {} waiters, {} requests", stats.holds, stats.waiters, stats.requests);
    /// # }
    /// ```
    pub fn stats(&self) -> Stats {
        self.inner.config.stats()
    }

    /// The client of the current session, for requests beside the recipes; of several, that of the first one. Watch at
    /// most 32 KiB of paths through it; for more, connect a client of your own.
    ///
    /// Get it again for each use: a session stays open at the server while any clone of its client lives, also one
    /// that this coordinator has given up, and a client of an ended session serves no request.
    ///
    /// # Errors
    /// [`Error::Closed`] or [`Error::AuthFailed`] if the coordinator has ended. Waits while a session is being opened.
    pub async fn client(&self) -> Result<zk::Client, Error> {
        loop {
            if let Ok(client) = self.session().await?.client() {
                return Ok(client);
            }
        }
    }

    /// Closes the session, or all of them at once: every hold is lost with [`LossReason::Closed`](crate::LossReason::Closed), every node is
    /// removed, pending calls on any clone fail with [`Error::Closed`]. Returns when the ensemble has confirmed it, or
    /// after a third of the session timeout at the latest; the session then ends by itself.
    ///
    /// Guards that are still in scope are told first, and have half of that time to be dropped. Their nodes stay until
    /// then, so that work under them ends before the next holder begins. **Drop guards before you close.**
    ///
    /// # Cancel safety
    /// Once polled, the close goes on if the future is dropped.
    pub async fn close(self) {
        self.close_confirmed().await;
    }

    /// Closes, and says whether the ensemble has confirmed the end of every session.
    pub(super) async fn close_confirmed(&self) -> bool {
        self.draining().begin();
        let closing = self.inner.pool.closers().into_iter().filter_map(|close| {
            let (done, closed) = oneshot::channel();
            // An error means that the supervisor has ended, and the session with it.
            close.send(done).ok().map(|()| closed)
        });
        let closing: Vec<_> = closing.collect();
        let confirmed = future::join_all(closing).await;
        self.inner.config.watching.close();
        confirmed.into_iter().all(|confirmed| confirmed.unwrap_or(true))
    }

    /// Whether the coordinator is being shut down.
    pub(crate) fn draining(&self) -> &Draining {
        &self.inner.config.draining
    }

    /// Makes a shutdown wait for a piece of work, until what is returned is dropped.
    pub(crate) fn unfinished(&self) -> Unfinished {
        self.draining().unfinished()
    }

    pub(super) fn runtime(&self) -> &Handle {
        &self.inner.config.runtime
    }

    /// The session timeout that was asked for.
    pub(super) fn session_timeout(&self) -> Duration {
        self.inner.pool.session_timeout()
    }

    /// All sessions in which something may still be held.
    pub(super) fn sessions_in_use(&self) -> Vec<Arc<Session>> {
        self.inner.config.known_sessions()
    }

    /// The state, and for how long it has been that.
    pub(super) fn state_since(&self) -> (SessionState, Duration) {
        (*self.inner.states.borrow(), self.inner.pool.state_since())
    }

    /// Why the last attempt to open a session failed.
    pub(super) fn last_problem(&self) -> Option<String> {
        lock(&self.inner.config.last_problem).clone()
    }

    /// The first session, waited for while one is being opened: for what owns nothing, or little.
    pub(crate) async fn session(&self) -> Result<Arc<Session>, Error> {
        self.inner.pool.first().clone().current().await
    }

    /// Room for an operation that owns so many nodes at or below `path`, in the first session that has it.
    pub(crate) async fn place(&self, path: &str, nodes: usize) -> Result<Room, Error> {
        self.inner.pool.place(path, nodes).await
    }

    /// What all users of `path` share in this coordinator: one state of each type, for as long as one of them has it.
    pub(crate) fn path_state<T: Default + Send + Sync + 'static>(&self, path: &str) -> Arc<T> {
        self.inner.path_states.get(path)
    }

    /// Gives `work` until `limit`, on the coordinator's timers, since the caller need not be on a runtime.
    pub(crate) async fn timeout<F: Future>(&self, limit: Duration, work: F) -> Option<F::Output> {
        let bounded = {
            let _context = self.inner.config.runtime.enter();
            time::timeout(limit, work)
        };
        bounded.await.ok()
    }

    /// Refuses `size` bytes that go into one request about `path`, if a server would not take them.
    pub(crate) fn check_size(&self, path: &str, size: usize) -> Result<(), Error> {
        self.inner.config.check_size(path, size)
    }

    /// As [`check_size`](Self::check_size), of a node at or below `path` in a transaction with one or two small steps.
    pub(crate) fn check_transaction_size(&self, path: &str, size: usize) -> Result<(), Error> {
        self.inner.config.check_transaction_size(path, size)
    }

    /// What the nodes of this coordinator say of it.
    pub(crate) fn identity(&self) -> &[u8] {
        &self.inner.config.identity
    }

    /// What the names of its nodes begin with.
    pub(crate) fn guid_prefix(&self) -> GuidPrefix {
        self.inner.config.guid_prefix
    }

    /// Whether a server is connected.
    pub(crate) fn is_connected(&self) -> bool {
        *self.inner.states.borrow() == SessionState::Connected
    }

    /// Whether the coordinator has ended, and why.
    pub(crate) fn ended(&self) -> Option<Error> {
        self.inner.pool.first().peek().err()
    }
}

/// Opens the first session while the caller waits.
async fn open_first(
    runtime: &Handle,
    options: &ConnectOptions,
    cluster: &Cluster,
) -> Result<(zk::Client, Moment), ConnectError> {
    let timeout = options.session_timeout;
    // Bounded here, because a resolver, and the client on a silent server, may wait for longer.
    let opened = time::timeout(timeout, async {
        cluster.resolve(runtime).await?;
        chroot::open_checked(options, cluster, None).await
    });
    let (client, opened) = opened
        .await
        .unwrap_or_else(|_| Err(ConnectError::from_client(cluster, options, zk::Error::NoHosts)))?;
    check_margin(options.lease_margin, client.session_timeout())?;
    Ok((client, opened))
}

fn check_margin(margin: Option<Duration>, timeout: Duration) -> Result<(), ConnectError> {
    let Some(margin) = margin.filter(|margin| !(timeout / 100..=LeaseClock::largest_margin(timeout)).contains(margin))
    else {
        return Ok(());
    };
    let reason = format!(
        "a lease margin of {} ms is not between 1 % and 30 % of the session timeout of {} ms that the ensemble granted",
        margin.as_millis(),
        timeout.as_millis()
    );
    Err(ConnectError::Options { reason })
}
