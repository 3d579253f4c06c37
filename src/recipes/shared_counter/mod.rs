//! [`SharedCounter`]: an integer that many processes count with.

mod additions;

use std::sync::Arc;

use bytes::Bytes;

use self::additions::{CounterState, serve};

use crate::error::{Error, classify};
use crate::observer::Observer;
use crate::session::{Coordinator, Interrupted};
use crate::znode::{
    Expected, NodePath, Observe, Register, RegisterView, Stored, UpdateOutcome, WatchContext, WriteOutcome, observe,
};

/// An integer in one persistent node, whose every addition counts exactly once.
///
/// [`new`](Self::new) makes it one with Curator's `DistributedAtomicLong` on the same path,
/// [`new_shared_count`](Self::new_shared_count) with its `SharedCount` and `DistributedAtomicInteger`. A node that is
/// absent or empty counts as 0.
///
/// # Cost
/// Reading: one request. An addition by itself: one read and one write, and another request in the
/// background; each write is a transaction that also makes an ephemeral child of the node, by which the fate of a write
/// whose reply was lost is told for sure, and which is deleted right after. Additions that callers of one coordinator make
/// at the same time share one transaction. An observer: one watch, and nothing while the count stays.
///
/// # Fairness
/// Additions of one coordinator are made in the order of the calls. Of the processes that add at the same time, one
/// succeeds and the others try again, each after a pause that grows with its failures.
///
/// # Examples
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use zookeeper_recipes::SharedCounter;
///
/// let zk = zookeeper_recipes::connect("127.0.0.1:2181").await?;
/// let numbers = SharedCounter::new(&zk, "/invoices/next-number")?;
/// println!("invoice {}", numbers.fetch_add(1).await?);
/// # Ok(())
/// # }
/// ```
#[doc(alias = "DistributedAtomicLong")]
#[doc(alias = "SharedCount")]
#[doc(alias = "Counter")]
#[derive(Clone, Debug)]
pub struct SharedCounter {
    register: Register,
    encoding: Encoding,
}

/// How a count is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Encoding {
    /// 8 bytes, big-endian: Curator's `DistributedAtomicLong`.
    Int64,
    /// 4 bytes, big-endian: Curator's `SharedCount` and `DistributedAtomicInteger`.
    Int32,
}

impl SharedCounter {
    /// A counter at `path`, below the chroot, of 64 bits: as Curator's `DistributedAtomicLong`. Nothing is sent; the
    /// node is made by the first write.
    ///
    /// # Errors
    /// [`Error::InvalidPath`].
    pub fn new(zk: &Coordinator, path: &str) -> Result<Self, Error> {
        Self::with_encoding(zk, path, Encoding::Int64)
    }

    /// As [`new`](Self::new), of 32 bits: as Curator's `SharedCount` and `DistributedAtomicInteger`.
    ///
    /// # Errors
    /// [`Error::InvalidPath`].
    pub fn new_shared_count(zk: &Coordinator, path: &str) -> Result<Self, Error> {
        Self::with_encoding(zk, path, Encoding::Int32)
    }

    fn with_encoding(zk: &Coordinator, path: &str, encoding: Encoding) -> Result<Self, Error> {
        let path = NodePath::new(path)?;
        Ok(Self {
            register: Register::new(zk.clone(), path),
            encoding,
        })
    }

    /// The path of the counter, from the chroot.
    pub fn path(&self) -> &str {
        self.register.path().as_str()
    }

    /// The count. It may be older than what another client has been told is counted: a server that lags may answer.
    ///
    /// # Errors
    /// [`Error::Layout`] if what is at the path is no such counter, and what else retrying would not help.
    pub async fn get(&self) -> Result<i64, Error> {
        let stored = self.register.read().await?;
        self.encoding.count(self.path(), stored.as_ref())
    }

    /// Adds `delta`, which may be negative, and returns the count *before*. Exactly once, even if replies are lost.
    ///
    /// Additions that are made at the same time through one coordinator go into one transaction. Each caller gets its own
    /// count, as if one addition came after the other, and an addition that has no room fails alone.
    ///
    /// # Errors
    /// * [`SharedCounterError::Overflow`]: the sum has no room.
    /// * [`SharedCounterError::Indeterminate`]: the session ended before an answer came. All that shared the transaction
    ///   are told so.
    /// * [`SharedCounterError::Error`]: among others [`Error::Layout`] if what is at the path is no such counter.
    ///
    /// # Cancel safety
    /// Dropping the future leaves open whether it is counted, and never disturbs the additions of others.
    pub async fn fetch_add(&self, delta: i64) -> Result<i64, SharedCounterError> {
        let zk = self.register.zk();
        // Also an error where no transaction would be begun.
        let session = zk.session().await?;
        let state = zk.path_state::<CounterState>(self.path());
        let (answer, _caller, is_first) = state.of(self.encoding).push(delta);
        if is_first {
            session.runtime().spawn(serve(Arc::clone(&state), self.clone()));
        }
        // Without an answer the runtime is gone in the middle of it.
        answer.await.unwrap_or(Err(SharedCounterError::Indeterminate))
    }

    /// Sets the count to `new` if it is `current`; whether it was. Exact, even if replies are lost.
    ///
    /// # Errors
    /// As [`fetch_add`](Self::fetch_add).
    ///
    /// # Cancel safety
    /// Dropping the future leaves open whether it is set.
    pub async fn compare_and_set(&self, current: i64, new: i64) -> Result<bool, SharedCounterError> {
        let updated = self.register.update(|stored| {
            if self.encoding.count(self.path(), stored)? != current {
                return Ok(None);
            }
            let data = self.encoding.encode(new);
            data.map(Some).ok_or(SharedCounterError::Overflow)
        });
        match updated.await? {
            UpdateOutcome::Applied => Ok(true),
            UpdateOutcome::Unchanged => Ok(false),
            UpdateOutcome::Indeterminate => Err(SharedCounterError::Indeterminate),
        }
    }

    /// Sets the count, whatever it is, also where something else is at the path.
    ///
    /// # Errors
    /// As [`fetch_add`](Self::fetch_add).
    ///
    /// # Cancel safety
    /// Dropping the future leaves open whether it is set.
    pub async fn set(&self, count: i64) -> Result<(), SharedCounterError> {
        let data = self.encoding.encode(count).ok_or(SharedCounterError::Overflow)?;
        match self.register.write(Expected::Anything, &data).await? {
            WriteOutcome::Applied => Ok(()),
            // Nothing mismatches what is not expected.
            WriteOutcome::Mismatch | WriteOutcome::Indeterminate => Err(SharedCounterError::Indeterminate),
        }
    }

    /// Follows the count; an error while what is at the path is no such counter. Returns with the first count.
    ///
    /// The latest change is never missed, also across lost connections and sessions. Clone the observer rather than to
    /// observe twice: it ends, and its watch with it, when its last clone is dropped.
    ///
    /// # Errors
    /// An [`Error`] that retrying would not help.
    pub async fn observe(&self) -> Result<Observer<Result<i64, Error>>, Error> {
        let view = CounterView {
            path: self.path().to_owned(),
            encoding: self.encoding,
            register: self.register.view(),
        };
        observe(self.register.zk(), view).await
    }
}

impl Encoding {
    /// Whether the count has room.
    fn holds(self, count: i64) -> bool {
        self == Self::Int64 || i32::try_from(count).is_ok()
    }

    fn encode(self, count: i64) -> Option<Bytes> {
        match self {
            Self::Int64 => Some(Bytes::copy_from_slice(&count.to_be_bytes())),
            Self::Int32 => {
                let count = i32::try_from(count).ok()?;
                Some(Bytes::copy_from_slice(&count.to_be_bytes()))
            }
        }
    }

    fn decode(self, data: &[u8]) -> Option<i64> {
        match self {
            _ if data.is_empty() => Some(0),
            Self::Int64 => data.try_into().ok().map(i64::from_be_bytes),
            Self::Int32 => data.try_into().ok().map(i32::from_be_bytes).map(i64::from),
        }
    }

    fn count(self, path: &str, stored: Option<&Stored>) -> Result<i64, Error> {
        let reason = match self {
            Self::Int64 => "its data is not the 8 bytes of a 64-bit counter; choose another path, or set it",
            Self::Int32 => "its data is not the 4 bytes of a 32-bit counter; choose another path, or set it",
        };
        let count = stored.map_or(Some(0), |stored| self.decode(&stored.data));
        count.ok_or_else(|| Error::Layout {
            path: path.to_owned(),
            reason,
        })
    }
}

struct CounterView {
    path: String,
    encoding: Encoding,
    register: RegisterView,
}

impl Observe for CounterView {
    type Value = Result<i64, Error>;

    async fn refresh(&mut self, context: &WatchContext) -> Result<Self::Value, Interrupted> {
        let stored = self.register.refresh(context).await?;
        Ok(self.encoding.count(&self.path, stored.as_ref()))
    }
}

/// Why a count was not, or may not have been, changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SharedCounterError {
    /// The count would not fit into the counter. Nothing was written.
    #[error("nothing was counted: the result does not fit into the counter")]
    Overflow,
    /// The session ended before the answer came: it was counted or not.
    #[error("the session ended before the answer came: it was counted or not; read it back")]
    Indeterminate,
    /// It cannot be counted at all.
    #[error(transparent)]
    Error(#[from] Error),
}

classify!(SharedCounterError, Self::Error(error) => error.nature());

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::Encoding::{Int32, Int64};

    #[test]
    fn the_bytes_are_curators() {
        assert_eq!(Int64.encode(258).unwrap().as_ref(), [0, 0, 0, 0, 0, 0, 1, 2]);
        assert_eq!(Int32.encode(7).unwrap().as_ref(), [0, 0, 0, 7]);
        assert_eq!(Int32.encode(-2).unwrap().as_ref(), [0xff, 0xff, 0xff, 0xfe]);
        assert_eq!((Int64.decode(b""), Int32.decode(b"")), (Some(0), Some(0)));
    }

    #[test]
    fn other_lengths_are_no_counts() {
        for data in [&b"127.0.0.1"[..], b"x", b"1234567", b"123456789"] {
            assert_eq!((Int64.decode(data), Int32.decode(data)), (None, None));
        }
        assert_eq!(Int64.decode(&[0; 4]), None);
        assert_eq!(Int32.decode(&[0; 8]), None);
        assert_eq!(Int32.encode(i64::from(i32::MAX) + 1), None);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(count: i64, small: i32) {
            prop_assert_eq!(Int64.decode(&Int64.encode(count).unwrap()), Some(count));
            prop_assert_eq!(Int32.decode(&Int32.encode(small.into()).unwrap()), Some(small.into()));
        }
    }
}
