//! [`Leadership`]: what the winner of an election has.

use std::ops::Deref;

use bytes::Bytes;

use crate::error::{Error, classify};
use crate::session::{Interrupted, Lost};
use crate::znode::{Hold, ReleaseError};

/// Leadership lasts while this guard lives; it dereferences to [`Hold`], whose [`token`](Hold::token) is the *term*:
/// larger than that of every leader before on this path.
///
/// Dropping it resigns in the background; [`resign`](Self::resign) waits until the next one can lead.
///
/// # Examples
/// ```no_run
/// # async fn example(election: zookeeper_recipes::LeaderElection) -> Result<(), Box<dyn std::error::Error>> {
/// let leadership = election.campaign("10.0.0.7:8080").await?;
/// println!("term {}", leadership.token());
/// leadership.run_until_lost(schedule()).await?;
/// leadership.resign().await?;
/// # async fn schedule() {}
/// # Ok(())
/// # }
/// ```
#[must_use = "leadership ends as soon as the guard is dropped"]
#[clippy::has_significant_drop]
#[derive(Debug)]
pub struct Leadership {
    hold: Hold,
}

impl Leadership {
    pub(super) fn new(hold: Hold) -> Self {
        Self { hold }
    }

    /// Publishes another value for all who observe, in place of the one given to the campaign. When it returns, the
    /// ensemble has the value. One write, and the watch on the own node is set again. A
    /// [request to resign](crate::LeaderElection::request_revocation) stays, and costs a read and a write more.
    ///
    /// Not where Curator's `LeaderLatch` stands in line: the one right behind the leader then misses its turn, since it
    /// looks once at the data ahead of it and afterwards waits for a delete that it is no longer told of. Publish through
    /// a [`SharedValue`](crate::SharedValue) there. Its `LeaderSelector` is not harmed.
    ///
    /// # Errors
    /// [`ProclaimError::Lost`] if leadership is lost: nothing is written any more, but the value may have been before.
    ///
    /// # Cancel safety
    /// Dropping the future leaves open whether the value is published.
    pub async fn proclaim(&self, value: impl Into<Bytes>) -> Result<(), ProclaimError> {
        self.hold
            .set_data(&value.into())
            .await
            .map_err(|interrupted| match interrupted {
                Interrupted::Lost(lost) => ProclaimError::Lost(lost),
                Interrupted::Failed(error) => ProclaimError::Error(error),
            })
    }

    /// Resigns, and returns when the node is gone, so that the next candidate leads: one delete.
    ///
    /// # Errors
    /// [`ReleaseError::Lost`] if leadership had been lost before.
    ///
    /// # Cancel safety
    /// Dropping the future resigns in the background.
    pub async fn resign(self) -> Result<(), ReleaseError> {
        self.hold.release().await
    }
}

impl Deref for Leadership {
    type Target = Hold;

    fn deref(&self) -> &Hold {
        &self.hold
    }
}

/// Why a value was not, or may not have been, published.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProclaimError {
    /// Leadership is lost; somebody else may lead.
    #[error("not proclaimed; another candidate may lead")]
    Lost(#[from] Lost),
    /// The value cannot be published.
    #[error(transparent)]
    Error(#[from] Error),
}

classify!(ProclaimError, Self::Lost(lost) => lost.nature(), Self::Error(error) => error.nature());
