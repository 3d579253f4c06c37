//! [`NodeWatch`]: a watch on a node.

use std::future::Future;
use std::sync::Arc;

use futures::FutureExt;
use futures::future::Either;
use tokio::task::JoinHandle;
use zookeeper_client as zk;

use super::request::{stat_and_watcher, sync};
use crate::session::{EyeWatch, Interrupted, Session, WatchShare, WatchedFor};

/// What a watch told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WatchOutcome {
    /// The node was deleted.
    Deleted,
    /// The node was changed, or the session ended, or the watch was lost: nothing is known of the node.
    Unknown,
}

impl WatchOutcome {
    fn of(event: Option<zk::EventType>) -> Self {
        match event {
            Some(zk::EventType::NodeDeleted) => Self::Deleted,
            _ => Self::Unknown,
        }
    }
}

/// A watch on an existing node. Dropping it takes the watch back.
///
/// It waits in a task of the coordinator's runtime: the client's watcher panics if the task that serves the session
/// is torn down under it, which must not reach the caller's runtime.
#[derive(Debug)]
pub(crate) struct NodeWatch<T = WatchOutcome> {
    /// Ends with what is made of the outcome.
    task: JoinHandle<T>,
}

impl NodeWatch {
    /// A watch on `path` that the session has set itself.
    pub(super) fn new(session: &Arc<Session>, path: &str, watcher: zk::OneshotWatcher) -> Self {
        Self::telling(session, path, watcher, |_| {})
    }

    /// As [`new`](Self::new), and calls `fired` in its task when the node is changed or deleted, or the session ends.
    pub(super) fn telling(
        session: &Arc<Session>,
        path: &str,
        watcher: zk::OneshotWatcher,
        fired: impl FnOnce(WatchOutcome) + Send + 'static,
    ) -> Self {
        let (owner, share) = (Arc::clone(session), session.charge_watch(path));
        let task = session.runtime().spawn(async move {
            // The client of a session that has ended may go on for a while, and its watches tell nothing then.
            let event = owner.while_alive(watcher.changed()).await.map(|event| event.event_type);
            drop(share);
            let told = WatchOutcome::of(event.ok());
            fired(told);
            told
        });
        Self { task }
    }

    /// Waits until the node is changed or deleted, or the session ends.
    pub(crate) async fn changed(&mut self) {
        self.outcome().await;
    }

    /// As [`changed`](Self::changed), and tells a deletion from everything else.
    pub(crate) async fn outcome(&mut self) -> WatchOutcome {
        self.told().await.unwrap_or(WatchOutcome::Unknown)
    }
}

impl<T> NodeWatch<T> {
    /// Waits as [`outcome`](NodeWatch::outcome) does, and for what the watch's task made of it. `None` if the task was torn
    /// down, with its runtime and the session.
    pub(crate) async fn told(&mut self) -> Option<T> {
        (&mut self.task).await.ok()
    }
}

/// A watch on an existing node that has no task of its own, set by the session that owns the nodes or, where that
/// watches enough already, by the watching session.
pub(super) enum PlacedWatch {
    Own(zk::OneshotWatcher, WatchShare),
    Elsewhere(EyeWatch),
}

impl PlacedWatch {
    /// The state of the node at `path` and a watch on it, if it is there.
    pub(super) async fn set(
        session: &Arc<Session>,
        path: &str,
        reason: WatchedFor,
    ) -> Result<Option<(zk::Stat, Self)>, Interrupted> {
        if let Some(share) = session.watch_share(path) {
            let (stat, watcher) = stat_and_watcher(session, path).await?;
            return Ok(stat.map(|stat| (stat, Self::Own(watcher, share))));
        }
        match session.watch_elsewhere(path, reason).await? {
            Some((stat, watch)) => Ok(Some((stat, Self::Elsewhere(watch)))),
            None => {
                // So that the session's own next look shows no older state.
                sync(session, path).await?;
                Ok(None)
            }
        }
    }

    /// Whether it is a watch of the watching session.
    pub(super) fn is_elsewhere(&self) -> bool {
        matches!(self, Self::Elsewhere(_))
    }

    /// What the watch tells.
    pub(super) fn outcome(self, session: &Session) -> impl Future<Output = WatchOutcome> {
        self.event(session).map(WatchOutcome::of)
    }

    /// What the watch tells; `None` if it is lost, with its session or the one that owns the nodes.
    fn event(self, session: &Session) -> impl Future<Output = Option<zk::EventType>> {
        let event = match self {
            Self::Own(watcher, share) => Either::Left(watcher.changed().map(move |event| {
                drop(share);
                Some(event.event_type)
            })),
            Self::Elsewhere(watch) => Either::Right(watch.event()),
        };
        // The client of a session that has ended may go on for a while, and its watches tell nothing then.
        session.while_alive(event).map(|event| event.ok().flatten())
    }

    /// As [`NodeWatch`], and waits in its task for what `then` makes of the outcome. Once it tells, the session's own next
    /// look at `path` shows nothing older.
    pub(super) fn telling<T, F>(
        self,
        session: &Arc<Session>,
        path: &str,
        then: impl FnOnce(WatchOutcome) -> F + Send + 'static,
    ) -> NodeWatch<T>
    where
        T: Send + 'static,
        F: Future<Output = T> + Send,
    {
        let (owner, path) = (Arc::clone(session), path.to_owned());
        let task = session.runtime().spawn(async move {
            let is_elsewhere = self.is_elsewhere();
            let event = self.event(&owner).await;
            // Very many watches are lost at once, and of their nodes nothing newer was seen.
            if is_elsewhere && event.is_some() {
                // An error means that the session has ended, which is seen next.
                let _ = sync(&owner, &path).await;
            }
            then(WatchOutcome::of(event)).await
        });
        NodeWatch { task }
    }
}

impl<T> Drop for NodeWatch<T> {
    fn drop(&mut self) {
        self.task.abort();
    }
}
