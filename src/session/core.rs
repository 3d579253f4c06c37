//! One ZooKeeper session: its client, its lease, its nodes and its end.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::FutureExt;
use tokio::runtime::Handle;
use tokio::sync::{Notify, mpsc};
use tracing::{info, warn};
use zookeeper_client as zk;

use super::lease::LeaseClock;
use super::reaper::Orphan;
use super::registry::Registry;
use super::state::{End, LossReason, Lost};

/// How long a retry waits when the connection is there but a request could not be served.
const RETRY_PAUSE: Duration = Duration::from_millis(20);

/// How many sessions are remembered as having been ours; the ensemble has long forgotten older ones.
const PAST_SESSIONS: usize = 64;

/// What every session of a coordinator has in common.
#[derive(Debug)]
pub(crate) struct SessionConfig {
    pub(crate) identity: Bytes,
    pub(crate) acls: Vec<zk::Acl>,
    pub(crate) lease_margin: Option<Duration>,
    pub(crate) runtime: Handle,
    pub(crate) orphans: mpsc::UnboundedSender<Orphan>,
    pub(crate) past: Mutex<VecDeque<i64>>,
}

/// One session, from its opening to its end. Once it has ended it is never used again.
#[derive(Debug)]
pub(crate) struct Session {
    id: i64,
    timeout: Duration,
    config: Arc<SessionConfig>,
    client: Mutex<Option<zk::Client>>,
    link: Mutex<Link>,
    lease: Mutex<LeaseClock>,
    registry: Registry,
    end: End,
    attention: Notify,
    proving: tokio::sync::Mutex<()>,
}

/// Which connection this is, and up to which one the session is known to be still the same.
#[derive(Debug)]
struct Link {
    states: zk::StateWatcher,
    connection: u64,
    verified: u64,
}

impl Session {
    /// A session that was just opened; `opened` is when that began.
    pub(crate) fn new(client: zk::Client, opened: Instant, config: Arc<SessionConfig>) -> Arc<Self> {
        let timeout = client.session_timeout();
        // The first session was refused if its margin is too large; a later one may have been granted less time.
        let margin = config.lease_margin.map_or_else(
            || LeaseClock::default_margin(timeout),
            |margin| margin.min(timeout * 2 / 5),
        );
        let link = Link {
            states: client.state_watcher(),
            connection: 0,
            verified: 0,
        };
        let id = client.session_id().0;
        let mut past = lock(&config.past);
        past.truncate(PAST_SESSIONS - 1);
        past.push_front(id);
        drop(past);
        Arc::new(Self {
            id,
            timeout,
            config,
            client: Mutex::new(Some(client)),
            link: Mutex::new(link),
            lease: Mutex::new(LeaseClock::new(timeout, margin, opened)),
            registry: Registry::default(),
            end: End::new(),
            attention: Notify::new(),
            proving: tokio::sync::Mutex::new(()),
        })
    }

    pub(crate) fn id(&self) -> i64 {
        self.id
    }

    /// Whether `id` names a session that this coordinator had before.
    pub(crate) fn succeeds(&self, id: i64) -> bool {
        id != self.id && lock(&self.config.past).contains(&id)
    }

    /// The negotiated session timeout.
    pub(crate) fn timeout(&self) -> Duration {
        self.timeout
    }

    pub(crate) fn identity(&self) -> &[u8] {
        &self.config.identity
    }

    pub(crate) fn acls(&self) -> zk::Acls<'_> {
        zk::Acls::new(&self.config.acls)
    }

    pub(crate) fn registry(&self) -> &Registry {
        &self.registry
    }

    pub(crate) fn runtime(&self) -> &Handle {
        &self.config.runtime
    }

    /// The client, unless the session has ended. Keep it for single requests only: a session lives on at the server
    /// while any clone of its client does.
    pub(crate) fn client(&self) -> Result<zk::Client, Lost> {
        let client = lock(&self.client);
        match client.as_ref() {
            Some(client) => Ok(client.clone()),
            None => Err(Lost {
                reason: self.end.reason().unwrap_or(LossReason::Closed),
            }),
        }
    }

    /// Takes the client out of the session, which sends nothing more by itself.
    pub(super) fn take_client(&self) -> Option<zk::Client> {
        lock(&self.client).take()
    }

    pub(crate) fn end_reason(&self) -> Option<LossReason> {
        self.end.reason()
    }

    /// Waits for the end of the session.
    pub(crate) async fn ended(&self) -> Lost {
        Lost {
            reason: self.end.reached().await,
        }
    }

    /// Ends the session for good: all its holds are lost, its nodes go to the reaper, its client is dropped.
    pub(crate) fn end(self: &Arc<Self>, reason: LossReason) {
        if !self.end.set(reason) {
            return;
        }
        info!(session = format_args!("{:#x}", self.id), %reason, "session ended");
        drop(self.take_client());
        // Also after an expiry: the client may have declared it, and a new leader may keep the session for as long again.
        for key in self.registry.end_all(reason) {
            self.discard(key);
        }
    }

    /// Hands a node over to the reaper. It neither waits nor fails.
    pub(crate) fn discard(self: &Arc<Self>, key: super::registry::NodeKey) {
        let orphan = Orphan {
            owner: Arc::clone(self),
            key,
        };
        if self.config.orphans.send(orphan).is_err() {
            // The reaper is gone with its coordinator, whose session ends with all its nodes.
            self.registry.remove(key);
        }
    }

    /// Which connection the client is on. A change means that the session was re-attached, maybe to another one.
    pub(crate) fn connection(&self) -> u64 {
        lock(&self.link).current()
    }

    /// Whether the session is known to be ours on the current connection.
    pub(crate) fn is_verified(&self) -> bool {
        let mut link = lock(&self.link);
        link.current() == link.verified
    }

    /// The server showed on `connection` that `owner` is the session there; ends the session if that is another one.
    ///
    /// A server can adopt a new session on a reconnect without saying so (ClickHouse Keeper does); the ephemeral
    /// owner of a node just created tells.
    pub(crate) fn verify(self: &Arc<Self>, connection: u64, owner: i64) -> Result<(), Lost> {
        if owner != self.id {
            warn!(
                session = format_args!("{:#x}", self.id),
                other = format_args!("{owner:#x}"),
                "the server put another session in the place of ours"
            );
            self.end(LossReason::SessionExpired);
            return Err(Lost {
                reason: LossReason::SessionExpired,
            });
        }
        let mut link = lock(&self.link);
        link.verified = link.verified.max(connection);
        Ok(())
    }

    /// A request sent at `sent` was committed. It counts only if the session is known to be ours.
    pub(crate) fn proved(&self, sent: Instant) {
        if self.is_verified() {
            lock(&self.lease).proved(sent, Instant::now());
        }
    }

    /// How long holds of this session may still be believed; zero once it ended or its lease lapsed.
    pub(crate) fn remaining(self: &Arc<Self>) -> Duration {
        if self.end.reason().is_some() {
            return Duration::ZERO;
        }
        let (remaining, lapsed) = {
            let mut lease = lock(&self.lease);
            let now = Instant::now();
            (lease.remaining(now), lease.is_lapsed(now))
        };
        if lapsed {
            self.end(LossReason::LeaseLapsed);
        }
        remaining
    }

    /// Runs `f` on the lease clock.
    pub(crate) fn with_lease<T>(&self, f: impl FnOnce(&mut LeaseClock) -> T) -> T {
        f(&mut lock(&self.lease))
    }

    /// Begins a hold that rests on the session's lease, which is confirmed by heartbeats from now on.
    pub(crate) fn hold(self: &Arc<Self>) -> LeaseHold {
        let next_look = Instant::now() + LeaseClock::alive_interval(self.timeout);
        let is_urgent = self.with_lease(|lease| {
            lease.hold();
            let due = [lease.heartbeat_due(), lease.deadline()];
            due.into_iter().flatten().any(|due| due <= next_look)
        });
        // The supervisor looks by then anyway; waking it with each hold would slow short ones down.
        if is_urgent {
            self.attention.notify_one();
        }
        LeaseHold {
            session: Arc::clone(self),
        }
    }

    /// Taken by whoever sends a heartbeat on demand, so that those who wait share it.
    pub(super) fn proving(&self) -> &tokio::sync::Mutex<()> {
        &self.proving
    }

    /// Waits until the supervisor should look at the session again.
    pub(crate) async fn attention(&self) {
        self.attention.notified().await;
    }

    /// Waits before a request is sent again: for the connection if it is away, else for a moment.
    pub(crate) async fn pause_before_retry(&self) {
        let Ok(client) = self.client() else { return };
        let mut states = client.state_watcher();
        drop(client);
        if states.peek_state() == zk::SessionState::SyncConnected {
            tokio::time::sleep(RETRY_PAUSE).await;
            return;
        }
        tokio::select! {
            _ = states.changed() => {}
            _ = self.ended() => {}
        }
    }
}

impl Link {
    fn current(&mut self) -> u64 {
        while let Some(state) = self.states.changed().now_or_never() {
            self.connection += 1;
            if state.is_terminated() {
                break;
            }
        }
        self.connection
    }
}

/// A share in the session's lease.
#[derive(Debug)]
pub(crate) struct LeaseHold {
    session: Arc<Session>,
}

impl Drop for LeaseHold {
    fn drop(&mut self) {
        lock(&self.session.lease).release();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
