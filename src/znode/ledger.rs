//! [`Ledgers`]: transactions whose fate is known for sure, also if their reply is lost.
//!
//! A ledger is an ephemeral node of ours with a name that nobody else has, and each transaction writes it, on the
//! condition that it has the version that we know. A transaction whose reply is lost is sent again as it is: it commits
//! only if the first one did not, and a ledger that has moved on says that the first one did. Unlike the mark of a
//! [`Register`](super::Register) it need not be deleted after each write, and it stands apart from the nodes that
//! others list and watch.

use std::sync::{Arc, Mutex};

use tracing::debug;
use zookeeper_client as zk;

use super::ephemeral::{Ephemeral, NewChild};
use super::name::Tag;
use super::parents::Parents;
use super::path::NodePath;
use super::request::{Transaction, commit, delete, stat};
use crate::error::Error;
use crate::session::{Interrupted, Operation, Retry, Session, lock};

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
    /// The session ended, the coordinator was closed or somebody removed the ledger before an answer came: all was done or
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
    version: i32,
}

/// What one ledger made of a transaction.
enum LedgerWrite {
    Done(LedgerOutcome, Option<Ledger>),
    /// Nothing was done, nor will be.
    Unapplied,
}

/// What to do about a transaction whose reply is lost.
#[derive(Clone, Copy, Debug)]
enum AfterLoss {
    SendAgain,
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
        let mut retry = Retry::new(session, path, 0);
        loop {
            if let Some(entry) = self.attempt(session, path, steps, AfterLoss::SendAgain).await? {
                return Ok(entry);
            }
            retry.raced().await?;
        }
    }

    /// As [`commit`](Self::commit), for one that holds for what was read just before and not for what has its name later:
    /// it is not sent again when its reply is lost. `None` if it was not done and never will be: read again.
    pub(crate) async fn commit_as_read(
        &self,
        session: &Arc<Session>,
        path: &str,
        steps: &[Operation],
    ) -> Result<Option<LedgerOutcome>, Interrupted> {
        self.attempt(session, path, steps, AfterLoss::Revoke).await
    }

    async fn attempt(
        &self,
        session: &Arc<Session>,
        path: &str,
        steps: &[Operation],
        after_loss: AfterLoss,
    ) -> Result<Option<LedgerOutcome>, Interrupted> {
        let ledger = match self.idle(session) {
            Some(ledger) => ledger,
            None => Ledger::open(session, &self.directory).await?,
        };
        match ledger.write(session, path, steps, after_loss).await? {
            LedgerWrite::Done(entry, ledger) => {
                let mut idle = lock(&self.idle);
                idle.extend(ledger);
                idle.truncate(IDLE);
                Ok(Some(entry))
            }
            LedgerWrite::Unapplied => Ok(None),
        }
    }

    /// One that is not in use. Those of former sessions, and those that are too many, go to the reaper.
    fn idle(&self, session: &Arc<Session>) -> Option<Ledger> {
        let mut idle = lock(&self.idle);
        idle.retain(|ledger| Arc::ptr_eq(ledger.node.session(), session));
        idle.truncate(IDLE);
        idle.pop()
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
        };
        let (node, _) = Ephemeral::create(session, new).await?;
        Ok(Self { node, version: 0 })
    }

    /// Takes the ledger, since one that is left in the middle of a write has a version that nobody knows.
    async fn write(
        self,
        session: &Arc<Session>,
        path: &str,
        steps: &[Operation],
        after_loss: AfterLoss,
    ) -> Result<LedgerWrite, Interrupted> {
        let mut sent_before = false;
        // What follows may be lost on its way; this is not.
        session.connected().await?;
        let own = Operation::set_data(self.node.path(), Vec::new(), self.version);
        let steps: Vec<_> = std::iter::once(own).chain(steps.iter().cloned()).collect();
        let mut retry = Retry::new(session, path, steps.iter().map(Operation::size).sum());
        loop {
            return match commit(&mut retry, session, &steps).await {
                Ok(Transaction::Unknown) => match after_loss {
                    AfterLoss::SendAgain => {
                        debug!(path, "reply of a transaction lost; sending it again");
                        sent_before = true;
                        continue;
                    }
                    AfterLoss::Revoke => Ok(self.revoke(session, path).await),
                },
                Ok(Transaction::Applied(applied)) => match Receipt::new(applied.results) {
                    Some(receipt) => Ok(LedgerWrite::Done(LedgerOutcome::Committed(receipt), self.moved_on())),
                    None => Ok(self.applied(session).await),
                },
                // The same transaction, sent before, whose reply was lost.
                Ok(Transaction::Refused(0, zk::Error::BadVersion)) if sent_before => Ok(self.applied(session).await),
                Ok(Transaction::Refused(0, _)) if sent_before => Ok(self.indeterminate()),
                Ok(Transaction::Refused(0, source)) => match source {
                    zk::Error::NoNode | zk::Error::BadVersion => {
                        debug!(path, "somebody else touched a ledger of ours; opening another one");
                        Ok(LedgerWrite::Unapplied)
                    }
                    source => Err(Error::from_answer(self.node.path(), source).into()),
                },
                Ok(Transaction::Refused(index, source)) => {
                    let entry = LedgerOutcome::Refused(index - 1, source);
                    Ok(LedgerWrite::Done(entry, (!sent_before).then_some(self)))
                }
                Err(Interrupted::Lost(_) | Interrupted::Failed(Error::ConnectionBreaks { .. })) => {
                    Ok(self.indeterminate())
                }
                Err(_) if sent_before => Ok(self.indeterminate()),
                Err(failed) => Err(failed),
            };
        }
    }

    /// What became of a transaction whose reply was lost; one that was not done never will be, since its ledger is gone.
    async fn revoke(self, session: &Arc<Session>, path: &str) -> LedgerWrite {
        match delete(session, self.node.path(), Some(self.version)).await {
            Ok(Ok(())) => {
                debug!(path, "a transaction whose reply was lost was not done");
                self.node.forget();
                LedgerWrite::Unapplied
            }
            Ok(Err(zk::Error::BadVersion)) => self.applied(session).await,
            // Gone by our own delete whose reply was lost, or by that of an operator.
            Ok(Err(_)) | Err(_) => self.indeterminate(),
        }
    }

    /// After a transaction that was applied and did not tell its results.
    async fn applied(self, session: &Arc<Session>) -> LedgerWrite {
        match stat(session, self.node.path()).await {
            Ok(Some(ledger)) => {
                let results = Vec::new();
                LedgerWrite::Done(LedgerOutcome::Committed(Receipt { ledger, results }), self.moved_on())
            }
            Ok(None) | Err(_) => self.indeterminate(),
        }
    }

    fn moved_on(self) -> Option<Self> {
        let version = self.version.checked_add(1)?;
        Some(Self { version, ..self })
    }

    fn indeterminate(&self) -> LedgerWrite {
        let ledger = self.node.path().to_owned();
        LedgerWrite::Done(LedgerOutcome::Indeterminate { ledger }, None)
    }
}

impl Receipt {
    fn new(mut results: Vec<zk::MultiWriteResult>) -> Option<Self> {
        if results.is_empty() {
            return None;
        }
        match results.remove(0) {
            zk::MultiWriteResult::SetData { stat: ledger } => Some(Self { ledger, results }),
            _ => None,
        }
    }
}
