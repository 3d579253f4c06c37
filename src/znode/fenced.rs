//! [`CheckWriter`]: writes into the ensemble that commit only while a hold lasts.

use tracing::debug;
use zookeeper_client as zk;

use super::hold::Hold;
use crate::error::{Error, classify};
use crate::session::{Commit, Interrupted, Lost, Operation, Retry, Unanswered};

/// A transaction that checks, as its first step, that the hold's node still exists: it commits as a whole while the
/// ensemble sees the place as ours, or not at all.
///
/// Unlike a look at [`Hold::is_held`], this is safe against a pause between the check and the effect. The operations
/// are those of [`zookeeper_client::MultiWriter`].
///
/// # Examples
/// ```no_run
/// # async fn example(hold: zookeeper_recipes::Hold) -> Result<(), Box<dyn std::error::Error>> {
/// // Both writes, or none; and none if another may hold the lock.
/// let mut writer = hold.fenced();
/// writer.add_set_data("/accounts/17/balance", b"500", None);
/// writer.add_delete("/accounts/17/pending", None);
/// writer.commit().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
#[must_use = "nothing is written until `commit` is awaited"]
pub struct CheckWriter<'a> {
    hold: &'a Hold,
    operations: Vec<Operation>,
}

impl<'a> CheckWriter<'a> {
    pub(super) fn new(hold: &'a Hold) -> Self {
        Self {
            hold,
            operations: Vec::new(),
        }
    }

    /// Requires the node at `path` to have `version`.
    pub fn add_check_version(&mut self, path: &str, version: i32) -> &mut Self {
        self.add(Operation::check(path, version))
    }

    /// Creates a node, with the ACL given by [`ConnectOptions::acls`](crate::ConnectOptions::acls).
    ///
    /// **An ephemeral node is not counted** against what one session may own
    /// ([`Error::TooManyEphemerals`]); create few of them here.
    pub fn add_create(&mut self, path: &str, data: &[u8], mode: zk::CreateMode) -> &mut Self {
        self.add(Operation::create(path, data.to_vec(), mode))
    }

    /// Sets the data of a node, if it has `version` where one is given.
    pub fn add_set_data(&mut self, path: &str, data: &[u8], version: Option<i32>) -> &mut Self {
        self.add(Operation::set_data(path, data.to_vec(), version))
    }

    /// Deletes a node, if it has `version` where one is given.
    pub fn add_delete(&mut self, path: &str, version: Option<i32>) -> &mut Self {
        self.add(Operation::delete(path, version))
    }

    fn add(&mut self, operation: Operation) -> &mut Self {
        self.operations.push(operation);
        self
    }

    /// Sends the transaction: one request. The results are those of the added operations, in their order.
    ///
    /// # Errors
    /// * [`FencedWriteError::Lost`]: the hold is lost, nothing was written.
    /// * [`FencedWriteError::Refused`]: an operation was refused, nothing was written.
    /// * [`FencedWriteError::Indeterminate`]: no answer came. Read back what was written, or write again with
    ///   versions that make a repetition harmless.
    ///
    /// # Cancel safety
    /// Dropping the future leaves open whether the transaction is committed.
    pub async fn commit(&mut self) -> Result<Vec<zk::MultiWriteResult>, FencedWriteError> {
        let operations = std::mem::take(&mut self.operations);
        self.hold.check()?;
        let session = self.hold.node().session();
        // Whatever ends the hold up to here, nothing was sent.
        session.connected().await?;
        self.hold.check()?;
        let mut steps: Vec<_> = self.hold.nodes().map(|node| Operation::exists(node.path())).collect();
        let checks = steps.len();
        steps.extend(operations);
        let mut retry = Retry::new(session, self.hold.path(), 0);
        let committed = loop {
            match session.commit(&steps).await {
                // Nothing was written: the server asks for patience.
                Ok(Commit::Unanswered(busy @ Unanswered::Busy)) => match retry.after(busy).await {
                    Ok(()) => self.hold.check()?,
                    Err(Interrupted::Lost(lost)) => return Err(lost.into()),
                    Err(Interrupted::Failed(error)) => return Err(error.into()),
                },
                committed => break committed,
            }
        };
        match committed {
            Ok(Commit::Applied(mut applied)) => {
                applied.results.drain(..applied.results.len().min(checks));
                Ok(applied.results)
            }
            Ok(Commit::Refused(index, source)) => Err(match (index.checked_sub(checks), source) {
                (Some(index), source) => FencedWriteError::Refused { index, source },
                (None, zk::Error::NoNode) => self.hold.node().removed().into(),
                (None, source) => Error::from_answer(self.hold.path(), source).into(),
            }),
            Ok(Commit::Unanswered(_)) | Err(Interrupted::Lost(_)) => {
                debug!(path = self.hold.path(), "outcome of a fenced write unknown");
                Err(FencedWriteError::Indeterminate)
            }
            Err(Interrupted::Failed(error)) => Err(error.into()),
        }
    }
}

/// Why a fenced write was not, or may not have been, committed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FencedWriteError {
    /// The hold is lost. Nothing was written.
    #[error("nothing was written; acquire again")]
    Lost(#[from] Lost),
    /// The ensemble refused an operation. Nothing was written.
    #[error("nothing was written: operation {index} was refused")]
    Refused {
        /// Which of the added operations, from 0.
        index: usize,
        /// The answer.
        source: zk::Error,
    },
    /// The connection broke before the answer came: all was written or nothing.
    #[error("the connection broke before the answer came: all was written or nothing; read it back")]
    Indeterminate,
    /// The request as a whole failed for a reason that stays. Nothing was written.
    #[error(transparent)]
    Error(#[from] Error),
}

classify!(FencedWriteError, Self::Lost(lost) => lost.nature(), Self::Error(error) => error.nature());
