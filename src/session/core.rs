//! One ZooKeeper session: its client, its lease, its nodes and its end.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::{self, Sleep};
use tracing::warn;
use zookeeper_client as zk;

use super::config::SessionConfig;
use super::guid_prefix::GuidPrefix;
use super::lease::LeaseClock;
use super::link::Link;
use super::moment::Moment;
use super::reaper::Orphan;
use super::registry::{EPHEMERAL_BYTES, NodeKey, Registry};
use super::retry::RetryBudget;
use super::state::{End, LossReason, Lost, lock};
use super::stats::{Counted, Counters};
use super::together::Bundles;
use super::watch_budget::WatchBudget;
use super::watching::{WATCHED_BYTES, WatchingSession};
use crate::error::Error;
use crate::metrics::{self, GaugeGuard};

/// How many sessions are remembered as having been ours; the ensemble has long forgotten older ones.
const PAST_SESSIONS: usize = 1_024;

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
    bundles: Bundles,
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
            bundles: Bundles::default(),
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

    pub(super) fn lineage(&self) -> &Arc<Lineage> {
        &self.lineage
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

    /// Whether it had not ended before.
    pub(super) fn set_end(&self, reason: LossReason) -> bool {
        let has_ended = self.end.set(reason);
        if has_ended {
            drop(lock(&self.measured).take());
        }
        has_ended
    }

    /// Waits for the end of the session.
    pub(crate) async fn ended(&self) -> Lost {
        Lost {
            reason: self.end.reached().await,
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

    /// What travels together.
    pub(super) fn bundles(&self) -> &Bundles {
        &self.bundles
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

    pub(super) fn tell_of_proof(&self) {
        self.proofs.send_replace(());
    }

    /// Whether nobody has asked before.
    pub(super) fn is_first_slow_proof(&self) -> bool {
        !self.warned_of_slow_proofs.swap(true, Ordering::Relaxed)
    }

    /// Tells of each proof from now on.
    pub(super) fn proofs(&self) -> watch::Receiver<()> {
        self.proofs.subscribe()
    }

    /// Runs `f` on the lease clock.
    pub(crate) fn with_lease<T>(&self, f: impl FnOnce(&mut LeaseClock) -> T) -> T {
        f(&mut lock(&self.lease))
    }

    /// Makes the supervisor look at the session.
    pub(super) fn call_attention(&self) {
        self.attention.notify_one();
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
    pub(super) fn timer(&self, pause: Duration) -> Sleep {
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
