//! The supervisor: one task that follows the session, confirms its lease, and replaces it when it ended.

use std::sync::Arc;
use std::time::Duration;

use futures::future::{self, BoxFuture, FutureExt};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time;
use tracing::{Instrument, debug, info, info_span, warn};
use zookeeper_client as zk;

use super::chroot;
use super::cluster::Cluster;
use super::config::SessionConfig;
use super::containers::remove_empty;
use super::core::{Lineage, Session};
use super::current::{CurrentSession, Slot};
use super::lease::LeaseClock;
use super::moment::Moment;
use super::options::{ConnectError, ConnectOptions};
use super::reaper;
use super::retry::Backoff;
use super::state::{LossReason, SessionState, States};
use crate::error::Error;
use crate::metrics;

/// Each is told whether the ensemble has confirmed the end.
type CloseRequests = mpsc::UnboundedReceiver<oneshot::Sender<bool>>;

pub(super) struct Supervisor {
    pub(super) options: ConnectOptions,
    pub(super) cluster: Cluster,
    pub(super) config: Arc<SessionConfig>,
    pub(super) lineage: Arc<Lineage>,
    pub(super) slot: watch::Sender<Slot>,
    pub(super) states: Arc<States>,
    /// For a further session, the one that stands for the coordinator.
    pub(super) first: Option<CurrentSession>,
}

/// What ended the supervision of one session.
enum Next {
    Replace,
    GiveUp(Error),
    Close(Option<oneshot::Sender<bool>>),
}

/// Which session is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Opening {
    /// The very first one, whose chroot has to be looked at.
    First,
    Next,
}

impl Supervisor {
    /// Looks after the session, or opens the first one, and those that take its place.
    pub(super) async fn run(self, session: Option<Arc<Session>>, mut close: CloseRequests) {
        let first = match session {
            Some(session) => Ok(session),
            None => self.replace(&mut close, Opening::First).await,
        };
        let mut supervised = match first {
            Ok(session) => Supervised { session },
            Err(end) => return self.finish(None, end, close).await,
        };
        loop {
            let session = &supervised.session;
            let span = info_span!("session", id = format_args!("{:#x}", session.id()));
            let next = match self.supervise(session, &mut close).instrument(span).await {
                Next::Replace => {
                    self.slot.send_replace(Slot::Opening);
                    self.tell(SessionState::Lost);
                    self.replace(&mut close, Opening::Next).await
                }
                end => Err(end),
            };
            match next {
                Ok(replacement) => supervised = Supervised { session: replacement },
                Err(end) => return self.finish(Some(session), end, close).await,
            }
        }
    }

    /// Follows one session until it ended or is to be closed.
    async fn supervise(&self, session: &Arc<Session>, close: &mut CloseRequests) -> Next {
        let Ok(client) = session.client() else {
            return Next::Replace;
        };
        let mut states = client.state_watcher();
        let mut connected = client.state() == zk::SessionState::SyncConnected;
        drop(client);
        let mut heartbeat: Option<BoxFuture<'_, ()>> = None;
        let mut in_use = Moment::now();
        loop {
            let now = Moment::now();
            if self.first.is_none() || !session.registry().is_idle() {
                in_use = now;
            } else if now - in_use > session.timeout() && session.registry().close_if_idle() {
                return Next::Close(None);
            }
            session.with_lease(|lease| lease.alive(now));
            if session.remaining() == Duration::ZERO && session.end_reason().is_some() {
                return Next::Replace;
            }
            let (at_stake, deadline) = session.with_lease(|lease| (lease.heartbeat_due().is_some(), lease.deadline()));
            if connected && at_stake && heartbeat.is_none() {
                heartbeat = Some(session.heartbeat_when_due().boxed());
            }
            let look = now + LeaseClock::alive_interval(session.timeout());
            let wake = deadline.map_or(look, |deadline| deadline.min(look));
            tokio::select! {
                state = states.changed() => {
                    connected = state == zk::SessionState::SyncConnected;
                    if let Some(next) = self.follow(session, state) {
                        return next;
                    }
                    // One in flight at a cut brings nothing; after a reconnect the session is to be verified at once.
                    heartbeat = None;
                }
                () = in_flight(&mut heartbeat) => heartbeat = None,
                () = time::sleep_until(wake.timer()) => {}
                () = session.attention() => {}
                _ = session.ended() => return Next::Replace,
                request = close.recv() => return Next::Close(request),
                () = self.over() => return Next::Close(None),
            }
        }
    }

    /// Waits for the end of the coordinator, if this is not the session that stands for it.
    async fn over(&self) {
        match self.first.clone() {
            Some(mut first) => first.over().await,
            None => future::pending().await,
        }
    }

    fn tell(&self, state: SessionState) {
        self.states.set(self.lineage.index(), state);
    }

    fn follow(&self, session: &Arc<Session>, state: zk::SessionState) -> Option<Next> {
        debug!(?state, "connection changed");
        match state {
            zk::SessionState::SyncConnected => {
                self.tell(SessionState::Connected);
                None
            }
            zk::SessionState::Disconnected | zk::SessionState::ConnectedReadOnly => {
                metrics::count(metrics::SESSION_DISCONNECTS, None, &[], 1);
                self.tell(SessionState::Suspended);
                None
            }
            zk::SessionState::AuthFailed => {
                session.end(LossReason::SessionExpired);
                Some(Next::GiveUp(Error::AuthFailed))
            }
            zk::SessionState::Expired | zk::SessionState::Closed => {
                session.end(LossReason::SessionExpired);
                Some(Next::Replace)
            }
        }
    }

    /// Opens the next session, however long it takes.
    async fn replace(&self, close: &mut CloseRequests, which: Opening) -> Result<Arc<Session>, Next> {
        let opened = tokio::select! {
            opened = self.open(which) => opened,
            request = close.recv() => return Err(Next::Close(request)),
            () = self.over() => return Err(Next::Close(None)),
        };
        // What else may be wrong is waited out.
        let Some((client, opened)) = opened else {
            return Err(Next::GiveUp(Error::AuthFailed));
        };
        let session = Session::new(client, opened, Arc::clone(&self.config), Arc::clone(&self.lineage));
        info!(session = format_args!("{:#x}", session.id()), "session opened");
        self.slot.send_replace(Slot::Live(Arc::clone(&session)));
        self.tell(SessionState::Connected);
        Ok(session)
    }

    /// Opens a session, however long it takes; `None` if the credentials are refused.
    async fn open(&self, which: Opening) -> Option<(zk::Client, Moment)> {
        let config = Some(&*self.config);
        if which == Opening::Next {
            return open(&self.options, &self.cluster, config).await.ok();
        }
        let mut backoff = Backoff::default();
        loop {
            let error = match chroot::open_checked(&self.options, &self.cluster, config).await {
                Ok(opened) => return Some(opened),
                Err(ConnectError::AuthFailed) => return None,
                Err(error) => error,
            };
            let pause = backoff.next();
            warn!(%error, ?pause, "cannot be used yet; trying again");
            self.config.note_problem(&error);
            time::sleep(pause).await;
        }
    }

    async fn finish(&self, session: Option<&Arc<Session>>, end: Next, mut close: CloseRequests) {
        let (error, done) = match end {
            Next::GiveUp(error) => (error, None),
            Next::Close(done) => (Error::Closed, done),
            Next::Replace => (Error::Closed, None),
        };
        match self.first {
            None => info!(%error, "coordinator ends"),
            Some(_) => debug!(%error, "a further session ends"),
        }
        self.slot.send_replace(Slot::Over(error));
        let bound = session.map_or(self.options.session_timeout, |session| session.timeout()) / 3;
        // Those that lapsed before are still there for their guards.
        let retired = self.config.retired_sessions(&self.lineage);
        let all = retired.iter().chain(session);
        // With the first session, and after the nodes in them; what further sessions leave in them stays.
        let directories = match self.first {
            None => self.config.containers.take(),
            Some(_) => Vec::new(),
        };
        let closing = all.map(|session| close_session(session, &directories));
        let closed = time::timeout(bound, future::join_all(closing)).await;
        if closed.is_err() {
            warn!("the ensemble did not confirm the end of the session in time; it will expire");
        }
        if let Some(session) = session {
            session.end(LossReason::Closed);
        }
        self.tell(SessionState::Closed);
        // Requests that came meanwhile are answered as well.
        close.close();
        let waiting = std::iter::from_fn(|| close.try_recv().ok());
        for done in done.into_iter().chain(waiting) {
            // The closer may have stopped waiting.
            let _ = done.send(closed.is_ok());
        }
    }
}

/// The session that is looked after. It ends when its supervisor does, because the runtime is shut down: nothing would
/// tell its holds of their loss then.
struct Supervised {
    session: Arc<Session>,
}

impl Drop for Supervised {
    fn drop(&mut self) {
        self.session.end(LossReason::Closed);
    }
}

/// Opens a session, however long it takes: the client, and when the pass over the servers that succeeded began. The
/// lease counts from there, and not from passes that failed.
///
/// # Errors
/// Those that another pass would not mend.
pub(super) async fn open(
    options: &ConnectOptions,
    cluster: &Cluster,
    config: Option<&SessionConfig>,
) -> Result<(zk::Client, Moment), zk::Error> {
    let cluster = cluster.to_string();
    let mut backoff = Backoff::default();
    loop {
        let began = Moment::now();
        let error = match options.open_session(&cluster).await {
            Ok(client) => return Ok((client, began)),
            Err(error @ (zk::Error::AuthFailed | zk::Error::BadArguments(_))) => return Err(error),
            Err(error) => error,
        };
        let pause = backoff.next();
        warn!(%error, ?pause, cluster, "no session could be opened; trying again");
        if let Some(config) = config {
            config.note_problem(&error);
        }
        time::sleep(pause).await;
    }
}

/// Deletes every node of the session by name and closes it. The nodes come first because clones of the client that
/// the user keeps would keep the session, and with it the nodes, alive.
async fn close_session(session: &Arc<Session>, directories: &[String]) {
    // Guards hear of it first: the work under them may end before their nodes go.
    session.begin_close();
    let registry = session.registry();
    let _ = time::timeout(session.timeout() / 6, registry.nothing_held()).await;
    // Taken before the nodes are counted: whatever is registered from here on sends no create.
    let Some(client) = session.take_client() else { return };
    let mut states = client.state_watcher();
    let nodes: Vec<_> = registry
        .keys()
        .into_iter()
        .filter_map(|key| registry.location(key))
        .collect();
    let removals = nodes.iter().map(|location| reaper::remove_once(&client, location));
    for (location, removed) in nodes.iter().zip(future::join_all(removals).await) {
        if let Err(error) = removed {
            debug!(?location, %error, "left to the end of the session");
        }
    }
    if !directories.is_empty() {
        remove_empty(&client, directories).await;
    }
    drop(client);
    while !states.changed().await.is_terminated() {}
}

/// Waits for the heartbeat in flight; pending forever if there is none.
async fn in_flight(heartbeat: &mut Option<BoxFuture<'_, ()>>) {
    match heartbeat {
        Some(heartbeat) => heartbeat.await,
        None => future::pending().await,
    }
}
