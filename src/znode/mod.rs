//! Typed node operations: paths, child names, owned ephemeral nodes, holds and watches.
//!
//! * `path` – [`NodePath`], checked once at the border
//! * `name` – child names of the layouts that we share with Curator and kazoo, and their order
//! * `parents` – making the directories above a node
//! * `ephemeral` – an ephemeral node that we own, created exactly once and removed for sure
//! * `claim` – the duty to remove a node, from before its creation on
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
//! * `persevere` – as many sessions as it takes
//! * `observe` – the loop under every observer
//! * `register` – one node as a versioned value, with exact outcomes
//! * `in_time` – one deadline for a call
//! * `hold` – [`Hold`], what every guard is: token, lease, loss
//! * `revocation` – asking a holder to give its place up
//! * `fenced` – [`CheckWriter`], writes that commit only while a hold lasts

mod announced;
mod ask;
mod claim;
mod ephemeral;
mod exchange;
mod fenced;
mod guardian;
mod hold;
mod in_time;
mod ledger;
mod name;
mod named;
mod observe;
mod operation;
mod parents;
mod path;
mod persevere;
mod register;
mod revocation;
mod set_data;
mod transaction;
mod wait;

pub use self::fenced::{CheckWriter, FencedWriteError};
pub use self::hold::{FencingToken, Hold, ReleaseError};
pub use self::revocation::Revocation;

pub(crate) use self::announced::Announced;
pub(crate) use self::ask::{
    Transaction, ask, catch_up, children, children_and_watch, list_and_watch, read, read_and_watch, reads, stat,
    stat_and_watch, stats, transact, unlink,
};
pub(crate) use self::ephemeral::{Ephemeral, Interrupted, NewChild, check_size};
pub(crate) use self::exchange::{Departure, Exchange};
pub(crate) use self::in_time::{WITHDRAWAL_GRACE, in_time};
pub(crate) use self::ledger::{Entry, Ledgers, Receipt};
pub(crate) use self::name::{ChildName, Sequence, Tag};
pub(crate) use self::named::Named;
pub(crate) use self::observe::{NodeData, Sight, View, Watched, observe};
pub(crate) use self::operation::Operation;
pub(crate) use self::parents::{Parents, ensure as ensure_path};
pub(crate) use self::path::NodePath;
pub(crate) use self::persevere::persevere;
pub(crate) use self::register::{Expected, Register, RegisterView, Stored, Written};
pub(crate) use self::revocation::{check_listener, own_data, request as request_revocation};
pub(crate) use self::transaction::check_transaction_size;
pub(crate) use self::wait::{NodeWatch, czxid, list, watch_existing};
