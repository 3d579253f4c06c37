//! The recipes against the embedded server and against a real ZooKeeper (`ZK_TEST_SERVER=embedded|real`): one module
//! per recipe and per fault.

mod sessions;
mod support;
mod warnings;

mod access;
mod auto_traits;
mod bad_input;
mod budget;
mod cancellation;
mod connecting;
mod election;
mod election_kills;
mod ensemble;
mod expiry;
mod group;
mod layers;
mod lock;
mod lost_replies;
mod operator;
mod partition;
mod shared_counter;
mod shared_value;
