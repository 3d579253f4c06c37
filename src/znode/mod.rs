//! Typed node operations: paths, child names, owned ephemeral nodes, holds and watches.
//!
//! * `path` – [`NodePath`], checked once at the border
//! * `name` – child names of the layouts that we share with Curator and kazoo, and their order
//! * `parents` – making the directories above a node
//! * `ephemeral` – an ephemeral node that we own, created exactly once and removed for sure
//! * `guard` – the duty to remove a node, from before its creation on
//! * `named` – one whose name others may use as well
//! * `set_data` – writing into an ephemeral node that we own
//! * `transaction` – several of them created, replaced or removed at once
//! * `operation` – one step of a transaction, as a value
//! * `ledger` – transactions whose fate is known for sure
//! * `announced` – one that a transaction is about to create
//! * `exchange` – some created in the place of another
//! * `guardian` – the watch on our own node
//! * `wait` – watching somebody else's node
//! * `ask` – reads and watches of single nodes, and transactions, repeated until they are answered
//! * `retry_across_sessions` – as many sessions as it takes
//! * `observe` – the loop under every observer
//! * `register` – one node as a versioned value, with exact outcomes
//! * `with_deadline` – one deadline for a call
//! * `hold` – [`Hold`], what every guard is: token, lease, loss
//! * `revocation` – asking a holder to give its place up
//! * `fenced` – [`CheckWriter`], writes that commit only while a hold lasts

mod ask;
mod ephemeral;
mod fenced;
mod hold;
mod ledger;
mod name;
mod observe;
mod operation;
mod parents;
mod path;
mod register;
mod retry_across_sessions;
mod revocation;
mod wait;
mod with_deadline;

pub use self::fenced::{CheckWriter, FencedWriteError};
pub use self::hold::{FencingToken, Hold, ReleaseError};
pub use self::revocation::Revocation;

pub(crate) use self::ask::{
    Transaction, ask, children, children_and_watch, delete_if_exists, list_and_watch, read, read_and_watch, reads,
    stat, stat_and_watch, stats, sync, transact,
};
pub(crate) use self::ephemeral::NamedEphemeral;
pub(crate) use self::ephemeral::PendingNode;
pub(crate) use self::ephemeral::check_transaction_size;
pub(crate) use self::ephemeral::{Ephemeral, Interrupted, NewChild, check_size};
pub(crate) use self::ephemeral::{RemoveOutcome, ReplaceOutcome};
pub(crate) use self::ledger::{LedgerOutcome, Ledgers, Receipt};
pub(crate) use self::name::{ChildName, Sequence, Tag};
pub(crate) use self::observe::{NodeData, Observe, WatchContext, Watched, observe};
pub(crate) use self::operation::Operation;
pub(crate) use self::parents::{Parents, ensure as ensure_path};
pub(crate) use self::path::NodePath;
pub(crate) use self::register::{Expected, Register, RegisterView, Stored, WriteOutcome};
pub(crate) use self::retry_across_sessions::retry_across_sessions;
pub(crate) use self::revocation::{check_listener, own_data, request as request_revocation};
pub(crate) use self::wait::{NodeWatch, czxid, list, watch_existing};
pub(crate) use self::with_deadline::{WITHDRAWAL_GRACE, with_deadline};
