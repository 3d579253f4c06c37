//! [`NamedEphemeral`]: an ephemeral node that we own at a path that others may use as well.

use std::sync::Arc;

use tracing::debug;
use zookeeper_client as zk;

use super::super::parents::{self, Parents};
use super::super::path::NodePath;
use super::super::request::{stat_and_watch, synced_stat};
use super::super::watch::NodeWatch;
use super::Ephemeral;
use super::cleanup::CleanupGuard;
use crate::error::Error;
use crate::session::{CleanupToken, End, Interrupted, Reply, Retry, Session, Unanswered, refused};

/// An ephemeral node whose name is chosen, not unique: it is ours if the session that created it owns it. Dropping it
/// hands it to the reaper, which removes it only while that session does.
#[derive(Debug)]
pub(crate) struct NamedEphemeral {
    node: Ephemeral,
}

/// The name is in use.
#[derive(Debug)]
pub(crate) struct NameInUse {
    /// The session that owns the node; 0 for a node that is not ephemeral.
    pub(crate) owner: i64,
    watch: NodeWatch,
}

impl NameInUse {
    /// Waits until the node is changed or deleted, or our session ends.
    pub(crate) async fn changed(&mut self) {
        self.watch.changed().await;
    }
}

impl NamedEphemeral {
    /// Creates the node, or says who has it. A node that an earlier session of ours has left is waited out.
    pub(crate) async fn create(
        session: &Arc<Session>,
        path: &NodePath,
        data: &[u8],
        cleanup: Option<&CleanupToken>,
    ) -> Result<Result<Self, NameInUse>, Interrupted> {
        session.check_size(path.as_str(), data.len())?;
        let mut retry = Retry::new(session, path.as_str(), data.len());
        loop {
            if let Some(mut node) = Self::try_create(session, path, data, cleanup).await? {
                node.node.watch();
                return Ok(Ok(node));
            }
            let own = session.registry().named(path.as_str());
            let Some(mut taken) = holder(session, path).await? else {
                // It was there a moment ago: on its way out, or on a server that is ahead of ours.
                retry.raced().await?;
                continue;
            };
            let is_leaving = |end: Arc<End>| end.reason().is_some() || end.is_deliberate();
            let own_is_leaving = own.is_some_and(is_leaving) && taken.owner == session.id();
            if !own_is_leaving && !session.succeeds(taken.owner) {
                return Ok(Err(taken));
            }
            debug!(%path, "waiting for the end of our own node of old");
            tokio::select! {
                () = taken.changed() => {}
                () = session.over() => {}
            }
        }
    }

    /// Creates the node unless there is one.
    async fn try_create(
        session: &Arc<Session>,
        path: &NodePath,
        data: &[u8],
        cleanup: Option<&CleanupToken>,
    ) -> Result<Option<Self>, Interrupted> {
        let mut retry = Retry::new(session, path.as_str(), data.len());
        loop {
            session.connected().await?;
            let connection = session.connection();
            // Registered before the create is sent: from here on, dropping this future leaves nothing behind.
            let Some(guard) = CleanupGuard::register_named(session, path, cleanup.cloned())? else {
                return Ok(None);
            };
            match session.create(path.as_str(), data, zk::CreateMode::Ephemeral).await? {
                Reply::Answer(created) => return Ok(Some(Self::adopt(guard, path, &created.stat, created.connection))),
                Reply::Refused(source) => {
                    guard.disarm();
                    match (source, path.parent()) {
                        (zk::Error::NoNode, Some(parent)) => {
                            parents::ensure(session, &parent, Parents::Containers).await?;
                        }
                        (zk::Error::NodeExists, _) => return Ok(None),
                        (source, _) => return Err(refused(path.as_str(), source)),
                    }
                }
                Reply::Unanswered(unanswered @ Unanswered::Busy) => {
                    guard.disarm();
                    retry.after(unanswered).await?;
                }
                Reply::Unanswered(unanswered) => {
                    debug!(%path, "reply of a create lost; looking for its node");
                    retry.after(unanswered).await?;
                    // No other create of this path was sent in this session, so the owner tells.
                    match synced_stat(session, path.as_str()).await? {
                        Some(stat) if stat.ephemeral_owner == session.id() => {
                            session.verify(connection, stat.ephemeral_owner)?;
                            return Ok(Some(Self::adopt(guard, path, &stat, connection)));
                        }
                        _ => guard.disarm(),
                    }
                }
            }
        }
    }

    fn adopt(guard: CleanupGuard, path: &NodePath, stat: &zk::Stat, connection: u64) -> Self {
        Self {
            node: Ephemeral::new(guard, path.as_str().to_owned(), stat.czxid, connection),
        }
    }

    /// The end of the node: of its session, by a release, or because somebody else removed it.
    pub(crate) fn end(&self) -> &Arc<End> {
        self.node.end()
    }

    /// Replaces the node's data.
    pub(crate) async fn set_data(&self, data: &[u8]) -> Result<(), Interrupted> {
        self.node.set_named_data(data).await
    }
}

impl CleanupGuard {
    /// Registers a node at a path that others may use; `None` if there is one of this session.
    fn register_named(
        session: &Arc<Session>,
        path: &NodePath,
        cleanup: Option<CleanupToken>,
    ) -> Result<Option<Self>, Error> {
        let end = Arc::new(End::new());
        let registry = session.registry();
        let key = registry.insert_named(path.as_str(), session.id(), cleanup, Arc::clone(&end))?;
        Ok(key.map(|key| Self {
            session: Arc::clone(session),
            key,
            end,
            done: false,
        }))
    }
}

/// Who has the node at `path`, if it is there.
async fn holder(session: &Arc<Session>, path: &NodePath) -> Result<Option<NameInUse>, Interrupted> {
    let (stat, watch) = stat_and_watch(session, path.as_str()).await?;
    Ok(stat.map(|stat| NameInUse {
        owner: stat.ephemeral_owner,
        watch,
    }))
}
