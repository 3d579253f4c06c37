//! The reaper: removes the nodes that nobody owns any more.
//!
//! A drop can neither await nor, outside a runtime, spawn. So whoever drops a node (or a create whose outcome is not
//! known) sends its key here, and this task, one per coordinator, retries until the node is gone. It works through
//! whatever session is current: nodes of a session that was given up are removed through its successor.

use std::sync::Arc;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use tokio::sync::mpsc;
use tracing::{debug, warn};
use zookeeper_client as zk;

use super::core::Session;
use super::current::CurrentSession;
use super::outcome::{ReplyStatus, classify};
use super::registry::{NodeKey, NodeLocation};

/// A node to be removed, and the session that owns it.
#[derive(Debug)]
pub(crate) struct Orphan {
    pub(crate) owner: Arc<Session>,
    pub(crate) key: NodeKey,
}

/// Removes what arrives until the coordinator is gone or closed.
pub(crate) async fn run(mut orphans: mpsc::UnboundedReceiver<Orphan>, current: CurrentSession) {
    let mut removals = FuturesUnordered::new();
    let mut open = true;
    while open || !removals.is_empty() {
        tokio::select! {
            orphan = orphans.recv(), if open => match orphan {
                Some(orphan) => removals.push(remove(orphan, current.clone())),
                None => open = false,
            },
            Some(()) = removals.next() => {}
        }
    }
}

async fn remove(orphan: Orphan, mut current: CurrentSession) {
    while let Some(location) = orphan.owner.registry().location(orphan.key) {
        let session = match location {
            // Only through its own session: once that has ended, another one may take the name at any moment.
            NodeLocation::OwnedPath { .. } if orphan.owner.end_reason().is_some() => break,
            NodeLocation::OwnedPath { .. } => Arc::clone(&orphan.owner),
            _ => match current.current().await {
                Ok(session) => session,
                Err(_) => break,
            },
        };
        let Ok(client) = session.client() else { continue };
        let result = tokio::select! {
            result = remove_once(&client, &location) => result,
            _ = session.ended() => continue,
        };
        match result {
            Ok(()) => {
                debug!(?location, "removed an abandoned node");
                break;
            }
            Err(error) if classify(&error) == ReplyStatus::Refused => {
                warn!(?location, %error, "cannot remove an abandoned node; it stays until its session ends");
                break;
            }
            Err(error) => {
                debug!(?location, %error, "removal of an abandoned node is retried");
                session.pause_before_retry().await;
            }
        }
    }
    orphan.owner.registry().remove(orphan.key);
}

/// One attempt to remove a node.
pub(super) async fn remove_once(client: &zk::Client, location: &NodeLocation) -> Result<(), zk::Error> {
    match location {
        NodeLocation::Path(path) => delete(client, path).await,
        NodeLocation::OwnedPath { path, owner } => delete_owned(client, path, *owner).await,
        NodeLocation::ByGuid { parent, guid } => {
            for path in find_by_guid(client, parent, guid).await? {
                delete(client, &path).await?;
            }
            Ok(())
        }
    }
}

/// Deletes a node by its exact name, which carries a guid and so never names another one's node.
async fn delete(client: &zk::Client, path: &str) -> Result<(), zk::Error> {
    match client.delete(path, None).await {
        Err(zk::Error::NoNode) => Ok(()),
        result => result,
    }
}

/// Deletes the node at `path` if the session `owner`, through which it must be called, owns it. As long as that session
/// lives, only an operator can put another's node in its place; the version leaves no more than an instant for that.
async fn delete_owned(client: &zk::Client, path: &str, owner: i64) -> Result<(), zk::Error> {
    loop {
        let sync = client.sync(path);
        let stat = client.check_stat(path);
        sync.await?;
        let Some(stat) = stat.await?.filter(|stat| stat.ephemeral_owner == owner) else {
            return Ok(());
        };
        match client.delete(path, Some(stat.version)).await {
            Err(zk::Error::BadVersion) => {}
            Err(zk::Error::NoNode) => return Ok(()),
            result => return result,
        }
    }
}

/// The children of `parent` that a create with `guid` left: at most one.
///
/// The `sync` makes the answer exact. A list without it can be answered by a server that has not yet applied the
/// create, and the node would be left behind, ahead of the contender that took its place.
pub(crate) async fn find_by_guid(client: &zk::Client, parent: &str, guid: &str) -> Result<Vec<String>, zk::Error> {
    let sync = client.sync(parent);
    let list = client.list_children(parent);
    sync.await?;
    let children = match list.await {
        Err(zk::Error::NoNode) => return Ok(Vec::new()),
        result => result?,
    };
    let separator = if parent == "/" { "" } else { "/" };
    let found = children.iter().filter(|name| name.contains(guid));
    Ok(found.map(|name| format!("{parent}{separator}{name}")).collect())
}
