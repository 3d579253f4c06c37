//! Why a queue did not do what it was asked for.

use super::store::ItemId;
use crate::error::{Error, TimeoutError};
use crate::session::Lost;

/// Why an item was not, or may not have been, pushed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PushError {
    /// The queue holds as many items as it may. Nothing was pushed.
    #[error("{path} holds the {capacity} items that it may; push again later, or let push wait")]
    QueueFull {
        /// Path of the queue, from the chroot.
        path: String,
        /// How many items it may hold.
        capacity: u64,
    },
    /// More items than the queue may hold at all. Nothing was pushed.
    #[error("{items} items never fit into {path}, which may hold {capacity}; push fewer at once")]
    NeverFits {
        /// Path of the queue, from the chroot.
        path: String,
        /// How many items were to be pushed in one transaction.
        items: u64,
        /// How many items the queue may hold.
        capacity: u64,
    },
    /// The text cannot be an idempotency key. Nothing was pushed.
    #[error("an idempotency key has 1 to {limit} bytes, not {size}")]
    InvalidKey {
        /// Its length, in bytes.
        size: usize,
        /// The largest length, in bytes.
        limit: usize,
    },
    /// The value cannot be written. Nothing was pushed.
    #[error("the value cannot be written, so that nothing was pushed: {reason}")]
    Unencodable {
        /// What its encoding says.
        reason: String,
    },
    /// An item of a group cannot be delayed, since those behind it would have to wait with it. Nothing was pushed.
    #[error("an item of a group cannot be delayed; push it when it is due, or without a group")]
    DelayedGroup,
    /// The session ended before an answer came: all of these were pushed, or none.
    ///
    /// Push with an idempotency key and this does not happen: such a push is tried until its outcome is known, or the
    /// coordinator has ended.
    #[error("the session ended before the answer came: all was pushed or nothing; give items a key to push them again")]
    Indeterminate {
        /// The ids that the items have if they were pushed; ask [`status`](super::WorkQueue::status). None if the
        /// runtime of the coordinator was shut down meanwhile.
        ids: Vec<ItemId>,
    },
    /// Nothing was pushed, and trying again would not help.
    #[error(transparent)]
    Error(#[from] Error),
}

/// Why an item was not pushed in time.
pub type PushTimeoutError = TimeoutError<PushError>;

/// Why an item was not, or may not have been, settled: acknowledged, given back or put aside.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AckError {
    /// The item was lost before: nothing was done, and another consumer gets it, or has it by now.
    #[error("nothing was done, the item had been lost: {}", .0.reason)]
    Lost(#[from] Lost),
    /// The session ended before an answer came: all of it was done, or nothing and another consumer gets the item.
    #[error(
        "the session ended before the answer came: all of it was done, or nothing and another consumer gets the item"
    )]
    Indeterminate,
    /// A next step cannot be pushed: nothing was done, the item goes back.
    #[error("nothing was done, a next step cannot be pushed: {0}")]
    Push(PushError),
    /// Nothing was done, and trying again would not help; the item goes back.
    #[error(transparent)]
    Error(#[from] Error),
}

impl PushError {
    /// The `error.type` of metrics.
    pub(super) fn label(&self) -> &'static str {
        match self {
            Self::QueueFull { .. } | Self::NeverFits { .. } => "full",
            Self::Indeterminate { .. } => "indeterminate",
            _ => "error",
        }
    }
}

impl AckError {
    /// The `error.type` of metrics.
    pub(crate) fn label(&self) -> &'static str {
        match self {
            Self::Lost(_) => "lost",
            Self::Indeterminate => "indeterminate",
            Self::Push(_) | Self::Error(_) => "error",
        }
    }
}

/// Why there is no result.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ResultError {
    /// There is no such item: it was never pushed, or done without a result, or its result was kept for its time.
    #[error("there is no item {id}, nor a result of it")]
    Unknown {
        /// The item.
        id: ItemId,
    },
    /// The item was done without a result.
    #[error("item {id} is done, and has no result; acknowledge it with ack_with to give one")]
    NoResult {
        /// The item.
        id: ItemId,
    },
    /// The item was cancelled.
    #[error("item {id} was cancelled")]
    Cancelled {
        /// The item.
        id: ItemId,
    },
    /// The item was not delivered before it expired.
    #[error("item {id} expired before it was delivered")]
    Expired {
        /// The item.
        id: ItemId,
    },
    /// The value cannot be read.
    #[error("the result of item {id} cannot be read: {reason}")]
    Undecodable {
        /// The item.
        id: ItemId,
        /// What its decoding says.
        reason: String,
    },
    /// No consumer could handle the item; it is a dead letter.
    #[error("item {id} is a dead letter: {reason}")]
    Dead {
        /// The item.
        id: ItemId,
        /// Why it is dead.
        reason: String,
    },
    /// The ensemble cannot be asked.
    #[error(transparent)]
    Error(#[from] Error),
}

/// Why there is no result in time.
pub type ResultTimeoutError = TimeoutError<ResultError>;

/// Why an item was not cancelled.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CancelError {
    /// There is no such item (any more): it is done, dead, or was never pushed.
    #[error("there is no item {id} that waits")]
    Unknown {
        /// The item.
        id: ItemId,
    },
    /// A consumer works on the item.
    #[error("item {id} is claimed by {by:?}; cancel it when it is given back")]
    Claimed {
        /// The item.
        id: ItemId,
        /// The identity of the consumer, as text.
        by: String,
    },
    /// The session ended before an answer came: it was cancelled or not.
    #[error("the session ended before the answer came: the item was cancelled or not; look again")]
    Indeterminate,
    /// The ensemble cannot be asked.
    #[error(transparent)]
    Error(#[from] Error),
}

/// Why an item was not brought back, or removed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DeadItemError {
    /// There is no dead item of this id.
    #[error("there is no dead item {id}")]
    Unknown {
        /// The item.
        id: ItemId,
    },
    /// What is kept there was never an item that could be read, so that it cannot be delivered; purge it.
    #[error("{id} cannot be read as an item; look at it with dead_letters() and purge it")]
    Unreadable {
        /// The item.
        id: ItemId,
    },
    /// The session ended before an answer came: all was done or nothing.
    #[error("the session ended before the answer came: all was done or nothing; look again")]
    Indeterminate,
    /// The ensemble cannot be asked.
    #[error(transparent)]
    Error(#[from] Error),
}
