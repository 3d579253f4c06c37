//! [`Ledgers`]: transactions whose fate is known for sure, even when their reply is lost.
//!
//! A ledger is an ephemeral node of ours with a name of its own, and each transaction writes it, on the
//! condition that it has the version that we know. A transaction whose reply is lost is sent again as it is: it commits
//! only if the first one did not, and a ledger that has moved on says that the first one did. Unlike the mark of a
//! [`Register`](super::Register) it need not be deleted after each write, and it stands apart from the nodes that
//! others list and watch.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use tracing::debug;
use zookeeper_client as zk;

use super::ephemeral::{Ephemeral, NewChild};
use super::name::Tag;
use super::parents::Parents;
use super::path::NodePath;
use super::request::{Transaction, commit, delete, stat};
use crate::error::Error;
use crate::session::{Interrupted, Operation, Retry, Session, lock, refused};

/// How many idle ledgers are kept: as many transactions as go on at once without a create of their own.
const IDLE: usize = 16;

/// The ledgers of one handle: one for each transaction that is under way.
#[derive(Debug)]
pub(crate) struct Ledgers {
    directory: NodePath,
    idle: Mutex<Vec<Ledger>>,
}

/// What became of a transaction.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum LedgerOutcome {
    /// All of it was done, once.
    Committed(Receipt),
    /// Nothing was done, because of this operation.
    Refused(usize, zk::Error),
    /// The session ended, the coordinator was closed or the ledger was removed before an answer came: all was done or
    /// nothing. While a node is at `ledger`, it may yet be done.
    Indeterminate { ledger: String },
}

/// What a committed transaction brought.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Receipt {
    /// The ledger right after it, whose `mzxid` is that of the transaction and whose `mtime` is the ensemble's clock.
    pub(crate) ledger: zk::Stat,
    /// The results of its operations; none if the reply was lost.
    pub(crate) results: Vec<zk::MultiWriteResult>,
}

#[derive(Debug)]
struct Ledger {
    node: Ephemeral,
    /// `None` from before a write until its outcome is known: then it is not used again.
    version: Option<i32>,
}

/// What to do about a transaction whose reply is lost.
#[derive(Clone, Copy, Debug)]
pub(crate) enum AfterLoss {
    SendAgain,
    /// Makes sure that it is not done any more, since it holds for what was read just before and not for what has its
    /// name later.
    Revoke,
}

impl Ledgers {
    pub(crate) fn new(directory: NodePath) -> Self {
        Self {
            directory,
            idle: Mutex::default(),
        }
    }

    /// Sends the transaction, which is about `path`, once.
    pub(crate) async fn commit(
        &self,
        session: &Arc<Session>,
        path: &str,
        steps: &[Operation],
    ) -> Result<LedgerOutcome, Interrupted> {
        self.commit_with(session, path, Bytes::new(), steps).await
    }

    /// As [`commit`](Self::commit); the ledger holds `data` from then on.
    pub(crate) async fn commit_with(
        &self,
        session: &Arc<Session>,
        path: &str,
        data: Bytes,
        steps: &[Operation],
    ) -> Result<LedgerOutcome, Interrupted> {
        let mut retry = Retry::new(session, path, 0);
        loop {
            let mut ledger = self.idle_or_new(session).await?;
            let entry = ledger
                .write(session, path, data.clone(), steps, AfterLoss::SendAgain)
                .await?;
            self.put_back(ledger);
            if let Some(entry) = entry {
                return Ok(entry);
            }
            retry.raced().await?;
        }
    }

    /// Sends the transaction once, with a ledger that is not in use. `None` if it was not done and never will be.
    pub(crate) async fn try_commit(
        &self,
        session: &Arc<Session>,
        path: &str,
        steps: &[Operation],
        after_loss: AfterLoss,
    ) -> Result<Option<LedgerOutcome>, Interrupted> {
        let mut ledger = self.idle_or_new(session).await?;
        let outcome = ledger.write(session, path, Bytes::new(), steps, after_loss).await?;
        self.put_back(ledger);
        Ok(outcome)
    }

    async fn idle_or_new(&self, session: &Arc<Session>) -> Result<Ledger, Interrupted> {
        match self.idle(session) {
            Some(ledger) => Ok(ledger),
            None => Ledger::open(session, &self.directory).await,
        }
    }

    fn put_back(&self, ledger: Ledger) {
        if ledger.version.is_some() {
            let mut idle = lock(&self.idle);
            idle.push(ledger);
            idle.truncate(IDLE);
        }
    }

    /// One of this session that is not in use. Those of sessions that have ended go to the reaper.
    fn idle(&self, session: &Arc<Session>) -> Option<Ledger> {
        let mut idle = lock(&self.idle);
        idle.retain(|ledger| ledger.node.session().end_reason().is_none());
        let of_session = |ledger: &Ledger| Arc::ptr_eq(ledger.node.session(), session);
        idle.iter().rposition(of_session).map(|index| idle.remove(index))
    }
}

impl Ledger {
    async fn open(session: &Arc<Session>, directory: &NodePath) -> Result<Self, Interrupted> {
        let new = NewChild {
            parent: directory,
            tag: Tag::Member,
            data: session.identity(),
            parents: Parents::Containers,
            cleanup: None,
            is_listed: true,
        };
        let (node, _) = Ephemeral::create(session, new).await?;
        let version = Some(0);
        Ok(Self { node, version })
    }

    /// `None` if nothing was done, nor will be.
    async fn write(
        &mut self,
        session: &Arc<Session>,
        path: &str,
        data: Bytes,
        steps: &[Operation],
        after_loss: AfterLoss,
    ) -> Result<Option<LedgerOutcome>, Interrupted> {
        let mut sent_before = false;
        // What follows may be lost on its way; this is not.
        session.connected().await?;
        let version = self.version.take();
        let own = Operation::set_data(self.node.path(), data, version);
        let steps: Vec<_> = std::iter::once(own).chain(steps.iter().cloned()).collect();
        let mut retry = Retry::new(session, path, steps.iter().map(Operation::size).sum());
        loop {
            let outcome = match commit(&mut retry, session, &steps).await {
                Ok(Transaction::Unknown) => match after_loss {
                    AfterLoss::SendAgain => {
                        debug!(path, "reply of a transaction lost; sending it again");
                        sent_before = true;
                        continue;
                    }
                    AfterLoss::Revoke => return Ok(self.revoke(session, path, version).await),
                },
                Ok(Transaction::Applied(applied)) => match Receipt::new(applied.results) {
                    Some(receipt) => self.committed(receipt, version),
                    None => self.applied(session, version).await,
                },
                // The same transaction, sent before, whose reply was lost.
                Ok(Transaction::Refused(0, zk::Error::BadVersion)) if sent_before => {
                    self.applied(session, version).await
                }
                Ok(Transaction::Refused(0, _)) if sent_before => self.indeterminate(),
                Ok(Transaction::Refused(0, zk::Error::NoNode | zk::Error::BadVersion)) => {
                    debug!(path, "another client touched a ledger of ours; opening another one");
                    return Ok(None);
                }
                Ok(Transaction::Refused(0, source)) => return Err(refused(self.node.path(), source)),
                Ok(Transaction::Refused(index, source)) => {
                    self.version = version.filter(|_| !sent_before);
                    LedgerOutcome::Refused(index - 1, source)
                }
                Err(Interrupted::Lost(_) | Interrupted::Failed(Error::ConnectionBreaks { .. })) => self.indeterminate(),
                Err(_) if sent_before => self.indeterminate(),
                Err(failed) => return Err(failed),
            };
            return Ok(Some(outcome));
        }
    }

    /// What became of a transaction whose reply was lost; one that was not done never will be, since its ledger is gone.
    async fn revoke(&mut self, session: &Arc<Session>, path: &str, version: Option<i32>) -> Option<LedgerOutcome> {
        match delete(session, self.node.path(), version).await {
            Ok(Ok(())) => {
                debug!(path, "a transaction whose reply was lost was not done");
                self.node.deleted();
                None
            }
            Ok(Err(zk::Error::BadVersion)) => Some(self.applied(session, version).await),
            // Gone by our own delete whose reply was lost, or by that of an operator.
            Ok(Err(_)) | Err(_) => Some(self.indeterminate()),
        }
    }

    /// After a transaction that was applied and did not tell its results.
    async fn applied(&mut self, session: &Arc<Session>, version: Option<i32>) -> LedgerOutcome {
        let results = Vec::new();
        match stat(session, self.node.path()).await {
            Ok(Some(ledger)) => self.committed(Receipt { ledger, results }, version),
            Ok(None) | Err(_) => self.indeterminate(),
        }
    }

    /// The transaction has moved the ledger on from `version`.
    fn committed(&mut self, receipt: Receipt, version: Option<i32>) -> LedgerOutcome {
        self.version = version.and_then(|version| version.checked_add(1));
        LedgerOutcome::Committed(receipt)
    }

    fn indeterminate(&self) -> LedgerOutcome {
        let ledger = self.node.path().to_owned();
        LedgerOutcome::Indeterminate { ledger }
    }
}

impl Receipt {
    fn new(results: Vec<zk::MultiWriteResult>) -> Option<Self> {
        let mut results = results.into_iter();
        let own = results.next()?;
        let results = results.collect();
        match own {
            zk::MultiWriteResult::SetData { stat: ledger } => Some(Self { ledger, results }),
            _ => None,
        }
    }
}
