//! Why permits were not had.

use crate::error::{Error, TimeoutError, classify};
use crate::session::RecipeError;

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
    /// There are not enough at the moment, or others wait for some.
    #[error("not enough permits are free, or others wait for some")]
    NoPermits,
    /// They cannot be had at all.
    #[error(transparent)]
    Permit(#[from] PermitError),
}

classify!(PermitError, Self::Error(error) => error.nature());
classify!(TryPermitError, Self::Permit(error) => error.nature());

impl RecipeError for PermitError {}

/// Why permits were not had in time.
pub type PermitTimeoutError = TimeoutError<PermitError>;
