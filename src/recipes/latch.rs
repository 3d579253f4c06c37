//! [`CountDownLatch`]: open once so many things are done.

use std::sync::Arc;
use std::time::Duration;

use tokio::time;
use uuid::Uuid;
use zookeeper_client as zk;

use crate::error::Error;
use crate::session::{Coordinator, Session};
use crate::znode::{
    Interrupted, NodePath, Parents, Transaction, ask, ensure_path, list, read, retry_across_sessions, stat,
    stat_and_watch, transact,
};

/// Name of the node that opens the latch.
const OPEN: &str = "open";

/// What the name of a node that counts begins with.
const COUNT: &str = "count-";

/// A gate that opens for good once it was counted down: the report is written when all shares are settled.
///
/// # Layout
/// Ours; Curator has no such recipe. The data of `<path>`, persistent, is two numbers in decimal digits: of how many, and
/// how many are missing. Each count is a persistent node `<path>/count-<id>`, made in one transaction with the change of
/// the number, so that a count whose reply was lost is not counted twice. `<path>/open` is made in the transaction of
/// the last one. All of it stays until [`remove`](Self::remove).
///
/// # Cost
/// Count: one read and one transaction; more if others count at the same moment. Wait: two reads, of which one sets a
/// watch; nothing more while it waits. Counting wakes nobody but the last one, which wakes each waiter once.
///
/// # Examples
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use zookeeper_recipes::CountDownLatch;
///
/// let zk = zookeeper_recipes::connect("127.0.0.1:2181").await?;
/// let settled = CountDownLatch::new(&zk, "/settlement/2026-11-21/settled", 12)?;
/// // ... whoever settles share 7, maybe for the second time:
/// settled.count_down_as("share-7").await?;
/// // ... and the reporter:
/// settled.wait().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct CountDownLatch {
    zk: Coordinator,
    path: NodePath,
    total: u32,
}

impl CountDownLatch {
    /// A latch at `path`, below the chroot, that opens after `count` counts. Nothing is sent; the first user's number is
    /// agreed on, and whoever comes with another is refused.
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

    /// Counts once for `id`, whoever calls this and how often, and returns how many are missing: for work that may be done
    /// a second time, by another worker after the first one died.
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
        .await?
    }

    /// How many counts are missing: one read.
    ///
    /// # Errors
    /// As [`count_down`](Self::count_down).
    pub async fn count(&self) -> Result<u32, LatchError> {
        retry_across_sessions(&self.zk, |session| async move {
            let found = read(&session, self.path()).await?;
            Ok(self.missing(found.as_ref().map(|(data, _)| data.as_slice())))
        })
        .await?
        .map(|missing| missing.unwrap_or(self.total))
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
    /// The future goes on waiting in the next session. Counts stay, whoever made them.
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
        .await?;
        Ok(())
    }

    /// [`wait`](Self::wait) for at most `limit`, requests to the ensemble included.
    ///
    /// # Errors
    /// [`LatchTimeoutError::Elapsed`] if the time is up.
    ///
    /// # Cancel safety
    /// As [`wait`](Self::wait).
    pub async fn wait_timeout(&self, limit: Duration) -> Result<(), LatchTimeoutError> {
        match time::timeout(limit, self.wait()).await {
            Ok(waited) => Ok(waited?),
            Err(_) => Err(LatchTimeoutError::Elapsed { after: limit }),
        }
    }

    /// Removes the latch with all its counts, so that it can be used anew. Who waits for it waits on.
    ///
    /// # Errors
    /// An [`Error`] that retrying would not help.
    ///
    /// # Cancel safety
    /// Dropping the future may leave part of the latch behind; remove it again.
    pub async fn remove(&self) -> Result<(), Error> {
        retry_across_sessions(&self.zk, |session| async move {
            loop {
                for child in list(&session, &self.path).await? {
                    if child == OPEN || child.starts_with(COUNT) {
                        remove_node(&session, &self.path.child(&child)).await?;
                    }
                }
                match remove_node(&session, self.path()).await {
                    // Somebody has counted in the meantime.
                    Err(Interrupted::Failed(Error::Client {
                        source: zk::Error::NotEmpty,
                        ..
                    })) => {}
                    removed => return removed,
                }
            }
        })
        .await
    }

    async fn count_in(&self, session: &Arc<Session>, mark: &str) -> Result<Result<u32, LatchError>, Interrupted> {
        loop {
            let (data, stat) = match read(session, self.path()).await? {
                Some(found) => found,
                None => {
                    self.create(session).await?;
                    continue;
                }
            };
            let before = match self.missing(Some(&data)) {
                Ok(missing) => missing.unwrap_or(self.total),
                Err(error) => return Ok(Err(error)),
            };
            let Some(after) = before.checked_sub(1) else {
                return Ok(Ok(0));
            };
            let transaction = transact(session, self.path(), |multi| {
                let options = zk::CreateMode::Persistent.with_acls(session.acls());
                // First, so that a repetition is known as one whatever has happened since.
                multi.add_create(mark, session.identity(), &options)?;
                multi.add_set_data(self.path(), self.data(after).as_bytes(), Some(stat.version))?;
                match after {
                    0 => multi.add_create(&self.path.child(OPEN), &[], &options),
                    _ => Ok(()),
                }
            });
            match transaction.await? {
                Transaction::Committed(_) => return Ok(Ok(after)),
                Transaction::Refused {
                    index: 0,
                    source: zk::Error::NodeExists,
                } => return Ok(Ok(before)),
                Transaction::Refused {
                    source: zk::Error::NoNode | zk::Error::BadVersion,
                    ..
                }
                | Transaction::Unknown => {}
                Transaction::Refused { source, .. } => return Err(Error::from_answer(self.path(), source).into()),
            }
        }
    }

    async fn create(&self, session: &Arc<Session>) -> Result<(), Interrupted> {
        let created = ask(session, self.path(), |client| async move {
            let options = zk::CreateMode::Persistent.with_acls(session.acls());
            match client
                .create(self.path(), self.data(self.total).as_bytes(), &options)
                .await
            {
                Ok(_) | Err(zk::Error::NodeExists) => Ok(()),
                Err(error) => Err(error),
            }
        });
        match (created.await?, self.path.parent()) {
            (Some(()), _) => Ok(()),
            (None, Some(parent)) => ensure_path(session, &parent, Parents::Containers).await,
            (None, None) => Err(Error::from_answer(self.path(), zk::Error::NoNode).into()),
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

fn parse(data: &[u8]) -> Option<(u32, u32)> {
    let (total, missing) = std::str::from_utf8(data).ok()?.split_once(' ')?;
    let (total, missing) = (total.parse().ok()?, missing.parse().ok()?);
    (missing <= total).then_some((total, missing))
}

async fn remove_node(session: &Arc<Session>, path: &str) -> Result<(), Interrupted> {
    ask(session, path, |client| async move { client.delete(path, None).await })
        .await
        .map(|_| ())
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

/// Why a latch did not open in time.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LatchTimeoutError {
    /// The time is up.
    #[error("not open within {} ms", after.as_millis())]
    Elapsed {
        /// The limit that was given.
        after: Duration,
    },
    /// It cannot be used at all.
    #[error(transparent)]
    Latch(#[from] LatchError),
}

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
