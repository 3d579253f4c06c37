//! [`Register`]: one persistent node as a versioned value, whose writes have exact outcomes.
//!
//! A conditional write whose reply is lost cannot be judged by reading the value back: another client may have written
//! the same bytes at the same version, as two that increment one counter do. So each write is a transaction that also
//! creates an ephemeral *mark*, a child with a name of our own. After a lost reply the mark tells: it is there if and
//! only if the write was applied. Then it is deleted, in the background.

use std::sync::Arc;

use bytes::Bytes;
use tracing::debug;
use uuid::Uuid;
use zookeeper_client as zk;

use super::attempts::retry_across_sessions;
use super::ephemeral::CleanupGuard;
use super::fenced::FencedWriteError;
use super::hold::Hold;
use super::observe::{NodeData, Observe, WatchContext, Watched};
use super::parents::{self, Parents};
use super::path::NodePath;
use super::request::{read, request, sync};
use crate::error::Error;
use crate::session::{
    Commit, Coordinator, HeartbeatError, Interrupted, NodeLocation, Operation, Retry, Session, Unanswered,
    find_by_guids, refused,
};

/// A node that holds a value.
#[derive(Clone, Debug)]
pub(crate) struct Register {
    zk: Coordinator,
    path: NodePath,
}

/// A value as it was stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stored {
    pub(crate) data: Bytes,
    /// How often the node was written since its creation.
    pub(crate) version: i32,
    /// The zxid of the write: grows with each one, also when the node is deleted and created again.
    pub(crate) mzxid: i64,
    /// When it was written, by the clock of the ensemble.
    pub(crate) mtime: i64,
}

/// What must stand at the path for a write to happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expected {
    Anything,
    Nothing,
    Version(i32),
}

/// What became of a write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum WriteOutcome {
    /// It was applied, once.
    Applied,
    /// Something else stood there. It was not applied.
    Mismatch,
    /// The session ended before an answer came: it may have been applied.
    Indeterminate,
}

/// What became of an update.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum UpdateOutcome {
    /// What was decided last was written, once.
    Applied,
    /// Nothing was to be written.
    Unchanged,
    /// The session ended before an answer came: what was decided last may have been written.
    Indeterminate,
}

impl Register {
    pub(crate) fn new(zk: Coordinator, path: NodePath) -> Self {
        Self { zk, path }
    }

    pub(crate) fn path(&self) -> &NodePath {
        &self.path
    }

    /// The value, if there is a node.
    pub(crate) async fn read(&self) -> Result<Option<Stored>, Error> {
        let attempt = |session| async move { read(&session, self.path.as_str()).await };
        let node = retry_across_sessions(&self.zk, attempt).await?;
        Ok(node.map(|(data, stat)| Stored::from(NodeData::new(data, stat))))
    }

    /// Writes if what is expected stands there.
    pub(crate) async fn write(&self, expected: Expected, data: &[u8]) -> Result<WriteOutcome, Error> {
        self.zk.check_transaction_size(self.path.as_str(), data.len())?;
        let data = &Bytes::copy_from_slice(data);
        let mut in_doubt = false;
        loop {
            let session = self.zk.session().await?;
            match self.write_in(&session, expected, data).await {
                // What the session before may have written would explain it.
                Ok(WriteOutcome::Mismatch) if in_doubt => return Ok(WriteOutcome::Indeterminate),
                // A conditional one is applied at most once, whichever session it comes from; the repetition of another
                // one could undo what others have written in the meantime.
                Ok(WriteOutcome::Indeterminate) if expected != Expected::Anything => in_doubt = true,
                Ok(outcome) => return Ok(outcome),
                // Before anything was sent, or after its fate was settled.
                Err(Interrupted::Lost(_)) => {}
                Err(Interrupted::Failed(error)) => return Err(self.zk.ended().unwrap_or(error)),
            }
        }
    }

    /// Reads the value, lets `next` decide what to write, if anything, and writes it unless another client came first;
    /// then all of it again, after a pause that grows.
    pub(crate) async fn update<E: From<Error>>(
        &self,
        mut next: impl FnMut(Option<&Stored>) -> Result<Option<Bytes>, E>,
    ) -> Result<UpdateOutcome, E> {
        loop {
            let session = self.zk.session().await?;
            let mut retry = Retry::new(&session, self.path.as_str(), 0);
            loop {
                let stored = self.read().await?;
                let Some(data) = next(stored.as_ref())? else {
                    return Ok(UpdateOutcome::Unchanged);
                };
                let expected = stored.map_or(Expected::Nothing, |stored| Expected::Version(stored.version));
                match self.write(expected, &data).await? {
                    WriteOutcome::Applied => return Ok(UpdateOutcome::Applied),
                    WriteOutcome::Indeterminate => return Ok(UpdateOutcome::Indeterminate),
                    WriteOutcome::Mismatch if retry.raced().await.is_ok() => {}
                    // The session has ended, and with it its pauses.
                    WriteOutcome::Mismatch => break,
                }
            }
        }
    }

    /// Writes while `hold` lasts, whatever stands there. The version that was read is part of the write, so that a
    /// repetition of one whose reply was lost is harmless.
    pub(crate) async fn write_fenced(&self, hold: &Hold, data: &[u8]) -> Result<(), FencedWriteError> {
        let (session, path) = (hold.session(), self.path.as_str());
        let mut retry = Retry::new(session, path, data.len());
        // The version of a write that may have been applied; -1 of a create.
        let mut in_doubt: Option<i32> = None;
        loop {
            let stored = read(session, path).await.map_err(interrupted)?;
            let version = stored.as_ref().map_or(-1, |(_, stat)| stat.version);
            match (in_doubt.take(), &stored) {
                (Some(before), _) if before == version => {}
                (Some(before), Some((found, _))) if version == before.wrapping_add(1) && found == data => return Ok(()),
                (Some(_), _) => return Err(FencedWriteError::Indeterminate),
                (None, _) => {}
            }
            let mut writer = hold.fenced();
            match stored {
                Some(_) => writer.add_set_data(path, data, Some(version)),
                None => writer.add_create(path, data, zk::CreateMode::Persistent),
            };
            match writer.commit().await {
                Ok(_) => return Ok(()),
                Err(FencedWriteError::Indeterminate) => {
                    in_doubt = Some(version);
                    retry.raced().await?;
                    sync(session, path).await.map_err(interrupted)?;
                }
                Err(FencedWriteError::Refused { source, .. }) => match (source, self.path.parent()) {
                    (zk::Error::NoNode, Some(parent)) if version < 0 => {
                        let made = parents::ensure(session, &parent, Parents::Containers).await;
                        made.map_err(interrupted)?;
                    }
                    // Another client came first.
                    (zk::Error::BadVersion | zk::Error::NodeExists | zk::Error::NoNode, _) => retry.raced().await?,
                    (source, _) => return Err(Error::from_answer(path, source).into()),
                },
                Err(error) => return Err(error),
            }
        }
    }

    /// The view under an observer of the value.
    pub(crate) fn view(&self) -> RegisterView {
        RegisterView {
            path: self.path.clone(),
            seen: None,
        }
    }

    pub(crate) fn zk(&self) -> &Coordinator {
        &self.zk
    }

    async fn write_in(
        &self,
        session: &Arc<Session>,
        expected: Expected,
        data: &Bytes,
    ) -> Result<WriteOutcome, Interrupted> {
        let path = self.path.as_str();
        let (mut create, version) = match expected {
            Expected::Nothing => (true, None),
            Expected::Anything => (false, None),
            Expected::Version(version) => (false, Some(version)),
        };
        let mut retry = Retry::new(session, path, data.len());
        loop {
            session.connected().await?;
            let mark = Mark::new(session, &self.path)?;
            let write = if create {
                Operation::create(path, data.clone(), zk::CreateMode::Persistent)
            } else {
                Operation::set_data(path, data.clone(), version)
            };
            let mark_step = Operation::create(&mark.path, Vec::new(), zk::CreateMode::Ephemeral);
            let refusal = match session.commit(&[write, mark_step]).await {
                Ok(Commit::Applied(_)) => {
                    mark.guard.found(&mark.path);
                    return Ok(WriteOutcome::Applied);
                }
                Ok(Commit::Refused(_, source)) => source,
                Ok(Commit::Unanswered(unanswered)) => {
                    match mark.was_made(unanswered, &self.path).await {
                        Ok(true) => return Ok(WriteOutcome::Applied),
                        // It was not applied, so that an error from here on is one of a write that was not.
                        Ok(false) => retry.after(unanswered).await?,
                        // Even if the mark must not be looked for: the write may have been applied.
                        Err(_) => return Ok(WriteOutcome::Indeterminate),
                    }
                    continue;
                }
                Err(Interrupted::Lost(_)) => return Ok(WriteOutcome::Indeterminate),
                Err(failed) => {
                    mark.guard.disarm();
                    return Err(failed);
                }
            };
            mark.guard.disarm();
            match refusal {
                zk::Error::NoNode if create => match self.path.parent() {
                    Some(parent) => parents::ensure(session, &parent, Parents::Containers).await?,
                    None => return Err(refused(path, refusal)),
                },
                zk::Error::NoNode if expected == Expected::Anything => create = true,
                zk::Error::NodeExists if create && expected == Expected::Anything => create = false,
                zk::Error::BadVersion | zk::Error::NoNode | zk::Error::NodeExists => return Ok(WriteOutcome::Mismatch),
                refusal => return Err(refused(path, refusal)),
            }
        }
    }
}

fn interrupted(interrupted: Interrupted) -> FencedWriteError {
    match interrupted {
        Interrupted::Lost(lost) => lost.into(),
        Interrupted::Failed(error) => error.into(),
    }
}

impl From<NodeData> for Stored {
    fn from(node: NodeData) -> Self {
        Self {
            data: node.data,
            version: node.stat.version,
            mzxid: node.stat.mzxid,
            mtime: node.stat.mtime,
        }
    }
}

/// The mark of one write. Dropping it hands it to the reaper.
struct Mark {
    guard: CleanupGuard,
    guid: String,
    path: String,
}

impl Mark {
    /// Registered before the write is sent: whatever happens then, no mark stays behind.
    fn new(session: &Arc<Session>, register: &NodePath) -> Result<Self, Error> {
        let guid = Uuid::new_v4().hyphenated().to_string();
        let location = NodeLocation::ByGuid {
            parent: register.as_str().to_owned(),
            guid: guid.clone(),
        };
        let guard = CleanupGuard::register(session, location, None)?;
        let path = register.child(&format!("_c_{guid}-mark"));
        Ok(Self { guard, guid, path })
    }

    /// Whether it is there, after a transaction that was not answered. Exact: the same session's next connection answers
    /// behind a `sync`, and the leader refuses what the old connection might still send. That it is the same session is
    /// asked for before an absence is believed: a server that puts another one in its place has removed the mark with it.
    async fn was_made(self, unanswered: Unanswered, register: &NodePath) -> Result<bool, Interrupted> {
        if unanswered == Unanswered::Busy {
            self.guard.disarm();
            return Ok(false);
        }
        debug!(path = %register, "reply of a write lost; looking for its mark");
        let session = Arc::clone(&self.guard.session);
        let (path, guid) = (register.as_str(), self.guid.as_str());
        let mut retry = Retry::new(&session, path, 0);
        loop {
            retry.raced().await?;
            let found = request(&session, path, |client| async move {
                find_by_guids(&client, path, &[guid]).await
            });
            if found.await?.is_some_and(|found| !found.is_empty()) {
                self.guard.found(&self.path);
                return Ok(true);
            }
            match session.is_ours(path).await {
                Ok(true) => {
                    self.guard.disarm();
                    return Ok(false);
                }
                Ok(false) => return Err(refused(path, zk::Error::NoAuth)),
                Err(HeartbeatError::Unanswered) => debug!("the session could not be verified yet"),
                Err(HeartbeatError::Lost) => return Err(session.ended().await.into()),
            }
        }
    }
}

/// The value as it changes.
#[derive(Debug)]
pub(crate) struct RegisterView {
    path: NodePath,
    seen: Option<Watched<Option<NodeData>>>,
}

impl Observe for RegisterView {
    type Value = Option<Stored>;

    async fn refresh(&mut self, context: &WatchContext) -> Result<Self::Value, Interrupted> {
        // The new watch is set before the one of old is dropped, which thus costs no request to take back.
        let seen = context.data(self.path.as_str()).await?;
        let stored = seen.value.clone().map(Stored::from);
        self.seen = Some(seen);
        Ok(stored)
    }
}
