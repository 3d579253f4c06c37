//! [`TypedDelivery`]: a value that is being worked on.

use std::borrow::Borrow;
use std::ops::Deref;
use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;

use super::super::Delivery;
use super::super::errors::AckError;
use super::super::item::{ItemId, PushOptions};
use super::encode_all;

/// A value that was delivered to this consumer; it dereferences to its [`Delivery`], and that to its
/// [`Hold`](crate::Hold).
///
/// All that is said of [`Delivery`] holds. Dropping it gives the item back.
#[must_use = "dropping it gives the item back"]
#[clippy::has_significant_drop]
#[derive(Debug)]
pub struct TypedDelivery<T> {
    delivery: Delivery,
    value: T,
}

impl<T> TypedDelivery<T> {
    pub(super) fn new(delivery: Delivery, value: T) -> Self {
        Self { delivery, value }
    }

    /// What was pushed.
    pub fn value(&self) -> &T {
        &self.value
    }

    /// The value, and the delivery that is still to be settled.
    pub fn into_parts(self) -> (T, Delivery) {
        (self.value, self.delivery)
    }

    /// As [`Delivery::ack`].
    ///
    /// # Errors
    /// As [`Delivery::ack`].
    ///
    /// # Cancel safety
    /// As [`Delivery::ack`].
    pub async fn ack(self) -> Result<(), AckError> {
        self.delivery.ack().await
    }

    /// As [`Delivery::ack_with`]; the result is bytes, as [`WorkQueue::result`](super::WorkQueue::result) returns them.
    ///
    /// # Errors
    /// As [`Delivery::ack_with`].
    ///
    /// # Cancel safety
    /// As [`Delivery::ack`].
    pub async fn ack_with(self, result: impl Into<Bytes>) -> Result<(), AckError> {
        self.delivery.ack_with(result).await
    }

    /// As [`Delivery::nack`].
    ///
    /// # Errors
    /// As [`Delivery::ack`].
    ///
    /// # Cancel safety
    /// As [`Delivery::ack`].
    pub async fn nack(self) -> Result<(), AckError> {
        self.delivery.nack().await
    }

    /// As [`Delivery::nack_after`].
    ///
    /// # Errors
    /// As [`Delivery::ack`].
    ///
    /// # Cancel safety
    /// As [`Delivery::ack`].
    pub async fn nack_after(self, delay: Duration) -> Result<(), AckError> {
        self.delivery.nack_after(delay).await
    }

    /// As [`Delivery::reject`].
    ///
    /// # Errors
    /// As [`Delivery::ack`].
    ///
    /// # Cancel safety
    /// As [`Delivery::ack`].
    pub async fn reject(self, reason: impl Into<String>) -> Result<(), AckError> {
        self.delivery.reject(reason).await
    }
}

impl<T: Serialize> TypedDelivery<T> {
    /// The item is done and the next values are pushed, in one transaction, as [`Delivery::ack_then`] does.
    ///
    /// # Errors
    /// As [`Delivery::ack_then`]: [`AckError::Push`] also for a value that cannot be written.
    ///
    /// # Cancel safety
    /// As [`Delivery::ack`].
    pub async fn ack_then(self, next: impl IntoIterator<Item = impl Borrow<T>>) -> Result<Vec<ItemId>, AckError> {
        let next = next.into_iter().map(|value| (value, PushOptions::new()));
        self.ack_then_with(next).await
    }

    /// As [`ack_then`](Self::ack_then), with options for each of the next values.
    ///
    /// # Errors
    /// As [`ack_then`](Self::ack_then).
    ///
    /// # Cancel safety
    /// As [`Delivery::ack`].
    pub async fn ack_then_with(
        self,
        next: impl IntoIterator<Item = (impl Borrow<T>, PushOptions)>,
    ) -> Result<Vec<ItemId>, AckError> {
        let next = encode_all::<T, _>(next).map_err(AckError::Push)?;
        self.delivery.ack_then(next).await
    }
}

impl<T> Deref for TypedDelivery<T> {
    type Target = Delivery;

    fn deref(&self) -> &Delivery {
        &self.delivery
    }
}
