//! [`Permit`]: what a semaphore gives.

use std::ops::Deref;

use crate::znode::{Hold, ReleaseError};

/// One or several permits, held while this guard lives; it dereferences to [`Hold`].
///
/// Several permits are one hold: what ends one of them ends all. Its token grows with every grant of the semaphore; as
/// several hold permits at once, it is no fence among them, but it tells a holder from one that came after it.
///
/// Dropping it gives the permits back in the background; [`release`](Self::release) waits until they are free.
///
/// # Examples
/// ```no_run
/// # async fn example(lines: zookeeper_recipes::Semaphore) -> Result<(), Box<dyn std::error::Error>> {
/// let permit = lines.acquire_many(2).await?;
/// println!("{} permits", permit.permits());
/// permit.run_until_lost(call()).await?;
/// permit.release().await?;
/// # async fn call() {}
/// # Ok(())
/// # }
/// ```
#[must_use = "the permits are given back as soon as this is dropped"]
#[clippy::has_significant_drop]
#[derive(Debug)]
pub struct Permit {
    hold: Hold,
    permits: u32,
}

impl Permit {
    pub(super) fn new(hold: Hold, permits: u32) -> Self {
        Self { hold, permits }
    }

    /// How many permits this is.
    pub fn permits(&self) -> u32 {
        self.permits
    }

    /// Gives the permits back and returns when their nodes are gone, all at once: one request.
    ///
    /// # Errors
    /// [`ReleaseError::Lost`] if they had been lost before.
    ///
    /// # Cancel safety
    /// Dropping the future gives them back in the background.
    pub async fn release(self) -> Result<(), ReleaseError> {
        self.hold.release().await
    }
}

impl Deref for Permit {
    type Target = Hold;

    fn deref(&self) -> &Hold {
        &self.hold
    }
}
