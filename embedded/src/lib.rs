//! A single-node, in-memory ZooKeeper server for tests and first runs.
//!
//! It speaks ZooKeeper's own protocol over TCP, so that unmodified clients in any language work with it, starts within
//! milliseconds and has a [fault script](Faults): lose a reply, expire a session, freeze the server, lag behind.
//!
//! **It is a tool for tests and for trying things out.** It keeps nothing on disk and replicates nothing: production
//! runs on a real ensemble.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use zookeeper_client::Client;
//! use zookeeper_embedded::Server;
//!
//! let server = Server::start().await?;
//! let client = Client::connect(&server.connect_string()).await?;
//! assert_eq!(client.list_children("/").await?, ["zookeeper"]);
//! # Ok(())
//! # }
//! ```
//!
//! # What is where
//!
//! * [`Server`] and [`Builder`]: start, stop, settings; [`Requests`]: the log of what clients asked for.
//! * [`Faults`], [`Rule`], [`Switch`]: trouble on demand.
//! * [`Ensemble`]: the server that `ZOOKEEPER_CONNECT` names, or one in this process.
//!
//! Inside, `wire` is the protocol as pure functions over bytes, `tree` the data tree as a deterministic state machine,
//! `session` and `watch` the tables of sessions and watches; `core` joins them behind one lock, which gives requests
//! and transactions one order; `net` moves bytes on the thread of `thread`.

mod acl;
mod core;
mod ensemble;
mod faults;
mod fourletter;
mod log;
mod net;
mod outbox;
mod server;
mod session;
mod thread;
mod tree;
mod watch;
#[doc(hidden)]
pub mod wire;

pub use ensemble::Ensemble;
pub use faults::{Faults, Rule, RuleBuilder, Scope, Switch};
pub use log::{LoggedRequest, Requests};
pub use server::{Builder, Server};
pub use session::SessionId;
pub use watch::WatchModes;
pub use wire::{ErrorCode, Op};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
