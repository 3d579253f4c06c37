//! Nodes that take the place of another one, in one transaction.

use std::sync::Arc;
use std::time::Instant;

use tracing::debug;
use zookeeper_client as zk;

use super::super::ask::{Transaction, transact};
use super::super::parents;
use super::cleanup::CleanupGuard;
use super::many::{adopt_created, check_total, recover_all, register_all, retry_or_fail};
use super::{Ephemeral, Interrupted, NewChild};
use crate::error::Error;
use crate::session::{LossReason, Lost, ReplyStatus, classify};

/// What came of an exchange.
#[derive(Debug)]
pub(crate) enum ReplaceOutcome {
    /// The new nodes, which share one end. The old one is gone.
    Done(Vec<Ephemeral>),
    /// The condition does not hold. The old node is still there.
    Refused(Ephemeral),
}

/// What comes before the creates in the transaction.
const CONDITION: usize = 0;
const DELETE: usize = 1;
const CREATES: usize = 2;

impl Ephemeral {
    /// Creates all nodes and deletes this one, if the data of the node at `path` is still of that version. The whole
    /// commits only while this node is there. What ends one of the new nodes ends all.
    pub(crate) async fn replace_with(
        self,
        all: &[NewChild<'_>],
        (path, version): (&str, i32),
    ) -> Result<ReplaceOutcome, Interrupted> {
        check_total(all)?;
        let session = Arc::clone(self.session());
        loop {
            if let Some(reason) = self.end().reason() {
                return Err(Lost { reason }.into());
            }
            let (names, guards) = register_all(&session, all);
            let client = session.client()?;
            let connection = session.connection();
            let sent = Instant::now();
            let options = zk::CreateMode::EphemeralSequential.with_acls(session.acls());
            let mut multi = client.new_multi_writer();
            let refused = |error| Error::from_answer(path, error);
            multi.add_check_version(path, version).map_err(refused)?;
            multi.add_delete(self.path(), None).map_err(refused)?;
            for (new, name) in all.iter().zip(&names) {
                let added = multi.add_create(&new.parent.child(&name.prefix), new.data, &options);
                added.map_err(|error| Error::from_answer(new.parent.as_str(), error))?;
            }
            self.end().mark_deliberate(true);
            let committed = tokio::select! {
                committed = multi.commit() => committed,
                lost = session.ended() => return Err(lost.into()),
            };
            match committed {
                Ok(mut results) => {
                    self.end().set(LossReason::Released);
                    self.forget();
                    results.drain(..CREATES.min(results.len()));
                    let nodes = adopt_created(guards, results, connection).await?;
                    session.proved(sent);
                    return Ok(ReplaceOutcome::Done(nodes));
                }
                Err(zk::MultiWriteError::OperationFailed { index, source }) => {
                    guards.into_iter().for_each(CleanupGuard::disarm);
                    self.end().mark_deliberate(false);
                    match (index, source) {
                        (CONDITION, zk::Error::NoNode | zk::Error::BadVersion) => {
                            return Ok(ReplaceOutcome::Refused(self));
                        }
                        (DELETE, zk::Error::NoNode) => {
                            self.end().set(LossReason::NodeRemoved);
                            self.forget();
                            return Err(Lost {
                                reason: LossReason::NodeRemoved,
                            }
                            .into());
                        }
                        (CREATES.., zk::Error::NoNode) => {
                            for new in all {
                                parents::ensure(&session, new.parent, new.parents).await?;
                            }
                        }
                        (_, source) => retry_or_fail(&session, path, source).await?,
                    }
                }
                Err(zk::MultiWriteError::RequestFailed { source }) if classify(&source) != ReplyStatus::Unknown => {
                    guards.into_iter().for_each(CleanupGuard::disarm);
                    self.end().mark_deliberate(false);
                    retry_or_fail(&session, path, source).await?;
                }
                Err(zk::MultiWriteError::RequestFailed { source }) => {
                    debug!(error = %source, "reply of an exchange lost; looking for its nodes");
                    let recovered = recover_all(&session, all, &names, guards, connection).await?;
                    self.end().mark_deliberate(false);
                    if let Some(nodes) = recovered {
                        self.end().set(LossReason::Released);
                        self.forget();
                        return Ok(ReplaceOutcome::Done(nodes));
                    }
                }
            }
        }
    }

    /// Deletes this node together with the one at `path`, if that is still of that version; else nothing is done and
    /// this node comes back.
    pub(crate) async fn remove_with(self, (path, version): (&str, i32)) -> Result<Option<Self>, Interrupted> {
        match self.leave(|multi| multi.add_delete(path, Some(version))).await? {
            (RemoveOutcome::Committed, _) | (RemoveOutcome::Gone, Sent::Before) => Ok(None),
            (RemoveOutcome::Gone, Sent::Once) => Err(Lost {
                reason: LossReason::NodeRemoved,
            }
            .into()),
            (
                RemoveOutcome::Refused {
                    node,
                    source: zk::Error::NoNode | zk::Error::BadVersion,
                },
                _,
            ) => Ok(Some(node)),
            (RemoveOutcome::Refused { source, .. }, _) => Err(Error::from_answer(path, source).into()),
        }
    }

    /// Deletes this node together with what `add` adds to the transaction: all of it is done, or nothing.
    pub(crate) async fn remove_in(
        self,
        add: impl Fn(&mut zk::MultiWriter<'_>) -> Result<(), zk::Error>,
    ) -> Result<RemoveOutcome, Interrupted> {
        self.leave(add).await.map(|(departure, _)| departure)
    }

    async fn leave(
        self,
        add: impl Fn(&mut zk::MultiWriter<'_>) -> Result<(), zk::Error>,
    ) -> Result<(RemoveOutcome, Sent), Interrupted> {
        let session = Arc::clone(self.session());
        let mut sent = Sent::Once;
        loop {
            if let Some(reason) = self.end().reason().filter(|_| sent == Sent::Once) {
                return Err(Lost { reason }.into());
            }
            self.end().mark_deliberate(true);
            let transaction = transact(&session, self.path(), |multi| {
                multi.add_delete(self.path(), None)?;
                add(multi)
            });
            match transaction.await? {
                Transaction::Committed(_) => {
                    self.end().set(LossReason::Released);
                    self.forget();
                    return Ok((RemoveOutcome::Committed, sent));
                }
                Transaction::Unknown => sent = Sent::Before,
                Transaction::Refused {
                    index: 0,
                    source: zk::Error::NoNode,
                } => {
                    self.end().set(match sent {
                        Sent::Before => LossReason::Released,
                        Sent::Once => LossReason::NodeRemoved,
                    });
                    self.forget();
                    return Ok((RemoveOutcome::Gone, sent));
                }
                Transaction::Refused { index: 0, source } => {
                    return Err(Error::from_answer(self.path(), source).into());
                }
                Transaction::Refused { source, .. } => {
                    self.end().mark_deliberate(false);
                    return Ok((RemoveOutcome::Refused { node: self, source }, sent));
                }
            }
        }
    }
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
    /// The node is gone: by this transaction, whose reply was lost, or by somebody else before it.
    Gone,
}

/// Whether the same transaction was sent before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sent {
    Once,
    Before,
}
