//! Queues.
//!
//! * `work` – [`WorkQueue`], at least once, on znodes of our own
//! * `fifo` – [`FifoQueue`], at most once, on Curator's znodes

mod fifo;
mod work;

pub use self::fifo::{FifoPopError, FifoPopTimeoutError, FifoPushError, FifoQueue};
pub use self::work::{
    AckError, DeadItem, DeadItemError, Delivery, InvalidItemId, ItemId, ItemStatus, NewItem, PushError, PushOptions,
    PushTimeoutError, ResultError, ResultTimeoutError, WorkQueue,
};
#[cfg(feature = "serde")]
pub use self::work::{TypedDelivery, TypedQueue};
