//! One ZooKeeper session: its client, its lease, its nodes and its end.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::runtime::Handle;
use tokio::sync::{Notify, mpsc};
use tracing::{info, warn};
use zookeeper_client as zk;

use super::lease::LeaseClock;
use super::link::Link;
use super::operation::Operation;
use super::reaper::Orphan;
use super::registry::{NodeKey, Registry};
use super::retry::RetryBudget;
use super::state::{End, LossReason, Lost};
use crate::error::Error;

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
    /// The largest request, in bytes.
    pub(crate) request_limit: usize,
    pub(crate) retries: RetryBudget,
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

impl Session {
    /// A session that was just opened; `opened` is when that began.
    pub(crate) fn new(client: zk::Client, opened: Instant, config: Arc<SessionConfig>) -> Arc<Self> {
        let timeout = client.session_timeout();
        // The first session was refused if its margin is too large; a later one may have been granted less time.
        let margin = config.lease_margin.map_or_else(
            || LeaseClock::default_margin(timeout),
            |margin| margin.min(timeout * 2 / 5),
        );
        let link = Link::new(client.state_watcher());
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
    pub(crate) fn discard(self: &Arc<Self>, key: NodeKey) {
        if self.config.orphans.send(Orphan::new(self, key)).is_err() {
            // The reaper is gone with its coordinator, whose session ends with all its nodes.
            self.registry.remove(key);
        }
    }

    /// Runs `f` on the state of the connection.
    pub(super) fn with_link<T>(&self, f: impl FnOnce(&mut Link) -> T) -> T {
        f(&mut lock(&self.link))
    }

    /// Which connection the client is on. A change means that the session was re-attached, maybe to another one.
    pub(crate) fn connection(&self) -> u64 {
        self.with_link(Link::current)
    }

    /// Whether the session is known to be ours on the current connection.
    pub(crate) fn is_verified(&self) -> bool {
        self.with_link(Link::is_verified)
    }

    /// Whether a server has answered a request on the current connection.
    pub(super) fn has_answered(&self) -> bool {
        self.with_link(Link::has_answered)
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
        self.with_link(|link| link.verify(connection));
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

    /// Waits until there is a connection.
    pub(crate) async fn connected(&self) -> Result<(), Lost> {
        while !self.with_link(|link| link.is_up()) {
            let mut states = self.client()?.state_watcher();
            if states.peek_state() == zk::SessionState::SyncConnected {
                break;
            }
            tokio::select! {
                biased;
                lost = self.ended() => return Err(lost),
                _ = states.changed() => {}
            }
        }
        Ok(())
    }

    /// Waits for `pause`, on the coordinator's runtime, since the caller need not be on one.
    pub(crate) async fn sleep(&self, pause: Duration) -> Result<(), Lost> {
        let sleep = {
            let _context = self.config.runtime.enter();
            tokio::time::sleep(pause)
        };
        tokio::select! {
            biased;
            lost = self.ended() => Err(lost),
            () = sleep => Ok(()),
        }
    }

    pub(super) fn retry_budget(&self) -> &RetryBudget {
        &self.config.retries
    }

    /// Refuses data that would make the server cut the connection, again and again.
    pub(crate) fn check_size(&self, path: &str, size: usize) -> Result<(), Error> {
        self.config.check_size(path, size)
    }
}

impl SessionConfig {
    /// As [`check_size`](Self::check_size), of a node at or below `path` in a transaction with one or two small steps.
    pub(crate) fn check_transaction_size(&self, path: &str, size: usize) -> Result<(), Error> {
        // A little longer than `path` is that of a ledger beside it.
        let others = 2 * Operation::size_of(path, 128);
        let whole = self.check_size(path, size.saturating_add(others));
        whole.map_err(|error| match error {
            Error::TooLarge { path, limit, .. } => {
                let limit = limit.saturating_sub(others);
                Error::TooLarge { path, size, limit }
            }
            error => error,
        })
    }

    /// Refuses `size` bytes that go into one request about `path`, if a server would not take them.
    pub(crate) fn check_size(&self, path: &str, size: usize) -> Result<(), Error> {
        if size <= self.request_limit {
            return Ok(());
        }
        Err(Error::TooLarge {
            path: path.to_owned(),
            size,
            limit: self.request_limit,
        })
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

/// Locks also after a panic elsewhere: what the locks here protect is whole at every moment.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
