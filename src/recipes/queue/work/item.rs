//! What is pushed: [`NewItem`] and [`PushOptions`].

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::errors::PushError;
use super::store::{DEFAULT_PRIORITY, NewEntry};
#[cfg(feature = "serde")]
use crate::znode::Json;
use crate::znode::Payload;

/// How an item is pushed.
///
/// # Examples
/// ```no_run
/// # async fn example(recharges: zookeeper_recipes::queue::WorkQueue) -> Result<(), Box<dyn std::error::Error>> {
/// use std::time::Duration;
/// use zookeeper_recipes::queue::PushOptions;
///
/// // Once per order, in order and one at a time per account.
/// let options = PushOptions::new().key("order 4711").group("account 17");
/// recharges.push_with("+491701234567 10.00", options).await?;
///
/// // At the earliest in a minute, and ahead of what is less urgent then.
/// let options = PushOptions::new().delay(Duration::from_secs(60)).priority(50);
/// recharges.push_with("+491707654321 5.00", options).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
#[must_use]
pub struct PushOptions {
    key: Option<Arc<str>>,
    group: Option<Arc<str>>,
    priority: Option<u8>,
    delay: Duration,
    expires_after: Option<Duration>,
    wants_outcome: bool,
}

impl PushOptions {
    /// No key, no group, priority 100, no delay.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets an idempotency key: a second push with the same key adds nothing and returns the id of the first one.
    ///
    /// A key is any text of 1 to 512 bytes. It is forgotten some time after the end of its item, see
    /// [`dedupe`](super::WorkQueueBuilder::dedupe).
    #[doc(alias = "deduplication")]
    pub fn key(mut self, key: impl AsRef<str>) -> Self {
        self.key = Some(key.as_ref().into());
        self
    }

    /// Puts the item into a group: items of one group are delivered in the order of their pushes, one at a time. Groups
    /// are worked on in parallel.
    ///
    /// A group is any text of 1 to 512 bytes. Its items cannot be delayed.
    #[doc(alias = "message group")]
    pub fn group(mut self, group: impl AsRef<str>) -> Self {
        self.group = Some(group.as_ref().into());
        self
    }

    /// Sets the priority: items of a lower number are delivered first; 100 where none is given.
    pub fn priority(mut self, priority: u8) -> Self {
        self.priority = Some(priority);
        self
    }

    /// Delivers the item this much later, by the clock of the ensemble.
    ///
    /// The time is rounded up: to an eighth of a second, or by at most 1.6 % of a longer delay.
    #[doc(alias = "schedule")]
    pub fn delay(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    /// Drops the item if it is not delivered within this time. Its outcome is "expired".
    #[doc(alias = "ttl")]
    pub fn expires_after(mut self, time: Duration) -> Self {
        self.expires_after = Some(time);
        self
    }

    /// Keeps the outcome of the item for [`result`](super::WorkQueue::result), even if it is acknowledged without a
    /// result.
    pub fn keep_outcome(mut self) -> Self {
        self.wants_outcome = true;
        self
    }
}

/// An item to be pushed.
///
/// # Examples
/// ```no_run
/// # async fn example(recharges: zookeeper_recipes::queue::WorkQueue) -> Result<(), Box<dyn std::error::Error>> {
/// use zookeeper_recipes::queue::{NewItem, PushOptions};
///
/// let lines = ["17 10.00", "4 5.00"];
/// let items = lines.map(|line| NewItem::new(line).with(PushOptions::new().key(line)));
/// recharges.push_all(items).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
#[must_use]
pub struct NewItem<T = Bytes> {
    payload: T,
    options: PushOptions,
}

impl NewItem {
    /// Makes an item without a key, of priority 100, without a delay.
    pub fn new(payload: impl Into<Bytes>) -> Self {
        Self::of(payload.into())
    }
}

impl<T> NewItem<T> {
    /// Makes an item of a value.
    pub fn of(payload: T) -> Self {
        Self {
            payload,
            options: PushOptions::default(),
        }
    }

    /// Returns the same item, pushed with these options.
    pub fn with(mut self, options: PushOptions) -> Self {
        self.options = options;
        self
    }
}

impl<T: Payload> NewItem<T> {
    pub(super) fn encode(self) -> Result<NewEntry, PushError> {
        let payload = self
            .payload
            .encode()
            .map_err(|reason| PushError::Unencodable { reason })?;
        let PushOptions {
            key,
            group,
            priority,
            delay,
            expires_after,
            wants_outcome,
        } = self.options;
        let priority = priority.unwrap_or(DEFAULT_PRIORITY);
        Ok(NewEntry {
            payload,
            priority,
            delay,
            key,
            group,
            expires_after,
            wants_outcome,
        })
    }
}

#[cfg(feature = "serde")]
impl<T> From<Json<T>> for NewItem<Json<T>> {
    fn from(value: Json<T>) -> Self {
        Self::of(value)
    }
}

impl<T: Into<Bytes>> From<T> for NewItem {
    fn from(payload: T) -> Self {
        Self::new(payload)
    }
}
