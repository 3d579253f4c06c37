//! The recipes, one file each. They stand on the line, on owned nodes and on the session, not on each other.

mod barrier;
mod double_barrier;
mod election;
mod group;
mod latch;
mod lock;
mod multi_lock;
pub(crate) mod queue;
mod relay;
mod rwlock;
mod schedule;
mod semaphore;
mod shared_counter;
mod shared_value;

pub use self::barrier::Barrier;
pub use self::double_barrier::{DoubleBarrier, Entered, LeaveTimeoutError};
pub use self::election::{
    ElectionLayout, LeaderElection, LeaderElectionBuilder, Leadership, Participant, ProclaimError,
};
pub use self::group::{Group, GroupObserver, JoinError, Member, MemberChange, Membership, Presence};
pub use self::latch::{CountDownLatch, LatchError, LatchTimeoutError};
pub use self::lock::{FairLock, FairLockBuilder, FairLockGuard};
pub use self::multi_lock::{MultiLock, MultiLockBuilder, MultiLockGuard};
pub use self::relay::{CompleteError, Relay, Turn};
pub use self::rwlock::{DowngradeError, RwLock, RwLockBuilder, RwLockReadGuard, RwLockWriteGuard};
pub use self::schedule::{
    DueRun, Misfire, OncePerError, Schedule, ScheduleBuilder, ScheduleError, ScheduleProgress, Starts, Timetable,
    once_per,
};
#[cfg(feature = "_model")]
pub(crate) use self::semaphore::PermitLimit;
pub use self::semaphore::{Permit, PermitError, PermitHolder, PermitTimeoutError, Semaphore, TryPermitError};
pub use self::shared_counter::{SharedCounter, SharedCounterError};
pub use self::shared_value::{SharedValue, SharedValueError, Versioned};

/// What reads the data of recipes, for a fuzzer.
#[cfg(feature = "_model")]
pub(crate) const PARSERS: &[fn(&[u8])] = &[
    |data| _ = latch::parse(data),
    election::parse,
    relay::parse,
    schedule::parse,
    semaphore::parse,
];
