//! The recipes, one file each. They stand on the line, on owned nodes and on the session, not on each other.

mod election;
mod lock;
mod multi_lock;
mod rwlock;

pub use self::election::{ElectionLayout, LeaderElection, Leadership, Participant, ProclaimError};
pub use self::lock::{FairLock, FairLockGuard};
pub use self::multi_lock::{MultiLock, MultiLockGuard};
pub use self::rwlock::{DowngradeError, RwLock, RwLockReadGuard, RwLockWriteGuard};
