//! [`Barrier`]: closed while its node exists.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use zookeeper_client as zk;

use crate::error::{Error, WaitTimeoutError};
use crate::session::{Coordinator, Operation, Retry, refused};
use crate::znode::{
    NodePath, Parents, Transaction, commit, create, elapsed, ensure_path, retry_across_sessions, stat, stat_and_watch,
    sync,
};

/// A gate that anybody can close and open, and that everybody else waits at: a freeze of all settlements, lifted by the
/// one that called it.
///
/// It is Curator's `DistributedBarrier` and kazoo's `Barrier`: the node at the path itself, persistent, is the closed
/// gate; without it the gate is open. It belongs to no session: it stays closed when the process that closed it dies.
///
/// # Cost
/// [`set`](Self::set): one create. [`lift`](Self::lift): one read and one delete. [`wait`](Self::wait): a sync and a
/// read, and if the gate is closed one more that sets a watch; nothing while it waits, and one read when it opens. A
/// wait that ends otherwise takes its watch back (CURATOR-654).
///
/// # Examples
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use zookeeper_recipes::Barrier;
///
/// let zk = zookeeper_recipes::connect("127.0.0.1:2181").await?;
/// let freeze = Barrier::new(&zk, "/settlements/freeze")?;
/// freeze.set().await?;
/// // ... everybody else: `freeze.wait().await?` ...
/// freeze.lift().await?;
/// # Ok(())
/// # }
/// ```
#[doc(alias = "DistributedBarrier")]
#[derive(Clone, Debug)]
pub struct Barrier {
    zk: Coordinator,
    path: NodePath,
}

impl Barrier {
    /// A barrier at `path`, below the chroot. Nothing is sent.
    ///
    /// # Errors
    /// [`Error::InvalidPath`].
    pub fn new(zk: &Coordinator, path: &str) -> Result<Self, Error> {
        Ok(Self {
            zk: zk.clone(),
            path: NodePath::new(path)?,
        })
    }

    /// The path of the barrier, from the chroot.
    pub fn path(&self) -> &str {
        self.path.as_str()
    }

    /// Closes the barrier. It may be closed already.
    ///
    /// If the reply is lost and another client lifts the barrier before we are connected again, it is closed once more.
    ///
    /// # Errors
    /// An [`Error`] that retrying would not help.
    ///
    /// # Cancel safety
    /// Dropping the future leaves open whether the barrier is closed.
    pub async fn set(&self) -> Result<(), Error> {
        retry_across_sessions(&self.zk, |session| async move {
            loop {
                let created = create(&session, self.path(), session.identity(), zk::CreateMode::Persistent);
                match (created.await?, self.path.parent()) {
                    (Ok(()) | Err(zk::Error::NodeExists), _) => return Ok(()),
                    (Err(zk::Error::NoNode), Some(parent)) => {
                        ensure_path(&session, &parent, Parents::Containers).await?;
                    }
                    (Err(source), _) => return Err(refused(self.path(), source)),
                }
            }
        })
        .await
    }

    /// Opens the barrier. It may be open already. What another client closes after that stays closed, even if our reply
    /// was lost.
    ///
    /// # Errors
    /// An [`Error`] that retrying would not help.
    ///
    /// # Cancel safety
    /// Dropping the future leaves open whether the barrier is open.
    pub async fn lift(&self) -> Result<(), Error> {
        let found = &BarrierNode::default();
        retry_across_sessions(&self.zk, |session| async move {
            let mut retry = Retry::new(&session, self.path(), 0);
            loop {
                match stat(&session, self.path()).await? {
                    Some(stat) if found.is_the_first(stat.czxid) => {}
                    _ => return Ok(()),
                }
                match commit(&mut retry, &session, &[Operation::delete(self.path(), None)]).await? {
                    Transaction::Applied(_) | Transaction::Refused(_, zk::Error::NoNode) => return Ok(()),
                    Transaction::Refused(_, source) => return Err(refused(self.path(), source)),
                    // If it is still the same node that we meant, it was not deleted.
                    Transaction::Unknown => {}
                }
            }
        })
        .await
    }

    /// Waits until the barrier is open, however long it takes; returns at once if it is. A waiter passes when it is
    /// lifted, even if it is closed again right then.
    ///
    /// # Errors
    /// An [`Error`] that retrying would not help.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    ///
    /// # When the session is lost
    /// The future goes on waiting in the next session.
    pub async fn wait(&self) -> Result<(), Error> {
        let found = &BarrierNode::default();
        retry_across_sessions(&self.zk, |session| async move {
            // A server that lags may not know yet that the barrier was closed.
            sync(&session, self.path()).await?;
            loop {
                // Without a watch at first, which would have to be taken back if there is nothing to wait for.
                match stat(&session, self.path()).await? {
                    Some(stat) if found.is_the_first(stat.czxid) => {}
                    _ => return Ok(()),
                }
                match stat_and_watch(&session, self.path()).await? {
                    (Some(stat), mut watch) if found.is_the_first(stat.czxid) => watch.changed().await,
                    _ => return Ok(()),
                }
            }
        })
        .await
    }

    /// [`wait`](Self::wait) for at most `limit`, requests to the ensemble included.
    ///
    /// # Errors
    /// [`WaitTimeoutError::Elapsed`] if the time is up.
    ///
    /// # Cancel safety
    /// As [`wait`](Self::wait).
    pub async fn wait_timeout(&self, limit: Duration) -> Result<(), WaitTimeoutError> {
        let waited = self.zk.timeout(limit, self.wait()).await;
        waited.map_or_else(|| Err(elapsed(&self.zk, self.path(), limit)), |waited| Ok(waited?))
    }
}

/// The node that was there first: another one in its place means that it was removed in between.
#[derive(Debug, Default)]
struct BarrierNode {
    czxid: AtomicI64,
}

impl BarrierNode {
    fn is_the_first(&self, czxid: i64) -> bool {
        let before = self
            .czxid
            .compare_exchange(0, czxid, Ordering::Relaxed, Ordering::Relaxed);
        before.is_ok() || before == Err(czxid)
    }
}
