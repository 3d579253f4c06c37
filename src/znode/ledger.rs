//! [`Ledgers`]: transactions whose fate is known for sure, also if their reply is lost.
//!
//! A ledger is an ephemeral node of ours with a name that nobody else has, and each transaction writes it, on the
//! condition that it has the version that we know. A transaction whose reply is lost is sent again as it is: it commits
//! only if the first one did not, and a ledger that has moved on says that the first one did. Unlike the mark of a
//! [`Register`](super::Register) it need not be deleted after each write, and it stands apart from the nodes that
//! others list and watch.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tracing::debug;
use zookeeper_client as zk;

use super::ask::{Transaction, stat, transact};
use super::ephemeral::{Ephemeral, Interrupted, NewChild};
use super::name::Tag;
use super::parents::Parents;
use super::path::NodePath;
use crate::error::Error;
use crate::session::Session;

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
pub(crate) enum Entry {
    /// All of it was done, once.
    Committed(Receipt),
    /// Nothing was done, because of this operation.
    Refused { index: usize, source: zk::Error },
    /// The session ended before an answer came: all was done or nothing. While a node is at `ledger`, it may yet be done.
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
enum Written {
    Entry(Entry, Option<Ledger>),
    /// Somebody else removed or wrote the ledger; nothing was done.
    Spoiled,
}

impl Ledgers {
    pub(crate) fn new(directory: NodePath) -> Self {
        Self {
            directory,
            idle: Mutex::default(),
        }
    }

    /// Sends the transaction that `add` builds, about `path`, once.
    pub(crate) async fn commit(
        &self,
        session: &Arc<Session>,
        path: &str,
        add: impl Fn(&mut zk::MultiWriter<'_>) -> Result<(), zk::Error>,
    ) -> Result<Entry, Interrupted> {
        loop {
            let ledger = match self.idle(session) {
                Some(ledger) => ledger,
                None => Ledger::open(session, &self.directory).await?,
            };
            match ledger.write(session, path, &add).await? {
                Written::Entry(entry, ledger) => {
                    self.lock().extend(ledger);
                    return Ok(entry);
                }
                Written::Spoiled => debug!(path, "somebody else touched a ledger of ours; opening another one"),
            }
        }
    }

    /// One that is not in use. Those of former sessions, and those that are too many, go to the reaper.
    fn idle(&self, session: &Arc<Session>) -> Option<Ledger> {
        let mut idle = self.lock();
        idle.retain(|ledger| Arc::ptr_eq(ledger.node.session(), session));
        idle.truncate(IDLE);
        idle.pop()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Ledger>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ledger {
    async fn open(session: &Arc<Session>, directory: &NodePath) -> Result<Self, Interrupted> {
        let new = NewChild {
            parent: directory,
            tag: Tag::Member,
            data: session.identity(),
            parents: Parents::Containers,
            witness: None,
        };
        let (node, _) = Ephemeral::create(session, new).await?;
        Ok(Self { node, version: 0 })
    }

    /// Takes the ledger, since one that is left in the middle of a write has a version that nobody knows.
    async fn write(
        self,
        session: &Arc<Session>,
        path: &str,
        add: impl Fn(&mut zk::MultiWriter<'_>) -> Result<(), zk::Error>,
    ) -> Result<Written, Interrupted> {
        let mut sent_before = false;
        // What follows may be lost on its way; this is not.
        drop(session.client()?);
        loop {
            let transaction = transact(session, path, |multi| {
                multi.add_set_data(self.node.path(), &[], Some(self.version))?;
                add(multi)
            });
            let indeterminate = || Entry::Indeterminate {
                ledger: self.node.path().to_owned(),
            };
            let entry = match transaction.await {
                Ok(Transaction::Unknown) => {
                    debug!(path, "reply of a transaction lost; sending it again");
                    sent_before = true;
                    continue;
                }
                Ok(Transaction::Committed(results)) => match Receipt::new(results) {
                    Some(receipt) => Entry::Committed(receipt),
                    None => return Err(unreadable(path)),
                },
                Ok(Transaction::Refused { index: 0, source }) => match source {
                    // The same transaction, sent before, whose reply was lost.
                    zk::Error::BadVersion if sent_before => match stat(session, self.node.path()).await {
                        Ok(Some(ledger)) => Entry::Committed(Receipt {
                            ledger,
                            results: Vec::new(),
                        }),
                        Ok(None) | Err(Interrupted::Lost(_)) => return Ok(Written::Entry(indeterminate(), None)),
                        Err(failed) => return Err(failed),
                    },
                    zk::Error::NoNode if sent_before => return Ok(Written::Entry(indeterminate(), None)),
                    zk::Error::NoNode | zk::Error::BadVersion => return Ok(Written::Spoiled),
                    source => Entry::Refused { index: 0, source },
                },
                Ok(Transaction::Refused { index, source }) => {
                    let entry = Entry::Refused {
                        index: index - 1,
                        source,
                    };
                    return Ok(Written::Entry(entry, Some(self)));
                }
                Err(Interrupted::Lost(_)) => return Ok(Written::Entry(indeterminate(), None)),
                Err(failed) => return Err(failed),
            };
            let version = self.version.checked_add(1);
            let ledger = version.map(|version| Self { version, ..self });
            return Ok(Written::Entry(entry, ledger));
        }
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

fn unreadable(path: &str) -> Interrupted {
    let source = zk::Error::UnexpectedError("the reply of a transaction lacks results".to_owned());
    let path = path.to_owned();
    Error::Client { path, source }.into()
}
