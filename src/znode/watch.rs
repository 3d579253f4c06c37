//! [`NodeWatch`]: a watch on a node.

use std::sync::Arc;

use tokio::task::JoinHandle;
use zookeeper_client as zk;

use crate::session::Session;

/// What a watch told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WatchOutcome {
    /// The node was deleted.
    Deleted,
    /// The node was changed, or the session ended, or the watch was lost: nothing is known of the node.
    Unknown,
}

/// A watch on an existing node. Dropping it takes the watch back.
///
/// It waits in a task of the coordinator's runtime: the client's watcher panics if the task that serves the session
/// is torn down under it, which must not reach the caller's runtime.
#[derive(Debug)]
pub(crate) struct NodeWatch {
    event: JoinHandle<WatchOutcome>,
}

impl NodeWatch {
    pub(super) fn new(session: &Arc<Session>, watcher: zk::OneshotWatcher) -> Self {
        Self::telling(session, watcher, || {})
    }

    /// A watch that calls `fired` when the node is changed or deleted, or the session ends.
    pub(super) fn telling(
        session: &Arc<Session>,
        watcher: zk::OneshotWatcher,
        fired: impl FnOnce() + Send + 'static,
    ) -> Self {
        let owner = Arc::clone(session);
        let event = session.runtime().spawn(async move {
            // The client of a session that has ended may go on for a while, and its watches tell nothing then.
            let event = owner.while_alive(watcher.changed()).await.map(|event| event.event_type);
            fired();
            match event {
                Ok(zk::EventType::NodeDeleted) => WatchOutcome::Deleted,
                _ => WatchOutcome::Unknown,
            }
        });
        Self { event }
    }

    /// Waits until the node is changed or deleted, or the session ends.
    pub(crate) async fn changed(&mut self) {
        self.outcome().await;
    }

    /// As [`changed`](Self::changed), and tells a deletion from everything else.
    pub(crate) async fn outcome(&mut self) -> WatchOutcome {
        // An error means that the runtime of the session is gone, and the session with it.
        (&mut self.event).await.unwrap_or(WatchOutcome::Unknown)
    }
}

impl Drop for NodeWatch {
    fn drop(&mut self) {
        self.event.abort();
    }
}
