//! Why an item was not pushed, and why none was popped.

use bytes::Bytes;

use crate::error::{Error, TimeoutError, classify};

/// Why an item is not, or may not be, in the queue.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FifoPushError {
    /// The session ended before the answer came, the coordinator was closed, or another client removed the ledger by
    /// which it is told what became of the push: the item is in the queue, once, or it is not. Push it again only if
    /// twice does no harm.
    #[error("the session ended before the answer came: the item is in the queue once, or it is not")]
    Indeterminate,
    /// It cannot be pushed at all, and is not in the queue; [`Error::TooLarge`] says how large an item may be.
    #[error(transparent)]
    Error(#[from] Error),
}

/// Why no item was popped.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FifoPopError {
    /// The session ended, or the coordinator was closed, before the answer to the removal of this item came, and it is
    /// not known to be in the queue still: we have removed it, or another consumer has, which then works on it. The
    /// item is handed over with the error, since it may never be seen again.
    #[error("the session ended before the answer came: {path} was removed by us or by another consumer")]
    Indeterminate {
        /// Path of the item's node, from the chroot.
        path: String,
        /// What was in it.
        item: Bytes,
    },
    /// The queue cannot be used at all.
    #[error(transparent)]
    Error(#[from] Error),
}

/// Why no item was popped in time. After [`Elapsed`](TimeoutError::Elapsed) no item was delivered: what was being
/// removed goes to the next pop of this handle or a clone of it.
pub type FifoPopTimeoutError = TimeoutError<FifoPopError>;

classify!(FifoPushError, Self::Error(error) => error.nature());
classify!(FifoPopError, Self::Error(error) => error.nature());
