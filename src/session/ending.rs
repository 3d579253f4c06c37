//! The end of a session, and what becomes of its nodes.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tokio::time;
use tracing::{info, warn};

use super::core::Session;
use super::state::{LossReason, lock};
use crate::error::Error;
use crate::metrics;

/// How long a directory in which we may not delete is refused.
const UNDELETABLE_FOR: Duration = Duration::from_secs(60);

impl Session {
    /// Ends the session for good: all its holds are lost, and it is never used for anything new.
    ///
    /// What is lost is not yet removed. Nodes on which nothing is held go at once. The others stay until their guards
    /// are dropped, so that the work under them has ended before the next holder begins, and for one session timeout at
    /// most. For as long, a session whose lease lapsed is kept open at the server.
    pub(crate) fn end(self: &Arc<Self>, reason: LossReason) {
        if !self.set_end(reason) {
            return;
        }
        match reason {
            LossReason::Closed => info!(session = format_args!("{:#x}", self.id()), %reason, "session ended"),
            _ => {
                self.config().counters.sessions_lost.fetch_add(1, Ordering::Relaxed);
                metrics::count(metrics::SESSION_ENDS, None, &[("error.type", reason.label())], 1);
                warn!(session = format_args!("{:#x}", self.id()), %reason, "session ended");
            }
        }
        let is_alive = matches!(reason, LossReason::LeaseLapsed | LossReason::GivenUp);
        if !is_alive {
            drop(self.take_client());
        }
        let loose = self.registry().end_all(reason);
        if reason == LossReason::Closed {
            self.registry().keys().into_iter().for_each(|key| self.discard(key));
            return;
        }
        let mut retired = lock(&self.config().retired);
        retired.retain(|session| session.strong_count() > 0);
        retired.push(Arc::downgrade(self));
        drop(retired);
        self.config().runtime.spawn(retire(Arc::clone(self)));
        // Also after an expiry: the client may have declared it, and a new leader may keep the session for as long
        // again.
        loose.into_iter().for_each(|key| self.discard(key));
    }

    /// As [`end`](Self::end), but told first: the client stays, and so do all nodes, for the task that closes the session.
    pub(super) fn begin_close(&self) {
        self.set_end(LossReason::Closed);
        self.registry().end_all(LossReason::Closed);
    }

    /// The ACL of the directory of `path`, which is a node of ours, denies DELETE. Only the end of the session removes
    /// such a node, so the session is given up: else the process would wait behind its own dead node.
    pub(super) fn cannot_delete(self: &Arc<Self>, path: &str) {
        let directory = directory_of(path).to_owned();
        lock(&self.config().undeletable).insert(directory, Instant::now());
        self.end(LossReason::GivenUp);
    }

    /// Refuses a directory in which we may not delete what we create. It is tried again after a while: its ACL may have
    /// been mended.
    ///
    /// # Errors
    /// [`Error::Denied`].
    pub(crate) fn check_deletable(&self, directory: &str) -> Result<(), Error> {
        let mut undeletable = lock(&self.config().undeletable);
        undeletable.retain(|_, since| since.elapsed() < UNDELETABLE_FOR);
        let directory = if directory.is_empty() { "/" } else { directory };
        match undeletable.contains_key(directory) {
            false => Ok(()),
            true => Err(Error::Denied {
                path: directory.to_owned(),
            }),
        }
    }
}

fn directory_of(path: &str) -> &str {
    match path.rsplit_once('/') {
        Some(("", _)) | None => "/",
        Some((directory, _)) => directory,
    }
}

/// Looks after the nodes of a session that has ended, until they are removed or one session timeout has passed.
async fn retire(session: Arc<Session>) {
    let guards = time::timeout(session.timeout(), session.registry().nothing_held());
    if guards.await.is_err() {
        warn!(
            session = format_args!("{:#x}", session.id()),
            "guards of lost holds were not dropped within a session timeout; their nodes are removed now"
        );
        session
            .registry()
            .keys()
            .into_iter()
            .for_each(|key| session.discard(key));
    }
    // The reaper works through the client that is kept, if there is one; that closes the session when it is dropped.
    if session.end_reason() == Some(LossReason::LeaseLapsed) {
        let _ = time::timeout(session.timeout() / 3, session.registry().empty()).await;
    }
    drop(session.take_client());
}
