//! ZooKeeper coordination recipes that are honest about session loss.
//!
//! A lock, an election, a queue and their kin for Rust services on [`zookeeper_client`] and tokio, on the znodes of Apache
//! Curator. Each guard says when it is lost, and carries a fencing token. Waiters stand in a line and watch the contender
//! ahead; nothing polls.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use zookeeper_recipes::FairLock;
//!
//! let zk = zookeeper_recipes::connect("zk1:2181,zk2:2181,zk3:2181/payments").await?;
//! let lock = FairLock::new(&zk, "/accounts/17")?;
//!
//! let guard = lock.acquire().await?;
//! // Dropped at the moment of a loss; the database refuses an older token.
//! guard.run_until_lost(settle(guard.token())).await?;
//! guard.release().await?;
//! zk.close().await;
//! # async fn settle(_: zookeeper_recipes::FencingToken) {}
//! # Ok(())
//! # }
//! ```
//!
//! # Which recipe do I need?
//! | need | recipe | Curator | kazoo |
//! |---|---|---|---|
//! | one at a time | [`FairLock`] | `InterProcessMutex` | `Lock` |
//! | many readers, one writer | [`RwLock`] | `InterProcessReadWriteLock` | `ReadLock`, `WriteLock` |
//! | several locks, all or none | [`MultiLock`] | `InterProcessMultiLock` | - |
//! | at most n at a time | [`Semaphore`] | `InterProcessSemaphoreV2` | `Semaphore` |
//! | one process leads | [`LeaderElection`] | `LeaderLatch`, `LeaderSelector` | `Election` |
//! | a job, once per due time | [`Schedule`] | - | - |
//! | which processes are there | [`Group`] | `GroupMember` | `Party` |
//! | a gate that is open or closed | [`Barrier`] | `DistributedBarrier` | `Barrier` |
//! | all begin together, all end together | [`DoubleBarrier`] | `DistributedDoubleBarrier` | `DoubleBarrier` |
//! | wait until n are done | [`CountDownLatch`] | - | - |
//! | tasks, each done at least once | [`queue::WorkQueue`] | `DistributedQueue` | `LockingQueue` |
//! | a simple queue, at most once | [`queue::FifoQueue`] | `SimpleDistributedQueue` | `Queue` |
//! | steps in strict order, each with the last result | [`Relay`] | - | - |
//! | a value, watched | [`SharedValue`] | `SharedValue` | - |
//! | a number | [`SharedCounter`] | `DistributedAtomicLong` | `Counter` |
//! | what stands in an ensemble | [`inspect::Inspector`] | - | - |
//!
//! # Guarantees
//! | | |
//! |---|---|
//! | Exclusion | At most one holder per path as the ensemble sees it. No guard says "held" after the ensemble may have given the place away. |
//! | Fencing | Every guard carries a [`FencingToken`] that grows with every grant. [`Hold::fenced`] writes commit only while it holds. |
//! | Loss is signalled | [`Hold::lost`] tells when and why, per guard. [`Hold::run_until_lost`] drops the work at that moment. |
//! | Nothing left behind | A dropped future, a timeout, a lost reply or a panic leaves no node beyond moments, or beyond the session at the latest. |
//! | Fair | Grants follow the order in which the ensemble created the contenders. |
//! | No herd, no poll | A release wakes one waiter. An idle waiter costs no requests. |
//! | Waiting survives a session | A waiter joins again at the tail. A hold never comes back to life. |
//! | Bad input is an error | It names the path and what to do. Nothing from outside panics. |
//! | Available | A slow ensemble, a server that stalls for up to a quarter of the session timeout, and a blocked runtime of yours cost no hold. |
//! | Work ends first | A guard hears of a loss at once. Its node goes when the guard is dropped, one session timeout later at the latest. |
//! | Interop | Curator, and kazoo on its layout, see us as one of their own. |
//!
//! **What no lock can give** is protection against a pause *inside* the protected code, between the last look at the guard
//! and the effect. Hand the token to the database, and let it refuse an older one.
//!
//! # Four warnings
//! * A lock is **not reentrant**: a task that acquires again waits behind itself. The log warns of it.
//! * **Dropping a guard releases in the background.** Await `release` where the next step counts on it.
//! * **Drop a lost guard before you acquire again**: its node stays until then.
//! * **Close the coordinator before you exit.** Otherwise others wait until the session expires.
//!
//! # Start, health and end of a service
//! | need | use |
//! |---|---|
//! | start while the ensemble is away | [`ConnectOptions::lazy`], [`ConnectOptions::create_chroot`] |
//! | close on every way out: return, `?`, panic, cancellation | [`Coordinator::scope`] |
//! | finish work first, within a bound | [`Coordinator::shutdown`], [`Coordinator::shutting_down`] |
//! | close now | [`Coordinator::close`], which takes a third of the session timeout at most |
//! | probes, live and ready told apart | [`Coordinator::health`], [`LeaderElection::health`], [`Schedule::health`], [`queue::WorkQueue::health`] |
//! | lead until a signal, with back-off | [`LeaderElection::run_until`] |
//! | elected and ready, two states | [`Leadership::ready`], [`LeaderElectionBuilder::ready_within`] |
//! | the preferred leader | [`LeaderElectionBuilder::rank`], [`LeaderElectionBuilder::spread_as`] |
//! | whether this process leads | [`LeaderElection::is_leader`] |
//! | a job once per due time | [`Schedule`]; [`once_per`] without a leader |
//!
//! A process that is killed, or calls [`std::process::exit`], leaves its places to the session timeout.
//!
//! # Errors
//! Trouble that passes is waited out: a lost connection, an ensemble without a leader, an expired session of a waiter. An
//! error means that a retry would not help, and says what does. Each operation has an enum of its own in [`error`], which
//! embeds [`Error`]: the causes that all share.
//!
//! # Testing
//! `zookeeper-embedded` is a server inside the test process, with a fault script: lose a reply, expire a session, freeze.
//! **A paused clock of tokio (`start_paused`) does not work with a network**: timers fire before the answers arrive.
//!
//! # Coming from Curator, kazoo, etcd, Redisson, Hazelcast, ShedLock
//! The search of these pages knows the names of their classes. `docs/migration.md` goes through them class by class, with
//! code of both sides; `docs/interop.md` says what can share a path with Curator and kazoo while both run.
//!
//! # Features
//! | feature | adds |
//! |---|---|
//! | `serde` | `queue::Json`: items that are values; [`Health`], [`Stats`] and [`FencingToken`] for machines |
//! | `cron` | cron expressions of a `Schedule` |
//! | `metrics` | counters, gauges and histograms through the facade crate `metrics`: `docs/metrics.md` |
//! | `tls` | `ConnectOptions::tls` |
//! | `sasl` | `ConnectOptions::sasl`; needs the headers of Kerberos to build |
//!
//! # Servers
//! ZooKeeper 3.5 and newer. The README says on which versions the tests run, `docs/connecting.md` what is done for servers
//! that know no containers, or replace sessions silently.

#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

#[cfg(doctest)]
#[doc = include_str!("../docs/connecting.md")]
struct Connecting;

#[cfg(doctest)]
#[doc = include_str!("../docs/services.md")]
struct Services;

#[cfg(doctest)]
#[doc = include_str!("../docs/migration.md")]
struct Migration;

mod causes;
pub mod inspect;
mod line;
pub mod metrics;
#[cfg(feature = "_model")]
#[doc(hidden)]
pub mod model;
mod observer;
mod recipes;
mod session;
mod znode;

pub use bytes;
pub use zookeeper_client;

#[doc(no_inline)]
pub use self::error::Error;
// The errors of operations are listed in `error`.
#[doc(hidden)]
pub use self::error::{
    AcquireTimeoutError, CompleteError, ConnectError, DowngradeError, FencedWriteError, InvalidLayout, InvalidToken,
    JoinError, LatchError, LatchTimeoutError, LeaveTimeoutError, OncePerError, PermitError, PermitTimeoutError,
    ProclaimError, ReleaseError, RunError, ScheduleError, SharedCounterError, SharedValueError, TimeoutError,
    TryAcquireError, TryPermitError, WaitTimeoutError,
};
pub use self::line::{Contender, ContenderLayout, Layout, Mode};
pub use self::observer::Observer;
pub use self::recipes::{
    Barrier, CountDownLatch, DoubleBarrier, DueRun, ElectionLayout, Entered, FairLock, FairLockBuilder, FairLockGuard,
    Group, GroupObserver, LeaderElection, LeaderElectionBuilder, Leadership, Member, MemberChange, Membership, Misfire,
    MultiLock, MultiLockBuilder, MultiLockGuard, Participant, Permit, PermitHolder, Presence, Relay, RwLock,
    RwLockBuilder, RwLockReadGuard, RwLockWriteGuard, Schedule, ScheduleBuilder, ScheduleProgress, Semaphore,
    SharedCounter, SharedValue, Starts, Timetable, Turn, Versioned, once_per,
};
pub use self::session::{
    ConnectOptions, Coordinator, Health, LossReason, Lost, LostSignal, SessionKind, SessionState, SessionStats,
    ShutdownReport, Stats, connect,
};
#[cfg(feature = "serde")]
#[cfg_attr(docsrs, doc(cfg(feature = "serde")))]
pub use self::znode::Json;
pub use self::znode::{CheckWriter, FencingToken, Hold, NodePath, Payload, Revocation};

/// What can go wrong: an error for each operation. Each embeds [`Error`], the causes that all share.
///
/// `is_timeout`, `is_lost` and `is_closed` tell the natures apart that most code asks for. The errors of queues are in
/// [`queue`].
pub mod error {
    pub(crate) use crate::causes::{Classify, Nature, classify};
    pub use crate::causes::{Error, TimeoutError, WaitTimeoutError};
    pub use crate::line::{AcquireTimeoutError, InvalidLayout, RunError, TryAcquireError};
    pub use crate::recipes::{
        CompleteError, DowngradeError, JoinError, LatchError, LatchTimeoutError, LeaveTimeoutError, OncePerError,
        PermitError, PermitTimeoutError, ProclaimError, ScheduleError, SharedCounterError, SharedValueError,
        TryPermitError,
    };
    pub use crate::session::ConnectError;
    pub use crate::znode::{FencedWriteError, InvalidToken, ReleaseError};
}

/// Queues: [`WorkQueue`](queue::WorkQueue) for tasks, [`FifoQueue`](queue::FifoQueue) on Curator's znodes.
pub mod queue {
    pub use crate::recipes::queue::{
        AckError, CancelError, ClaimInfo, Completion, DeadItem, DeadItemError, Delivery, FifoPopError,
        FifoPopTimeoutError, FifoPushError, FifoQueue, InvalidItemId, ItemId, ItemInfo, ItemStatus, Job, NewItem,
        Order, PastAttempt, PushError, PushOptions, PushTimeoutError, QueueClaims, QueueStats, ReadyItem, ResultError,
        ResultTimeoutError, RetryPolicy, Summary, Turnover, WorkQueue, WorkQueueBuilder, Worker,
    };
    #[cfg(feature = "serde")]
    #[cfg_attr(docsrs, doc(cfg(feature = "serde")))]
    pub use crate::znode::Json;
    pub use crate::znode::Payload;
}
