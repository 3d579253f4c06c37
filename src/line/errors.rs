//! Why a place in a line was not had, and why the work done in it gave no result.

use std::time::Duration;

use super::Contender;
use crate::error::{Error, classify};
use crate::session::Lost;

/// Why a lock was not taken without waiting.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TryAcquireError {
    /// Another contender holds it or waits for it.
    #[error("another contender holds it or waits for it")]
    Contended,
    /// It cannot be had at all.
    #[error(transparent)]
    Error(#[from] Error),
}

/// Why a lock was not taken in time.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AcquireTimeoutError {
    /// The time is up.
    #[error("{path}: not granted within {} ms; {}", after.as_millis(), state(*connected, blocker.as_deref()))]
    Elapsed {
        /// Path of the lock, from the chroot.
        path: String,
        /// The limit that was given.
        after: Duration,
        /// Whether a server was connected when the time was up.
        connected: bool,
        /// The contender that was waited for, as it was then; none if there was none, or if it could not be read.
        blocker: Option<Box<Contender>>,
    },
    /// More time would not help.
    #[error(transparent)]
    Error(#[from] Error),
}

fn state(connected: bool, blocker: Option<&Contender>) -> String {
    match blocker {
        _ if !connected => "not connected: no server answers".to_owned(),
        None => "the ensemble was reachable".to_owned(),
        Some(blocker) => format!(
            "{} is ahead ({}, token {}, since {} s)",
            String::from_utf8_lossy(&blocker.identity),
            if blocker.is_holder { "it holds" } else { "it waits too" },
            blocker.token,
            blocker.since.elapsed().unwrap_or_default().as_secs(),
        ),
    }
}

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

classify!(AcquireTimeoutError, Self::Elapsed { .. } => Nature::TIMEOUT, Self::Error(error) => error.nature());
classify!(TryAcquireError, Self::Error(error) => error.nature());
classify!(RunError, Self::Lost(lost) => lost.nature(), Self::Error(error) => error.nature());
