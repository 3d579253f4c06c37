//! [`NamedEphemeral`]: an ephemeral node that we own at a path that others may use as well.

use std::sync::Arc;

use tracing::debug;
use zookeeper_client as zk;

use super::super::parents::{self, Parents};
use super::super::path::NodePath;
use super::super::request::stat_and_watch;
use super::super::watch::NodeWatch;
use super::cleanup::CleanupGuard;
use super::{Creation, Ephemeral};
use crate::session::{CleanupToken, End, Interrupted, Retry, Session, owning_session, refused};

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
    /// A watch on the node.
    pub(crate) watch: NodeWatch,
}

impl NamedEphemeral {
    /// Creates the node, or names the session that has it. A node that an earlier session of ours has left is waited
    /// out.
    pub(crate) async fn create(
        session: &Arc<Session>,
        path: &NodePath,
        data: &[u8],
        cleanup: Option<&CleanupToken>,
    ) -> Result<Result<Self, NameInUse>, Interrupted> {
        session.check_size(path.as_str(), data.len())?;
        let mut retry = Retry::new(session, path.as_str(), data.len());
        loop {
            session.connected().await?;
            let connection = session.connection();
            // Before the create as well: what it meets may be removed, and unknown, by the time of the read.
            let mut own = session.named(path.as_str());
            // Registered before the create is sent: from here on, dropping this future leaves nothing behind.
            if let Some(guard) = CleanupGuard::register_named(session, path.as_str(), cleanup.cloned())? {
                let reply = session.create(path.as_str(), data, zk::CreateMode::Ephemeral).await?;
                match (
                    Ephemeral::created(guard, &mut retry, connection, reply).await?,
                    path.parent(),
                ) {
                    (Creation::Done(mut node), _) => {
                        node.watch();
                        return Ok(Ok(Self { node }));
                    }
                    (Creation::Refused(_, zk::Error::NodeExists), _) => {}
                    (Creation::Refused(_, zk::Error::NoNode), Some(parent)) => {
                        parents::ensure(session, &parent, Parents::Containers).await?;
                        continue;
                    }
                    (Creation::Refused(_, source), _) => return Err(refused(path.as_str(), source)),
                    (Creation::Unapplied, _) => continue,
                }
            }
            own.extend(session.named(path.as_str()));
            let (stat, mut watch) = stat_and_watch(session, path.as_str()).await?;
            let Some(owner) = stat.map(|stat| owning_session(&stat)) else {
                // It was there a moment ago: on its way out, or on a server that is ahead of ours.
                retry.raced().await?;
                continue;
            };
            let is_leaving = |end: &Arc<End>| end.reason().is_some() || end.is_deliberate();
            let own_is_leaving = own.iter().any(|(session, end)| *session == owner && is_leaving(end));
            if !own_is_leaving && !session.succeeds(owner) {
                return Ok(Err(NameInUse { owner, watch }));
            }
            debug!(%path, "waiting for the end of our own node of old");
            // The end of the session is noticed by the next create.
            let _ = session.while_alive(watch.changed()).await;
        }
    }

    /// The end of the node: of its session, by a release, or because another client removed it.
    pub(crate) fn end(&self) -> &Arc<End> {
        self.node.end()
    }

    /// Replaces the node's data.
    pub(crate) async fn set_data(&self, data: &[u8]) -> Result<(), Interrupted> {
        self.node.set_named_data(data).await
    }
}
