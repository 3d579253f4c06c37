//! [`Coordinator`]: the handle that recipes are made from.

use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time;
use zookeeper_client as zk;

use super::core::{Session, SessionConfig};
use super::current::{CurrentSession, Slot};
use super::moment::Moment;
use super::options::{ConnectError, ConnectOptions};
use super::retry::RetryBudget;
use super::state::SessionState;
use super::{reaper, supervisor};
use crate::error::Error;
use crate::observer::Observer;

/// A connection to an ensemble that outlives its sessions; a cheap handle to share and clone.
///
/// Behind it one task supervises the session (reconnects, confirms the lease of what is held, replaces an expired
/// session) and one removes abandoned nodes, both on the runtime on which [`connect`](crate::connect) was awaited.
///
/// When the last clone is dropped, guards and recipes included, the session is closed in the background.
#[derive(Clone, Debug)]
pub struct Coordinator {
    inner: Arc<CoordinatorInner>,
}

#[derive(Debug)]
struct CoordinatorInner {
    current: CurrentSession,
    config: Arc<SessionConfig>,
    states: watch::Receiver<SessionState>,
    /// Dropping it tells the supervisor that the last handle is gone.
    close: mpsc::UnboundedSender<oneshot::Sender<()>>,
}

impl Coordinator {
    pub(super) async fn open(options: ConnectOptions, cluster: &str) -> Result<Self, ConnectError> {
        let runtime = Handle::try_current().map_err(|_| ConnectError::NoRuntime)?;
        let timeout = options.session_timeout;
        let opened = Moment::now();
        // Bounded here, because the client waits on a silent server for longer than it tries to connect.
        let client = time::timeout(timeout, open_checked(&options, cluster))
            .await
            .unwrap_or_else(|_| Err(ConnectError::from_client(cluster, timeout, zk::Error::Timeout)))?;
        check_margin(options.lease_margin, client.session_timeout())?;

        let (orphans, orphan_receiver) = mpsc::unbounded_channel();
        let config = Arc::new(SessionConfig {
            identity: options.identity.clone(),
            acls: options.acls.clone(),
            lease_margin: options.lease_margin,
            runtime: runtime.clone(),
            orphans,
            past: Mutex::default(),
            request_limit: options.request_limit,
            retries: RetryBudget::default(),
        });
        let session = Session::new(client, opened, Arc::clone(&config));
        let (slot, slot_receiver) = watch::channel(Slot::Live(Arc::clone(&session)));
        let (states, states_receiver) = watch::channel(SessionState::Connected);
        let (close, close_receiver) = mpsc::unbounded_channel();
        let current = CurrentSession::new(slot_receiver);
        runtime.spawn(reaper::run(orphan_receiver, current.clone()));
        let supervisor = supervisor::Supervisor::new(options, cluster.to_owned(), Arc::clone(&config), slot, states);
        runtime.spawn(supervisor.run(session, close_receiver));
        Ok(Self {
            inner: Arc::new(CoordinatorInner {
                current,
                config: Arc::clone(&config),
                states: states_receiver,
                close,
            }),
        })
    }

    /// The state of the session, for display and logging. Holds do not depend on it, see
    /// [`Hold::lost`](crate::Hold::lost).
    pub fn states(&self) -> Observer<SessionState> {
        Observer::new(self.inner.states.clone())
    }

    /// The client of the current session, for requests beside the recipes.
    ///
    /// Get it anew for each use: a session stays open at the server while any clone of its client lives, also one
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

    /// Closes the session: every hold is lost with [`LossReason::Closed`](crate::LossReason::Closed), every node is
    /// removed, pending calls on any clone fail with [`Error::Closed`]. Returns when the ensemble has confirmed it, or
    /// after a third of the session timeout at the latest; the session then ends by itself.
    ///
    /// # Cancel safety
    /// Once polled, the close goes on if the future is dropped.
    pub async fn close(self) {
        let (done, closed) = oneshot::channel();
        if self.inner.close.send(done).is_ok() {
            // An error means that the supervisor has ended, and the session with it.
            let _ = closed.await;
        }
    }

    /// The current session, waited for while one is being opened.
    pub(crate) async fn session(&self) -> Result<Arc<Session>, Error> {
        self.inner.current.clone().current().await
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

    /// Whether a server is connected.
    pub(crate) fn is_connected(&self) -> bool {
        *self.inner.states.borrow() == SessionState::Connected
    }

    /// Whether the coordinator has ended, and why.
    pub(crate) fn ended(&self) -> Option<Error> {
        self.inner.current.peek().err()
    }
}

async fn open_checked(options: &ConnectOptions, cluster: &str) -> Result<zk::Client, ConnectError> {
    let timeout = options.session_timeout;
    let client = options
        .open_session(cluster)
        .await
        .map_err(|error| ConnectError::from_client(cluster, timeout, error))?;
    check_chroot(&client, cluster, timeout).await?;
    Ok(client)
}

async fn check_chroot(client: &zk::Client, cluster: &str, timeout: Duration) -> Result<(), ConnectError> {
    if client.path() == "/" {
        return Ok(());
    }
    match client.check_stat("/").await {
        Ok(Some(_)) => Ok(()),
        Ok(None) => Err(ConnectError::NoChroot {
            cluster: cluster.to_owned(),
        }),
        Err(error) => Err(ConnectError::from_client(cluster, timeout, error)),
    }
}

fn check_margin(margin: Option<Duration>, timeout: Duration) -> Result<(), ConnectError> {
    let Some(margin) = margin.filter(|margin| !(timeout / 100..=timeout * 2 / 5).contains(margin)) else {
        return Ok(());
    };
    let reason = format!(
        "a lease margin of {} ms is not between 1 % and 40 % of the session timeout of {} ms that the ensemble granted",
        margin.as_millis(),
        timeout.as_millis()
    );
    Err(ConnectError::Options { reason })
}
