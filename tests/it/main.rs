//! The recipes against the embedded server and against a real ZooKeeper (`ZK_TEST_SERVER=embedded|real`): a folder
//! per recipe, `session` for what all of them stand on, `contract` for the crate as a whole.

#![allow(clippy::unwrap_used, reason = "a failed expectation is a failed test")]

mod barrier;
mod contract;
mod double_barrier;
mod election;
mod fair_lock;
mod fifo_queue;
mod group;
mod inspect;
mod latch;
mod multi_lock;
mod relay;
mod rwlock;
mod schedule;
mod semaphore;
mod session;
mod shared_counter;
mod shared_value;
mod support;
mod work_queue;
