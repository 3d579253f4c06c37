//! [`RwLock`]: many readers or one writer, first come, first served.

use std::ops::Deref;
use std::time::Duration;

use crate::error::{Error, classify};
use crate::line::{AcquireTimeoutError, Contender, Enrolment, Layout, Line, TryAcquireError};
use crate::session::{Coordinator, Interrupted, Lost};
use crate::znode::{Hold, NodePath, ReleaseError};

/// A lock that many readers share or one writer has alone, across processes and machines.
///
/// It stands in one line with Curator's `InterProcessReadWriteLock` on the same path; see [`Layout`] for kazoo. A path
/// belongs either to a [`FairLock`](crate::FairLock) or to an `RwLock`.
///
/// # Fairness
/// One line for readers and writers, in the order in which the ensemble created their nodes. A reader passes other
/// readers and waits behind every writer that came before it, also behind one that still waits: writers do not
/// starve. A waiter whose session expires joins again at the tail.
///
/// # Tokens
/// The token of a write guard is larger than that of every guard, of either kind, that came before it in the line: a
/// resource that refuses an older token than the newest it has seen orders the writes. The token of a read guard says
/// which writes its holder may have seen: all those with smaller tokens and none with a larger one. Readers that share
/// the lock have different tokens, so let the resource compare a reader's with those of *writes* alone.
///
/// # Downgrade and upgrade
/// A writer can become a reader without a gap, see [`downgrade`](RwLockWriteGuard::downgrade). There is no way from
/// reader to writer but to release and then to write: two readers that both waited to become the writer would wait for
/// each other without end. The lock is **not reentrant**: a task that asks for the lock that it holds waits for itself.
///
/// # Cost
/// As [`FairLock`](crate::FairLock). The release of a writer wakes all readers up to the next writer, each of which
/// lists once; the release of a reader wakes the next writer at most.
///
/// # Examples
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use zookeeper_recipes::RwLock;
///
/// let zk = zookeeper_recipes::connect("127.0.0.1:2181").await?;
/// let tariff = RwLock::new(&zk, "/locks/tariff")?;
///
/// let writer = tariff.write().await?;
/// println!("changing it, token {}", writer.token());
/// let reader = writer.downgrade().await?;
/// println!("others may read now, and no write came in between");
/// reader.release().await?;
/// # Ok(())
/// # }
/// ```
#[doc(alias = "InterProcessReadWriteLock")]
#[doc(alias = "ReadLock")]
#[doc(alias = "WriteLock")]
#[derive(Clone, Debug)]
pub struct RwLock {
    line: Line,
}

impl RwLock {
    /// A lock at `path`, below the chroot. Nothing is sent; the node at `path` is made when it is first needed.
    ///
    /// # Errors
    /// [`Error::InvalidPath`].
    pub fn new(zk: &Coordinator, path: &str) -> Result<Self, Error> {
        Self::builder(zk, path).build()
    }

    /// Starts to build a lock at `path` with options.
    ///
    /// ```no_run
    /// # fn example(zk: zookeeper_recipes::Coordinator) -> Result<(), zookeeper_recipes::Error> {
    /// use zookeeper_recipes::{Layout, RwLock};
    ///
    /// let tariff = RwLock::builder(&zk, "/locks/tariff").layout(Layout::Kazoo).build()?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn builder(zk: &Coordinator, path: &str) -> RwLockBuilder {
        RwLockBuilder {
            zk: zk.clone(),
            path: path.to_owned(),
            layout: Layout::default(),
        }
    }

    /// The path of the lock, from the chroot.
    pub fn path(&self) -> &str {
        self.line.path().as_str()
    }

    /// Waits until the lock may be read: until no writer is ahead.
    ///
    /// # Errors
    /// An [`Error`] that retrying would not help.
    ///
    /// # Cancel safety
    /// Dropping the future at any point leaves the line: its node is removed in the background, within moments while
    /// the session lives. The place in line is lost.
    ///
    /// # When the session is lost
    /// The future goes on waiting: it joins the line again, at the tail, in the next session.
    pub async fn read(&self) -> Result<RwLockReadGuard, Error> {
        self.line
            .acquire(&Enrolment::SHARED, None)
            .await
            .map(RwLockReadGuard::new)
    }

    /// Reads if no writer has the lock or waits for it. If one does, that is found out with one read.
    ///
    /// It waits while there is no connection; bound it with [`tokio::time::timeout`] where that matters.
    ///
    /// # Errors
    /// [`TryAcquireError::Contended`] if a writer is there.
    ///
    /// # Cancel safety
    /// As [`read`](Self::read).
    pub async fn try_read(&self) -> Result<RwLockReadGuard, TryAcquireError> {
        let hold = self.line.try_acquire(&Enrolment::SHARED).await?;
        hold.map(RwLockReadGuard::new).ok_or(TryAcquireError::Contended)
    }

    /// Waits until the lock may be read, for at most `limit`, requests to the ensemble included.
    ///
    /// On a timeout the contender is removed before this returns, which may take another half second; where the link
    /// is dead, it is left to the background.
    ///
    /// # Errors
    /// [`AcquireTimeoutError::Elapsed`] if the time is up.
    ///
    /// # Cancel safety
    /// As [`read`](Self::read).
    pub async fn read_timeout(&self, limit: Duration) -> Result<RwLockReadGuard, AcquireTimeoutError> {
        let hold = self.line.acquire_timeout(&Enrolment::SHARED, limit).await?;
        Ok(RwLockReadGuard::new(hold))
    }

    /// Waits until the lock may be written: until no contender is ahead.
    ///
    /// # Errors
    /// An [`Error`] that retrying would not help.
    ///
    /// # Cancel safety
    /// As [`read`](Self::read). Readers that came later and waited for this writer alone go on.
    ///
    /// # When the session is lost
    /// As [`read`](Self::read).
    pub async fn write(&self) -> Result<RwLockWriteGuard, Error> {
        self.line
            .acquire(&Enrolment::EXCLUSIVE, None)
            .await
            .map(|hold| self.written(hold))
    }

    /// Writes if the lock is free and no contender waits for it. Otherwise it fails after one read and no write.
    ///
    /// It waits while there is no connection; bound it with [`tokio::time::timeout`] where that matters.
    ///
    /// # Errors
    /// [`TryAcquireError::Contended`] if another contender is there.
    ///
    /// # Cancel safety
    /// As [`write`](Self::write).
    pub async fn try_write(&self) -> Result<RwLockWriteGuard, TryAcquireError> {
        let hold = self.line.try_acquire(&Enrolment::EXCLUSIVE).await?;
        hold.map(|hold| self.written(hold)).ok_or(TryAcquireError::Contended)
    }

    /// Waits until the lock may be written, for at most `limit`, requests to the ensemble included. On a timeout it
    /// does as [`read_timeout`](Self::read_timeout).
    ///
    /// # Errors
    /// [`AcquireTimeoutError::Elapsed`] if the time is up.
    ///
    /// # Cancel safety
    /// As [`write`](Self::write).
    pub async fn write_timeout(&self, limit: Duration) -> Result<RwLockWriteGuard, AcquireTimeoutError> {
        let hold = self.line.acquire_timeout(&Enrolment::EXCLUSIVE, limit).await?;
        Ok(self.written(hold))
    }

    /// Returns the holders and the waiters, in order: one list, and one read for each contender; where there
    /// are many, for 64 of them.
    ///
    /// # Errors
    /// An [`Error`] that retrying would not help.
    pub async fn contenders(&self) -> Result<Vec<Contender>, Error> {
        self.line.contenders().await
    }

    /// Asks `contender` to give its place up, and says why, as
    /// [`FairLock::request_revocation`](crate::FairLock::request_revocation) does. A writer in a hurry asks every
    /// holder.
    ///
    /// # Errors
    /// An [`Error`] that retrying would not help: [`Error::Denied`] if the contender's node may not be written.
    ///
    /// # Cancel safety
    /// Dropping the future leaves open whether the contender is asked.
    pub async fn request_revocation(&self, contender: &Contender, reason: &str) -> Result<bool, Error> {
        self.line.request_revocation(&contender.path, reason).await
    }

    /// As [`read`](Self::read), and says why: the reason stands behind the identity in the contender's node, where
    /// operators and other contenders read it ([`Contender::reason`]). Curator and kazoo do not look at it.
    ///
    /// # Errors
    /// As [`read`](Self::read); [`Error::TooLarge`] for a reason that no node takes.
    ///
    /// # Cancel safety
    /// As [`read`](Self::read).
    pub async fn read_as(&self, reason: &str) -> Result<RwLockReadGuard, Error> {
        let enrolment = Enrolment::SHARED.because(self.line.zk(), reason);
        let hold = self.line.acquire(&enrolment, None).await?;
        Ok(RwLockReadGuard::new(hold))
    }

    /// As [`try_read`](Self::try_read), and says why, as [`read_as`](Self::read_as) does.
    ///
    /// # Errors
    /// As [`try_read`](Self::try_read).
    ///
    /// # Cancel safety
    /// As [`read`](Self::read).
    pub async fn try_read_as(&self, reason: &str) -> Result<RwLockReadGuard, TryAcquireError> {
        let enrolment = Enrolment::SHARED.because(self.line.zk(), reason);
        let hold = self.line.try_acquire(&enrolment).await?;
        hold.map(RwLockReadGuard::new).ok_or(TryAcquireError::Contended)
    }

    /// As [`read_timeout`](Self::read_timeout), and says why, as [`read_as`](Self::read_as) does.
    ///
    /// # Errors
    /// As [`read_timeout`](Self::read_timeout).
    ///
    /// # Cancel safety
    /// As [`read`](Self::read).
    pub async fn read_timeout_as(&self, reason: &str, limit: Duration) -> Result<RwLockReadGuard, AcquireTimeoutError> {
        let enrolment = Enrolment::SHARED.because(self.line.zk(), reason);
        let hold = self.line.acquire_timeout(&enrolment, limit).await?;
        Ok(RwLockReadGuard::new(hold))
    }

    /// As [`write`](Self::write), and says why: the reason stands behind the identity in the contender's node, where
    /// operators and other contenders read it ([`Contender::reason`]). Curator and kazoo do not look at it.
    ///
    /// # Errors
    /// As [`write`](Self::write); [`Error::TooLarge`] for a reason that no node takes.
    ///
    /// # Cancel safety
    /// As [`write`](Self::write).
    pub async fn write_as(&self, reason: &str) -> Result<RwLockWriteGuard, Error> {
        let enrolment = Enrolment::EXCLUSIVE.because(self.line.zk(), reason);
        let hold = self.line.acquire(&enrolment, None).await?;
        Ok(self.written(hold))
    }

    /// As [`try_write`](Self::try_write), and says why, as [`write_as`](Self::write_as) does.
    ///
    /// # Errors
    /// As [`try_write`](Self::try_write).
    ///
    /// # Cancel safety
    /// As [`write`](Self::write).
    pub async fn try_write_as(&self, reason: &str) -> Result<RwLockWriteGuard, TryAcquireError> {
        let enrolment = Enrolment::EXCLUSIVE.because(self.line.zk(), reason);
        let hold = self.line.try_acquire(&enrolment).await?;
        hold.map(|hold| self.written(hold)).ok_or(TryAcquireError::Contended)
    }

    /// As [`write_timeout`](Self::write_timeout), and says why, as [`write_as`](Self::write_as) does.
    ///
    /// # Errors
    /// As [`write_timeout`](Self::write_timeout).
    ///
    /// # Cancel safety
    /// As [`write`](Self::write).
    pub async fn write_timeout_as(
        &self,
        reason: &str,
        limit: Duration,
    ) -> Result<RwLockWriteGuard, AcquireTimeoutError> {
        let enrolment = Enrolment::EXCLUSIVE.because(self.line.zk(), reason);
        let hold = self.line.acquire_timeout(&enrolment, limit).await?;
        Ok(self.written(hold))
    }

    fn written(&self, hold: Hold) -> RwLockWriteGuard {
        RwLockWriteGuard {
            hold,
            line: self.line.clone(),
        }
    }
}

/// The options of an [`RwLock`].
///
/// # Examples
/// ```no_run
/// # async fn example(zk: zookeeper_recipes::Coordinator) -> Result<(), Box<dyn std::error::Error>> {
/// use zookeeper_recipes::{Layout, RwLock};
///
/// // In one line with kazoo's clients.
/// let config = RwLock::builder(&zk, "/config").layout(Layout::Kazoo).build()?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
#[must_use = "options do nothing until `build` is called"]
pub struct RwLockBuilder {
    zk: Coordinator,
    path: String,
    layout: Layout,
}

impl RwLockBuilder {
    /// Chooses the names to write.
    pub fn layout(mut self, layout: Layout) -> Self {
        self.layout = layout;
        self
    }

    /// Builds the lock. Nothing is sent.
    ///
    /// # Errors
    /// [`Error::InvalidPath`].
    pub fn build(self) -> Result<RwLock, Error> {
        let path = NodePath::new(&self.path)?;
        Ok(RwLock {
            line: Line::new(self.zk, path, self.layout.rwlock()),
        })
    }
}

/// The lock may be read while this guard lives; it dereferences to [`Hold`].
///
/// Dropping it releases the lock in the background; [`release`](Self::release) waits until it is free.
///
/// # Examples
/// ```no_run
/// # async fn example(config: zookeeper_recipes::RwLock) -> Result<(), Box<dyn std::error::Error>> {
/// let guard = config.read().await?;
/// guard.run_until_lost(load()).await?;
/// guard.release().await?;
/// # async fn load() {}
/// # Ok(())
/// # }
/// ```
#[must_use = "the lock is released as soon as the guard is dropped"]
#[clippy::has_significant_drop]
#[derive(Debug)]
pub struct RwLockReadGuard {
    hold: Hold,
}

impl RwLockReadGuard {
    fn new(hold: Hold) -> Self {
        Self { hold }
    }

    /// Releases the lock and returns when its node is gone: one delete.
    ///
    /// # Errors
    /// [`ReleaseError::Lost`] if the lock had been lost before.
    ///
    /// # Cancel safety
    /// Dropping the future releases the lock in the background.
    pub async fn release(self) -> Result<(), ReleaseError> {
        self.hold.release().await
    }
}

impl Deref for RwLockReadGuard {
    type Target = Hold;

    fn deref(&self) -> &Hold {
        &self.hold
    }
}

/// The lock may be written while this guard lives; it dereferences to [`Hold`].
///
/// Dropping it releases the lock in the background; [`release`](Self::release) waits until it is free.
///
/// # Examples
/// ```no_run
/// # async fn example(config: zookeeper_recipes::RwLock) -> Result<(), Box<dyn std::error::Error>> {
/// let writer = config.write().await?;
/// writer.run_until_lost(replace()).await?;
/// // Goes on as a reader; no other writer comes in between.
/// let reader = writer.downgrade().await?;
/// reader.release().await?;
/// # async fn replace() {}
/// # Ok(())
/// # }
/// ```
#[must_use = "the lock is released as soon as the guard is dropped"]
#[clippy::has_significant_drop]
#[derive(Debug)]
pub struct RwLockWriteGuard {
    hold: Hold,
    line: Line,
}

impl RwLockWriteGuard {
    /// Releases the lock and returns when its node is gone, so that the next contenders have it: one delete.
    ///
    /// # Errors
    /// [`ReleaseError::Lost`] if the lock had been lost before.
    ///
    /// # Cancel safety
    /// Dropping the future releases the lock in the background.
    pub async fn release(self) -> Result<(), ReleaseError> {
        self.hold.release().await
    }

    /// Goes on as a reader. No writer gets in between; readers that waited for this writer are free.
    ///
    /// In one transaction the writer's node is replaced by that of a reader with the same number, and so with the same
    /// place in line: the layout of Curator since 5.5.0 (CURATOR-621; before, its reader stood behind the writers that
    /// waited). For the same reason the read guard keeps the **token** of the write guard: with a newer one it would
    /// pass writers whose turn is yet to come. A [`LostSignal`](crate::LostSignal) of the write guard resolves with
    /// [`Released`](crate::LossReason::Released), and a request to revoke it is forgotten.
    ///
    /// # Errors
    /// [`DowngradeError`]: the lock is lost, or given up.
    ///
    /// # Cancel safety
    /// Dropping the future gives the lock up.
    ///
    /// # Cost
    /// One transaction, and a watch on the new node.
    pub async fn downgrade(self) -> Result<RwLockReadGuard, DowngradeError> {
        let Self { hold, line } = self;
        match line.downgrade(hold).await {
            Ok(hold) => Ok(RwLockReadGuard::new(hold)),
            Err(Interrupted::Lost(lost)) => Err(lost.into()),
            Err(Interrupted::Failed(error)) => Err(error.into()),
        }
    }
}

impl Deref for RwLockWriteGuard {
    type Target = Hold;

    fn deref(&self) -> &Hold {
        &self.hold
    }
}

/// Why a writer could not go on as a reader. It has nothing any more.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DowngradeError {
    /// The lock was lost: another contender may have it by now.
    #[error(transparent)]
    Lost(#[from] Lost),
    /// The ensemble refused it. The lock is released in the background.
    #[error(transparent)]
    Error(#[from] Error),
}

classify!(DowngradeError, Self::Lost(lost) => lost.nature(), Self::Error(error) => error.nature());
