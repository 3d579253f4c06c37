//! [`Stats`]: what a coordinator has and does, in numbers.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use super::config::SessionConfig;
use super::core::Session;
use super::moment::Moment;

/// What a [`Coordinator`](crate::Coordinator) has and does at one moment, in numbers.
///
/// They are read one after the other, while things go on.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct Stats {
    /// How many places are held: guards that are not lost, those that take several paths counted once.
    pub holds: usize,
    /// How many contenders of this process wait behind another one.
    pub waiters: usize,
    /// The sessions that are open, the first one first; none that owns nodes while the only one is being replaced.
    pub sessions: Vec<SessionStats>,
    /// How many sessions have been lost: expired, lapsed, or given up.
    pub sessions_lost: u64,
    /// How many requests have been sent, heartbeats and retries included; a transaction is one.
    pub requests: u64,
    /// How many requests were sent again because no answer came, or because what they depend on had changed.
    pub retries: u64,
    /// How many nodes are abandoned and have yet to be removed.
    pub reaper_backlog: usize,
    /// How long ago the oldest of the last proofs of the open sessions was sent: the last committed request of each.
    /// While something is held it is about a fifth of the session timeout at most. Without a hold nothing has to be
    /// sent.
    pub last_proof: Option<Duration>,
}

/// One open session of a coordinator.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct SessionStats {
    /// Its id, as the ensemble shows it.
    pub id: i64,
    /// What it is for.
    pub kind: SessionKind,
    /// Whether a server is connected.
    pub is_connected: bool,
    /// How many places are held in it.
    pub holds: usize,
    /// How many ephemeral nodes it owns, creates in flight and nodes that have yet to be removed included.
    pub nodes: usize,
    /// How many bytes their paths take, the chroot and four bytes each included.
    pub bytes: usize,
    /// How many bytes they may take.
    pub bytes_limit: usize,
    /// How many bytes the paths take that the recipes watch through it, the chroot included.
    pub watched: usize,
}

/// What a session is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub enum SessionKind {
    /// It owns the nodes of holds, of waiters and of members.
    Holding,
    /// It owns nothing, and watches what is beyond the limit of the others. There is one at most, while it is needed.
    Watching,
}

/// What is counted as it happens, for all sessions of a coordinator.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) requests: AtomicU64,
    pub(super) retries: AtomicU64,
    pub(super) sessions_lost: AtomicU64,
    pub(super) waiters: AtomicUsize,
    pub(super) orphans: AtomicUsize,
}

/// One more, until it is dropped.
pub(super) struct Counted<'a>(&'a AtomicUsize);

impl<'a> Counted<'a> {
    pub(super) fn new(counter: &'a AtomicUsize) -> Self {
        counter.fetch_add(1, Ordering::Relaxed);
        Self(counter)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl SessionConfig {
    pub(super) fn stats(&self) -> Stats {
        let (now, counters) = (Moment::now(), &self.counters);
        let open = self.open_sessions();
        let watching = self.watching.stats();
        let sessions: Vec<_> = open.iter().map(SessionStats::of).chain(watching).collect();
        let proofs = open
            .iter()
            .map(|session| now - session.with_lease(|lease| lease.latest()));
        Stats {
            holds: sessions.iter().map(|session| session.holds).sum(),
            waiters: counters.waiters.load(Ordering::Relaxed),
            sessions_lost: counters.sessions_lost.load(Ordering::Relaxed),
            requests: counters.requests.load(Ordering::Relaxed),
            retries: counters.retries.load(Ordering::Relaxed),
            reaper_backlog: counters.orphans.load(Ordering::Relaxed),
            last_proof: proofs.max(),
            sessions,
        }
    }
}

impl SessionStats {
    fn of(session: &Arc<Session>) -> Self {
        let (nodes, bytes) = session.registry().size();
        Self {
            id: session.id(),
            kind: SessionKind::Holding,
            is_connected: session.with_link(|link| link.is_up()),
            holds: session.with_lease(|lease| lease.holds()),
            nodes,
            bytes,
            bytes_limit: session.registry().limit(),
            watched: session.watched().used(),
        }
    }
}
