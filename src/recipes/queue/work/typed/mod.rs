//! [`TypedQueue`]: items that are values, as JSON.

mod delivery;

use std::any::type_name;
use std::borrow::Borrow;
use std::fmt;
use std::marker::PhantomData;
use std::time::{Duration, Instant};

use futures::{Stream, StreamExt, future, stream};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tracing::warn;

use super::errors::{AckError, PushError, PushTimeoutError};
use super::item::{ItemId, NewItem, PushOptions};
use super::{Delivery, WorkQueue};
use crate::error::{Error, WaitTimeoutError};
use crate::session::Coordinator;

pub use self::delivery::TypedDelivery;

/// A [`WorkQueue`] of values of type `T`, which are written as JSON. Needs the feature `serde`.
///
/// All that is said of [`WorkQueue`] holds: states, order, cost, cancellation, loss of the session. The same queue may be
/// used with and without a type, by processes that do not know each other's types.
///
/// # Items of another type
/// An item whose payload is not JSON of a `T` is put to the [`dead`](WorkQueue::dead) ones with the reason, as by
/// [`Delivery::reject`], in the attempt that finds out, and the next one is delivered instead; it is not lost. Once there
/// are consumers that can read it, [`redrive`](WorkQueue::redrive) brings it back. So where a type changes, update the
/// consumers first, and give new fields `#[serde(default)]`.
///
/// # Examples
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use serde::{Deserialize, Serialize};
/// use zookeeper_recipes::queue::{PushOptions, WorkQueue};
///
/// #[derive(Serialize, Deserialize)]
/// struct Recharge {
///     number: String,
///     cents: u64,
/// }
///
/// let zk = zookeeper_recipes::connect("127.0.0.1:2181").await?;
/// let recharges = WorkQueue::new(&zk, "/recharges")?.max_attempts(3).typed::<Recharge>();
/// let recharge = Recharge { number: "+491701234567".to_owned(), cents: 1_000 };
/// recharges.push_with(&recharge, PushOptions::new().key("order 4711")).await?;
///
/// let delivery = recharges.pop().await?;
/// println!("{} gets {} cents", delivery.value().number, delivery.value().cents);
/// delivery.ack().await?;
///
/// for dead in recharges.queue().dead().await? {
///     println!("{}: {}", dead.id, dead.reason);
/// }
/// # Ok(())
/// # }
/// ```
pub struct TypedQueue<T> {
    queue: WorkQueue,
    values: PhantomData<fn(T) -> T>,
}

impl<T> TypedQueue<T> {
    /// The queue at `path`, below the chroot, as [`WorkQueue::new`] makes it; [`WorkQueue::typed`] makes one of a queue
    /// with other options. Nothing is sent.
    ///
    /// # Errors
    /// [`Error::InvalidPath`].
    pub fn new(zk: &Coordinator, path: &str) -> Result<Self, Error> {
        WorkQueue::new(zk, path).map(Self::of)
    }

    pub(super) fn of(queue: WorkQueue) -> Self {
        Self {
            queue,
            values: PhantomData,
        }
    }

    /// The queue without a type: to ask for the status, the result or the number of items, and for the dead ones.
    pub fn queue(&self) -> &WorkQueue {
        &self.queue
    }
}

impl<T: Serialize> TypedQueue<T> {
    /// Adds a value. Else as [`WorkQueue::push`].
    ///
    /// # Errors
    /// As [`WorkQueue::push`], and [`PushError::Unencodable`] for a value that JSON cannot hold, like a map whose keys
    /// are no texts.
    ///
    /// # Cancel safety
    /// As [`WorkQueue::push`].
    pub async fn push(&self, value: impl Borrow<T>) -> Result<ItemId, PushError> {
        self.push_with(value, PushOptions::new()).await
    }

    /// Adds a value with options. Else as [`push`](Self::push).
    ///
    /// # Errors
    /// As [`push`](Self::push), and [`PushError::InvalidKey`].
    ///
    /// # Cancel safety
    /// As [`WorkQueue::push`].
    pub async fn push_with(&self, value: impl Borrow<T>, options: PushOptions) -> Result<ItemId, PushError> {
        self.queue.push(encode::<T>(value.borrow(), options)?).await
    }

    /// Adds a value unless a bounded queue is full. Else as [`push`](Self::push).
    ///
    /// # Errors
    /// As [`push`](Self::push), and [`PushError::QueueFull`].
    ///
    /// # Cancel safety
    /// As [`WorkQueue::push`].
    pub async fn try_push(&self, value: impl Borrow<T>) -> Result<ItemId, PushError> {
        self.queue
            .try_push(encode::<T>(value.borrow(), PushOptions::new())?)
            .await
    }

    /// Adds a value, waiting for room in a bounded queue for at most `limit`. Else as [`WorkQueue::push_timeout`].
    ///
    /// # Errors
    /// As [`push`](Self::push), and [`PushTimeoutError::Elapsed`].
    ///
    /// # Cancel safety
    /// As [`WorkQueue::push`].
    pub async fn push_timeout(&self, value: impl Borrow<T>, limit: Duration) -> Result<ItemId, PushTimeoutError> {
        let item = encode::<T>(value.borrow(), PushOptions::new())?;
        self.queue.push_timeout(item, limit).await
    }

    /// Adds values in one transaction, as [`WorkQueue::push_all`] does: all or none.
    ///
    /// # Errors
    /// As [`push`](Self::push), and [`PushError::NeverFits`].
    ///
    /// # Cancel safety
    /// As [`WorkQueue::push`].
    pub async fn push_all(&self, values: impl IntoIterator<Item = impl Borrow<T>>) -> Result<Vec<ItemId>, PushError> {
        let items = encode_all::<T, _>(values.into_iter().map(|value| (value, PushOptions::new())))?;
        self.queue.push_all(items).await
    }

    /// Adds values, each with its options, in one transaction. Else as [`push_all`](Self::push_all).
    ///
    /// # Errors
    /// As [`push_all`](Self::push_all), and [`PushError::InvalidKey`].
    ///
    /// # Cancel safety
    /// As [`WorkQueue::push`].
    pub async fn push_all_with(
        &self,
        values: impl IntoIterator<Item = (impl Borrow<T>, PushOptions)>,
    ) -> Result<Vec<ItemId>, PushError> {
        let items = encode_all::<T, _>(values)?;
        self.queue.push_all(items).await
    }
}

impl<T: DeserializeOwned> TypedQueue<T> {
    /// Waits for an item, as [`WorkQueue::pop`] does. Items [of another type](Self#items-of-another-type) are put aside
    /// on the way.
    ///
    /// # Errors
    /// As [`WorkQueue::pop`].
    ///
    /// # Cancel safety
    /// As [`WorkQueue::pop`].
    pub async fn pop(&self) -> Result<TypedDelivery<T>, Error> {
        loop {
            if let Some(delivery) = decode_or_reject(self.queue.pop().await?).await? {
                return Ok(delivery);
            }
        }
    }

    /// Takes an item if there is one that nobody else takes. Items of another type are put aside on the way.
    ///
    /// # Errors
    /// As [`WorkQueue::pop`].
    ///
    /// # Cancel safety
    /// As [`WorkQueue::pop`].
    pub async fn try_pop(&self) -> Result<Option<TypedDelivery<T>>, Error> {
        while let Some(delivery) = self.queue.try_pop().await? {
            if let Some(delivery) = decode_or_reject(delivery).await? {
                return Ok(Some(delivery));
            }
        }
        Ok(None)
    }

    /// Waits for an item for at most `limit`, requests to the ensemble included.
    ///
    /// # Errors
    /// [`WaitTimeoutError::Elapsed`] when the time is up, else as [`pop`](Self::pop).
    ///
    /// # Cancel safety
    /// As [`WorkQueue::pop`].
    pub async fn pop_timeout(&self, limit: Duration) -> Result<TypedDelivery<T>, WaitTimeoutError> {
        let deadline = Instant::now() + limit;
        loop {
            let delivery = self
                .queue
                .pop_timeout(deadline.saturating_duration_since(Instant::now()))
                .await?;
            if let Some(delivery) = decode_or_reject(delivery).await? {
                return Ok(delivery);
            }
        }
    }

    /// Waits for one item, and takes up to `most` of those that are there then, as [`WorkQueue::pop_batch`] does. Items
    /// of another type are put aside; at least one is returned, unless `most` is 0.
    ///
    /// # Errors
    /// As [`pop`](Self::pop).
    ///
    /// # Cancel safety
    /// As [`WorkQueue::pop`].
    pub async fn pop_batch(&self, most: usize) -> Result<Vec<TypedDelivery<T>>, Error> {
        if most == 0 {
            return Ok(Vec::new());
        }
        loop {
            let others = match decode_any(self.queue.pop_batch(most).await?) {
                Ok(deliveries) => return Ok(deliveries),
                Err(others) => others.into_iter().map(|(delivery, reason)| reject(delivery, reason)),
            };
            future::try_join_all(others).await?;
        }
    }

    /// The items as they come, without end, as [`WorkQueue::deliveries`] yields them. Items of another type are put
    /// aside.
    ///
    /// # Errors
    /// As [`WorkQueue::deliveries`].
    ///
    /// # Cancel safety
    /// As [`WorkQueue::deliveries`].
    pub fn deliveries(
        &self,
        prefetch: usize,
    ) -> impl Stream<Item = Result<TypedDelivery<T>, Error>> + Send + Unpin + use<T> {
        let deliveries = self.queue.deliveries(prefetch);
        Box::pin(stream::unfold(deliveries, |mut deliveries| async move {
            loop {
                let next = match deliveries.next().await? {
                    Ok(delivery) => decode_or_reject(delivery).await.transpose(),
                    Err(error) => Some(Err(error)),
                };
                if let Some(next) = next {
                    return Some((next, deliveries));
                }
            }
        }))
    }
}

impl<T> Clone for TypedQueue<T> {
    fn clone(&self) -> Self {
        Self::of(self.queue.clone())
    }
}

impl<T> fmt::Debug for TypedQueue<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TypedQueue").field("queue", &self.queue).finish()
    }
}

fn encode<T: Serialize>(value: &T, options: PushOptions) -> Result<NewItem, PushError> {
    match serde_json::to_vec(value) {
        Ok(payload) => Ok(NewItem::new(payload).with(options)),
        Err(error) => Err(PushError::Unencodable {
            reason: error.to_string(),
        }),
    }
}

fn encode_all<T: Serialize, V: Borrow<T>>(
    values: impl IntoIterator<Item = (V, PushOptions)>,
) -> Result<Vec<NewItem>, PushError> {
    let values = values.into_iter();
    values.map(|(value, options)| encode(value.borrow(), options)).collect()
}

/// The value of the item; or the reason why it has none of this type.
fn decode<T: DeserializeOwned>(delivery: &Delivery) -> Result<T, String> {
    serde_json::from_slice(delivery.payload()).map_err(|error| {
        let reason = format!("its payload is not JSON of {}: {error}", type_name::<T>());
        warn!(item = %delivery.id(), claim = delivery.path(), reason, "put aside as dead");
        reason
    })
}

/// Those of the items that have a value, if any does, while the others are put aside; else these, with the reasons.
fn decode_any<T: DeserializeOwned>(
    deliveries: Vec<Delivery>,
) -> Result<Vec<TypedDelivery<T>>, Vec<(Delivery, String)>> {
    let (mut good, mut others) = (Vec::new(), Vec::new());
    for delivery in deliveries {
        match decode(&delivery) {
            Ok(value) => good.push(TypedDelivery::new(delivery, value)),
            Err(reason) => others.push((delivery, reason)),
        }
    }
    if good.is_empty() {
        return Err(others);
    }
    // Not waited for: whoever dropped the future then would have tried the good ones.
    others
        .into_iter()
        .for_each(|(delivery, reason)| delivery.reject_soon(reason));
    Ok(good)
}

async fn decode_or_reject<T: DeserializeOwned>(delivery: Delivery) -> Result<Option<TypedDelivery<T>>, Error> {
    let reason = match decode(&delivery) {
        Ok(value) => return Ok(Some(TypedDelivery::new(delivery, value))),
        Err(reason) => reason,
    };
    reject(delivery, reason).await.map(|()| None)
}

async fn reject(delivery: Delivery, reason: String) -> Result<(), Error> {
    match delivery.reject(reason).await {
        Err(AckError::Error(error)) => Err(error),
        // Whoever gets it next finds the same.
        Ok(()) | Err(AckError::Lost(_) | AckError::Indeterminate | AckError::Push(_)) => Ok(()),
    }
}
