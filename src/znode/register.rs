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

use super::ephemeral::CleanupGuard;
use super::ephemeral::{Interrupted, check_size};
use super::observe::{NodeData, Observe, WatchContext, Watched};
use super::parents::{self, Parents};
use super::path::NodePath;
use super::retry_across_sessions::retry_across_sessions;
use super::wait::retry_or_fail;
use crate::error::Error;
use crate::session::{Coordinator, HeartbeatError, NodeLocation, ReplyStatus, Session, classify, find_by_guid};

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

/// What one session made of a write.
enum WriteAttempt {
    Settled(WriteOutcome),
    /// The session ended while nothing was on its way.
    Unsent,
    /// The session ended before the answer came.
    Unanswered,
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
        retry_across_sessions(&self.zk, |session| async move { self.read_in(&session).await }).await
    }

    /// Writes if what is expected stands there.
    pub(crate) async fn write(&self, expected: Expected, data: &[u8]) -> Result<WriteOutcome, Error> {
        check_size(self.path.as_str(), data)?;
        let mut in_doubt = false;
        loop {
            let session = self.zk.session().await?;
            let attempt = match self.write_in(&session, expected, data).await {
                Ok(attempt) => attempt,
                Err(Interrupted::Lost(_)) => WriteAttempt::Unsent,
                Err(Interrupted::Failed(error)) => return Err(self.zk.ended().unwrap_or(error)),
            };
            match attempt {
                // What the session before may have written would explain it.
                WriteAttempt::Settled(WriteOutcome::Mismatch) if in_doubt => return Ok(WriteOutcome::Indeterminate),
                WriteAttempt::Settled(written) => return Ok(written),
                WriteAttempt::Unsent => {}
                // A repetition could undo what others have written in the meantime.
                WriteAttempt::Unanswered if expected == Expected::Anything => return Ok(WriteOutcome::Indeterminate),
                // One that is conditional is applied at most once, whichever session it comes from.
                WriteAttempt::Unanswered => in_doubt = true,
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

    async fn read_in(&self, session: &Arc<Session>) -> Result<Option<Stored>, Interrupted> {
        loop {
            let client = session.client()?;
            let answer = tokio::select! {
                answer = client.get_data(self.path.as_str()) => answer,
                lost = session.ended() => return Err(lost.into()),
            };
            drop(client);
            match answer {
                Ok((data, stat)) => {
                    let data = data.into();
                    return Ok(Some(NodeData { data, stat }.into()));
                }
                Err(zk::Error::NoNode) => return Ok(None),
                Err(error) => retry_or_fail(session, self.path.as_str(), error).await?,
            }
        }
    }

    async fn write_in(
        &self,
        session: &Arc<Session>,
        expected: Expected,
        data: &[u8],
    ) -> Result<WriteAttempt, Interrupted> {
        let mut create = expected == Expected::Nothing;
        loop {
            let Ok(client) = session.client() else {
                return Ok(WriteAttempt::Unsent);
            };
            let mark = Mark::new(session, &self.path);
            let mut transaction = client.new_multi_writer();
            let added = if create {
                let options = zk::CreateMode::Persistent.with_acls(session.acls());
                transaction.add_create(self.path.as_str(), data, &options)
            } else {
                transaction.add_set_data(self.path.as_str(), data, expected.version())
            };
            let options = zk::CreateMode::Ephemeral.with_acls(session.acls());
            added
                .and_then(|()| transaction.add_create(&mark.path, &[], &options))
                .map_err(|error| Error::from_answer(self.path.as_str(), error))?;
            let committed = tokio::select! {
                committed = transaction.commit() => committed,
                _ = session.ended() => return Ok(WriteAttempt::Unanswered),
            };
            let refusal = match committed {
                Ok(_) => {
                    mark.found();
                    return Ok(WriteAttempt::Settled(WriteOutcome::Applied));
                }
                Err(zk::MultiWriteError::OperationFailed { source, .. }) => source,
                Err(zk::MultiWriteError::RequestFailed { source }) => source,
            };
            match classify(&refusal) {
                ReplyStatus::Unknown => {
                    debug!(error = %refusal, path = %self.path, "reply of a write lost; looking for its mark");
                    match mark.was_made(&self.path).await {
                        Ok(true) => return Ok(WriteAttempt::Settled(WriteOutcome::Applied)),
                        Ok(false) => continue,
                        // Also if the mark must not be looked for: the write may have been applied.
                        Err(_) => return Ok(WriteAttempt::Unanswered),
                    }
                }
                ReplyStatus::Busy => {
                    mark.guard.disarm();
                    session.pause_before_retry().await;
                    continue;
                }
                ReplyStatus::Refused => mark.guard.disarm(),
            }
            match refusal {
                zk::Error::BadVersion => return Ok(WriteAttempt::Settled(WriteOutcome::Mismatch)),
                zk::Error::NoNode if create => match self.path.parent() {
                    Some(parent) => match parents::ensure(session, &parent, Parents::Containers).await {
                        Err(Interrupted::Lost(_)) => return Ok(WriteAttempt::Unsent),
                        ensured => ensured?,
                    },
                    None => return Err(Error::from_answer(self.path.as_str(), refusal).into()),
                },
                zk::Error::NoNode if expected == Expected::Anything => create = true,
                zk::Error::NodeExists if create && expected == Expected::Anything => create = false,
                zk::Error::NoNode | zk::Error::NodeExists => return Ok(WriteAttempt::Settled(WriteOutcome::Mismatch)),
                refusal => return Err(Error::from_answer(self.path.as_str(), refusal).into()),
            }
        }
    }
}

impl Expected {
    fn version(self) -> Option<i32> {
        match self {
            Self::Version(version) => Some(version),
            Self::Anything | Self::Nothing => None,
        }
    }
}

impl From<NodeData> for Stored {
    fn from(node: NodeData) -> Self {
        Self {
            data: node.data,
            version: node.stat.version,
            mzxid: node.stat.mzxid,
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
    fn new(session: &Arc<Session>, register: &NodePath) -> Self {
        let guid = Uuid::new_v4().hyphenated().to_string();
        let location = NodeLocation::ByGuid {
            parent: register.as_str().to_owned(),
            guid: guid.clone(),
        };
        Self {
            guard: CleanupGuard::register(session, location, None),
            path: register.child(&format!("_c_{guid}-mark")),
            guid,
        }
    }

    /// It is there, and can go.
    fn found(self) {
        self.guard.found(&self.path);
    }

    /// Whether it is there, after a reply was lost. Exact: the same session's next connection answers behind a `sync`,
    /// and the leader refuses what the old connection might still send. That it is the same session is asked for before
    /// an absence is believed: a server that puts another one in its place has removed the mark with it.
    async fn was_made(self, register: &NodePath) -> Result<bool, Interrupted> {
        let session = Arc::clone(&self.guard.session);
        loop {
            tokio::select! {
                () = session.pause_before_retry() => {}
                lost = session.ended() => return Err(lost.into()),
            }
            let client = session.client()?;
            let found = tokio::select! {
                found = find_by_guid(&client, register.as_str(), &self.guid) => found,
                lost = session.ended() => return Err(lost.into()),
            };
            match found {
                Ok(found) if found.is_empty() => match session.is_ours(register.as_str()).await {
                    Ok(true) => {
                        self.guard.disarm();
                        return Ok(false);
                    }
                    Ok(false) => {
                        let path = register.as_str().to_owned();
                        return Err(Error::Denied { path }.into());
                    }
                    Err(HeartbeatError::Unanswered(error)) => debug!(%error, "the session could not be verified yet"),
                    Err(HeartbeatError::Lost) => return Err(session.ended().await.into()),
                },
                Ok(_) => {
                    self.found();
                    return Ok(true);
                }
                Err(error) if classify(&error) == ReplyStatus::Refused => {
                    return Err(Error::from_answer(register.as_str(), error).into());
                }
                Err(error) => debug!(%error, guid = self.guid, "search for a mark is retried"),
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
