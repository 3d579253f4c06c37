//! [`Ephemeral`]: an ephemeral node that we own, created exactly once and removed for sure.

mod cleanup;
mod guardian;
mod many;
mod named;
mod pending;
mod replace;
mod set_data;
mod version;

use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};

use futures::future::{self, OptionFuture};
use tracing::debug;
use zookeeper_client as zk;

pub(in crate::znode) use self::cleanup::CleanupGuard;
pub(crate) use self::named::NamedEphemeral;
pub(crate) use self::pending::PendingNode;
pub(crate) use self::replace::RemoveOutcome;
use self::version::SeenVersion;
use super::name::{ChildName, NewName, Tag};
use super::parents::{self, Parents};
use super::path::NodePath;
use super::request::{own_stat, request};
use crate::session::{
    CleanupToken, CreatedNode, End, Interrupted, LossReason, Lost, NodeLocation, Reply, Retry, Session, Unanswered,
    find_by_guids, refused,
};

/// An ephemeral node of ours in the current session, with a name that no other node has. Dropping it hands it to the reaper.
#[derive(Debug)]
pub(crate) struct Ephemeral {
    guard: CleanupGuard,
    path: String,
    czxid: i64,
    connection: u64,
    /// The version of its data, from the guardian.
    version: SeenVersion,
    /// The version at which its data is what we wrote and nothing else; negative if that is not known.
    own_version: AtomicI32,
    watched: bool,
}

/// What to create.
#[derive(Debug)]
pub(crate) struct NewChild<'a> {
    pub(crate) parent: &'a NodePath,
    pub(crate) tag: Tag,
    pub(crate) data: &'a [u8],
    pub(crate) parents: Parents,
    pub(crate) cleanup: Option<&'a CleanupToken>,
    /// Whether the parent is listed right behind the create.
    pub(crate) is_listed: bool,
}

/// What came of creating something.
enum Creation<T> {
    Done(T),
    /// Nothing was created, because of this step.
    Refused(usize, zk::Error),
    /// Nothing was created; it may be tried again.
    Unapplied,
}

impl Ephemeral {
    /// Creates the node, and lists its parent right behind the create in the same round trip, if that is asked for.
    ///
    /// The list is `None` if it was not asked for or the connection broke in between; take another one then.
    pub(crate) async fn create(
        session: &Arc<Session>,
        new: NewChild<'_>,
    ) -> Result<(Self, Option<Vec<String>>), Interrupted> {
        let parent = new.parent.as_str();
        session.check_size(parent, new.data.len())?;
        let mut retry = Retry::new(session, parent, new.data.len());
        let mode = new.tag.create_mode();
        loop {
            session.connected().await?;
            let connection = session.connection();
            let name = new.tag.new_name(session.guid_prefix());
            let prefix = new.parent.child(&name.prefix);
            // Registered before the create is sent: from here on, dropping this future leaves nothing behind.
            let guard = CleanupGuard::register(session, new.location(name), new.cleanup.cloned())?;
            let list = OptionFuture::from(new.is_listed.then(|| session.list(parent)));
            let (reply, list) = future::join(session.create(&prefix, new.data, mode), list).await;
            let listed = match &reply {
                // The list was sent behind it if the connection has stayed.
                Ok(Reply::Answer(node)) if node.connection == connection => {
                    list.and_then(Result::ok).and_then(Reply::answer)
                }
                _ => None,
            };
            match Self::created(guard, &mut retry, connection, reply?).await? {
                Creation::Done(node) => return Ok((node, listed)),
                Creation::Refused(_, zk::Error::NoNode) => parents::ensure(session, new.parent, new.parents).await?,
                Creation::Refused(_, source) => return Err(refused(parent, source)),
                Creation::Unapplied => {}
            }
        }
    }

    /// What came of a create that was sent on `connection` or a later one; known after a pause if it was not answered.
    async fn created(
        guard: CleanupGuard,
        retry: &mut Retry<'_>,
        connection: u64,
        reply: Reply<CreatedNode>,
    ) -> Result<Creation<Self>, Interrupted> {
        match reply {
            Reply::Answer(CreatedNode { path, stat, connection }) => {
                guard.found(&path);
                Ok(Creation::Done(Self::new(guard, path, stat.czxid, connection)))
            }
            Reply::Refused(source) => {
                guard.disarm();
                Ok(Creation::Refused(0, source))
            }
            Reply::Unanswered(unanswered) => {
                let mut found = after(retry, unanswered, vec![guard], connection).await?;
                Ok(found.pop().map_or(Creation::Unapplied, Creation::Done))
            }
        }
    }

    fn new(guard: CleanupGuard, path: String, czxid: i64, connection: u64) -> Self {
        Self {
            guard,
            path,
            czxid,
            connection,
            version: SeenVersion::default(),
            own_version: AtomicI32::new(0),
            watched: false,
        }
    }

    pub(crate) fn session(&self) -> &Arc<Session> {
        &self.guard.session
    }

    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    /// The node's name below its parent.
    pub(crate) fn name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or_default()
    }

    /// The node's name as that of a contender.
    pub(crate) fn child_name(&self, tag: Tag) -> Option<ChildName<'_>> {
        ChildName::parse(self.name(), [tag])
    }

    pub(crate) fn czxid(&self) -> i64 {
        self.czxid
    }

    /// Says whether something is held on the node.
    pub(in crate::znode) fn set_held(&self, held: bool) {
        self.guard.set_held(held);
    }

    /// The end of the node: of its session, by a release, or because another client removed it.
    pub(crate) fn end(&self) -> &Arc<End> {
        &self.guard.end
    }

    /// Watches the node for as long as it lives, so that its end is noticed. The first request is sent right away,
    /// but not waited for. Only the first call counts.
    pub(crate) fn watch(&mut self) {
        if !std::mem::replace(&mut self.watched, true) {
            let version = self.version.clone();
            guardian::spawn(self.session(), self.path.clone(), Arc::clone(self.end()), version);
        }
    }

    /// As [`watch`](Self::watch), after a moment: a hold that is released by then costs no watch.
    pub(crate) fn watch_soon(&mut self) {
        if !std::mem::replace(&mut self.watched, true) {
            let version = self.version.clone();
            guardian::spawn_soon(self.session(), self.path.clone(), Arc::clone(self.end()), version);
        }
    }

    /// The version of the node's data, once it is watched; 0 as created.
    pub(in crate::znode) fn version(&self) -> &SeenVersion {
        &self.version
    }

    /// The version at which the node's data is what we wrote and nothing else, if that is known.
    pub(crate) fn own_version(&self) -> Option<i32> {
        Some(self.own_version.load(Ordering::Relaxed)).filter(|version| *version >= 0)
    }

    pub(crate) fn set_own_version(&self, version: Option<i32>) {
        self.own_version.store(version.unwrap_or(-1), Ordering::Relaxed);
    }

    /// Whether the node is still ours, asked only if the connection changed since its creation.
    pub(crate) async fn recheck_after_reconnect(&self) -> Result<(), Interrupted> {
        let session = self.session();
        if session.connection() == self.connection {
            Ok(())
        } else {
            self.recheck().await
        }
    }

    /// Asks, behind a sync, whether the node is still there and ours.
    pub(crate) async fn recheck(&self) -> Result<(), Interrupted> {
        self.look().await.map(|_| ())
    }

    /// The state of the node, at nothing older than this moment, as long as it is ours.
    pub(crate) async fn look(&self) -> Result<zk::Stat, Interrupted> {
        let stat = own_stat(self.session(), &self.path).await?;
        stat.ok_or_else(|| self.removed().into())
    }

    /// An error if the node has ended.
    pub(crate) fn alive(&self) -> Result<(), Lost> {
        self.end().reason().map_or(Ok(()), |reason| Err(Lost::because(reason)))
    }

    /// An operator, or another client, has removed the node.
    pub(crate) fn removed(&self) -> Lost {
        self.end().set(LossReason::NodeRemoved);
        self.end().lost()
    }

    /// Ends the node because it is about to be released.
    pub(crate) fn release(&self) -> Result<(), Lost> {
        match self.end().set(LossReason::Released) {
            true => Ok(()),
            false => Err(self.end().lost()),
        }
    }

    /// The node is about to be deleted by a transaction of ours, or, as it turns out, not.
    pub(crate) fn mark_end_deliberate(&self, deliberate: bool) {
        self.end().mark_deliberate(deliberate);
    }

    /// A transaction of ours has deleted the node: nothing is left to remove.
    pub(crate) fn deleted(&self) {
        self.end().set(LossReason::Released);
        self.session().registry().remove(self.guard.key);
    }

    /// A transaction of ours has deleted the node, which we own alone.
    fn released(self) {
        self.end().set(LossReason::Released);
        self.forget();
    }

    /// The node is gone.
    pub(crate) fn forget(self) {
        self.guard.disarm();
    }

    /// Deletes the node and waits until it is gone. Dropping the future hands it to the reaper.
    pub(crate) async fn remove(self) -> Result<(), Interrupted> {
        let session = Arc::clone(self.session());
        self.release()?;
        let (path, mut sent_before) = (&self.path, false);
        let mut retry = Retry::new(&session, path, 0);
        loop {
            let deleted = match sent_before {
                false => session.delete(path).await,
                true => {
                    session
                        .write(|client| async move { client.delete(path, None).await })
                        .await
                }
            };
            match deleted? {
                Reply::Answer(()) => break,
                // The reply of our own delete was lost.
                Reply::Refused(zk::Error::NoNode) if sent_before => break,
                Reply::Refused(zk::Error::NoNode) => {
                    self.forget();
                    return Err(Lost::because(LossReason::NodeRemoved).into());
                }
                Reply::Refused(source) => return Err(refused(path, source)),
                Reply::Unanswered(unanswered) => {
                    sent_before |= unanswered != Unanswered::Busy;
                    retry.after(unanswered).await?;
                }
            }
        }
        self.forget();
        Ok(())
    }
}

impl NewChild<'_> {
    /// Where the node is to be found once it is sent.
    fn location(&self, name: NewName) -> NodeLocation {
        let (parent, guid) = (self.parent.as_str().to_owned(), name.guid);
        NodeLocation::ByGuid { parent, guid }
    }
}

/// After nodes were to be created by a request without an answer, on `connection` or a later one: a pause, and the nodes
/// that are there.
async fn after(
    retry: &mut Retry<'_>,
    unanswered: Unanswered,
    guards: Vec<CleanupGuard>,
    connection: u64,
) -> Result<Vec<Ephemeral>, Interrupted> {
    let mut found = Vec::new();
    if unanswered == Unanswered::Busy {
        guards.into_iter().for_each(CleanupGuard::disarm);
        retry.after(unanswered).await?;
        return Ok(found);
    }
    debug!("reply of a create lost; looking for its node");
    retry.after(unanswered).await?;
    for guard in guards {
        found.extend(recover(guard, connection).await?);
    }
    Ok(found)
}

/// Finds out whether a create whose reply was lost has been applied. Exact: the same session's next connection
/// answers behind a `sync`, and the leader refuses what the old connection might still send.
async fn recover(guard: CleanupGuard, connection: u64) -> Result<Option<Ephemeral>, Interrupted> {
    let session = Arc::clone(&guard.session);
    let found = match session.registry().location(guard.key) {
        Some(NodeLocation::ByGuid { parent, guid }) => find(&session, &parent, &guid).await?,
        // No other create of this path was sent in this session, so the owner tells.
        Some(NodeLocation::OwnedPath { path, .. } | NodeLocation::Path(path)) => {
            let stat = own_stat(&session, &path).await?;
            stat.map(|stat| (path, stat))
        }
        None => None,
    };
    let Some((path, stat)) = found else {
        guard.disarm();
        return Ok(None);
    };
    guard.found(&path);
    // The owner tells nothing about the *current* connection, so it verifies only the one of the create.
    session.verify(connection, stat.ephemeral_owner)?;
    debug!(path, "found the node of a create whose reply was lost");
    Ok(Some(Ephemeral::new(guard, path, stat.czxid, connection)))
}

/// The child of `parent` with this guid in its name.
async fn find(session: &Arc<Session>, parent: &str, guid: &str) -> Result<Option<(String, zk::Stat)>, Interrupted> {
    let found = request(session, parent, |client| async move {
        let found = find_by_guids(&client, parent, &[guid]).await?;
        match found.into_values().next() {
            Some(path) => Ok(client.check_stat(&path).await?.map(|stat| (path, stat))),
            None => Ok(None),
        }
    });
    Ok(found.await?.flatten())
}
