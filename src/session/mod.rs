//! Sessions: connecting, supervising, the lease, and the removal of what is left over.
//!
//! * `coordinator` – [`Coordinator`], the user's handle over many sessions
//! * `options` – [`ConnectOptions`] and how connecting can fail
//! * `supervisor` – the task that follows, confirms and replaces the session
//! * `live` – one session: client, lease, nodes, end; `sessions` – which one is current
//! * `lease` – the arithmetic of belief, pure; `heartbeat` – the requests that feed it
//! * `registry` and `reaper` – the nodes we own, and their removal when nobody does
//! * `outcome` – whether a failed request was refused or is unknown
//! * `state` – [`SessionState`], [`LossReason`], [`LostSignal`]

mod coordinator;
mod core;
mod current;
mod heartbeat;
mod lease;
mod options;
mod outcome;
mod reaper;
mod registry;
mod state;
mod supervisor;

pub use self::coordinator::Coordinator;
pub use self::options::{ConnectError, ConnectOptions};
pub use self::state::{LossReason, Lost, LostSignal, SessionState};

pub(crate) use self::core::{LeaseHold, Session};
pub(crate) use self::heartbeat::HeartbeatError;
pub(crate) use self::outcome::{ReplyStatus, classify};
pub(crate) use self::reaper::find_by_guid;
pub(crate) use self::registry::{CleanupToken, CleanupWait, NodeKey, NodeLocation};
pub(crate) use self::state::End;

/// Connects to `cluster`, given as `host:port,host:port/chroot`, with default options.
///
/// # Errors
/// See [`ConnectOptions::connect`].
pub async fn connect(cluster: &str) -> Result<Coordinator, ConnectError> {
    ConnectOptions::new().connect(cluster).await
}
