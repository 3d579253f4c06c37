//! Nodes that take the place of another one, in one transaction.

use std::sync::Arc;
use std::time::Instant;

use tracing::debug;
use zookeeper_client as zk;

use super::ask::{Transaction, transact};
use super::claim::Claim;
use super::ephemeral::{Ephemeral, Interrupted, NewChild};
use super::parents;
use super::transaction::{check_total, recover_all, refused_for_now, register_all, take_over};
use crate::error::Error;
use crate::session::{LossReason, Lost, Outcome, outcome};

/// What came of an exchange.
#[derive(Debug)]
pub(crate) enum Exchange {
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
    pub(crate) async fn exchange(
        self,
        all: &[NewChild<'_>],
        (path, version): (&str, i32),
    ) -> Result<Exchange, Interrupted> {
        check_total(all)?;
        let session = Arc::clone(self.session());
        loop {
            if let Some(reason) = self.end().reason() {
                return Err(Lost { reason }.into());
            }
            let (names, claims) = register_all(&session, all);
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
            self.end().expect(true);
            let committed = tokio::select! {
                committed = multi.commit() => committed,
                lost = session.ended() => return Err(lost.into()),
            };
            match committed {
                Ok(mut results) => {
                    self.end().set(LossReason::Released);
                    self.forget();
                    results.drain(..CREATES.min(results.len()));
                    let nodes = take_over(claims, results, connection).await?;
                    session.proved(sent);
                    return Ok(Exchange::Done(nodes));
                }
                Err(zk::MultiWriteError::OperationFailed { index, source }) => {
                    claims.into_iter().for_each(Claim::forget);
                    self.end().expect(false);
                    match (index, source) {
                        (CONDITION, zk::Error::NoNode | zk::Error::BadVersion) => return Ok(Exchange::Refused(self)),
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
                        (_, source) => refused_for_now(&session, path, source).await?,
                    }
                }
                Err(zk::MultiWriteError::RequestFailed { source }) if outcome(&source) != Outcome::Unknown => {
                    claims.into_iter().for_each(Claim::forget);
                    self.end().expect(false);
                    refused_for_now(&session, path, source).await?;
                }
                Err(zk::MultiWriteError::RequestFailed { source }) => {
                    debug!(error = %source, "reply of an exchange lost; looking for its nodes");
                    let recovered = recover_all(&session, all, &names, claims, connection).await?;
                    self.end().expect(false);
                    if let Some(nodes) = recovered {
                        self.end().set(LossReason::Released);
                        self.forget();
                        return Ok(Exchange::Done(nodes));
                    }
                }
            }
        }
    }

    /// Deletes this node together with the one at `path`, if that is still of that version; else nothing is done and
    /// this node comes back.
    pub(crate) async fn remove_with(self, (path, version): (&str, i32)) -> Result<Option<Self>, Interrupted> {
        match self.leave(|multi| multi.add_delete(path, Some(version))).await? {
            (Departure::Committed, _) | (Departure::Gone, Sent::Before) => Ok(None),
            (Departure::Gone, Sent::Once) => Err(Lost {
                reason: LossReason::NodeRemoved,
            }
            .into()),
            (
                Departure::Refused {
                    node,
                    source: zk::Error::NoNode | zk::Error::BadVersion,
                },
                _,
            ) => Ok(Some(node)),
            (Departure::Refused { source, .. }, _) => Err(Error::from_answer(path, source).into()),
        }
    }

    /// Deletes this node together with what `add` adds to the transaction: all of it is done, or nothing.
    pub(crate) async fn leave_with(
        self,
        add: impl Fn(&mut zk::MultiWriter<'_>) -> Result<(), zk::Error>,
    ) -> Result<Departure, Interrupted> {
        self.leave(add).await.map(|(departure, _)| departure)
    }

    async fn leave(
        self,
        add: impl Fn(&mut zk::MultiWriter<'_>) -> Result<(), zk::Error>,
    ) -> Result<(Departure, Sent), Interrupted> {
        let session = Arc::clone(self.session());
        let mut sent = Sent::Once;
        loop {
            if let Some(reason) = self.end().reason().filter(|_| sent == Sent::Once) {
                return Err(Lost { reason }.into());
            }
            self.end().expect(true);
            let transaction = transact(&session, self.path(), |multi| {
                multi.add_delete(self.path(), None)?;
                add(multi)
            });
            match transaction.await? {
                Transaction::Committed(_) => {
                    self.end().set(LossReason::Released);
                    self.forget();
                    return Ok((Departure::Committed, sent));
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
                    return Ok((Departure::Gone, sent));
                }
                Transaction::Refused { index: 0, source } => {
                    return Err(Error::from_answer(self.path(), source).into());
                }
                Transaction::Refused { source, .. } => {
                    self.end().expect(false);
                    return Ok((Departure::Refused { node: self, source }, sent));
                }
            }
        }
    }
}

/// What came of a node that was to go together with something else.
#[derive(Debug)]
pub(crate) enum Departure {
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
