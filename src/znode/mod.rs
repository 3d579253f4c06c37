//! Typed node operations: paths, child names, owned ephemeral nodes, holds and watches.
//!
//! * `path` – [`NodePath`], checked once at the border
//! * `payload` – [`Payload`], values that stand in nodes as bytes
//! * `name` – child names of the layouts that we share with Curator and kazoo, and their order
//! * `request` – reads, watches, writes and transactions, repeated until they are answered
//! * `together` – many reads in one request
//! * `attempts` – as many sessions as it takes, and one deadline for a call
//! * `watch` – a watch on a node
//! * `parents` – making the directories above a node
//! * `ephemeral` – ephemeral nodes that we own, created exactly once and removed for sure
//! * `ledger` – transactions whose fate is known for sure
//! * `observe` – the loop under every observer
//! * `register` – one node as a versioned value, with exact outcomes
//! * `hold` – [`Hold`], what every guard is: token, lease, loss
//! * `token` – [`FencingToken`]
//! * `reason` – why a contender wants its place, kept behind its identity
//! * `revocation` – asking a holder to give its place up
//! * `fenced` – [`CheckWriter`], writes that commit only while a hold lasts

mod attempts;
mod ephemeral;
mod fenced;
mod hold;
mod ledger;
mod name;
mod observe;
mod parents;
mod path;
mod payload;
mod reason;
mod register;
mod request;
mod revocation;
mod together;
mod token;
mod watch;

pub use self::fenced::{CheckWriter, FencedWriteError};
pub use self::hold::{Hold, ReleaseError};
pub use self::path::NodePath;
#[cfg(feature = "serde")]
pub use self::payload::Json;
pub use self::payload::Payload;
pub use self::revocation::Revocation;
pub use self::token::{FencingToken, InvalidToken};

pub(crate) use self::attempts::{
    WITHDRAWAL_GRACE, elapsed, place_across_sessions, retry_across_sessions, until, with_deadline,
};
pub(crate) use self::ephemeral::{Ephemeral, NamedEphemeral, NewChild, PendingNode, RemoveOutcome};
pub(crate) use self::ledger::{AfterLoss, LedgerOutcome, Ledgers, Receipt};
pub(crate) use self::name::{ChildName, Sequence, Tag};
pub(crate) use self::observe::{NodeData, Observe, WatchContext, Watched, observe};
pub(crate) use self::parents::{Parents, ensure as ensure_path};
pub(crate) use self::reason::{split_reason, split_value, value_with_reason, with_reason};
pub(crate) use self::register::{Expected, Register, RegisterView, Stored, UpdateOutcome, WriteOutcome};
pub(crate) use self::request::{
    Transaction, children, children_and_watch, children_at, commit, create, delete, delete_if_exists, list,
    list_and_watch, list_with_others, read, read_and_watch, stat, stat_and_watch, stats, sync, watch_existing,
    watch_existing_then, write,
};
pub(crate) use self::revocation::{asked, check_listener, count_asked, own_data, request as request_revocation};
pub(crate) use self::together::{NodeAnswer, NodeQuestion, ask, multi_read, reads};
pub(crate) use self::watch::{NodeWatch, WatchOutcome};
