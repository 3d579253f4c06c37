//! Sessions: connecting, supervising, the lease, and the removal of what is left over.
//!
//! * `coordinator` – [`Coordinator`], the user's handle over many sessions
//! * `chroot` – looks whether the chroot is there, and makes it if asked to
//! * `cluster` – a connect string, parsed whole; `runtime` – the thread on which coordinators live
//! * `pool` – the sessions in which nodes are owned, where one has no room for all
//! * `options` – [`ConnectOptions`] and how connecting can fail
//! * `supervisor` – the task that follows, confirms and replaces the session
//! * `core` – one session: client, lease, nodes, end; `holds` – what its lease means for what is granted in it;
//!   `ending` – its end, and what becomes of its nodes
//! * `config` – what all sessions of a coordinator have in common; `current` – which one is current
//! * `request` – the request core: every request to the ensemble passes there, a transaction as `operation`s
//! * `together` – requests of one kind, of many callers, that travel together
//! * `link` – what a connection has shown, and what is on its way; `retry` – the one retry policy
//! * `interrupted` – how an attempt in one session ends without a result
//! * `lease` – the arithmetic of belief, pure; `heartbeat` – the requests that feed it; `moment` – the clock it counts in
//! * `guid_prefix` – what the guids of one coordinator begin with
//! * `containers` – directories where a server knows no containers
//! * `registry` and `reaper` – the nodes we own, and their removal once no guard or future does
//! * `stats` – [`Stats`], what a coordinator has and does, in numbers
//! * `health` – [`Health`], whether something works; `shutdown` and `scope` – the ways to an end in good order
//! * `state` – [`SessionState`], [`LossReason`], [`LostSignal`]

mod chroot;
mod cluster;
mod config;
mod containers;
mod coordinator;
mod core;
mod current;
mod ending;
mod eye;
mod guid_prefix;
mod health;
mod heartbeat;
mod holds;
mod interrupted;
mod lease;
mod link;
mod moment;
mod operation;
mod options;
mod path_states;
mod pool;
mod race;
mod reaper;
mod registry;
mod request;
mod retry;
mod runtime;
mod scope;
mod shutdown;
mod state;
mod stats;
mod supervisor;
mod together;
mod watch_budget;
mod watching;

pub use self::coordinator::Coordinator;
pub use self::health::Health;
pub use self::options::{ConnectError, ConnectOptions};
pub use self::shutdown::ShutdownReport;
pub use self::state::{LossReason, Lost, LostSignal, SessionState};
pub use self::stats::{SessionKind, SessionStats, Stats};

pub(crate) use self::containers::{NoContainers, owning_session};
pub(crate) use self::core::Session;
pub(crate) use self::eye::EyeWatch;
pub(crate) use self::guid_prefix::GuidPrefix;
pub(crate) use self::health::{Seconds, count};
pub(crate) use self::heartbeat::HeartbeatError;
pub(crate) use self::holds::SessionLease;
pub(crate) use self::interrupted::{Interrupted, RecipeError};
#[cfg(feature = "_model")]
pub(crate) use self::lease::LeaseClock;
#[cfg(feature = "_model")]
pub(crate) use self::moment::Moment;
pub(crate) use self::operation::Operation;
pub(crate) use self::pool::Room;
pub(crate) use self::reaper::{find_by_guids, owned_stat};
pub(crate) use self::registry::{CleanupToken, CleanupWait, NodeKey, NodeLocation};
pub(crate) use self::request::{Applied, Commit, CreatedNode, Reply, Unanswered};
pub(crate) use self::retry::{Retry, refused};
pub(crate) use self::state::{End, lock};
pub(crate) use self::watch_budget::WatchShare;
pub(crate) use self::watching::WatchedFor;

/// Connects to `cluster`, given as `host:port,host:port/chroot`, with default options.
///
/// # Errors
/// See [`ConnectOptions::connect`].
pub async fn connect(cluster: &str) -> Result<Coordinator, ConnectError> {
    ConnectOptions::new().connect(cluster).await
}
