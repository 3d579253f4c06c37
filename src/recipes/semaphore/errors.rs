//! Why permits were not had.

use std::time::Duration;

use crate::error::Error;
use crate::session::Lost;
use crate::znode::Interrupted;

/// Why permits cannot be had.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PermitError {
    /// There are not so many, so that waiting would be of no use.
    #[error("{requested} permits cannot be had where there are {permits}; ask for 1 to {permits}")]
    Unsatisfiable {
        /// How many were asked for.
        requested: u32,
        /// How many there are.
        permits: u32,
    },
    /// Others use this semaphore with another number of permits.
    #[error("{path} has {agreed} permits, not {ours}: all of its users are to be configured with one number")]
    Mismatch {
        /// Path of the semaphore, from the chroot.
        path: String,
        /// What was given to [`Semaphore::new`](crate::Semaphore::new).
        ours: u32,
        /// What the others agreed on.
        agreed: u32,
    },
    /// It cannot be had at all.
    #[error(transparent)]
    Error(#[from] Error),
}

/// Why permits were not taken without waiting.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TryPermitError {
    /// There are not enough at the moment, or somebody waits for some.
    #[error("not enough permits are free, or somebody waits for some")]
    NoPermits,
    /// They cannot be had at all.
    #[error(transparent)]
    Permit(#[from] PermitError),
}

/// Why permits were not had in time.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PermitTimeoutError {
    /// The time is up.
    #[error("no permits within {} ms", after.as_millis())]
    Elapsed {
        /// The limit that was given.
        after: Duration,
    },
    /// They cannot be had at all.
    #[error(transparent)]
    Permit(#[from] PermitError),
}

/// What ends an attempt in one session.
#[derive(Debug)]
pub(super) enum Stop {
    Interrupted(Interrupted),
    Permit(PermitError),
}

impl Stop {
    /// For the loop over sessions, which has nothing to do with permits.
    pub(super) fn settle<T>(attempt: Result<T, Self>) -> Result<Result<T, PermitError>, Interrupted> {
        match attempt {
            Ok(value) => Ok(Ok(value)),
            Err(Self::Permit(error)) => Ok(Err(error)),
            Err(Self::Interrupted(interrupted)) => Err(interrupted),
        }
    }
}

impl From<Interrupted> for Stop {
    fn from(interrupted: Interrupted) -> Self {
        Self::Interrupted(interrupted)
    }
}

impl From<Lost> for Stop {
    fn from(lost: Lost) -> Self {
        Self::Interrupted(lost.into())
    }
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Interrupted(error.into())
    }
}

impl From<PermitError> for Stop {
    fn from(error: PermitError) -> Self {
        Self::Permit(error)
    }
}
