//! Lists, and watches on somebody else's node.

use std::sync::Arc;

use tokio::task::JoinHandle;
use zookeeper_client as zk;

use super::ephemeral::Interrupted;
use super::path::NodePath;
use crate::error::Error;
use crate::session::{ReplyStatus, Session, classify};

/// The children of `path`; none if it does not exist.
pub(crate) async fn list(session: &Arc<Session>, path: &NodePath) -> Result<Vec<String>, Interrupted> {
    loop {
        let client = session.client()?;
        let answer = tokio::select! {
            answer = client.list_children(path.as_str()) => answer,
            lost = session.ended() => return Err(lost.into()),
        };
        drop(client);
        match answer {
            Ok(children) => return Ok(children),
            Err(zk::Error::NoNode) => return Ok(Vec::new()),
            Err(error) => retry_or_fail(session, path.as_str(), error).await?,
        }
    }
}

/// The zxid at which the node at `path` was created, if it exists.
pub(crate) async fn czxid(session: &Arc<Session>, path: &str) -> Result<Option<i64>, Interrupted> {
    loop {
        let client = session.client()?;
        let answer = tokio::select! {
            answer = client.check_stat(path) => answer,
            lost = session.ended() => return Err(lost.into()),
        };
        drop(client);
        match answer {
            Ok(stat) => return Ok(stat.map(|stat| stat.czxid)),
            Err(error) => retry_or_fail(session, path, error).await?,
        }
    }
}

/// Watches the node at `path` if it exists.
pub(crate) async fn watch_existing(session: &Arc<Session>, path: &str) -> Result<Option<NodeWatch>, Interrupted> {
    loop {
        let client = session.client()?;
        // `exists`, not `getData`: it needs no right to read the node.
        let answer = tokio::select! {
            answer = client.check_and_watch_stat(path) => answer,
            lost = session.ended() => return Err(lost.into()),
        };
        drop(client);
        match answer {
            Ok((Some(_), watcher)) => return Ok(Some(NodeWatch::new(session, watcher))),
            Ok((None, _)) => return Ok(None),
            Err(error) => retry_or_fail(session, path, error).await?,
        }
    }
}

pub(super) async fn retry_or_fail(session: &Arc<Session>, path: &str, error: zk::Error) -> Result<(), Interrupted> {
    if classify(&error) == ReplyStatus::Refused {
        return Err(Error::from_answer(path, error).into());
    }
    session.pause_before_retry().await;
    Ok(())
}

/// A watch on an existing node. Dropping it takes the watch back.
///
/// It waits in a task of the coordinator's runtime: the client's watcher panics if the task that serves the session
/// is torn down under it, which must not reach the caller's runtime.
#[derive(Debug)]
pub(crate) struct NodeWatch {
    event: JoinHandle<()>,
}

impl NodeWatch {
    pub(super) fn new(session: &Session, watcher: zk::OneshotWatcher) -> Self {
        Self::telling(session, watcher, || {})
    }

    /// A watch that calls `fired` when the node is changed or deleted, or the session ends.
    pub(super) fn telling(
        session: &Session,
        watcher: zk::OneshotWatcher,
        fired: impl FnOnce() + Send + 'static,
    ) -> Self {
        let event = session.runtime().spawn(async move {
            watcher.changed().await;
            fired();
        });
        Self { event }
    }

    /// Waits until the node is changed or deleted, or the session ends.
    pub(crate) async fn changed(&mut self) {
        // An error means that the runtime of the session is gone, and the session with it.
        let _ = (&mut self.event).await;
    }
}

impl Drop for NodeWatch {
    fn drop(&mut self) {
        self.event.abort();
    }
}
