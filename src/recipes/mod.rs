//! The recipes, one file each. They stand on the line, on owned nodes and on the session, not on each other.

mod barrier;
mod double_barrier;
mod latch;
mod lock;
mod multi_lock;
mod rwlock;
mod semaphore;

pub use self::barrier::Barrier;
pub use self::double_barrier::{DoubleBarrier, Entered, LeaveTimeoutError};
pub use self::latch::{CountDownLatch, LatchError, LatchTimeoutError};
pub use self::lock::{FairLock, FairLockGuard};
pub use self::multi_lock::{MultiLock, MultiLockGuard};
pub use self::rwlock::{DowngradeError, RwLock, RwLockReadGuard, RwLockWriteGuard};
pub use self::semaphore::{Permit, PermitError, PermitTimeoutError, Semaphore, TryPermitError};
