//! The recipes, one file each. They stand on the line, on owned nodes and on the session, not on each other.

mod lock;

pub use self::lock::{FairLock, FairLockGuard};
