//! What the tests of `zookeeper-recipes` stand on.
//!
//! | module | gives |
//! |---|---|
//! | [`fixture`] | a fresh chroot per test on a shared server, inspection, expiry of sessions, "no node left" |
//! | [`backend`] | the switch: the same tests on the embedded server or on a real one |
//! | [`server`], [`ensemble`] | real ZooKeeper processes that can be frozen, killed and restarted |
//! | [`proxy`] | a TCP proxy that counts requests and cuts, silences, delays or loses them |
//! | [`history`], [`truth`] | a checker for recorded holds: exclusion, growing tokens, fair order; and what the server saw |
//! | [`history::linear`], [`history::things`] | whether operations are linearizable: locks, permits, registers |
//! | [`wait`] | waiting on conditions instead of sleeping |
//!
//! A panic in here means that the test environment is broken, and names the command that mends it, or that the
//! property under test does not hold, and names the nodes or requests that show it.

pub mod backend;
pub mod background;
pub mod ensemble;
pub mod fixture;
pub mod four_letter;
pub mod history;
mod launcher;
mod options;
mod port;
pub mod proxy;
pub mod server;
pub mod truth;
pub mod wait;

pub use backend::{Backend, TestServer};
pub use ensemble::RealEnsemble;
pub use fixture::Fixture;
pub use history::{Grant, Held, History, Mode, Summary, Violation};
pub use options::ServerOptions;
pub use port::free as free_port;
pub use proxy::{Counts, Fault, Injection, Op, Proxy, Request, When};
pub use server::RealServer;
pub use truth::ServerTruth;
pub use wait::{eventually, eventually_some, within};

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks also after a panic elsewhere: a failing test shall not take the others that share a server with it.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
