//! ZooKeeper coordination recipes that are honest about session loss.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let zk = zookeeper_recipes::connect("zk1:2181,zk2:2181,zk3:2181/payments").await?;
//! let lock = zookeeper_recipes::FairLock::new(&zk, "/accounts/17")?;
//! let guard = lock.acquire().await?;
//! // ... write to the database with `guard.token()`, which refuses an older one ...
//! guard.release().await?;
//! # Ok(())
//! # }
//! ```
//!
//! # Layers
//! Arrows only point down, and a test says so.
//!
//! | layer | what it is |
//! |---|---|
//! | [`inspect`] | what stands in an ensemble, whoever made it: [`Inspector`](inspect::Inspector) |
//! | `recipes` | [`FairLock`], [`RwLock`], [`MultiLock`], [`Semaphore`], [`LeaderElection`], [`Group`], [`Barrier`], [`DoubleBarrier`], [`CountDownLatch`], [`SharedValue`], [`SharedCounter`], [`queue::WorkQueue`], [`queue::FifoQueue`], [`Relay`] |
//! | `line` | the wait queue of ephemeral sequential nodes: enrol, find the blocker, watch it, hold |
//! | `znode` | paths, child names, owned ephemeral nodes, [`Hold`], [`CheckWriter`] |
//! | `session` | [`Coordinator`] over many sessions: connect, supervise, lease, reaper |
//!
//! # Guarantees
//! | | |
//! |---|---|
//! | Exclusion | at most one holder per path as seen by the ensemble, and no guard says "held" after the ensemble may have expired its session |
//! | Fencing | every guard carries a [`FencingToken`] that grows with every grant; [`Hold::fenced`] writes commit only while it holds |
//! | Loss is signalled | per guard: [`Hold::lost`] tells when and why; [`Hold::run_until_lost`] drops the work at that moment |
//! | Nothing left behind | no dropped future, timeout, lost reply or panic leaves a node beyond moments, or beyond the session at the latest |
//! | Fair | grants follow the order in which the ensemble created the contenders |
//! | No herd, no poll | a release wakes one waiter; an idle waiter costs no requests |
//! | Waiting survives a session | a waiter joins again at the tail; a hold never comes back to life |
//! | Bad input is an error | a value that names the path and what to do, never a panic |
//! | Available | a healthy ensemble that is slow, a server that stalls for up to a quarter of the session timeout, and a blocked runtime of yours cost no hold |
//! | Work ends first | a lost guard hears of it at once, its node goes when the guard is dropped, at most a session timeout later |
//! | Interop | Curator and kazoo on the same path see us as one of their own |
//!
//! What no lock can give is protection against a pause *inside* the protected code: that is what tokens are for.

#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

mod error;
pub mod inspect;
mod line;
#[cfg(feature = "_model")]
#[doc(hidden)]
pub mod model;
mod observer;
mod recipes;
mod session;
mod znode;

pub use bytes;
pub use zookeeper_client;

pub use self::error::{Error, TimeoutError, WaitTimeoutError};
pub use self::line::{AcquireTimeoutError, Contender, ContenderLayout, Layout, Mode, RunError, TryAcquireError};
pub use self::observer::Observer;
pub use self::recipes::{
    Barrier, CompleteError, CountDownLatch, DoubleBarrier, DowngradeError, ElectionLayout, Entered, FairLock,
    FairLockBuilder, FairLockGuard, Group, GroupObserver, JoinError, LatchError, LatchTimeoutError, LeaderElection,
    LeaderElectionBuilder, Leadership, LeaveTimeoutError, Member, MemberChange, Membership, MultiLock,
    MultiLockBuilder, MultiLockGuard, Participant, Permit, PermitError, PermitHolder, PermitTimeoutError, Presence,
    ProclaimError, Relay, RwLock, RwLockBuilder, RwLockReadGuard, RwLockWriteGuard, Semaphore, SharedCounter,
    SharedCounterError, SharedValue, SharedValueError, TryPermitError, Turn, Versioned,
};
pub use self::session::{
    ConnectError, ConnectOptions, Coordinator, LossReason, Lost, LostSignal, SessionKind, SessionState, SessionStats,
    Stats, connect,
};
pub use self::znode::{CheckWriter, FencedWriteError, FencingToken, Hold, InvalidToken, ReleaseError, Revocation};

/// Queues: [`WorkQueue`](queue::WorkQueue) for tasks, [`FifoQueue`](queue::FifoQueue) on Curator's znodes.
pub mod queue {
    #[cfg(feature = "serde")]
    #[cfg_attr(docsrs, doc(cfg(feature = "serde")))]
    pub use crate::recipes::queue::Json;
    pub use crate::recipes::queue::{
        AckError, CancelError, ClaimInfo, Completion, DeadItem, DeadItemError, Delivery, FifoPopError,
        FifoPopTimeoutError, FifoPushError, FifoQueue, InvalidItemId, ItemId, ItemStatus, Job, NewItem, Order,
        PastAttempt, Payload, PushError, PushOptions, PushTimeoutError, QueueStats, ResultError, ResultTimeoutError,
        RetryPolicy, Summary, WorkQueue, WorkQueueBuilder, Worker,
    };
}
