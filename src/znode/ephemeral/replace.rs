//! Nodes of ours that go for something else, in one transaction.

use std::sync::Arc;

use tracing::debug;
use zookeeper_client as zk;

use super::super::request::{Transaction, commit};
use super::cleanup::CleanupGuard;
use super::many::{NewNodes, ensure_parents, size};
use super::{Ephemeral, NewChild};
use crate::session::{Commit, Interrupted, LossReason, Lost, NodeLocation, Operation, Retry, refused};

/// What came of nodes that were to take the place of another one.
#[derive(Debug)]
pub(crate) enum ReplaceOutcome {
    /// The new nodes, which share one end. The old one is gone.
    Done(Vec<Ephemeral>),
    /// The condition does not hold. The old node is still there.
    Refused(Ephemeral),
}

/// What came of a node that was to go together with something else.
#[derive(Debug)]
pub(crate) enum RemoveOutcome {
    Committed,
    /// Something else was refused; nothing was done.
    Refused {
        node: Ephemeral,
        source: zk::Error,
    },
    /// The node is gone: by this transaction, whose reply was lost, or by an operator before it.
    Gone,
}

/// Whether the same transaction was sent before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sent {
    Once,
    Before,
}

impl Ephemeral {
    /// Creates all nodes and deletes this one, if the data of the node at `path` is still of that version. The whole
    /// commits only while this node is there. What ends one of the new nodes ends all.
    pub(crate) async fn replace_with(
        self,
        all: &[NewChild<'_>],
        (path, version): (&str, i32),
    ) -> Result<ReplaceOutcome, Interrupted> {
        let session = Arc::clone(self.session());
        let mut retry = Retry::new(&session, path, size(all));
        loop {
            self.alive()?;
            session.connected().await?;
            let connection = session.connection();
            let mut new = NewNodes::register(&session, all);
            let (condition, delete) = (new.steps.len(), new.steps.len() + 1);
            new.steps.push(Operation::check(path, version));
            new.steps.push(Operation::delete(self.path(), None));
            self.mark_end_deliberate(true);
            let nodes = match session.commit(&new.steps).await {
                Ok(Commit::Applied(applied)) => {
                    self.released();
                    return Ok(ReplaceOutcome::Done(new.adopt(applied).await?));
                }
                Ok(Commit::Refused(index, source)) => {
                    new.disarm();
                    self.mark_end_deliberate(false);
                    match source {
                        zk::Error::NoNode | zk::Error::BadVersion if index == condition => {
                            return Ok(ReplaceOutcome::Refused(self));
                        }
                        zk::Error::NoNode if index == delete => {
                            let lost = self.removed();
                            self.forget();
                            return Err(lost.into());
                        }
                        zk::Error::NoNode => ensure_parents(&session, all).await?,
                        source => return Err(refused(path, source)),
                    }
                    None
                }
                Ok(Commit::Unanswered(unanswered)) => {
                    let nodes = new.after(&mut retry, unanswered, connection).await?;
                    self.mark_end_deliberate(false);
                    nodes
                }
                Err(interrupted) => {
                    new.disarm_if_unsent(&interrupted);
                    return Err(interrupted);
                }
            };
            if let Some(nodes) = nodes {
                self.released();
                return Ok(ReplaceOutcome::Done(nodes));
            }
        }
    }

    /// Puts an ephemeral node at `path` in the place of this one, so that at every moment one of the two is there.
    /// `path` carries a guid that nobody else has. The new node inherits the czxid, with the place in line.
    pub(crate) async fn replace(self, path: String, data: &[u8]) -> Result<Self, Interrupted> {
        let session = Arc::clone(self.session());
        let steps = [
            Operation::create(&path, data.to_vec(), zk::CreateMode::Ephemeral),
            Operation::delete(self.path(), None),
        ];
        let guard = CleanupGuard::register(&session, NodeLocation::Path(path.clone()), None);
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
                // The same transaction, sent before, whose reply was lost: nobody else makes a node of this name.
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
        match self.leave(vec![Operation::delete(path, version)]).await? {
            (RemoveOutcome::Committed, _) | (RemoveOutcome::Gone, Sent::Before) => Ok(None),
            (RemoveOutcome::Gone, Sent::Once) => Err(Lost::because(LossReason::NodeRemoved).into()),
            (RemoveOutcome::Refused { node, source }, _) => match source {
                zk::Error::NoNode | zk::Error::BadVersion => Ok(Some(node)),
                source => Err(refused(path, source)),
            },
        }
    }

    /// Deletes this node together with further `steps`: all of it is done, or nothing.
    pub(crate) async fn remove_in(self, steps: Vec<Operation>) -> Result<RemoveOutcome, Interrupted> {
        self.leave(steps).await.map(|(outcome, _)| outcome)
    }

    async fn leave(self, mut steps: Vec<Operation>) -> Result<(RemoveOutcome, Sent), Interrupted> {
        let session = Arc::clone(self.session());
        let size = steps.iter().map(Operation::size).sum();
        steps.insert(0, Operation::delete(self.path(), None));
        let path = self.path().to_owned();
        let mut retry = Retry::new(&session, &path, size);
        let mut sent = Sent::Once;
        loop {
            if sent == Sent::Once {
                self.alive()?;
            }
            self.mark_end_deliberate(true);
            match commit(&mut retry, &session, &steps).await? {
                Transaction::Applied(_) => {
                    self.released();
                    return Ok((RemoveOutcome::Committed, sent));
                }
                Transaction::Unknown => sent = Sent::Before,
                Transaction::Refused(0, zk::Error::NoNode) => {
                    self.end().set(match sent {
                        Sent::Before => LossReason::Released,
                        Sent::Once => LossReason::NodeRemoved,
                    });
                    self.forget();
                    return Ok((RemoveOutcome::Gone, sent));
                }
                Transaction::Refused(0, source) => return Err(refused(&path, source)),
                Transaction::Refused(_, source) => {
                    self.mark_end_deliberate(false);
                    return Ok((RemoveOutcome::Refused { node: self, source }, sent));
                }
            }
        }
    }
}
