//! [`SharedValue`]: a value that many processes read, replace and follow.

use std::fmt;
use std::marker::PhantomData;

use bytes::Bytes;
use tracing::warn;

use crate::error::{Error, classify};
use crate::observer::Observer;
use crate::session::{Coordinator, Interrupted};
use crate::znode::{
    Expected, FencedWriteError, Hold, NodePath, Observe, Payload, Register, RegisterView, Stored, UpdateOutcome,
    WatchContext, WriteOutcome, observe,
};

/// A value with a version, in one persistent node: Curator's `SharedValue` on the same path reads and writes the same
/// bytes. [`typed`](Self::typed) makes a handle of other values, as `Json<T>` with the feature `serde`.
///
/// # Cost
/// Reading: one request. A write: one request, and another in the background; each write is a transaction that also
/// makes an ephemeral child of the node, by which the fate of a write whose reply was lost is told for sure, and which
/// is deleted right after. An observer: one watch, and nothing while the value stays.
///
/// # When the session is lost
/// The value stays. Reads and observers go on in the next session; a write that was on its way may be
/// [`Indeterminate`](SharedValueError::Indeterminate).
///
/// # Examples
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use zookeeper_recipes::SharedValue;
///
/// let zk = zookeeper_recipes::connect("127.0.0.1:2181").await?;
/// let limit = SharedValue::new(&zk, "/config/rate-limit")?;
///
/// let current = limit.get().await?;
/// limit.compare_and_set(current.as_ref(), "250").await?;
///
/// let mut changes = limit.observe().await?;
/// while let Some(value) = changes.changed().await {
///     println!("now {value:?}");
/// }
/// # Ok(())
/// # }
/// ```
pub struct SharedValue<T = Bytes> {
    register: Register,
    values: PhantomData<fn() -> T>,
}

impl<T> Clone for SharedValue<T> {
    fn clone(&self) -> Self {
        Self::of(self.register.clone())
    }
}

impl<T> fmt::Debug for SharedValue<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedValue")
            .field("path", &self.path())
            .finish_non_exhaustive()
    }
}

/// A value as it was at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Versioned<T = Bytes> {
    /// The value.
    pub value: T,
    /// How often the node was written since it was created: the version that a
    /// [`compare_and_set`](SharedValue::compare_and_set) expects.
    pub version: i32,
    /// The zxid of the write: it grows with every one, also when the node is deleted and created again.
    pub zxid: i64,
}

impl SharedValue {
    /// The value at `path`, below the chroot. Nothing is sent; the node is made by the first write.
    ///
    /// # Errors
    /// [`Error::InvalidPath`].
    pub fn new(zk: &Coordinator, path: &str) -> Result<Self, Error> {
        let path = NodePath::new(path)?;
        Ok(Self::of(Register::new(zk.clone(), path)))
    }
}

impl<T> SharedValue<T> {
    fn of(register: Register) -> Self {
        let values = PhantomData;
        Self { register, values }
    }

    /// The path of the value, from the chroot.
    pub fn path(&self) -> &str {
        self.register.path().as_str()
    }

    /// Returns a handle of the same node whose value is read and written as `U`, for example `Json<T>` with the feature
    /// `serde`.
    ///
    /// ```no_run
    /// # #[cfg(feature = "serde")]
    /// # async fn example(zk: zookeeper_recipes::Coordinator) -> Result<(), Box<dyn std::error::Error>> {
    /// use std::collections::BTreeMap;
    /// use zookeeper_recipes::{Json, SharedValue};
    ///
    /// let limits = SharedValue::new(&zk, "/config/limits")?.typed::<Json<BTreeMap<String, u32>>>();
    /// limits.set(Json([("rate".to_owned(), 250)].into())).await?;
    /// if let Some(current) = limits.get().await? {
    ///     println!("{:?}", current.value.get("rate"));
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn typed<U: Payload>(self) -> SharedValue<U> {
        SharedValue::of(self.register)
    }
}

impl<T: Payload> SharedValue<T> {
    /// The value; `None` if there is no node. It may be older than what another client has been told is written: a
    /// server that lags may answer.
    ///
    /// # Errors
    /// An [`Error`] that retrying would not help; [`Error::Value`] for bytes that are no `T`.
    pub async fn get(&self) -> Result<Option<Versioned<T>>, Error> {
        let stored = self.register.read().await?;
        stored.map(|stored| self.decode(stored)).transpose()
    }

    fn decode(&self, stored: Stored) -> Result<Versioned<T>, Error> {
        Versioned::decode(stored).map_err(|reason| self.unusable(reason))
    }

    fn encode(&self, value: &T) -> Result<Bytes, Error> {
        value.encode().map_err(|reason| self.unusable(reason))
    }

    fn unusable(&self, reason: String) -> Error {
        let path = self.path().to_owned();
        Error::Value { path, reason }
    }

    /// Replaces the value, whatever it is.
    ///
    /// # Errors
    /// * [`SharedValueError::Indeterminate`]: the session ended before an answer came.
    /// * [`SharedValueError::Error`]: among others [`Error::TooLarge`], and [`Error::Value`] for one that cannot be written.
    ///
    /// # Cancel safety
    /// Dropping the future leaves open whether the value is written.
    pub async fn set(&self, value: impl Into<T>) -> Result<(), SharedValueError> {
        let data = self.encode(&value.into())?;
        match self.register.write(Expected::Anything, &data).await? {
            WriteOutcome::Applied => Ok(()),
            // Nothing mismatches what is not expected.
            WriteOutcome::Mismatch | WriteOutcome::Indeterminate => Err(SharedValueError::Indeterminate),
        }
    }

    /// Replaces the value, whatever it is, **while `hold` lasts**: the write commits only if the ensemble sees the place as
    /// ours. So a leader or a holder that is late overwrites nothing. The hold is one of the same coordinator, or of another
    /// one with the same chroot.
    ///
    /// ```no_run
    /// # async fn example(zk: zookeeper_recipes::Coordinator) -> Result<(), Box<dyn std::error::Error>> {
    /// use zookeeper_recipes::{LeaderElection, SharedValue};
    ///
    /// let leadership = LeaderElection::new(&zk, "/pricing")?.campaign("node-7").await?;
    /// let prices = SharedValue::new(&zk, "/prices")?;
    /// prices.set_fenced(&leadership, "EUR 1.20").await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// * [`FencedWriteError::Lost`]: the hold is lost, nothing was written.
    /// * [`FencedWriteError::Indeterminate`]: no answer came, and another value is there by now.
    /// * [`FencedWriteError::Error`]: as for [`set`](Self::set).
    ///
    /// # Cancel safety
    /// As [`set`](Self::set).
    ///
    /// # Cost
    /// One read and one write.
    pub async fn set_fenced(&self, hold: &Hold, value: impl Into<T>) -> Result<(), FencedWriteError> {
        let data = self.encode(&value.into())?;
        self.register.write_fenced(hold, &data).await
    }

    /// Replaces the value if it is still `current`, as read before; with `None`, if there is no node. It succeeds at
    /// most once, and when it does, it says so: even when replies are lost.
    ///
    /// Versions start from 0 again when a node is deleted and created again.
    ///
    /// # Errors
    /// * [`SharedValueError::Changed`]: another value is there; nothing was written.
    /// * the others as for [`set`](Self::set).
    ///
    /// # Cancel safety
    /// As [`set`](Self::set).
    pub async fn compare_and_set(
        &self,
        current: Option<&Versioned<T>>,
        value: impl Into<T>,
    ) -> Result<(), SharedValueError> {
        let expected = current.map_or(Expected::Nothing, |current| Expected::Version(current.version));
        let data = self.encode(&value.into())?;
        match self.register.write(expected, &data).await? {
            WriteOutcome::Applied => Ok(()),
            WriteOutcome::Mismatch => Err(SharedValueError::Changed),
            WriteOutcome::Indeterminate => Err(SharedValueError::Indeterminate),
        }
    }

    /// Replaces the value by what `next` makes of it, and returns that. `next` is called again, after a pause that grows, if
    /// another client came first; its last result is applied exactly once.
    ///
    /// # Errors
    /// As [`set`](Self::set).
    ///
    /// # Cancel safety
    /// As [`set`](Self::set).
    pub async fn update<V: Into<T>>(
        &self,
        mut next: impl FnMut(Option<&Versioned<T>>) -> V,
    ) -> Result<T, SharedValueError> {
        let mut value = None;
        let updated = self.register.update(|stored| {
            let current = stored.cloned().map(|stored| self.decode(stored)).transpose()?;
            let data = self.encode(value.insert(next(current.as_ref()).into()))?;
            Ok::<_, SharedValueError>(Some(data))
        });
        match (updated.await?, value) {
            (UpdateOutcome::Applied | UpdateOutcome::Unchanged, Some(value)) => Ok(value),
            _ => Err(SharedValueError::Indeterminate),
        }
    }

    /// Follows the value, `None` while there is no node. Returns with the first value.
    ///
    /// The latest change is never missed, also across lost connections and sessions, and if the node is deleted and
    /// created again with the same version. Clone the observer rather than to observe twice: it ends, and its watch
    /// with it, when its last clone is dropped.
    ///
    /// A later value that is no `T` is told in the log, and the observer stays at the last one that is: a slip of an
    /// operator does not take the configuration away from all processes that run. [`get`](Self::get) returns the error.
    ///
    /// # Errors
    /// An [`Error`] that retrying would not help; [`Error::Value`] if the first value is no `T`.
    pub async fn observe(&self) -> Result<Observer<Option<Versioned<T>>>, Error>
    where
        T: Clone + PartialEq,
    {
        let view = ValueView {
            register: self.register.view(),
            value: self.clone(),
            last: None,
        };
        observe(self.register.zk(), view).await
    }
}

impl<T: Payload> Versioned<T> {
    fn decode(stored: Stored) -> Result<Self, String> {
        Ok(Self {
            value: T::decode(stored.data)?,
            version: stored.version,
            zxid: stored.mzxid,
        })
    }
}

struct ValueView<T> {
    register: RegisterView,
    value: SharedValue<T>,
    /// The value that was told last.
    last: Option<Option<Versioned<T>>>,
}

impl<T: Payload + Clone + PartialEq> Observe for ValueView<T> {
    type Value = Option<Versioned<T>>;

    async fn refresh(&mut self, context: &WatchContext) -> Result<Self::Value, Interrupted> {
        let stored = self.register.refresh(context).await?;
        let value = match (stored.map(|stored| self.value.decode(stored)).transpose(), &self.last) {
            (Ok(value), _) => value,
            (Err(error), Some(last)) => {
                warn!(%error, "a value that cannot be read is there; the one before is kept");
                last.clone()
            }
            (Err(error), None) => return Err(error.into()),
        };
        self.last = Some(value.clone());
        Ok(value)
    }
}

/// Why a value was not, or may not have been, written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SharedValueError {
    /// It is not, or no longer, the one that was expected. Nothing was written; read it again.
    #[error("nothing was written: another value is there; read it again")]
    Changed,
    /// The session ended before the answer came: it was written or not. Read it back.
    #[error("the session ended before the answer came: it was written or not; read it back")]
    Indeterminate,
    /// It cannot be written at all.
    #[error(transparent)]
    Error(#[from] Error),
}

classify!(SharedValueError, Self::Error(error) => error.nature());
