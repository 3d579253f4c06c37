//! [`Delivery`]: an item that is being worked on.

use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};

use super::claim::Claim;
use super::errors::AckError;
use super::item::{Item, ItemId, NewItem};
use super::produce::check_items;
use super::settle::{Failure, Settle, Settlement};
use crate::session::{LossReason, Lost};
use crate::znode::Hold;

/// An item that was delivered to this consumer, and to nobody else while it holds it; it dereferences to [`Hold`].
///
/// Settle it: [`ack`](Self::ack) when it is done, [`nack`](Self::nack) to have it delivered again. Dropping it gives it
/// back in the background, to its place in line; also then the attempt counts.
///
/// Items that were claimed together share one hold: what ends it gives back all of them that are not settled. The token
/// grows with every delivery of an item.
///
/// # When the session is lost
/// The item is given to another consumer at once. What this one does with it from then on has no effect in the ensemble:
/// its `ack` fails with [`AckError::Lost`]. For effects elsewhere hand over [`token`](Hold::token) or the
/// [`id`](Self::id), or write with [`fenced`](Hold::fenced).
#[must_use = "dropping it gives the item back"]
#[clippy::has_significant_drop]
#[derive(Debug)]
pub struct Delivery {
    claim: Arc<Claim>,
    item: Item,
    settling: Option<mpsc::UnboundedSender<Settlement>>,
    delivered: bool,
}

impl Delivery {
    /// One for each item of a claim, in the order in which the queue delivers them.
    pub(super) fn all_of(claim: &Arc<Claim>, settling: &mpsc::UnboundedSender<Settlement>) -> Vec<Self> {
        let mut items: Vec<Item> = claim.open().items.values().cloned().collect();
        items.sort_by_key(|item| (item.priority, item.rank()));
        let delivery = |item| Self {
            claim: Arc::clone(claim),
            item,
            settling: Some(settling.clone()),
            delivered: false,
        };
        items.into_iter().map(delivery).collect()
    }

    /// The consumer has it. An item that never gets so far is not counted as tried.
    pub(super) fn delivered(mut self) -> Self {
        self.delivered = true;
        self
    }

    /// The id that its push returned.
    pub fn id(&self) -> &ItemId {
        &self.item.id
    }

    /// What was pushed.
    pub fn payload(&self) -> &Bytes {
        &self.item.payload
    }

    /// How often the item has been delivered: 1 the first time.
    pub fn attempt(&self) -> u32 {
        self.item.attempt
    }

    /// The idempotency key that it was pushed with.
    pub fn key(&self) -> Option<&str> {
        self.item.key.as_deref()
    }

    /// The priority that it was pushed with.
    pub fn priority(&self) -> u8 {
        self.item.priority
    }

    /// The item is done: it is removed together with its claim. What is settled by one process at the same time goes
    /// into one transaction.
    ///
    /// # Errors
    /// * [`AckError::Lost`]: it was lost before, nothing was done.
    /// * [`AckError::Indeterminate`]: the session ended before the answer came.
    ///
    /// # Cancel safety
    /// Once polled, it goes on if the future is dropped.
    pub async fn ack(self) -> Result<(), AckError> {
        self.done(None, Vec::new()).await.map(|_| ())
    }

    /// The item is done, with a result for whoever waits for [`result`](super::WorkQueue::result); it is kept for
    /// [`result_retention`](super::WorkQueue::result_retention). One transaction.
    ///
    /// # Errors
    /// As [`ack`](Self::ack), and [`Error::TooLarge`](crate::Error::TooLarge) for a result that does not fit into one
    /// request of 1 MiB: nothing was done, the item goes back.
    ///
    /// # Cancel safety
    /// As [`ack`](Self::ack).
    pub async fn ack_with(self, result: impl Into<Bytes>) -> Result<(), AckError> {
        self.done(Some(result.into()), Vec::new()).await.map(|_| ())
    }

    /// The item is done and the next steps are pushed, in one transaction: both or none. Returns the ids of the next
    /// ones. Keys hold as for a push; a bounded queue takes the next steps also if it is full.
    ///
    /// # Errors
    /// As [`ack`](Self::ack), and [`AckError::Push`] for items that cannot be pushed.
    ///
    /// # Cancel safety
    /// As [`ack`](Self::ack).
    pub async fn ack_then(self, next: impl IntoIterator<Item = impl Into<NewItem>>) -> Result<Vec<ItemId>, AckError> {
        let next: Vec<NewItem> = next.into_iter().map(Into::into).collect();
        check_items(&self.claim.claimed, &next).map_err(AckError::Push)?;
        self.done(None, next).await
    }

    /// Gives the item back, to its place in line; to the dead ones if it has been delivered
    /// [`max_attempts`](super::WorkQueue::max_attempts) times.
    ///
    /// # Errors
    /// As [`ack`](Self::ack).
    ///
    /// # Cancel safety
    /// As [`ack`](Self::ack).
    pub async fn nack(self) -> Result<(), AckError> {
        self.nack_after(Duration::ZERO).await
    }

    /// Gives the item back, to be delivered again after `delay`. Else as [`nack`](Self::nack).
    ///
    /// # Errors
    /// As [`ack`](Self::ack).
    ///
    /// # Cancel safety
    /// As [`ack`](Self::ack).
    pub async fn nack_after(self, delay: Duration) -> Result<(), AckError> {
        let verdict = Settle::Failed(Failure::GivenBack { delay });
        self.settle(verdict).await.map(|_| ())
    }

    /// Puts the item aside as dead at once, because nobody can handle it.
    ///
    /// # Errors
    /// As [`ack`](Self::ack).
    ///
    /// # Cancel safety
    /// As [`ack`](Self::ack).
    pub async fn reject(self, reason: impl Into<String>) -> Result<(), AckError> {
        let reason = reason.into();
        self.settle(Settle::Failed(Failure::Rejected { reason }))
            .await
            .map(|_| ())
    }

    /// As [`reject`](Self::reject), in the background.
    #[cfg(feature = "serde")]
    pub(super) fn reject_soon(mut self, reason: String) {
        self.send(Settle::Failed(Failure::Rejected { reason }), None);
    }

    async fn done(self, result: Option<Bytes>, next: Vec<NewItem>) -> Result<Vec<ItemId>, AckError> {
        self.settle(Settle::Done { result, next }).await
    }

    async fn settle(mut self, verdict: Settle) -> Result<Vec<ItemId>, AckError> {
        let (reply, settled) = oneshot::channel();
        if !self.send(verdict, Some(reply)) {
            // The task is gone with its runtime, and the session with it.
            return Err(AckError::Lost(Lost {
                reason: self.lost().reason().unwrap_or(LossReason::Closed),
            }));
        }
        // An error means the same, maybe while this was on its way.
        settled.await.unwrap_or(Err(AckError::Indeterminate))
    }

    /// False if the task is gone with its runtime: then the item goes back with the session.
    fn send(&mut self, verdict: Settle, reply: Option<oneshot::Sender<Result<Vec<ItemId>, AckError>>>) -> bool {
        let Some(settling) = self.settling.take() else {
            return false;
        };
        let settlement = Settlement {
            claim: Arc::clone(&self.claim),
            id: self.item.id.clone(),
            verdict,
            reply,
        };
        settling.send(settlement).is_ok()
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        let failure = match self.delivered {
            true => Failure::GivenBack { delay: Duration::ZERO },
            false => Failure::NotDelivered,
        };
        self.send(Settle::Failed(failure), None);
    }
}

impl Deref for Delivery {
    type Target = Hold;

    fn deref(&self) -> &Hold {
        &self.claim.hold
    }
}
