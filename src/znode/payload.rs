//! [`Payload`]: values that stand in nodes as bytes.

use bytes::Bytes;

/// What the items of a [`WorkQueue`](crate::queue::WorkQueue) and the value of a [`SharedValue`](crate::SharedValue) are:
/// bytes, or values that are written as bytes.
pub trait Payload: Sized + Send + Sync + 'static {
    /// Writes the value; an error says why it cannot be written.
    ///
    /// # Errors
    /// What the caller is told.
    fn encode(&self) -> Result<Bytes, String>;

    /// Reads a value; an error becomes the reason of a dead letter, or of an [`Error::Value`](crate::Error::Value).
    ///
    /// # Errors
    /// What the dead letter or the error says.
    fn decode(data: Bytes) -> Result<Self, String>;
}

impl Payload for Bytes {
    fn encode(&self) -> Result<Bytes, String> {
        Ok(self.clone())
    }

    fn decode(data: Bytes) -> Result<Self, String> {
        Ok(data)
    }
}

/// A value that is written as JSON. It dereferences to the value.
#[cfg(feature = "serde")]
#[cfg_attr(docsrs, doc(cfg(feature = "serde")))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Json<T>(pub T);

#[cfg(feature = "serde")]
impl<T: serde::Serialize + serde::de::DeserializeOwned + Send + Sync + 'static> Payload for Json<T> {
    fn encode(&self) -> Result<Bytes, String> {
        serde_json::to_vec(&self.0)
            .map(Bytes::from)
            .map_err(|error| error.to_string())
    }

    fn decode(data: Bytes) -> Result<Self, String> {
        serde_json::from_slice(&data)
            .map(Self)
            .map_err(|error| format!("it is no {}: {error}", std::any::type_name::<T>()))
    }
}

#[cfg(feature = "serde")]
impl<T> std::ops::Deref for Json<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}
