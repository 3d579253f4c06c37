//! Queues.
//!
//! * `fifo` – [`FifoQueue`], at most once, on Curator's znodes

mod fifo;

pub use self::fifo::{FifoPopError, FifoPopTimeoutError, FifoPushError, FifoQueue};
