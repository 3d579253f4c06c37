//! Pushing items.

use std::time::Duration;

use tokio::sync::oneshot;

use super::WorkQueue;
use super::errors::{PushError, PushTimeoutError};
use super::item::{NewItem, PushOptions};
use super::store::{ItemId, NewEntry};
use super::tasks::{Push, check_entries};
use crate::error::Error;
use crate::metrics::{CallTimer, MessagingCall, count_messages};
use crate::znode::{Payload, elapsed};

impl<T: Payload> WorkQueue<T> {
    /// Pushes an item, and returns its id once the ensemble has it. Waits while a bounded queue is full.
    ///
    /// # Fairness
    /// Pushes of one process keep their order. Processes wait for room in line; one that pushes when there is room does
    /// not join the line, and takes it.
    ///
    /// # Errors
    /// * [`PushError::Indeterminate`]: the session ended before the reply arrived; with a [key](PushOptions::key) only if
    ///   the coordinator has ended as well.
    /// * [`Error::TooLarge`] for more than 1,000,000 bytes.
    ///
    /// # Cancel safety
    /// Dropping the future leaves open whether the item is pushed, unless it was waiting for room.
    #[doc(alias = "enqueue")]
    #[doc(alias = "put")]
    pub async fn push(&self, item: impl Into<NewItem<T>>) -> Result<ItemId, PushError> {
        self.push_one(item.into(), true).await
    }

    /// Pushes an item with options.
    ///
    /// # Errors
    /// As [`push`](Self::push), and [`PushError::InvalidKey`].
    ///
    /// # Cancel safety
    /// As [`push`](Self::push).
    pub async fn push_with(&self, item: impl Into<NewItem<T>>, options: PushOptions) -> Result<ItemId, PushError> {
        self.push_one(item.into().with(options), true).await
    }

    /// Pushes an item unless a bounded queue is full.
    ///
    /// # Errors
    /// As [`push`](Self::push), and [`PushError::QueueFull`].
    ///
    /// # Cancel safety
    /// As [`push`](Self::push).
    pub async fn try_push(&self, item: impl Into<NewItem<T>>) -> Result<ItemId, PushError> {
        self.push_one(item.into(), false).await
    }

    /// Pushes an item, waiting for room in a bounded queue for at most `limit`, requests to the ensemble included.
    ///
    /// # Errors
    /// As [`push`](Self::push), and [`TimeoutError::Elapsed`](crate::TimeoutError::Elapsed).
    ///
    /// # Cancel safety
    /// As [`push`](Self::push).
    pub async fn push_timeout(&self, item: impl Into<NewItem<T>>, limit: Duration) -> Result<ItemId, PushTimeoutError> {
        let zk = &self.inner.store.zk;
        let pushed = zk.timeout(limit, self.push(item)).await;
        pushed.map_or_else(|| Err(elapsed(zk, self.path(), limit)), |pushed| Ok(pushed?))
    }

    /// Pushes items in one transaction: all of them, but for those whose keys were pushed before, or none. Returns
    /// their ids, in their order. Waits while a bounded queue has no room for all.
    ///
    /// # Errors
    /// As [`push`](Self::push); [`Error::TooLarge`] if they do not fit into one request, of 1 MiB;
    /// [`PushError::NeverFits`] if they are more than a bounded queue may hold.
    ///
    /// # Cancel safety
    /// As [`push`](Self::push).
    pub async fn push_all(
        &self,
        items: impl IntoIterator<Item = impl Into<NewItem<T>>>,
    ) -> Result<Vec<ItemId>, PushError> {
        self.push_many(items.into_iter().map(Into::into).collect(), true).await
    }

    async fn push_one(&self, item: NewItem<T>, waits: bool) -> Result<ItemId, PushError> {
        let mut ids = self.push_many(vec![item], waits).await?;
        ids.pop().ok_or(PushError::Error(Error::Closed))
    }

    async fn push_many(&self, items: Vec<NewItem<T>>, waits: bool) -> Result<Vec<ItemId>, PushError> {
        let entries = items.into_iter().map(NewItem::encode).collect::<Result<Vec<_>, _>>()?;
        check_entries(self.path(), &entries)?;
        if entries.is_empty() {
            return Ok(Vec::new());
        }
        let timer = CallTimer::start(self.inner.store.zk.metrics_name(), MessagingCall::Push);
        let pushed = self.push_entries(entries, waits).await;
        timer.ended(pushed.as_ref().err().map(PushError::label));
        pushed
    }

    async fn push_entries(&self, entries: Vec<NewEntry>, waits: bool) -> Result<Vec<ItemId>, PushError> {
        self.inner.start().await?;
        let (reply, pushed) = oneshot::channel();
        let push = Push {
            entries,
            waits,
            doubtful: None,
            needed: 0,
            reply,
        };
        // Errors mean that the task is gone with its runtime, maybe while this was on its way.
        if self.inner.pushes.send(push).is_err() {
            return Err(Error::Closed.into());
        }
        let pushed = pushed
            .await
            .unwrap_or_else(|_| Err(PushError::Indeterminate { ids: Vec::new() }));
        if let Ok(ids) = &pushed {
            let user = self.inner.store.zk.metrics_name();
            count_messages(user, MessagingCall::Push, ids.len() as u64);
        }
        pushed
    }
}
