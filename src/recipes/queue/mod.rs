//! Queues.
//!
//! * `work` – [`WorkQueue`], at least once, on znodes of our own
//! * `fifo` – [`FifoQueue`], at most once, on Curator's znodes

mod fifo;
mod work;

pub use self::fifo::{FifoPopError, FifoPopTimeoutError, FifoPushError, FifoQueue};
#[cfg(feature = "serde")]
pub use self::work::Json;
pub use self::work::{
    AckError, CancelError, ClaimInfo, Completion, DeadItem, DeadItemError, Delivery, InvalidItemId, ItemId, ItemStatus,
    Job, NewItem, Order, PastAttempt, Payload, PushError, PushOptions, PushTimeoutError, QueueStats, ResultError,
    ResultTimeoutError, RetryPolicy, Summary, WorkQueue, WorkQueueBuilder, Worker,
};
