//! The recipes, one file each. They stand on the line, on owned nodes and on the session, not on each other.

mod election;
mod lock;

pub use self::election::{
    CampaignTimeoutError, ElectionLayout, LeaderElection, Leadership, Participant, ProclaimError, TryCampaignError,
};
pub use self::lock::{AcquireTimeoutError, FairLock, FairLockGuard, Layout, RunError, TryAcquireError};
