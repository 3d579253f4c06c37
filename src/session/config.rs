//! What every session of a coordinator has in common.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::runtime::Handle;
use zookeeper_client as zk;

use super::containers::Containers;
use super::core::{Lineage, Session};
use super::guid_prefix::GuidPrefix;
use super::operation::Operation;
use super::options::DEFAULT_REQUEST_LIMIT;
use super::retry::RetryBudget;
use super::shutdown::Draining;
use super::state::lock;
use super::stats::Counters;
use super::watching::WatchingSession;
use crate::error::Error;

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
        open.retain(|session| session.end_reason().is_none());
        open.sort_by_key(|session| session.lineage().index());
        open
    }

    /// Sessions of `lineage` that have ended, and whose held nodes may still be there.
    pub(super) fn retired_sessions(&self, lineage: &Arc<Lineage>) -> Vec<Arc<Session>> {
        let mut retired: Vec<_> = lock(&self.retired).iter().filter_map(Weak::upgrade).collect();
        retired.retain(|session| Arc::ptr_eq(session.lineage(), lineage));
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
