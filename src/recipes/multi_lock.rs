//! [`MultiLock`]: several locks at once, all or none.

use std::ops::Deref;
use std::time::Duration;

use crate::error::Error;
use crate::line::{AcquireTimeoutError, Enrolment, Layout, Line, LineSet, TryAcquireError};
use crate::session::Coordinator;
use crate::znode::{Hold, NodePath, ReleaseError};

/// Several locks that are held together or not at all: both accounts of a transfer.
///
/// On each path it is a contender like any other and excludes [`FairLock`](crate::FairLock), Curator's
/// `InterProcessMutex` and other multi-locks. Unlike Curator's `InterProcessMultiLock`, which takes one lock after the
/// other, it joins all lines in one transaction and has one deadline for all of them.
///
/// # Fairness
/// First come, first served on each path. All contenders of one call are created in one transaction, so any two
/// multi-locks stand in the same order in all lines that they share, in whatever order their paths were given: they
/// cannot deadlock. A process that takes single locks one after the other, while it holds others of them, still can.
///
/// # When the session is lost
/// What ends the hold of one path ends all: one [`lost`](Hold::lost) signal, one [`is_held`](Hold::is_held). A waiter
/// that loses one of its places joins all lines again, at their tails.
///
/// # Cost
/// Acquire: one transaction and a list of each path, sent together, and a watch on each own node. Release:
/// one transaction. Waiting: one watch at a time. Servers that do not say which transaction it was (ZOOKEEPER-4026,
/// ZOOKEEPER-4667: 3.8.0, for one) are asked once more in an acquire, one round trip.
///
/// # Examples
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use zookeeper_recipes::MultiLock;
///
/// let zk = zookeeper_recipes::connect("127.0.0.1:2181").await?;
/// let both = MultiLock::new(&zk, ["/accounts/17", "/accounts/42"])?;
/// let guard = both.acquire().await?;
/// // ... move the money, with `guard.token()` for both accounts ...
/// guard.release().await?;
/// # Ok(())
/// # }
/// ```
#[doc(alias = "InterProcessMultiLock")]
#[derive(Clone, Debug)]
pub struct MultiLock {
    lines: LineSet,
}

impl MultiLock {
    /// The locks at `paths`, below the chroot. A path that is given twice counts once. Nothing is sent.
    ///
    /// # Errors
    /// [`Error::InvalidPath`], which stands for an empty list of paths as well.
    pub fn new<P: AsRef<str>>(zk: &Coordinator, paths: impl IntoIterator<Item = P>) -> Result<Self, Error> {
        Self::builder(zk, paths).build()
    }

    /// Starts to build the locks at `paths` with options.
    ///
    /// ```no_run
    /// # fn example(zk: zookeeper_recipes::Coordinator) -> Result<(), zookeeper_recipes::Error> {
    /// use zookeeper_recipes::{Layout, MultiLock};
    ///
    /// let both = MultiLock::builder(&zk, ["/accounts/17", "/accounts/42"]).layout(Layout::Kazoo).build()?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn builder<P: AsRef<str>>(zk: &Coordinator, paths: impl IntoIterator<Item = P>) -> MultiLockBuilder {
        MultiLockBuilder {
            zk: zk.clone(),
            paths: paths.into_iter().map(|path| path.as_ref().to_owned()).collect(),
            layout: Layout::default(),
        }
    }

    /// The paths of the locks, from the chroot, each once.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        self.lines.paths().map(NodePath::as_str)
    }

    /// Waits for all locks, however long it takes: lost connections, expired sessions and servers that are away are
    /// waited out.
    ///
    /// # Errors
    /// An [`Error`] that retrying would not help; it names the path. No lock is taken then.
    ///
    /// # Cancel safety
    /// Dropping the future at any point leaves all lines: its nodes are removed in the background, within moments while
    /// the session lives. The places in line are lost.
    ///
    /// # When the session is lost
    /// The future goes on waiting: it joins all lines again, at their tails, in the next session.
    pub async fn acquire(&self) -> Result<MultiLockGuard, Error> {
        self.lines
            .acquire(&Enrolment::EXCLUSIVE, None)
            .await
            .map(MultiLockGuard::new)
    }

    /// Takes all locks if each of them is free and no contender waits for it. Otherwise it fails after one read of each
    /// path, sent together, and no write.
    ///
    /// It waits while there is no connection; bound it with [`tokio::time::timeout`] where that matters.
    ///
    /// # Errors
    /// [`TryAcquireError::Contended`] if another contender is there, on any of the paths. No lock is taken then.
    ///
    /// # Cancel safety
    /// As [`acquire`](Self::acquire).
    pub async fn try_acquire(&self) -> Result<MultiLockGuard, TryAcquireError> {
        let hold = self.lines.try_acquire(&Enrolment::EXCLUSIVE).await?;
        hold.map(MultiLockGuard::new).ok_or(TryAcquireError::Contended)
    }

    /// Waits for all locks for at most `limit` in total, requests to the ensemble included.
    ///
    /// On a timeout all contenders are removed before this returns, which may take another half second; where the link
    /// is dead, they are left to the background.
    ///
    /// # Errors
    /// [`AcquireTimeoutError::Elapsed`] if the time is up. No lock is taken then.
    ///
    /// # Cancel safety
    /// As [`acquire`](Self::acquire).
    pub async fn acquire_timeout(&self, limit: Duration) -> Result<MultiLockGuard, AcquireTimeoutError> {
        let hold = self.lines.acquire_timeout(&Enrolment::EXCLUSIVE, limit).await?;
        Ok(MultiLockGuard::new(hold))
    }

    /// As [`acquire`](Self::acquire), and says why: the reason stands behind the identity in the contenders' nodes, where
    /// operators and other contenders read it ([`Contender::reason`](crate::Contender::reason)).
    ///
    /// # Errors
    /// As [`acquire`](Self::acquire); [`Error::TooLarge`] for a reason that no node takes.
    ///
    /// # Cancel safety
    /// As [`acquire`](Self::acquire).
    pub async fn acquire_as(&self, reason: &str) -> Result<MultiLockGuard, Error> {
        let enrolment = Enrolment::EXCLUSIVE.because(self.lines.zk(), reason);
        self.lines.acquire(&enrolment, None).await.map(MultiLockGuard::new)
    }

    /// As [`try_acquire`](Self::try_acquire), and says why, as [`acquire_as`](Self::acquire_as) does.
    ///
    /// # Errors
    /// As [`try_acquire`](Self::try_acquire).
    ///
    /// # Cancel safety
    /// As [`acquire`](Self::acquire).
    pub async fn try_acquire_as(&self, reason: &str) -> Result<MultiLockGuard, TryAcquireError> {
        let enrolment = Enrolment::EXCLUSIVE.because(self.lines.zk(), reason);
        let hold = self.lines.try_acquire(&enrolment).await?;
        hold.map(MultiLockGuard::new).ok_or(TryAcquireError::Contended)
    }

    /// As [`acquire_timeout`](Self::acquire_timeout), and says why, as [`acquire_as`](Self::acquire_as) does.
    ///
    /// # Errors
    /// As [`acquire_timeout`](Self::acquire_timeout).
    ///
    /// # Cancel safety
    /// As [`acquire`](Self::acquire).
    pub async fn acquire_timeout_as(
        &self,
        reason: &str,
        limit: Duration,
    ) -> Result<MultiLockGuard, AcquireTimeoutError> {
        let enrolment = Enrolment::EXCLUSIVE.because(self.lines.zk(), reason);
        let hold = self.lines.acquire_timeout(&enrolment, limit).await?;
        Ok(MultiLockGuard::new(hold))
    }
}

/// The options of a [`MultiLock`].
///
/// # Examples
/// ```no_run
/// # async fn example(zk: zookeeper_recipes::Coordinator) -> Result<(), Box<dyn std::error::Error>> {
/// use zookeeper_recipes::{Layout, MultiLock};
///
/// let accounts = ["/accounts/17", "/accounts/4"];
/// let both = MultiLock::builder(&zk, accounts).layout(Layout::Kazoo).build()?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
#[must_use = "options do nothing until `build` is called"]
pub struct MultiLockBuilder {
    zk: Coordinator,
    paths: Vec<String>,
    layout: Layout,
}

impl MultiLockBuilder {
    /// Chooses the names to write, the same on every path.
    pub fn layout(mut self, layout: Layout) -> Self {
        self.layout = layout;
        self
    }

    /// Builds the locks. Nothing is sent.
    ///
    /// # Errors
    /// [`Error::InvalidPath`], which stands for an empty list of paths as well.
    pub fn build(self) -> Result<MultiLock, Error> {
        let mut checked: Vec<NodePath> = Vec::new();
        for path in &self.paths {
            let path = NodePath::new(path)?;
            if !checked.contains(&path) {
                checked.push(path);
            }
        }
        if checked.is_empty() {
            return Err(Error::InvalidPath {
                path: String::new(),
                reason: "a multi-lock needs at least one path",
            });
        }
        let line = |path| Line::new(self.zk.clone(), path, self.layout.lock());
        let lines = checked.into_iter().map(line).collect();
        Ok(MultiLock {
            lines: LineSet::new(self.zk.clone(), lines),
        })
    }
}

/// All locks are held while this guard lives; it dereferences to [`Hold`].
///
/// The one [`token`](Hold::token) is right for every path: the nodes were created in one transaction, and the token is
/// its number. [`fenced`](Hold::fenced) writes commit only while all locks are held. A request to
/// [revoke](Hold::revocation) one lock is a request to give all of them up.
///
/// Dropping it releases all locks in the background; [`release`](Self::release) waits until they are free.
///
/// # Examples
/// ```no_run
/// # async fn example(both: zookeeper_recipes::MultiLock) -> Result<(), Box<dyn std::error::Error>> {
/// let guard = both.acquire().await?;
/// guard.release().await?;
/// # Ok(())
/// # }
/// ```
#[must_use = "the locks are released as soon as the guard is dropped"]
#[clippy::has_significant_drop]
#[derive(Debug)]
pub struct MultiLockGuard {
    hold: Hold,
}

impl MultiLockGuard {
    fn new(hold: Hold) -> Self {
        Self { hold }
    }

    /// Releases all locks, in one transaction, and returns when their nodes are gone.
    ///
    /// # Errors
    /// [`ReleaseError::Lost`] if one of the locks had been lost before, and so all of them.
    ///
    /// # Cancel safety
    /// Dropping the future releases the locks in the background.
    pub async fn release(self) -> Result<(), ReleaseError> {
        self.hold.release().await
    }
}

impl Deref for MultiLockGuard {
    type Target = Hold;

    fn deref(&self) -> &Hold {
        &self.hold
    }
}
