//! [`Ephemeral`]: an ephemeral node that we own, created exactly once and removed for sure.

mod cleanup;
mod guardian;
mod many;
mod named;
mod pending;
mod replace;
mod set_data;

use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::Instant;

use tokio::sync::watch;
use tracing::debug;
use zookeeper_client as zk;

pub(in crate::znode) use self::cleanup::CleanupGuard;
pub(in crate::znode) use self::many::OPERATION_SIZE;
pub(crate) use self::many::check_transaction_size;
pub(crate) use self::named::NamedEphemeral;
pub(crate) use self::pending::PendingNode;
pub(crate) use self::replace::{RemoveOutcome, ReplaceOutcome};
use super::name::{ChildName, Tag};
use super::parents::{self, Parents};
use super::path::NodePath;
use crate::error::Error;
use crate::session::{CleanupToken, End, LossReason, Lost, NodeLocation, ReplyStatus, Session, classify, find_by_guid};

/// An ephemeral node of ours in the current session, with a name that nobody else has. Dropping it hands it to the reaper.
#[derive(Debug)]
pub(crate) struct Ephemeral {
    guard: CleanupGuard,
    path: String,
    czxid: i64,
    connection: u64,
    /// The version of its data, from the guardian.
    version: watch::Sender<i32>,
    /// The version at which its data is what we wrote and nothing else; negative if that is not known.
    own_version: AtomicI32,
    watched: bool,
}

/// The largest data of a node: a server takes requests of up to 1 MiB less one byte (`jute.maxbuffer`), path and ACL
/// included, and cuts the connection at a larger one.
const DATA_LIMIT: usize = 1_040_000;

/// Refuses data that would make the server cut the connection, again and again.
pub(crate) fn check_size(path: &str, data: &[u8]) -> Result<(), Error> {
    check_length(path, data.len())
}

/// As [`check_size`], of all that goes into one request.
pub(in crate::znode) fn check_length(path: &str, size: usize) -> Result<(), Error> {
    if size <= DATA_LIMIT {
        return Ok(());
    }
    Err(Error::TooLarge {
        path: path.to_owned(),
        size,
        limit: DATA_LIMIT,
    })
}

/// What to create.
#[derive(Debug)]
pub(crate) struct NewChild<'a> {
    pub(crate) parent: &'a NodePath,
    pub(crate) tag: Tag,
    pub(crate) data: &'a [u8],
    pub(crate) parents: Parents,
    pub(crate) cleanup: Option<&'a CleanupToken>,
}

/// Why a node could not be had, or kept.
#[derive(Debug)]
pub(crate) enum Interrupted {
    /// The session or the node ended; a new session can try anew.
    Lost(Lost),
    /// Trying anew would not help.
    Failed(Error),
}

impl From<Lost> for Interrupted {
    fn from(lost: Lost) -> Self {
        Self::Lost(lost)
    }
}

impl From<Error> for Interrupted {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

impl Ephemeral {
    /// Creates the node, and lists its parent right behind the create in the same round trip.
    ///
    /// The list is `None` if the connection broke in between; take another one then.
    pub(crate) async fn create(
        session: &Arc<Session>,
        new: NewChild<'_>,
    ) -> Result<(Self, Option<Vec<String>>), Interrupted> {
        check_size(new.parent.as_str(), new.data)?;
        loop {
            let name = new.tag.new_name();
            let prefix = new.parent.child(&name.prefix);
            let location = NodeLocation::ByGuid {
                parent: new.parent.as_str().to_owned(),
                guid: name.guid.clone(),
            };
            // Registered before the create is sent: from here on, dropping this future leaves nothing behind.
            let guard = CleanupGuard::register(session, location, new.cleanup.cloned());
            let client = session.client()?;
            let connection = session.connection();
            let sent = Instant::now();
            let mode = match new.tag.is_sequential() {
                true => zk::CreateMode::EphemeralSequential,
                false => zk::CreateMode::Ephemeral,
            };
            let options = mode.with_acls(session.acls());
            let create = client.create(&prefix, new.data, &options);
            let list = client.list_children(new.parent.as_str());
            let created = tokio::select! {
                created = create => created,
                lost = session.ended() => return Err(lost.into()),
            };
            match created {
                Ok((stat, sequence)) => {
                    let path = match new.tag.is_sequential() {
                        true => format!("{prefix}{sequence}"),
                        false => prefix,
                    };
                    guard.found(&path);
                    session.verify(connection, stat.ephemeral_owner)?;
                    session.proved(sent);
                    let children = tokio::select! {
                        children = list => children.ok(),
                        lost = session.ended() => return Err(lost.into()),
                    };
                    return Ok((Self::new(guard, path, stat.czxid, connection), children));
                }
                Err(zk::Error::NoNode) => {
                    guard.disarm();
                    parents::ensure(session, new.parent, new.parents).await?;
                }
                Err(error) => match classify(&error) {
                    ReplyStatus::Refused => {
                        guard.disarm();
                        return Err(Error::from_answer(new.parent.as_str(), error).into());
                    }
                    ReplyStatus::Busy => {
                        guard.disarm();
                        session.pause_before_retry().await;
                    }
                    ReplyStatus::Unknown => {
                        debug!(%error, guid = name.guid, "reply of a create lost; looking for its node");
                        if let Some(ephemeral) = recover(session, new.parent, &name.guid, guard, connection).await? {
                            return Ok((ephemeral, None));
                        }
                    }
                },
            }
        }
    }

    pub(in crate::znode) fn new(guard: CleanupGuard, path: String, czxid: i64, connection: u64) -> Self {
        Self {
            guard,
            path,
            czxid,
            connection,
            version: watch::Sender::new(0),
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

    /// The end of the node: of its session, by a release, or because somebody else removed it.
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
    pub(in crate::znode) fn version(&self) -> watch::Receiver<i32> {
        self.version.subscribe()
    }

    /// The version at which the node's data is what we wrote and nothing else, if that is known.
    pub(in crate::znode) fn own_version(&self) -> Option<i32> {
        Some(self.own_version.load(Ordering::Relaxed)).filter(|version| *version >= 0)
    }

    pub(in crate::znode) fn set_own_version(&self, version: Option<i32>) {
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

    /// The czxid, which the reply of the create did not tell.
    pub(in crate::znode) fn set_czxid(&mut self, czxid: i64) {
        self.czxid = czxid;
    }

    /// The state of the node, at nothing older than this moment, as long as it is ours.
    pub(in crate::znode) async fn look(&self) -> Result<zk::Stat, Interrupted> {
        let session = self.session();
        loop {
            let client = session.client()?;
            let answer = async {
                let sync = client.sync(&self.path);
                let stat = client.check_stat(&self.path);
                sync.await?;
                stat.await
            };
            let answer = tokio::select! {
                answer = answer => answer,
                lost = session.ended() => return Err(lost.into()),
            };
            match answer {
                Ok(Some(stat)) if stat.ephemeral_owner == session.id() => return Ok(stat),
                Ok(_) => {
                    self.end().set(LossReason::NodeRemoved);
                    return Err(Lost {
                        reason: LossReason::NodeRemoved,
                    }
                    .into());
                }
                Err(error) if classify(&error) == ReplyStatus::Refused => {
                    return Err(Error::from_answer(&self.path, error).into());
                }
                Err(_) => session.pause_before_retry().await,
            }
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

    /// The node is gone.
    pub(in crate::znode) fn forget(self) {
        self.guard.disarm();
    }

    /// Deletes the node and waits until it is gone. Dropping the future hands it to the reaper.
    pub(crate) async fn remove(self) -> Result<(), Interrupted> {
        let session = Arc::clone(self.session());
        if !self.end().set(LossReason::Released) {
            let reason = self.end().reason().unwrap_or(LossReason::Released);
            return Err(Lost { reason }.into());
        }
        let mut sent_before = false;
        loop {
            let client = session.client()?;
            let sent = Instant::now();
            let deleted = tokio::select! {
                deleted = client.delete(&self.path, None) => deleted,
                lost = session.ended() => return Err(lost.into()),
            };
            drop(client);
            match deleted {
                Ok(()) => {
                    session.proved(sent);
                    break;
                }
                // The reply of our own delete was lost.
                Err(zk::Error::NoNode) if sent_before => break,
                Err(zk::Error::NoNode) => {
                    self.guard.disarm();
                    return Err(Lost {
                        reason: LossReason::NodeRemoved,
                    }
                    .into());
                }
                Err(error) => match classify(&error) {
                    ReplyStatus::Refused => return Err(Error::from_answer(&self.path, error).into()),
                    ReplyStatus::Busy => session.pause_before_retry().await,
                    ReplyStatus::Unknown => {
                        sent_before = true;
                        session.pause_before_retry().await;
                    }
                },
            }
        }
        self.guard.disarm();
        Ok(())
    }
}

/// Finds out whether a create whose reply was lost has been applied. Exact: the same session's next connection
/// answers behind a `sync`, and the leader refuses what the old connection might still send.
pub(in crate::znode) async fn recover(
    session: &Arc<Session>,
    parent: &NodePath,
    guid: &str,
    guard: CleanupGuard,
    connection: u64,
) -> Result<Option<Ephemeral>, Interrupted> {
    loop {
        tokio::select! {
            () = session.pause_before_retry() => {}
            lost = session.ended() => return Err(lost.into()),
        }
        let client = session.client()?;
        let search = async {
            let found = find_by_guid(&client, parent.as_str(), guid).await?;
            match found.into_iter().next() {
                Some(path) => Ok(client.check_stat(&path).await?.map(|stat| (path, stat))),
                None => Ok(None),
            }
        };
        let found = tokio::select! {
            found = search => found,
            lost = session.ended() => return Err(lost.into()),
        };
        match found {
            Ok(Some((path, stat))) => {
                guard.found(&path);
                // The owner tells nothing about the *current* connection, so it verifies only the one of the create.
                session.verify(connection, stat.ephemeral_owner)?;
                debug!(path, "found the node of a create whose reply was lost");
                return Ok(Some(Ephemeral::new(guard, path, stat.czxid, connection)));
            }
            Ok(None) => {
                guard.disarm();
                return Ok(None);
            }
            Err(error) if classify(&error) == ReplyStatus::Refused => {
                return Err(Error::from_answer(parent.as_str(), error).into());
            }
            Err(error) => debug!(%error, guid, "search for a node is retried"),
        }
    }
}
