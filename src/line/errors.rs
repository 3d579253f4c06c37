//! Why a place in a line was not had, and why the work done in it gave no result.

use crate::error::{Error, TimeoutError, classify};
use crate::session::Lost;

/// Why a lock was not taken without waiting.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TryAcquireError {
    /// Somebody holds it or waits for it.
    #[error("somebody else holds it or waits for it")]
    Contended,
    /// It cannot be had at all.
    #[error(transparent)]
    Error(#[from] Error),
}

/// Why a lock was not taken in time.
pub type AcquireTimeoutError = TimeoutError;

/// Why protected work gave no result.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// The lock was lost while the work ran, and the work was dropped.
    #[error("the work was dropped; acquire again if it still has to be done")]
    Lost(#[from] Lost),
    /// The lock could not be had; the work did not run.
    #[error(transparent)]
    Error(#[from] Error),
}

classify!(TryAcquireError, Self::Error(error) => error.nature());
classify!(RunError, Self::Lost(lost) => lost.nature(), Self::Error(error) => error.nature());
