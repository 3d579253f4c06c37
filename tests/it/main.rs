//! The recipes against the embedded server and against a real ZooKeeper (`ZK_TEST_SERVER=embedded|real`): one module
//! per recipe and per fault.

#![allow(clippy::unwrap_used, reason = "a failed expectation is a failed test")]

mod sessions;
mod strike;
mod support;
mod warnings;

mod access;
mod auto_traits;
mod bad_input;
mod barrier;
mod budget;
mod budget_rw;
mod cancellation;
mod connecting;
mod double_barrier;
mod ensemble;
mod expiry;
mod latch;
mod layers;
mod lock;
mod lost_replies;
mod multi_lock;
mod operator;
mod partition;
mod revocation;
mod rwlock;
mod semaphore;
