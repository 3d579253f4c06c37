//! [`Delivery`]: an item that is being worked on.

use std::fmt;
use std::ops::Deref;
use std::time::Duration;

use bytes::Bytes;

use super::errors::AckError;
use super::item::NewItem;
use super::store::{AttemptEnd, ItemId, Outcome};
use super::tasks::{Assignment, Verdict, check_entries};
use crate::session::Lost;
use crate::znode::{FencingToken, Hold, Payload};

/// An item that was delivered to this consumer, and to no other while it holds it. It dereferences to [`Hold`].
///
/// Settle it: [`ack`](Self::ack) when it is done, [`nack`](Self::nack) to have it delivered again. **Dropping it gives
/// the item back** in the background, to its place in line; the attempt counts.
///
/// The token grows with every delivery of an item. Items that were claimed together share one hold: its end gives back
/// all of them that are not settled.
///
/// # When the session is lost
/// Another consumer gets the item. What this one does from then on has no effect in the ensemble: its `ack` fails with
/// [`AckError::Lost`]. For effects elsewhere hand over the [`token`](Self::token) or the [`id`](Self::id), or write
/// with [`fenced`](Hold::fenced).
///
/// With a [`claim_timeout`](super::WorkQueueBuilder::claim_timeout) the same happens at its end, on time at this
/// consumer before any other can have the item; [`extend`](Self::extend) puts it off.
///
/// # Examples
/// ```no_run
/// # async fn example(recharges: zookeeper_recipes::queue::WorkQueue) -> Result<(), Box<dyn std::error::Error>> {
/// let recharge = recharges.pop().await?;
/// println!("attempt {} of {}", recharge.attempt(), recharge.id());
/// match recharge.run_until_lost(top_up(recharge.payload())).await? {
///     Ok(receipt) => recharge.ack_with(receipt).await?,
///     Err(error) => recharge.nack_because(error).await?,
/// }
/// # async fn top_up(order: &[u8]) -> Result<String, String> { Ok(String::new()) }
/// # Ok(())
/// # }
/// ```
#[must_use = "dropping it gives the item back"]
#[clippy::has_significant_drop]
pub struct Delivery<T = Bytes> {
    pub(super) assignment: Assignment,
    value: T,
}

impl<T: fmt::Debug> fmt::Debug for Delivery<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("Delivery");
        debug
            .field("id", self.id())
            .field("attempt", &self.attempt())
            .field("payload", &self.value)
            .finish_non_exhaustive()
    }
}

impl<T: Payload> Delivery<T> {
    /// The item is handed out, if it is still held. A value that cannot be read becomes a dead letter.
    pub(super) fn of(assignment: Assignment) -> Option<Self> {
        assignment.hand_out().ok()?;
        match T::decode(assignment.item.payload.clone()) {
            Ok(value) => Some(Self { assignment, value }),
            Err(reason) => {
                tracing::warn!(item = %assignment.item.id, reason, "not readable; it is put to the dead letters");
                assignment.settle_soon(Verdict::Rejected { reason });
                None
            }
        }
    }
}

impl<T> Delivery<T> {
    /// Returns the id that the push of the item returned.
    pub fn id(&self) -> &ItemId {
        &self.assignment.item.id
    }

    /// Returns what was pushed.
    pub fn payload(&self) -> &T {
        &self.value
    }

    /// Returns how often the item has been delivered: 1 the first time.
    pub fn attempt(&self) -> u32 {
        self.assignment.attempt()
    }

    /// Returns the idempotency key that the item was pushed with.
    pub fn key(&self) -> Option<&str> {
        self.assignment.item.key.as_deref()
    }

    /// Returns the group that the item was pushed to.
    pub fn group(&self) -> Option<&str> {
        self.assignment.item.group.as_deref()
    }

    /// Returns the priority that the item was pushed with.
    pub fn priority(&self) -> u8 {
        self.assignment.item.priority
    }

    /// Returns the fencing token, which grows with every delivery of an item. Costs no request.
    pub fn token(&self) -> FencingToken {
        self.assignment.claim.token(self.assignment.index)
    }

    /// Whether the item is ours at this moment. Costs no request.
    pub fn is_held(&self) -> bool {
        !self.remaining().is_zero()
    }

    /// For how long the item is certainly ours if nothing more is heard of the ensemble: while the session is
    /// confirmed, and up to the deadline of the claim, whichever ends first. Costs no request.
    pub fn remaining(&self) -> Duration {
        self.assignment.claim.remaining()
    }

    /// Holds the item for at least `time` from now on, where the queue has a
    /// [`claim_timeout`](super::WorkQueueBuilder::claim_timeout). Other items of the same claim are held as long.
    ///
    /// # Errors
    /// As [`ack`](Self::ack).
    ///
    /// # Cancel safety
    /// Dropping the future leaves open whether the item is held for longer.
    pub async fn extend(&self, time: Duration) -> Result<(), AckError> {
        self.assignment.settle(Verdict::Extend(time)).await.map(drop)
    }

    /// Says how far the work is, for [`status`](super::WorkQueue::status); the first 1,024 bytes are kept.
    ///
    /// # Errors
    /// As [`ack`](Self::ack).
    ///
    /// # Cancel safety
    /// Dropping the future leaves open whether it was said.
    pub async fn progress(&self, progress: impl Into<Bytes>) -> Result<(), AckError> {
        self.assignment
            .settle(Verdict::Progress(progress.into()))
            .await
            .map(drop)
    }

    /// Acknowledges the item: it is done, and removed together with its claim.
    ///
    /// What one process settles at the same time goes into one transaction.
    ///
    /// # Errors
    /// * [`AckError::Lost`]: the item was lost before, nothing was done.
    /// * [`AckError::Indeterminate`]: the session ended before the reply arrived.
    ///
    /// # Cancel safety
    /// Once polled, it goes on if the future is dropped.
    #[doc(alias = "complete")]
    pub async fn ack(self) -> Result<(), AckError> {
        self.done(Outcome::DoneWithoutResult).await
    }

    /// Acknowledges the item with a result, for [`result`](super::WorkQueue::result), in one transaction.
    ///
    /// # Errors
    /// As [`ack`](Self::ack), and [`Error::TooLarge`](crate::Error::TooLarge) for a result that does not fit into one
    /// request of 1 MiB: nothing was done, the item goes back.
    ///
    /// # Cancel safety
    /// As [`ack`](Self::ack).
    pub async fn ack_with(self, result: impl Into<Bytes>) -> Result<(), AckError> {
        self.done(Outcome::Result(result.into())).await
    }

    /// Acknowledges the item with a value as its result, for [`result_as`](super::WorkQueue::result_as).
    ///
    /// # Errors
    /// As [`ack_with`](Self::ack_with); [`AckError::Push`] for a value that cannot be written: the item goes back.
    ///
    /// # Cancel safety
    /// As [`ack`](Self::ack).
    pub async fn ack_with_value<R: Payload>(self, result: &R) -> Result<(), AckError> {
        let result = result
            .encode()
            .map_err(|reason| AckError::Push(super::PushError::Unencodable { reason }))?;
        self.ack_with(result).await
    }

    /// Gives the item back, to be delivered again as the queue's [`RetryPolicy`](super::RetryPolicy) says; it becomes a
    /// dead letter if it has been delivered [`max_attempts`](super::WorkQueueBuilder::max_attempts) times.
    ///
    /// # Errors
    /// As [`ack`](Self::ack).
    ///
    /// # Cancel safety
    /// As [`ack`](Self::ack).
    pub async fn nack(self) -> Result<(), AckError> {
        self.nack_because("").await
    }

    /// Gives the item back as [`nack`](Self::nack) does, and says why: for the history of a dead letter.
    ///
    /// # Errors
    /// As [`ack`](Self::ack).
    ///
    /// # Cancel safety
    /// As [`ack`](Self::ack).
    pub async fn nack_because(self, reason: impl Into<String>) -> Result<(), AckError> {
        self.fail(None, AttemptEnd::GivenBack, reason.into()).await
    }

    /// Gives the item back, to be delivered again after `delay`. Else as [`nack`](Self::nack).
    ///
    /// # Errors
    /// As [`ack`](Self::ack).
    ///
    /// # Cancel safety
    /// As [`ack`](Self::ack).
    pub async fn nack_after(self, delay: Duration) -> Result<(), AckError> {
        self.fail(Some(delay), AttemptEnd::GivenBack, String::new()).await
    }

    /// Makes the item a dead letter at once, because no consumer can handle it.
    ///
    /// # Errors
    /// As [`ack`](Self::ack).
    ///
    /// # Cancel safety
    /// As [`ack`](Self::ack).
    pub async fn reject(self, reason: impl Into<String>) -> Result<(), AckError> {
        self.assignment
            .settle(Verdict::Rejected { reason: reason.into() })
            .await
            .map(drop)
    }

    async fn fail(self, delay: Option<Duration>, how: AttemptEnd, reason: String) -> Result<(), AckError> {
        self.assignment
            .settle(Verdict::Failed { delay, how, reason })
            .await
            .map(drop)
    }

    async fn done(self, outcome: Outcome) -> Result<(), AckError> {
        self.assignment
            .settle(Verdict::Done {
                outcome,
                next: Vec::new(),
            })
            .await
            .map(drop)
    }

    /// Runs `work` until it is done or the item is lost, whichever comes first; see
    /// [`Hold::run_until_lost`].
    ///
    /// # Errors
    /// [`Lost`], after `work` was dropped.
    pub async fn run_until_lost<F: Future>(&self, work: F) -> Result<F::Output, Lost> {
        let output = self.assignment.claim.hold.run_until_lost(work).await?;
        match self.is_held() {
            true => Ok(output),
            false => Err(Lost {
                reason: self.lost().await,
            }),
        }
    }
}

impl<T: Payload> Delivery<T> {
    /// Acknowledges the item and pushes the next steps, in one transaction: both or none. Returns the ids of the next
    /// steps.
    ///
    /// Keys hold as for a push; a bounded queue takes the next steps even if it is full.
    ///
    /// # Errors
    /// As [`ack`](Self::ack), and [`AckError::Push`] for items that cannot be pushed: the item goes back.
    ///
    /// # Cancel safety
    /// As [`ack`](Self::ack).
    pub async fn ack_then(
        self,
        next: impl IntoIterator<Item = impl Into<NewItem<T>>>,
    ) -> Result<Vec<ItemId>, AckError> {
        let next = next
            .into_iter()
            .map(|item| item.into().encode())
            .collect::<Result<Vec<_>, _>>()
            .map_err(AckError::Push)?;
        check_entries(self.assignment.claim.hold.path(), &next).map_err(AckError::Push)?;
        self.assignment
            .settle(Verdict::Done {
                outcome: Outcome::DoneWithoutResult,
                next,
            })
            .await
    }
}

impl<T> Deref for Delivery<T> {
    type Target = Hold;

    fn deref(&self) -> &Hold {
        &self.assignment.claim.hold
    }
}
