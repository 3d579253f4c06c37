//! Queues.
//!
//! * `work` – [`WorkQueue`], at least once, on znodes of our own
//! * `fifo` – [`FifoQueue`], at most once, on Curator's znodes

mod fifo;
mod work;

use crate::error::classify;

pub use self::fifo::{FifoPopError, FifoPopTimeoutError, FifoPushError, FifoQueue};
#[cfg(feature = "_model")]
pub(crate) use self::work::PARSERS;
#[cfg(feature = "_model")]
pub(crate) use self::work::model;
pub use self::work::{
    AckError, CancelError, ClaimInfo, Completion, DeadItem, DeadItemError, Delivery, InvalidItemId, ItemId, ItemInfo,
    ItemStatus, Job, NewItem, Order, PastAttempt, PushError, PushOptions, PushTimeoutError, QueueClaims, QueueStats,
    ReadyItem, ResultError, ResultTimeoutError, RetryPolicy, Summary, Turnover, WorkQueue, WorkQueueBuilder, Worker,
};

classify!(PushError, Self::Error(error) => error.nature());
classify!(
    AckError,
    Self::Lost(lost) => lost.nature(),
    Self::Push(error) => error.nature(),
    Self::Error(error) => error.nature(),
);
classify!(ResultError, Self::Error(error) => error.nature());
classify!(CancelError, Self::Error(error) => error.nature());
classify!(DeadItemError, Self::Error(error) => error.nature());
classify!(InvalidItemId);
