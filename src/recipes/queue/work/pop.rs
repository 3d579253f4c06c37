//! Taking items.

use std::time::Duration;

use tokio::sync::oneshot;

use super::tasks::{Assignment, CLAIM_ITEMS, Demand};
use super::{Delivery, WorkQueue};
use crate::error::{Error, WaitTimeoutError};
use crate::metrics::{CallTimer, MessagingCall};
use crate::session::CleanupToken;
use crate::znode::{Payload, elapsed, with_deadline};

impl<T: Payload> WorkQueue<T> {
    /// Waits for an item, however long it takes: lost connections, expired sessions and servers that are away are
    /// waited out.
    ///
    /// # Errors
    /// [`Error`] for what retrying would not help.
    ///
    /// # Fairness
    /// While others wait in line, it joins the line; else it takes an item at once. Each other process can overtake it
    /// once.
    ///
    /// # Cancel safety
    /// Dropping the future loses the place in line. An item that was on its way goes to the next pop of this handle, or
    /// back after a moment; this does not count as an attempt.
    ///
    /// # Cost
    /// One round trip while there is a backlog, three for the first pop of a handle. Waiting costs nothing.
    #[doc(alias = "dequeue")]
    #[doc(alias = "take")]
    pub async fn pop(&self) -> Result<Delivery<T>, Error> {
        loop {
            if let Some(delivery) = self.take(1, true, None).await?.pop() {
                return Ok(delivery);
            }
        }
    }

    /// Takes an item if there is one that no other consumer takes. While there is one and others wait, it waits for its
    /// turn.
    ///
    /// # Errors
    /// As [`pop`](Self::pop).
    ///
    /// # Fairness
    /// As [`pop`](Self::pop).
    ///
    /// # Cancel safety
    /// As [`pop`](Self::pop).
    pub async fn try_pop(&self) -> Result<Option<Delivery<T>>, Error> {
        loop {
            let taken = self.taken(1, false, None).await?;
            if taken.is_empty() {
                return Ok(None);
            }
            if let Some(delivery) = taken.into_iter().find_map(Delivery::of) {
                return Ok(Some(delivery));
            }
        }
    }

    /// Waits for an item for at most `limit`, requests to the ensemble included.
    ///
    /// On a timeout the place in line is removed before this returns, which may take another half second, unless other
    /// pops of this process wait in it.
    ///
    /// # Errors
    /// [`TimeoutError::Elapsed`](crate::TimeoutError::Elapsed) when the time is up, else as [`pop`](Self::pop).
    ///
    /// # Cancel safety
    /// As [`pop`](Self::pop).
    pub async fn pop_timeout(&self, limit: Duration) -> Result<Delivery<T>, WaitTimeoutError> {
        let zk = &self.inner.store.zk;
        let popped = with_deadline(zk, limit, |cleanup| async move {
            loop {
                if let Some(delivery) = self.take(1, true, Some(cleanup.clone())).await?.pop() {
                    return Ok::<_, Error>(delivery);
                }
            }
        });
        popped.await?.ok_or_else(|| elapsed(zk, self.path(), limit))
    }

    /// Waits for one item, and takes up to `most` of those that are there then, 512 at most. At least one is returned,
    /// unless `most` is 0.
    ///
    /// # Errors
    /// As [`pop`](Self::pop).
    ///
    /// # Fairness
    /// As [`pop`](Self::pop).
    ///
    /// # Cancel safety
    /// As [`pop`](Self::pop).
    pub async fn pop_batch(&self, most: usize) -> Result<Vec<Delivery<T>>, Error> {
        if most == 0 {
            return Ok(Vec::new());
        }
        loop {
            let taken = self.take(most.min(CLAIM_ITEMS), true, None).await?;
            if !taken.is_empty() {
                return Ok(taken);
            }
        }
    }

    async fn take(&self, items: usize, waits: bool, cleanup: Option<CleanupToken>) -> Result<Vec<Delivery<T>>, Error> {
        let taken = self.taken(items, waits, cleanup).await?;
        Ok(taken.into_iter().filter_map(Delivery::of).collect())
    }

    async fn taken(&self, items: usize, waits: bool, cleanup: Option<CleanupToken>) -> Result<Vec<Assignment>, Error> {
        let timer = CallTimer::start(self.inner.store.zk.metrics_name(), MessagingCall::Pop);
        let taken = match self.demand(items, items, waits, cleanup).await {
            Ok(demanded) => demanded.await.unwrap_or(Err(Error::Closed)),
            Err(error) => Err(error),
        };
        timer.ended(taken.as_ref().err().map(|_| "error"));
        taken
    }

    /// Asks for items, which are on their way from then on.
    pub(super) async fn demand(
        &self,
        items: usize,
        noted: usize,
        waits: bool,
        cleanup: Option<CleanupToken>,
    ) -> Result<oneshot::Receiver<Result<Vec<Assignment>, Error>>, Error> {
        if *self.inner.closing.borrow() {
            return Err(Error::Closed);
        }
        self.inner.start().await?;
        let (reply, taken) = oneshot::channel();
        let demand = Demand {
            items,
            noted,
            waits,
            cleanup,
            reply,
        };
        match self.inner.demands.send(demand) {
            Ok(()) => Ok(taken),
            // The task is gone with its runtime, or the queue is closed.
            Err(_) => Err(self.inner.store.zk.ended().unwrap_or(Error::Closed)),
        }
    }
}
