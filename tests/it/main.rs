//! The recipes against the embedded server and against a real ZooKeeper (`ZK_TEST_SERVER=embedded|real`): one module
//! per recipe and per fault.

#![allow(clippy::unwrap_used, reason = "a failed expectation is a failed test")]

mod events;
mod sessions;
mod stats;
mod strike;
mod support;
mod warnings;
mod watching;

mod access;
mod auto_traits;
mod availability;
mod bad_input;
mod barrier;
mod budget;
mod budget_queue;
mod budget_rw;
mod budget_semaphore;
mod cancellation;
mod close;
mod connecting;
mod double_barrier;
mod each_request;
mod election;
mod election_kills;
mod ensemble;
mod errors;
mod exclusion;
mod expiry;
mod fifo_queue;
mod ghosts;
mod group;
mod guard;
mod inspect;
mod latch;
mod layers;
mod layouts;
mod lifecycle;
mod lock;
mod long_lines;
mod lost_replies;
mod multi_lock;
mod operator;
mod other_servers;
mod overflow;
mod pages;
mod partition;
mod pool;
mod reconnect;
#[path = "../interop/reference/mod.rs"]
mod reference;
mod relay;
mod replaced_session;
mod retry;
mod revocation;
mod revocation_of_leaders_and_permits;
mod rwlock;
mod schedule;
mod semaphore;
mod shared_counter;
mod shared_counter_crowds;
mod shared_value;
mod shared_value_fenced;
mod work_queue;
