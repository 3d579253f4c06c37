//! One ZooKeeper session: its client, its lease, its nodes and its end.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::runtime::Handle;
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::{self, Sleep};
use tracing::{info, warn};
use zookeeper_client as zk;

use super::containers::Containers;
use super::guid_prefix::GuidPrefix;
use super::lease::LeaseClock;
use super::link::Link;
use super::moment::Moment;
use super::operation::Operation;
use super::options::DEFAULT_REQUEST_LIMIT;
use super::reaper::Orphan;
use super::registry::{EPHEMERAL_BYTES, NodeKey, Registry};
use super::retry::RetryBudget;
use super::runtime;
use super::shutdown::Draining;
use super::state::{End, Lease, LossReason, Lost, lock};
use super::stats::{Counted, Counters};
use super::watch_budget::WatchBudget;
use super::watching::{WATCHED_BYTES, WatchingSession};
use crate::error::Error;
use crate::metrics::{self, GaugeGuard};

/// How many sessions are remembered as having been ours; the ensemble has long forgotten older ones.
const PAST_SESSIONS: usize = 1_024;

/// What every session of a coordinator has in common.
#[derive(Debug)]
pub(crate) struct SessionConfig {
    pub(crate) identity: Bytes,
    pub(crate) guid_prefix: GuidPrefix,
    /// Whether the user chose it, so that it may be the same after a restart; and when the coordinator began.
    pub(super) has_own_identity: bool,
    pub(super) began: Instant,
    pub(crate) acls: Vec<zk::Acl>,
    pub(crate) lease_margin: Option<Duration>,
    /// What every client is configured with.
    pub(crate) connection_timeout: Duration,
    /// How many bytes the chroot adds to each path.
    pub(crate) chroot_len: usize,
    /// How long a wait is before a warning names what it waits for.
    pub(crate) long_wait: Duration,
    /// How many contenders may stand in one line.
    pub(crate) line_limit: usize,
    pub(crate) runtime: Handle,
    /// Directories in which we may create nodes and not delete them, and since when that is known.
    pub(crate) undeletable: Mutex<HashMap<String, Instant>>,
    /// Sessions that have ended, and whose held nodes may still be there.
    pub(crate) retired: Mutex<Vec<Weak<Session>>>,
    /// The largest request, in bytes.
    pub(crate) request_limit: usize,
    /// How many sessions there may be at once.
    pub(super) max_sessions: usize,
    pub(crate) retries: RetryBudget,
    /// Whether the servers know containers.
    pub(super) containers: Containers,
    /// Whether the coordinator is being shut down.
    pub(super) draining: Draining,
    /// Why the last attempt to open a session failed.
    pub(super) last_problem: Mutex<Option<String>>,
    /// The ids of its sessions, the latest first.
    pub(super) past: Mutex<VecDeque<i64>>,
    /// All sessions that are still in use.
    pub(super) sessions: Mutex<Vec<Weak<Session>>>,
    pub(super) counters: Counters,
    /// What watches beyond what the sessions above may.
    pub(super) watching: Arc<WatchingSession>,
}

/// What one session after the other has in common, of which one is current.
#[derive(Debug)]
pub(super) struct Lineage {
    index: usize,
    orphans: mpsc::UnboundedSender<Orphan>,
}

impl Lineage {
    /// `index` is 0 for that which stands for the coordinator.
    pub(super) fn new(index: usize, orphans: mpsc::UnboundedSender<Orphan>) -> Self {
        Self { index, orphans }
    }

    pub(super) fn index(&self) -> usize {
        self.index
    }
}

/// One session, from its opening to its end. Once it has ended it is never used again.
#[derive(Debug)]
pub(crate) struct Session {
    id: i64,
    timeout: Duration,
    config: Arc<SessionConfig>,
    lineage: Arc<Lineage>,
    client: Mutex<Option<zk::Client>>,
    link: Mutex<Link>,
    lease: Mutex<LeaseClock>,
    /// Tells of each proof.
    proofs: watch::Sender<()>,
    registry: Registry,
    watched: WatchBudget,
    end: End,
    attention: Notify,
    /// Until the session ends.
    measured: Mutex<Option<GaugeGuard>>,
    warned_of_slow_proofs: AtomicBool,
}

impl Session {
    /// A session that was just opened; `opened` is when that began.
    pub(super) fn new(
        client: zk::Client,
        opened: Moment,
        config: Arc<SessionConfig>,
        lineage: Arc<Lineage>,
    ) -> Arc<Self> {
        let timeout = client.session_timeout();
        let margin = LeaseClock::margin(config.lease_margin, timeout);
        if margin.is_clamped {
            warn!(?timeout, margin = ?margin.length, "the lease margin is not between 1 % and 30 % of the granted session timeout; using what is nearest");
        }
        let silence = LeaseClock::client_silence(config.connection_timeout, timeout);
        let link = Link::new(client.state_watcher());
        let id = client.session_id().0;
        {
            let mut past = lock(&config.past);
            past.truncate(PAST_SESSIONS - 1);
            past.push_front(id);
        }
        let registry = Registry::new(config.chroot_len, config.at_most(EPHEMERAL_BYTES));
        let watched = WatchBudget::new(config.at_most(WATCHED_BYTES));
        let session = Arc::new(Self {
            id,
            timeout,
            config,
            lineage,
            client: Mutex::new(Some(client)),
            link: Mutex::new(link),
            lease: Mutex::new(LeaseClock::new(timeout, margin.length, silence, opened)),
            proofs: watch::Sender::new(()),
            registry,
            watched,
            end: End::new(),
            attention: Notify::new(),
            measured: Mutex::new(Some(GaugeGuard::new(metrics::SESSIONS, None, None))),
            warned_of_slow_proofs: AtomicBool::new(false),
        });
        let mut sessions = lock(&session.config.sessions);
        sessions.retain(|session| session.strong_count() > 0);
        sessions.push(Arc::downgrade(&session));
        drop(sessions);
        if Moment::now() - opened > timeout / 4 {
            // So that the first acquire finds a lease.
            session.runtime().spawn(Arc::clone(&session).vouch());
        }
        session
    }

    pub(crate) fn id(&self) -> i64 {
        self.id
    }

    /// Whether this process had the session with this id, which has ended.
    pub(crate) fn succeeds(&self, id: i64) -> bool {
        let is_open = |session: &Arc<Self>| session.id == id && session.end_reason().is_none();
        self.is_one_of_ours(id) && !self.config.known_sessions().iter().any(is_open)
    }

    /// The ends of the nodes that sessions of this process have registered at a path that others may use, with the
    /// sessions' ids.
    pub(crate) fn named(&self, path: &str) -> Vec<(i64, Arc<End>)> {
        let sessions = self.config.known_sessions();
        let named = |session: &Arc<Self>| Some((session.id, session.registry.named(path)?));
        sessions.iter().filter_map(named).collect()
    }

    /// The negotiated session timeout.
    pub(crate) fn timeout(&self) -> Duration {
        self.timeout
    }

    pub(super) fn config(&self) -> &Arc<SessionConfig> {
        &self.config
    }

    pub(crate) fn identity(&self) -> &[u8] {
        &self.config.identity
    }

    pub(crate) fn guid_prefix(&self) -> GuidPrefix {
        self.config.guid_prefix
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
        match (self.end.reason(), lock(&self.client).as_ref()) {
            (None, Some(client)) => Ok(client.clone()),
            (reason, _) => Err(Lost::because(reason.unwrap_or(LossReason::Closed))),
        }
    }

    /// The client of a session that has ended, as long as it is kept for the nodes that are still there.
    pub(super) fn retained_client(&self) -> Option<zk::Client> {
        self.end.reason().and_then(|_| lock(&self.client).clone())
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

    /// Ends the session for good: all its holds are lost, and it is never used for anything new.
    ///
    /// What is lost is not yet removed. Nodes on which nothing is held go at once. The others stay until their guards
    /// are dropped, so that the work under them has ended before the next holder begins, and for one session timeout at
    /// most. For as long, a session whose lease lapsed is kept open at the server.
    pub(crate) fn end(self: &Arc<Self>, reason: LossReason) {
        if !self.end.set(reason) {
            return;
        }
        drop(lock(&self.measured).take());
        match reason {
            LossReason::Closed => info!(session = format_args!("{:#x}", self.id), %reason, "session ended"),
            _ => {
                self.config.counters.sessions_lost.fetch_add(1, Ordering::Relaxed);
                metrics::count(metrics::SESSION_ENDS, None, &[("error.type", reason.label())], 1);
                warn!(session = format_args!("{:#x}", self.id), %reason, "session ended");
            }
        }
        let is_alive = matches!(reason, LossReason::LeaseLapsed | LossReason::GivenUp);
        if !is_alive {
            drop(self.take_client());
        }
        let loose = self.registry.end_all(reason);
        if reason == LossReason::Closed {
            self.registry.keys().into_iter().for_each(|key| self.discard(key));
            return;
        }
        let mut retired = lock(&self.config.retired);
        retired.retain(|session| session.strong_count() > 0);
        retired.push(Arc::downgrade(self));
        drop(retired);
        self.config.runtime.spawn(retire(Arc::clone(self)));
        // Also after an expiry: the client may have declared it, and a new leader may keep the session for as long
        // again.
        loose.into_iter().for_each(|key| self.discard(key));
    }

    /// As [`end`](Self::end), but told first: the client stays, and so do all nodes, for the task that closes the session.
    pub(super) fn begin_close(&self) {
        self.end.set(LossReason::Closed);
        self.registry.end_all(LossReason::Closed);
    }

    /// The ACL of the directory of `path`, which is a node of ours, denies DELETE. Only the end of the session removes
    /// such a node, so the session is given up: else the process would wait behind its own dead node.
    pub(super) fn cannot_delete(self: &Arc<Self>, path: &str) {
        let directory = directory_of(path).to_owned();
        lock(&self.config.undeletable).insert(directory, Instant::now());
        self.end(LossReason::GivenUp);
    }

    /// Refuses a directory in which we may not delete what we create. It is tried again after a while: its ACL may have
    /// been mended.
    ///
    /// # Errors
    /// [`Error::Denied`].
    pub(crate) fn check_deletable(&self, directory: &str) -> Result<(), Error> {
        let mut undeletable = lock(&self.config.undeletable);
        undeletable.retain(|_, since| since.elapsed() < UNDELETABLE_FOR);
        let directory = if directory.is_empty() { "/" } else { directory };
        match undeletable.contains_key(directory) {
            false => Ok(()),
            true => Err(Error::Denied {
                path: directory.to_owned(),
            }),
        }
    }

    /// Whether a contender at `path` is one on which this process holds, or has held in a session that has ended.
    pub(crate) fn is_held_by_us(&self, path: &str) -> bool {
        let sessions = self.config.known_sessions();
        sessions.iter().any(|session| session.registry.holds(path))
    }

    /// Whether a former session of this process may still be there: the process has an identity that outlives it, and has
    /// not run for long. Twice the session timeout, since the server may have been away.
    pub(crate) fn may_have_ghost(&self) -> bool {
        self.config.has_own_identity && self.config.began.elapsed() < self.timeout * 2
    }

    /// Whether this process has or had the session with this id.
    pub(crate) fn is_one_of_ours(&self, id: i64) -> bool {
        lock(&self.config.past).contains(&id)
    }

    /// How long a wait is before a warning names what it waits for.
    pub(crate) fn long_wait(&self) -> Duration {
        self.config.long_wait
    }

    /// What this session may watch itself.
    pub(super) fn watched(&self) -> &WatchBudget {
        &self.watched
    }

    /// What watches beyond that.
    pub(crate) fn watching(&self) -> &Arc<WatchingSession> {
        &self.config.watching
    }

    pub(super) fn chroot_len(&self) -> usize {
        self.config.chroot_len
    }

    /// Counts a request that is sent beside the session's own.
    pub(super) fn count_request(&self) {
        self.config.counters.requests.fetch_add(1, Ordering::Relaxed);
    }

    /// How many contenders may stand in one line.
    pub(crate) fn line_limit(&self) -> usize {
        self.config.line_limit
    }

    /// Hands a node over to the reaper. It neither waits nor fails.
    pub(crate) fn discard(self: &Arc<Self>, key: NodeKey) {
        if self.lineage.orphans.send(Orphan::new(self, key)).is_err() {
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
    pub(crate) fn proved(&self, sent: Moment) {
        if self.is_verified() {
            let now = Moment::now();
            let mut lease = lock(&self.lease);
            if lease.is_held() {
                let left = lease.remaining(now).as_secs_f64();
                metrics::observe(metrics::LEASE_REMAINING, None, &[], left);
            }
            lease.proved(sent, now);
            drop(lease);
            metrics::observe(metrics::PROOF_DURATION, None, &[], (now - sent).as_secs_f64());
            self.proofs.send_replace(());
        }
    }

    /// Tells of each proof from now on.
    pub(super) fn proofs(&self) -> watch::Receiver<()> {
        self.proofs.subscribe()
    }

    /// Whether a hold that is granted now can be prolonged in time.
    pub(super) fn may_grant(&self) -> bool {
        self.end.reason().is_none() && self.is_verified() && lock(&self.lease).may_grant(Moment::now())
    }

    /// Counts a grant that waits for its proof, for which heartbeats are sent as for a hold.
    pub(super) fn await_grant(self: &Arc<Self>) -> PendingGrant {
        let (cannot_be_kept, latency, margin) = self.with_lease(|lease| {
            lease.await_grant();
            (lease.cannot_be_kept(), lease.latency(), lease.margin_length())
        });
        if cannot_be_kept && !self.warned_of_slow_proofs.swap(true, Ordering::Relaxed) {
            warn!(
                ?latency,
                ?margin,
                "the ensemble commits so slowly that no hold could be kept; waiting for it to become faster"
            );
        }
        self.attention.notify_one();
        PendingGrant {
            session: Arc::clone(self),
        }
    }

    /// How long holds of this session may still be believed; zero once it ended or its lease lapsed.
    pub(crate) fn remaining(self: &Arc<Self>) -> Duration {
        if self.end.reason().is_some() {
            return Duration::ZERO;
        }
        let (remaining, lapsed) = {
            let mut lease = lock(&self.lease);
            let now = Moment::now();
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
        let next_look = Moment::now() + LeaseClock::alive_interval(self.timeout);
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
        let sleep = self.timer(pause);
        tokio::select! {
            biased;
            lost = self.ended() => Err(lost),
            () = sleep => Ok(()),
        }
    }

    /// A timer on the coordinator's runtime, since the caller need not be on one.
    fn timer(&self, pause: Duration) -> Sleep {
        let _context = self.config.runtime.enter();
        time::sleep(pause)
    }

    /// Counts a contender that waits behind another one, until what is returned is dropped.
    pub(crate) fn count_waiter(&self) -> impl Drop + '_ {
        Counted::new(&self.config.counters.waiters)
    }

    pub(super) fn counters(&self) -> &Counters {
        &self.config.counters
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
    /// Keeps why no session could be opened, for [`Coordinator::health`](super::Coordinator::health).
    pub(super) fn note_problem(&self, problem: &dyn std::fmt::Display) {
        *lock(&self.last_problem) = Some(problem.to_string());
    }

    /// So many bytes of paths, or three quarters of what one request may hold where that is less than the default.
    pub(super) fn at_most(&self, bytes: usize) -> usize {
        match self.request_limit < DEFAULT_REQUEST_LIMIT {
            true => bytes.min(self.request_limit / 4 * 3),
            false => bytes,
        }
    }

    /// The sessions that are still in use, those that have ended included.
    pub(super) fn known_sessions(&self) -> Vec<Arc<Session>> {
        lock(&self.sessions).iter().filter_map(Weak::upgrade).collect()
    }

    /// The sessions that have not ended, the first one first.
    pub(super) fn open_sessions(&self) -> Vec<Arc<Session>> {
        let mut open = self.known_sessions();
        open.retain(|session| session.end.reason().is_none());
        open.sort_by_key(|session| session.lineage.index);
        open
    }

    /// Sessions of `lineage` that have ended, and whose held nodes may still be there.
    pub(super) fn retired_sessions(&self, lineage: &Arc<Lineage>) -> Vec<Arc<Session>> {
        let mut retired: Vec<_> = lock(&self.retired).iter().filter_map(Weak::upgrade).collect();
        retired.retain(|session| Arc::ptr_eq(&session.lineage, lineage));
        retired
    }

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

/// How long a directory in which we may not delete is refused.
const UNDELETABLE_FOR: Duration = Duration::from_secs(60);

fn directory_of(path: &str) -> &str {
    match path.rsplit_once('/') {
        Some(("", _)) | None => "/",
        Some((directory, _)) => directory,
    }
}

/// A share in the session's lease.
pub(crate) struct LeaseHold {
    session: Arc<Session>,
}

impl Drop for LeaseHold {
    fn drop(&mut self) {
        lock(&self.session.lease).release();
    }
}

/// A grant that waits for its proof.
pub(super) struct PendingGrant {
    session: Arc<Session>,
}

impl Drop for PendingGrant {
    fn drop(&mut self) {
        lock(&self.session.lease).grant_ended();
    }
}

/// The lease of a session, as a hold sees it.
pub(crate) struct SessionLease(Arc<Session>);

impl SessionLease {
    pub(crate) fn of(session: &Arc<Session>) -> Arc<dyn Lease> {
        Arc::new(Self(Arc::clone(session)))
    }
}

impl Lease for SessionLease {
    fn remaining(&self) -> Duration {
        self.0.remaining()
    }

    fn sleep(&self, pause: Duration) -> Sleep {
        // On the thread that all coordinators share: a runtime that the user chose may be blocked.
        match runtime::shared() {
            Ok(shared) => {
                let _context = shared.enter();
                time::sleep(pause)
            }
            Err(_) => self.0.timer(pause),
        }
    }
}

/// Looks after the nodes of a session that has ended, until they are removed or one session timeout has passed.
async fn retire(session: Arc<Session>) {
    let guards = time::timeout(session.timeout, session.registry.nothing_held());
    if guards.await.is_err() {
        warn!(
            session = format_args!("{:#x}", session.id),
            "guards of lost holds were not dropped within a session timeout; their nodes are removed now"
        );
        session.registry.keys().into_iter().for_each(|key| session.discard(key));
    }
    // The reaper works through the client that is kept, if there is one; that closes the session when it is dropped.
    if session.end.reason() == Some(LossReason::LeaseLapsed) {
        let _ = time::timeout(session.timeout / 3, session.registry.empty()).await;
    }
    drop(session.take_client());
}
