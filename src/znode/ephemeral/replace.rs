//! Nodes of ours that go for something else, in one transaction.

use std::sync::Arc;

use tracing::debug;
use zookeeper_client as zk;

use super::super::request::{Transaction, commit};
use super::cleanup::CleanupGuard;
use super::many::{NewNodes, ensure_parents, size};
use super::{Creation, Ephemeral, NewChild};
use crate::session::{Commit, Interrupted, LossReason, Lost, NodeLocation, Operation, Retry, refused};

/// What came of a node that was to go together with something else.
#[derive(Debug)]
pub(crate) enum RemoveOutcome {
    Committed,
    /// Something else was refused; nothing was done.
    Refused(Ephemeral, zk::Error),
    /// The node is gone: maybe by this transaction if that was `sent_before` and its reply lost, else by an operator.
    Gone {
        sent_before: bool,
    },
}

impl Ephemeral {
    /// Creates all nodes and deletes this one, if the data of the node at `path` is still of that version. The whole
    /// commits only while this node is there, which comes back if the condition does not hold. What ends one of the new
    /// nodes ends all.
    pub(crate) async fn replace_with(
        self,
        all: &[NewChild<'_>],
        (path, version): (&str, i32),
    ) -> Result<Result<Vec<Self>, Self>, Interrupted> {
        let session = Arc::clone(self.session());
        let mut retry = Retry::new(&session, path, size(all));
        loop {
            self.alive()?;
            session.connected().await?;
            let connection = session.connection();
            let mut new = NewNodes::register(&session, all)?;
            let (condition, delete) = (new.steps.len(), new.steps.len() + 1);
            new.steps.push(Operation::check(path, version));
            new.steps.push(Operation::delete(self.path(), None));
            self.mark_end_deliberate(true);
            let committed = session.commit(&new.steps).await;
            if let Ok(Commit::Applied(_)) = committed {
                self.deleted();
            }
            let created = new.settle(&mut retry, connection, committed).await?;
            self.mark_end_deliberate(false);
            match created {
                Creation::Done(nodes) => {
                    self.released();
                    return Ok(Ok(nodes));
                }
                Creation::Refused(index, zk::Error::NoNode | zk::Error::BadVersion) if index == condition => {
                    return Ok(Err(self));
                }
                Creation::Refused(index, zk::Error::NoNode) if index == delete => {
                    let lost = self.removed();
                    self.forget();
                    return Err(lost.into());
                }
                Creation::Refused(_, zk::Error::NoNode) => ensure_parents(&session, all).await?,
                Creation::Refused(_, source) => return Err(refused(path, source)),
                Creation::Unapplied => {}
            }
        }
    }

    /// Puts an ephemeral node at `path` in the place of this one, so that at every moment one of the two is there.
    /// `path` carries a guid that no other node has. The new node inherits the czxid, with the place in line.
    pub(crate) async fn replace(self, path: String, data: &[u8]) -> Result<Self, Interrupted> {
        let session = Arc::clone(self.session());
        let steps = [
            Operation::create(&path, data.to_vec(), zk::CreateMode::Ephemeral),
            Operation::delete(self.path(), None),
        ];
        let guard = CleanupGuard::register(&session, NodeLocation::Path(path.clone()), None)?;
        if let Err(lost) = self.release() {
            guard.disarm();
            return Err(lost.into());
        }
        let mut retry = Retry::new(&session, &path, data.len());
        loop {
            let connection = session.connection();
            match commit(&mut retry, &session, &steps).await? {
                Transaction::Applied(applied) => {
                    let czxid = self.czxid();
                    self.forget();
                    return Ok(Self::new(guard, path, czxid, applied.connection));
                }
                // The same transaction, sent before, whose reply was lost: no other client makes a node of this name.
                Transaction::Refused(0, zk::Error::NodeExists) => {
                    let replacement = Self::new(guard, path, self.czxid(), connection);
                    self.forget();
                    replacement.recheck().await?;
                    return Ok(replacement);
                }
                Transaction::Refused(1, zk::Error::NoNode) => {
                    guard.disarm();
                    self.forget();
                    return Err(Lost::because(LossReason::NodeRemoved).into());
                }
                Transaction::Refused(_, source) => return Err(refused(&path, source)),
                Transaction::Unknown => debug!(path, "replacing a node is tried again"),
            }
        }
    }

    /// Deletes this node together with the one at `path`, if that is still of that version; else nothing is done and
    /// this node comes back.
    pub(crate) async fn remove_with(self, (path, version): (&str, i32)) -> Result<Option<Self>, Interrupted> {
        match self.remove_in(vec![Operation::delete(path, version)]).await? {
            RemoveOutcome::Committed | RemoveOutcome::Gone { sent_before: true } => Ok(None),
            RemoveOutcome::Gone { sent_before: false } => Err(Lost::because(LossReason::NodeRemoved).into()),
            RemoveOutcome::Refused(node, zk::Error::NoNode | zk::Error::BadVersion) => Ok(Some(node)),
            RemoveOutcome::Refused(_, source) => Err(refused(path, source)),
        }
    }

    /// Deletes this node together with further `steps`: all of it is done, or nothing.
    pub(crate) async fn remove_in(self, mut steps: Vec<Operation>) -> Result<RemoveOutcome, Interrupted> {
        let session = Arc::clone(self.session());
        let size = steps.iter().map(Operation::size).sum();
        steps.insert(0, Operation::delete(self.path(), None));
        let path = self.path().to_owned();
        let mut retry = Retry::new(&session, &path, size);
        let mut sent_before = false;
        loop {
            if !sent_before {
                self.alive()?;
            }
            self.mark_end_deliberate(true);
            match commit(&mut retry, &session, &steps).await? {
                Transaction::Applied(_) => {
                    self.released();
                    return Ok(RemoveOutcome::Committed);
                }
                Transaction::Unknown => sent_before = true,
                Transaction::Refused(0, zk::Error::NoNode) => {
                    self.end().set(match sent_before {
                        true => LossReason::Released,
                        false => LossReason::NodeRemoved,
                    });
                    self.forget();
                    return Ok(RemoveOutcome::Gone { sent_before });
                }
                Transaction::Refused(0, source) => return Err(refused(&path, source)),
                Transaction::Refused(_, source) => {
                    self.mark_end_deliberate(false);
                    return Ok(RemoveOutcome::Refused(self, source));
                }
            }
        }
    }
}
