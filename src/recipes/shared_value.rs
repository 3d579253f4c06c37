//! [`SharedValue`]: bytes that many processes read, replace and follow.

use bytes::Bytes;

use crate::error::{Error, classify};
use crate::observer::Observer;
use crate::session::{Coordinator, Interrupted};
use crate::znode::{
    Expected, NodePath, Observe, Register, RegisterView, Stored, UpdateOutcome, WatchContext, WriteOutcome, observe,
};

/// A value with a version, in one persistent node: Curator's `SharedValue` on the same path reads and writes the same
/// bytes.
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
#[derive(Clone, Debug)]
pub struct SharedValue {
    register: Register,
}

/// A value as it was at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Versioned {
    /// The bytes.
    pub value: Bytes,
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
        Ok(Self {
            register: Register::new(zk.clone(), path),
        })
    }

    /// The path of the value, from the chroot.
    pub fn path(&self) -> &str {
        self.register.path().as_str()
    }

    /// The value; `None` if there is no node. It may be older than what another client has been told is written: a
    /// server that lags may answer.
    ///
    /// # Errors
    /// An [`Error`] that retrying would not help.
    pub async fn get(&self) -> Result<Option<Versioned>, Error> {
        Ok(self.register.read().await?.map(Versioned::from))
    }

    /// Replaces the value, whatever it is.
    ///
    /// # Errors
    /// * [`SharedValueError::Indeterminate`]: the session ended before an answer came.
    /// * [`SharedValueError::Error`]: among others [`Error::TooLarge`].
    ///
    /// # Cancel safety
    /// Dropping the future leaves open whether the value is written.
    pub async fn set(&self, value: impl Into<Bytes>) -> Result<(), SharedValueError> {
        match self.register.write(Expected::Anything, &value.into()).await? {
            WriteOutcome::Applied => Ok(()),
            // Nothing mismatches what is not expected.
            WriteOutcome::Mismatch | WriteOutcome::Indeterminate => Err(SharedValueError::Indeterminate),
        }
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
        current: Option<&Versioned>,
        value: impl Into<Bytes>,
    ) -> Result<(), SharedValueError> {
        let expected = current.map_or(Expected::Nothing, |current| Expected::Version(current.version));
        match self.register.write(expected, &value.into()).await? {
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
    pub async fn update<V: Into<Bytes>>(
        &self,
        mut next: impl FnMut(Option<&Versioned>) -> V,
    ) -> Result<Bytes, SharedValueError> {
        let mut value = Bytes::new();
        let updated = self.register.update(|stored| {
            let current = stored.cloned().map(Versioned::from);
            value = next(current.as_ref()).into();
            Ok::<_, SharedValueError>(Some(value.clone()))
        });
        match updated.await? {
            UpdateOutcome::Applied | UpdateOutcome::Unchanged => Ok(value),
            UpdateOutcome::Indeterminate => Err(SharedValueError::Indeterminate),
        }
    }

    /// Follows the value, `None` while there is no node. Returns with the first value.
    ///
    /// The latest change is never missed, also across lost connections and sessions, and if the node is deleted and
    /// created again with the same version. Clone the observer rather than to observe twice: it ends, and its watch
    /// with it, when its last clone is dropped.
    ///
    /// # Errors
    /// An [`Error`] that retrying would not help.
    pub async fn observe(&self) -> Result<Observer<Option<Versioned>>, Error> {
        let view = ValueView {
            register: self.register.view(),
        };
        observe(self.register.zk(), view).await
    }
}

impl From<Stored> for Versioned {
    fn from(stored: Stored) -> Self {
        Self {
            value: stored.data,
            version: stored.version,
            zxid: stored.mzxid,
        }
    }
}

struct ValueView {
    register: RegisterView,
}

impl Observe for ValueView {
    type Value = Option<Versioned>;

    async fn refresh(&mut self, context: &WatchContext) -> Result<Self::Value, Interrupted> {
        Ok(self.register.refresh(context).await?.map(Versioned::from))
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
