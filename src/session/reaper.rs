//! The reaper: removes the nodes that have no owner any more.
//!
//! A drop can neither await nor, outside a runtime, spawn. So a dropped node (or a create whose outcome is not known)
//! is sent here by its key, and this task, one per coordinator, retries until the node is gone. It works through the
//! current session: nodes of a session that was given up are removed through its successor.
//!
//! While the link is down the reaper collects. One list then finds the nodes of all lost creates in a directory.

use std::collections::{HashMap, HashSet};
use std::fmt::Debug;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use tokio::sync::{Semaphore, mpsc};
use tokio::time;
use tracing::{debug, warn};
use zookeeper_client as zk;

use super::core::Session;
use super::current::CurrentSession;
use super::registry::{NodeKey, NodeLocation};
use super::request::Reply;
use super::retry::Backoff;
use super::state::Lost;
use crate::error::Error;
use crate::metrics::{self, GaugeGuard};

/// How many removals are on their way at once.
const IN_FLIGHT: usize = 128;

/// A node to be removed, and the session that owns it.
#[derive(Debug)]
pub(crate) struct Orphan {
    owner: Arc<Session>,
    key: NodeKey,
    backoff: Backoff,
    _measured: GaugeGuard,
}

impl Orphan {
    pub(super) fn new(owner: &Arc<Session>, key: NodeKey) -> Self {
        owner.counters().orphans.fetch_add(1, Ordering::Relaxed);
        Self {
            owner: Arc::clone(owner),
            key,
            backoff: Backoff::default(),
            _measured: GaugeGuard::new(metrics::CLEANUP_BACKLOG, None, None),
        }
    }

    /// Nothing is left to remove, or nothing can be.
    fn settle(self) {
        self.owner.registry().remove(self.key);
    }
}

impl Drop for Orphan {
    fn drop(&mut self) {
        self.owner.counters().orphans.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What is removed in one go.
enum Removal {
    /// One node whose path is known.
    One(Orphan, NodeLocation),
    /// All lost creates in one directory, with the guid of each.
    Search(String, Vec<(Orphan, String)>),
}

/// Removes what arrives until the coordinator is gone or closed.
pub(crate) async fn run(mut orphans: mpsc::UnboundedReceiver<Orphan>, current: CurrentSession) {
    let permits = Semaphore::new(IN_FLIGHT);
    let (mut arrived, mut waiting, mut removals) = (Vec::new(), Vec::new(), FuturesUnordered::new());
    let mut open = true;
    while open || !waiting.is_empty() || !removals.is_empty() {
        tokio::select! {
            count = orphans.recv_many(&mut arrived, usize::MAX >> 1), if open => {
                open = count > 0;
                let (retained, others): (Vec<_>, Vec<_>) =
                    arrived.drain(..).partition(|orphan: &Orphan| orphan.owner.retained_client().is_some());
                waiting.extend(others);
                removals.extend(retained.into_iter().map(|orphan| remove_retained(orphan, &permits).boxed()));
            }
            session = ready(current.clone()), if !waiting.is_empty() => match session {
                Ok(session) => {
                    let batches = batches(std::mem::take(&mut waiting)).into_iter();
                    removals.extend(batches.map(|batch| remove(Arc::clone(&session), batch, &permits).boxed()));
                }
                // The coordinator has ended, and the nodes with its sessions; what closes them deletes what is still known.
                Err(_) => waiting.clear(),
            },
            Some(left) = removals.next() => waiting.extend(left),
        }
    }
}

/// Makes one attempt through the client of the session that owned the node, which has ended and is kept for that. What
/// was sent before on that connection comes first, so that the answer is exact.
async fn remove_retained(orphan: Orphan, permits: &Semaphore) -> Vec<Orphan> {
    // An error means that the semaphore was closed, which it never is.
    let _permit = permits.acquire().await;
    let location = orphan.owner.registry().location(orphan.key);
    let (Some(client), Some(location)) = (orphan.owner.retained_client(), location) else {
        return vec![orphan];
    };
    if let NodeLocation::OwnedPath { .. } = location {
        // The end of the session takes it. A delete that is sent twice could hit the node of the next owner of the name.
        orphan.settle();
        return Vec::new();
    }
    // Bounded, since a clone of the client keeps the session alive.
    match time::timeout(orphan.owner.timeout() / 10, remove_once(&client, &location)).await {
        Ok(Ok(())) => {
            debug!(?location, "removed a node of a session that has ended");
            orphan.settle();
            Vec::new()
        }
        _ => vec![orphan],
    }
}

/// The current session, once it is connected.
async fn ready(mut current: CurrentSession) -> Result<Arc<Session>, Error> {
    loop {
        let session = current.current().await?;
        if session.connected().await.is_ok() {
            return Ok(session);
        }
    }
}

fn batches(orphans: Vec<Orphan>) -> Vec<Removal> {
    let (mut batches, mut searches) = (Vec::new(), HashMap::<String, Vec<_>>::new());
    for orphan in orphans {
        match orphan.owner.registry().location(orphan.key) {
            Some(NodeLocation::ByGuid { parent, guid }) => searches.entry(parent).or_default().push((orphan, guid)),
            Some(location) => batches.push(Removal::One(orphan, location)),
            None => {}
        }
    }
    batches.extend(searches.into_iter().map(|(parent, lost)| Removal::Search(parent, lost)));
    batches
}

/// Makes one attempt; returns those that need another one, after a pause.
async fn remove(session: Arc<Session>, batch: Removal, permits: &Semaphore) -> Vec<Orphan> {
    // An error means that the semaphore was closed, which it never is.
    let _permit = permits.acquire().await;
    let mut left = match batch {
        Removal::One(orphan, location) => remove_one(&session, orphan, &location).await.into_iter().collect(),
        Removal::Search(parent, lost) => search(&session, &parent, lost).await,
    };
    if let Some(longest) = left.iter_mut().map(|orphan| orphan.backoff.next()).max() {
        // The end of the session is no reason to hurry: the next one is waited for.
        let _ = session.sleep(longest).await;
    }
    left
}

async fn remove_one(session: &Arc<Session>, orphan: Orphan, location: &NodeLocation) -> Option<Orphan> {
    let through = match location {
        // Only through its own session: once that has ended, another one may take the name at any moment.
        NodeLocation::OwnedPath { .. } if orphan.owner.end_reason().is_some() => {
            orphan.settle();
            return None;
        }
        NodeLocation::OwnedPath { .. } => &orphan.owner,
        _ => session,
    };
    let removed = through.read(|client| async move { remove_once(&client, location).await });
    let reply = removed.await;
    let may_not_delete = matches!(reply, Ok(Reply::Refused(zk::Error::NoAuth)));
    let Some(answer) = final_answer(reply, location) else {
        return Some(orphan);
    };
    if may_not_delete {
        orphan.owner.cannot_delete(location.path());
    }
    if answer.is_some() {
        debug!(?location, "removed an abandoned node");
    }
    orphan.settle();
    None
}

/// What the server answered; an inner `None` if it refuses for good, the outer one if it has to be asked again.
fn final_answer<T>(reply: Result<Reply<T>, Lost>, about: impl Debug) -> Option<Option<T>> {
    match reply {
        Ok(Reply::Answer(answer)) => Some(Some(answer)),
        Ok(Reply::Refused(error)) => {
            warn!(?about, %error, "cannot remove abandoned nodes; they stay until their session ends");
            Some(None)
        }
        Ok(Reply::Unanswered(_)) | Err(Lost { .. }) => None,
    }
}

/// Looks for the nodes of all creates in one directory whose replies were lost.
async fn search(session: &Arc<Session>, parent: &str, lost: Vec<(Orphan, String)>) -> Vec<Orphan> {
    let guids: Vec<&str> = lost.iter().map(|(_, guid)| guid.as_str()).collect();
    let found = session.read(|client| async move { find_by_guids(&client, parent, &guids).await });
    let Some(found) = final_answer(found.await, parent) else {
        return lost.into_iter().map(|(orphan, _)| orphan).collect();
    };
    let found = found.unwrap_or_default();
    let mut left = Vec::new();
    for (orphan, guid) in lost {
        match found.get(&guid) {
            Some(path) => {
                orphan.owner.registry().found(orphan.key, path);
                left.extend(remove_one(session, orphan, &NodeLocation::Path(path.clone())).await);
            }
            None => orphan.settle(),
        }
    }
    left
}

/// One attempt to remove a node.
pub(super) async fn remove_once(client: &zk::Client, location: &NodeLocation) -> Result<(), zk::Error> {
    match location {
        NodeLocation::Path(path) => delete(client, path, None).await,
        NodeLocation::OwnedPath { path, owner } => delete_owned(client, path, *owner).await,
        NodeLocation::ByGuid { parent, guid } => {
            for path in find_by_guids(client, parent, &[guid]).await?.into_values() {
                delete(client, &path, None).await?;
            }
            Ok(())
        }
    }
}

/// Deletes a node, if it has `version` where one is given. A node without one has a name that carries a guid, and so
/// is never another one's.
async fn delete(client: &zk::Client, path: &str, version: Option<i32>) -> Result<(), zk::Error> {
    match client.delete(path, version).await {
        Err(zk::Error::NoNode) => Ok(()),
        // It was written in between: later again.
        Err(zk::Error::BadVersion) => Err(zk::Error::Throttled),
        result => result,
    }
}

/// Deletes the node at `path` if the session `owner`, through which it must be called, owns it. As long as that session
/// lives, only an operator can put another's node in its place; the version leaves no more than an instant for that.
async fn delete_owned(client: &zk::Client, path: &str, owner: i64) -> Result<(), zk::Error> {
    match owned_stat(client, path, owner).await? {
        Some(stat) => delete(client, path, Some(stat.version)).await,
        None => Ok(()),
    }
}

/// The state of the node at `path`, at nothing older than this call, if the session `owner` owns it.
pub(crate) async fn owned_stat(client: &zk::Client, path: &str, owner: i64) -> Result<Option<zk::Stat>, zk::Error> {
    let sync = client.sync(path);
    let stat = client.check_stat(path);
    sync.await?;
    Ok(stat.await?.filter(|stat| stat.ephemeral_owner == owner))
}

/// The children of `parent` that creates with these guids left, by guid: at most one for each.
///
/// The `sync` makes the answer exact. A list without it can be answered by a server that has not yet applied the
/// create, and the node would be left behind, ahead of the contender that took its place.
pub(crate) async fn find_by_guids(
    client: &zk::Client,
    parent: &str,
    guids: &[&str],
) -> Result<HashMap<String, String>, zk::Error> {
    let sync = client.sync(parent);
    let list = client.list_children(parent);
    sync.await?;
    let children = match list.await {
        Err(zk::Error::NoNode) => return Ok(HashMap::new()),
        result => result?,
    };
    let separator = if parent == "/" { "" } else { "/" };
    let wanted: HashSet<&str> = guids.iter().copied().collect();
    let mut found = HashMap::new();
    for name in children {
        // A guid stands at the front of a name, or behind `_c_`; one look-up tells, however many are wanted.
        let front = name.strip_prefix("_c_").unwrap_or(&name);
        let guid = [36, 32]
            .into_iter()
            .find_map(|length| front.get(..length).filter(|guid| wanted.contains(guid)));
        if let Some(guid) = guid {
            found.insert(guid.to_owned(), format!("{parent}{separator}{name}"));
        }
    }
    Ok(found)
}
