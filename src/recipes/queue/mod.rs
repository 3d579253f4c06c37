//! Queues.
//!
//! * `work` – [`WorkQueue`], at least once, on znodes of our own
//! * `fifo` – [`FifoQueue`], at most once, on Curator's znodes

mod fifo;
mod work;

use crate::error::classify;

pub use self::fifo::{FifoPopError, FifoPopTimeoutError, FifoPushError, FifoQueue};
pub use self::work::{
    AckError, DeadItem, DeadItemError, Delivery, InvalidItemId, ItemId, ItemStatus, NewItem, PushError, PushOptions,
    PushTimeoutError, ResultError, ResultTimeoutError, WorkQueue,
};
#[cfg(feature = "serde")]
pub use self::work::{TypedDelivery, TypedQueue};

classify!(PushError, Self::Error(error) => error.nature());
classify!(
    AckError,
    Self::Lost(lost) => lost.nature(),
    Self::Push(error) => error.nature(),
    Self::Error(error) => error.nature(),
);
classify!(ResultError, Self::Error(error) => error.nature());
classify!(DeadItemError, Self::Error(error) => error.nature());
classify!(InvalidItemId);
