//! [`NamedEphemeral`]: an ephemeral node that we own at a path that others may use as well.

use std::sync::Arc;
use std::time::Instant;

use tracing::debug;
use zookeeper_client as zk;

use super::super::parents::{self, Parents};
use super::super::path::NodePath;
use super::super::wait::{NodeWatch, retry_or_fail};
use super::cleanup::CleanupGuard;
use super::{Ephemeral, Interrupted, check_size};
use crate::error::Error;
use crate::session::{CleanupToken, End, ReplyStatus, Session, classify};

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
        check_size(path.as_str(), data)?;
        loop {
            if let Some(mut node) = Self::try_create(session, path, data, cleanup).await? {
                node.node.watch();
                return Ok(Ok(node));
            }
            let own = session.registry().named(path.as_str());
            let Some(mut taken) = holder(session, path).await? else {
                if own.is_some() {
                    session.pause_before_retry().await;
                }
                continue;
            };
            let own_is_leaving = own.is_some_and(|end| end.reason().is_some()) && taken.owner == session.id();
            if !own_is_leaving && !session.succeeds(taken.owner) {
                return Ok(Err(taken));
            }
            debug!(%path, "waiting for the end of our own node of old");
            tokio::select! {
                () = taken.changed() => {}
                lost = session.ended() => return Err(lost.into()),
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
        loop {
            // Registered before the create is sent: from here on, dropping this future leaves nothing behind.
            let Some(guard) = CleanupGuard::register_named(session, path, cleanup.cloned()) else {
                return Ok(None);
            };
            let client = session.client()?;
            let connection = session.connection();
            let sent = Instant::now();
            let options = zk::CreateMode::Ephemeral.with_acls(session.acls());
            let created = tokio::select! {
                created = client.create(path.as_str(), data, &options) => created,
                lost = session.ended() => return Err(lost.into()),
            };
            drop(client);
            let stat = match created {
                Ok((stat, _)) => stat,
                Err(zk::Error::NoNode) => {
                    guard.disarm();
                    match path.parent() {
                        Some(parent) => parents::ensure(session, &parent, Parents::Containers).await?,
                        None => return Err(Error::from_answer(path.as_str(), zk::Error::NoNode).into()),
                    }
                    continue;
                }
                Err(zk::Error::NodeExists) => {
                    guard.disarm();
                    return Ok(None);
                }
                Err(error) => match classify(&error) {
                    ReplyStatus::Refused => {
                        guard.disarm();
                        return Err(Error::from_answer(path.as_str(), error).into());
                    }
                    ReplyStatus::Busy => {
                        guard.disarm();
                        session.pause_before_retry().await;
                        continue;
                    }
                    ReplyStatus::Unknown => {
                        debug!(%error, %path, "reply of a create lost; looking for its node");
                        // No other create of this path was sent in this session, so the owner tells.
                        match find(session, path)
                            .await?
                            .filter(|stat| stat.ephemeral_owner == session.id())
                        {
                            Some(stat) => stat,
                            None => {
                                guard.disarm();
                                continue;
                            }
                        }
                    }
                },
            };
            session.verify(connection, stat.ephemeral_owner)?;
            session.proved(sent);
            return Ok(Some(Self {
                node: Ephemeral::new(guard, path.as_str().to_owned(), stat.czxid, connection),
            }));
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
    fn register_named(session: &Arc<Session>, path: &NodePath, cleanup: Option<CleanupToken>) -> Option<Self> {
        let end = Arc::new(End::new());
        let registry = session.registry();
        let key = registry.insert_named(path.as_str(), session.id(), cleanup, Arc::clone(&end))?;
        Some(Self {
            session: Arc::clone(session),
            key,
            end,
            done: false,
        })
    }
}

/// Who has the node at `path`, if it is there.
async fn holder(session: &Arc<Session>, path: &NodePath) -> Result<Option<NameInUse>, Interrupted> {
    loop {
        let client = session.client()?;
        let answer = tokio::select! {
            answer = client.check_and_watch_stat(path.as_str()) => answer,
            lost = session.ended() => return Err(lost.into()),
        };
        drop(client);
        match answer {
            Ok((Some(stat), watcher)) => {
                return Ok(Some(NameInUse {
                    owner: stat.ephemeral_owner,
                    watch: NodeWatch::telling(session, watcher, || {}),
                }));
            }
            Ok((None, _)) => return Ok(None),
            Err(error) => retry_or_fail(session, path.as_str(), error).await?,
        }
    }
}

/// The state of the node at `path`, at nothing older than this moment, once there is a connection again.
async fn find(session: &Arc<Session>, path: &NodePath) -> Result<Option<zk::Stat>, Interrupted> {
    loop {
        tokio::select! {
            () = session.pause_before_retry() => {}
            lost = session.ended() => return Err(lost.into()),
        }
        let client = session.client()?;
        let search = async {
            let sync = client.sync(path.as_str());
            let stat = client.check_stat(path.as_str());
            sync.await?;
            stat.await
        };
        let answer = tokio::select! {
            answer = search => answer,
            lost = session.ended() => return Err(lost.into()),
        };
        match answer {
            Ok(stat) => return Ok(stat),
            Err(error) if classify(&error) == ReplyStatus::Refused => {
                return Err(Error::from_answer(path.as_str(), error).into());
            }
            Err(error) => debug!(%error, %path, "search for a node is retried"),
        }
    }
}
