//! Looking at what is next.

use bytes::Bytes;

use super::WorkQueue;
use super::store::{Item, ItemId};
use super::tasks::{CLAIM_ITEMS, peek};
use crate::error::Error;
use crate::znode::retry_across_sessions;

/// An item that can be delivered now, as [`WorkQueue::peek`] has seen it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReadyItem {
    /// The id that its push returned.
    pub id: ItemId,
    /// What was pushed.
    pub payload: Bytes,
    /// How often it was delivered.
    pub attempts: u32,
    /// Its priority: items of a lower number are delivered first.
    pub priority: u8,
    /// The idempotency key that it was pushed with.
    pub key: Option<String>,
    /// The group that it was pushed to.
    pub group: Option<String>,
}

impl ReadyItem {
    fn of((item, attempts): (Item, u32)) -> Self {
        Self {
            id: item.id,
            payload: item.payload,
            attempts,
            priority: item.priority,
            key: item.key.map(|key| key.to_string()),
            group: item.group.map(|group| group.to_string()),
        }
    }
}

impl<T> WorkQueue<T> {
    /// Returns up to `most` items that can be delivered now, 512 at most, in the order in which a pop takes them. For
    /// people and for repair.
    ///
    /// **Nothing is claimed**: by the time this returns, a consumer may have taken any of them. To have an item, pop it.
    ///
    /// Not shown are items that no pop would get now: claimed, delayed and expired ones, those without an attempt left,
    /// those of a group behind its first item, what cannot be read, and all items of a paused queue. It gives up behind
    /// some thousand pushes of which nothing can be delivered. With [`Order::Window`](super::Order::Window), a pop takes one of the first so
    /// many pushes. No queue is made where there is none.
    ///
    /// The clock of the ensemble is not asked for, which would be a write. Unless this handle pushed or popped in the last
    /// minute, the clock of this machine decides whether a delayed item is due, one has expired, and the deadline of a claim
    /// has passed.
    ///
    /// # Errors
    /// [`Error`] for what retrying would not help.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    ///
    /// # Cost
    /// Reads alone: a sync, a read, three lists and a list for each block of some 192 pushes, as for a pop; then a read for
    /// each push that is looked at, two more for one that was claimed before, and two lists for a group.
    ///
    /// # Examples
    /// ```no_run
    /// # async fn example(queue: zookeeper_recipes::queue::WorkQueue) -> Result<(), Box<dyn std::error::Error>> {
    /// for item in queue.peek(5).await? {
    ///     println!("{}: {} bytes, delivered {} times", item.id, item.payload.len(), item.attempts);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "browse")]
    pub async fn peek(&self, most: usize) -> Result<Vec<ReadyItem>, Error> {
        if most == 0 {
            return Ok(Vec::new());
        }
        let store = &self.inner.store;
        let most = most.min(CLAIM_ITEMS);
        let found =
            retry_across_sessions(&store.zk, |session| async move { peek(store, &session, most).await }).await?;
        Ok(found.into_iter().map(ReadyItem::of).collect())
    }
}
