//! [`CountDownLatch`]: open once so many things are done.

use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;
use zookeeper_client as zk;

use crate::error::{Error, TimeoutError, classify};
use crate::session::{Coordinator, Interrupted, Operation, RecipeError, Retry, Session, refused};
use crate::znode::{
    NodePath, Parents, Transaction, commit, create, delete, delete_if_exists, elapsed, ensure_path, list, read,
    retry_across_sessions, stat, stat_and_watch,
};

/// Name of the node that opens the latch.
const OPEN: &str = "open";

/// What the name of a node that counts begins with.
const COUNT: &str = "count-";

/// A gate that opens for good once it was counted down: the report is written when all shares are settled.
///
/// # Layout
/// Ours; Curator has no such recipe. The data of `<path>`, persistent, is two numbers in decimal digits: of how many,
/// and how many are missing. Each count is a persistent node `<path>/count-<id>`, made in one transaction with the
/// change of the number, so that a count whose reply was lost is not counted twice. `<path>/open` is made in the
/// transaction of the last one. All of it stays until [`remove`](Self::remove).
///
/// # Cost
/// Count: one read and one transaction; more if others count at the same moment. Wait: two reads, of which one sets a
/// watch; nothing more while it waits. Counting wakes no waiter but for the last count, which wakes each waiter once.
///
/// # Examples
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use zookeeper_recipes::CountDownLatch;
///
/// let zk = zookeeper_recipes::connect("127.0.0.1:2181").await?;
/// let settled = CountDownLatch::new(&zk, "/settlement/2026-11-21/settled", 12)?;
/// // ... the process that settles share 7, maybe for the second time:
/// settled.count_down_as("share-7").await?;
/// // ... and the reporter:
/// settled.wait().await?;
/// # Ok(())
/// # }
/// ```
#[doc(alias = "ICountDownLatch")]
#[doc(alias = "RCountDownLatch")]
#[derive(Clone, Debug)]
pub struct CountDownLatch {
    zk: Coordinator,
    path: NodePath,
    total: u32,
}

impl CountDownLatch {
    /// A latch at `path`, below the chroot, that opens after `count` counts. Nothing is sent; the first user's number
    /// is agreed on, and a handle with another one is refused.
    ///
    /// # Errors
    /// [`Error::InvalidPath`].
    pub fn new(zk: &Coordinator, path: &str, count: u32) -> Result<Self, Error> {
        Ok(Self {
            zk: zk.clone(),
            path: NodePath::new(path)?,
            total: count,
        })
    }

    /// The path of the latch, from the chroot.
    pub fn path(&self) -> &str {
        self.path.as_str()
    }

    /// Counts once, and returns how many are missing. At zero there is nothing left to count.
    ///
    /// # Errors
    /// [`LatchError::Mismatch`] if others use another count, [`LatchError::Error`] for what retrying would not help.
    ///
    /// # Cancel safety
    /// Dropping the future leaves open whether it was counted.
    pub async fn count_down(&self) -> Result<u32, LatchError> {
        let id = Uuid::new_v4().hyphenated().to_string();
        self.count_down_as(&id).await
    }

    /// Counts once for `id`, however often and by how many this is called, and returns how many are missing: for work
    /// that may be done a second time, by another worker after the first one died.
    ///
    /// # Errors
    /// As [`count_down`](Self::count_down); [`Error::InvalidPath`] if `id` is not one part of a path.
    ///
    /// # Cancel safety
    /// Dropping the future leaves open whether it was counted. Count again with the same id.
    pub async fn count_down_as(&self, id: &str) -> Result<u32, LatchError> {
        let mark = &NodePath::new(&self.path.child(&format!("{COUNT}{id}")))?;
        if id.is_empty() || id.contains('/') {
            return Err(Error::InvalidPath {
                path: mark.as_str().to_owned(),
                reason: "the id of a count is one part of a path: not empty, and without '/'",
            }
            .into());
        }
        retry_across_sessions(&self.zk, |session| async move {
            self.count_in(&session, mark.as_str()).await
        })
        .await
    }

    /// How many counts are missing: one read.
    ///
    /// # Errors
    /// As [`count_down`](Self::count_down).
    pub async fn count(&self) -> Result<u32, LatchError> {
        retry_across_sessions(&self.zk, |session| async move {
            let found = read(&session, self.path()).await?;
            let missing = self.missing(found.as_ref().map(|(data, _)| data.as_slice()))?;
            Ok(missing.unwrap_or(self.total))
        })
        .await
    }

    /// Waits until nothing is missing, however long it takes; returns at once if that is so.
    ///
    /// # Errors
    /// As [`count_down`](Self::count_down).
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    ///
    /// # When the session is lost
    /// The future goes on waiting in the next session. Counts stay when their sessions end.
    pub async fn wait(&self) -> Result<(), LatchError> {
        if self.count().await? == 0 {
            return Ok(());
        }
        let open = &self.path.child(OPEN);
        retry_across_sessions(&self.zk, |session| async move {
            loop {
                match stat_and_watch(&session, open).await? {
                    (Some(_), _) => return Ok(()),
                    (None, mut watch) => watch.changed().await,
                }
                if stat(&session, open).await?.is_some() {
                    return Ok(());
                }
            }
        })
        .await
    }

    /// [`wait`](Self::wait) for at most `limit`, requests to the ensemble included.
    ///
    /// # Errors
    /// [`LatchTimeoutError::Elapsed`] if the time is up.
    ///
    /// # Cancel safety
    /// As [`wait`](Self::wait).
    pub async fn wait_timeout(&self, limit: Duration) -> Result<(), LatchTimeoutError> {
        let waited = self.zk.timeout(limit, self.wait()).await;
        waited.map_or_else(|| Err(elapsed(&self.zk, self.path(), limit)), |waited| Ok(waited?))
    }

    /// Removes the latch with all its counts, so that it can be used again. Waiters wait on.
    ///
    /// # Errors
    /// An [`Error`] that retrying would not help.
    ///
    /// # Cancel safety
    /// Dropping the future may leave part of the latch behind; remove it again.
    pub async fn remove(&self) -> Result<(), Error> {
        retry_across_sessions(&self.zk, |session| async move {
            let mut retry = Retry::new(&session, self.path(), 0);
            loop {
                let children = list(&session, &self.path).await?;
                let (ours, foreign): (Vec<_>, Vec<_>) = children
                    .iter()
                    .partition(|child| *child == OPEN || child.starts_with(COUNT));
                for child in &ours {
                    delete_if_exists(&session, &self.path.child(child)).await?;
                }
                match (delete(&session, self.path(), None).await?, foreign.first()) {
                    (Ok(()) | Err(zk::Error::NoNode), _) => return Ok(()),
                    (Err(zk::Error::NotEmpty), Some(foreign)) => {
                        return Err(Interrupted::Failed(Error::Layout {
                            path: self.path.child(foreign),
                            reason: "it stands below a latch and is no part of it; remove it, then the latch",
                        }));
                    }
                    // A count came in the meantime.
                    (Err(zk::Error::NotEmpty), None) => retry.raced().await?,
                    (Err(source), _) => return Err(refused(self.path(), source)),
                }
            }
        })
        .await
    }

    async fn count_in(&self, session: &Arc<Session>, mark: &str) -> Result<u32, Interrupted<LatchError>> {
        let mut retry = Retry::new(session, self.path(), session.identity().len());
        loop {
            let (data, stat) = match read(session, self.path()).await? {
                Some(found) => found,
                None => {
                    self.create(session).await?;
                    continue;
                }
            };
            let before = self.missing(Some(&data))?.unwrap_or(self.total);
            let Some(after) = before.checked_sub(1) else {
                return Ok(0);
            };
            let mut steps = vec![
                // First, so that a repetition is known as one whatever has happened since.
                Operation::create(mark, session.identity().to_vec(), zk::CreateMode::Persistent),
                Operation::set_data(self.path(), self.data(after), stat.version),
            ];
            if after == 0 {
                let open = self.path.child(OPEN);
                steps.push(Operation::create(open, Vec::new(), zk::CreateMode::Persistent));
            }
            match commit(&mut retry, session, &steps).await? {
                Transaction::Applied(_) => return Ok(after),
                Transaction::Refused(0, zk::Error::NodeExists) => return Ok(before),
                Transaction::Refused(_, zk::Error::NoNode | zk::Error::BadVersion) => retry.raced().await?,
                Transaction::Unknown => {}
                Transaction::Refused(_, source) => return Err(refused(self.path(), source).into()),
            }
        }
    }

    async fn create(&self, session: &Arc<Session>) -> Result<(), Interrupted> {
        let data = self.data(self.total);
        let created = create(session, self.path(), data.as_bytes(), zk::CreateMode::Persistent);
        match (created.await?, self.path.parent()) {
            (Ok(()) | Err(zk::Error::NodeExists), _) => Ok(()),
            (Err(zk::Error::NoNode), Some(parent)) => ensure_path(session, &parent, Parents::Containers).await,
            (Err(source), _) => Err(refused(self.path(), source)),
        }
    }

    fn data(&self, missing: u32) -> String {
        format!("{} {missing}", self.total)
    }

    /// How many are missing according to the data of the latch's node; `None` if that says nothing yet.
    fn missing(&self, data: Option<&[u8]>) -> Result<Option<u32>, LatchError> {
        let Some(data) = data.filter(|data| !data.is_empty()) else {
            return Ok(None);
        };
        let (total, missing) = parse(data).ok_or_else(|| Error::Layout {
            path: self.path().to_owned(),
            reason: "its data is not that of a latch; use another path, or empty it",
        })?;
        if total != self.total {
            return Err(LatchError::Mismatch {
                path: self.path().to_owned(),
                ours: self.total,
                agreed: total,
            });
        }
        Ok(Some(missing))
    }
}

pub(super) fn parse(data: &[u8]) -> Option<(u32, u32)> {
    let (total, missing) = std::str::from_utf8(data).ok()?.split_once(' ')?;
    let (total, missing) = (total.parse().ok()?, missing.parse().ok()?);
    (missing <= total).then_some((total, missing))
}

/// Why a latch cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LatchError {
    /// Others use this latch with another count.
    #[error("{path} counts down from {agreed}, not from {ours}: all of its users are to be given one number")]
    Mismatch {
        /// Path of the latch, from the chroot.
        path: String,
        /// What was given to [`CountDownLatch::new`].
        ours: u32,
        /// What the others agreed on.
        agreed: u32,
    },
    /// It cannot be used at all.
    #[error(transparent)]
    Error(#[from] Error),
}

classify!(LatchError, Self::Error(error) => error.nature());

impl RecipeError for LatchError {}

/// Why a latch did not open in time.
pub type LatchTimeoutError = TimeoutError<LatchError>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_two_numbers_of_which_the_second_is_not_larger_are_a_latchs_data() {
        for (data, numbers) in [
            ("3 3", Some((3, 3))),
            ("3 0", Some((3, 0))),
            ("3 4", None),
            ("3", None),
            ("3 x", None),
            ("", None),
            ("127.0.0.1", None),
        ] {
            assert_eq!(parse(data.as_bytes()), numbers, "{data:?}");
        }
    }
}
