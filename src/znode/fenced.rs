//! [`CheckWriter`]: writes into the ensemble that commit only while a hold lasts.

use std::time::Instant;

use tracing::debug;
use zookeeper_client as zk;

use super::ephemeral::check_length;
use super::hold::Hold;
use super::operation::Operation;
use crate::error::Error;
use crate::session::{LossReason, Lost, ReplyStatus, classify};

/// A transaction that checks, as its first step, that the hold's node still exists: it commits as a whole while the
/// ensemble sees the place as ours, or not at all.
///
/// Unlike a look at [`Hold::is_held`], this is safe against a pause between the check and the effect. The operations
/// are those of [`zookeeper_client::MultiWriter`].
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
        self.add(Operation::Check {
            path: path.to_owned(),
            version,
        })
    }

    /// Creates a node, with the ACL given by [`ConnectOptions::acls`](crate::ConnectOptions::acls).
    pub fn add_create(&mut self, path: &str, data: &[u8], mode: zk::CreateMode) -> &mut Self {
        self.add(Operation::Create {
            path: path.to_owned(),
            data: data.to_vec().into(),
            mode,
        })
    }

    /// Sets the data of a node, if it has `version` where one is given.
    pub fn add_set_data(&mut self, path: &str, data: &[u8], version: Option<i32>) -> &mut Self {
        self.add(Operation::SetData {
            path: path.to_owned(),
            data: data.to_vec().into(),
            version,
        })
    }

    /// Deletes a node, if it has `version` where one is given.
    pub fn add_delete(&mut self, path: &str, version: Option<i32>) -> &mut Self {
        self.add(Operation::Delete {
            path: path.to_owned(),
            version,
        })
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
        let client = session.client()?;
        let mut writer = client.new_multi_writer();
        let mut checks = 0;
        for node in self.hold.nodes() {
            let added = writer.add_check_version(node.path(), -1);
            added.map_err(|error| Error::from_answer(node.path(), error))?;
            checks += 1;
        }
        let mut size = 0;
        for (index, operation) in operations.iter().enumerate() {
            size += operation.size();
            check_length(operation.path(), size)?;
            let added = operation.add_to(&mut writer, session.acls());
            added.map_err(|source| FencedWriteError::Refused { index, source })?;
        }
        let sent = Instant::now();
        let committed = tokio::select! {
            committed = writer.commit() => committed,
            _ = session.ended() => return Err(FencedWriteError::Indeterminate),
        };
        match committed {
            Ok(mut results) => {
                session.proved(sent);
                results.drain(..results.len().min(checks));
                Ok(results)
            }
            Err(zk::MultiWriteError::OperationFailed {
                index,
                source: zk::Error::NoNode,
            }) if index < checks => {
                self.hold.node().end().set(LossReason::NodeRemoved);
                let reason = self.hold.node().end().reason().unwrap_or(LossReason::NodeRemoved);
                Err(Lost { reason }.into())
            }
            Err(zk::MultiWriteError::OperationFailed { index, source }) => Err(match index.checked_sub(checks) {
                Some(index) => FencedWriteError::Refused { index, source },
                None => Error::from_answer(self.hold.path(), source).into(),
            }),
            Err(zk::MultiWriteError::RequestFailed { source }) if classify(&source) == ReplyStatus::Unknown => {
                debug!(error = %source, "outcome of a fenced write unknown");
                Err(FencedWriteError::Indeterminate)
            }
            Err(zk::MultiWriteError::RequestFailed { source }) => {
                Err(Error::from_answer(self.hold.path(), source).into())
            }
        }
    }
}

/// Why a fenced write was not, or may not have been, committed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FencedWriteError {
    /// The hold is lost. Nothing was written.
    #[error("nothing was written: {0}")]
    Lost(#[from] Lost),
    /// The ensemble refused an operation. Nothing was written.
    #[error("nothing was written: operation {index} was refused: {source}")]
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
