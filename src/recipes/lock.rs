//! [`FairLock`]: mutual exclusion, first come, first served.

use std::future::Future;
use std::ops::Deref;
use std::time::Duration;

use crate::error::Error;
use crate::line::{AcquireTimeoutError, Contender, Enrolment, HeadView, Layout, Line, RunError, TryAcquireError};
use crate::observer::Observer;
use crate::session::Coordinator;
use crate::znode::{FencingToken, Hold, NodePath, ReleaseError, observe};

/// A lock that at most one contender holds, across processes and machines.
///
/// It stands in one line with Curator's `InterProcessMutex` on the same path, and with kazoo's `Lock` if that is given
/// `extra_lock_patterns=["lock-"]`; see [`Layout`].
///
/// The lock is **not reentrant**: a task that acquires it again waits behind itself, and the log warns of it. **What no
/// lock can give** is protection against a pause inside the protected code: pass the [`token`](Hold::token) on, and let
/// the database refuse an older one.
///
/// # Fairness
/// Grants follow the order in which the ensemble created the contenders' nodes, over all processes. A waiter whose
/// session expires joins again at the tail.
///
/// # Cost
/// Acquire: create and list, one round trip; and a watch on the own node if it is held for longer than 20 ms. Release:
/// one delete. A waiter costs one watch, and nothing while it waits; a release wakes one waiter, which lists once and,
/// if nothing else proved its session lately, sends one heartbeat along. While something is held, at most eight
/// heartbeats a session timeout, for all holds of the session together.
///
/// Of what many tasks list or delete in one session at a time, two requests of a kind are under way. The others wait and
/// go out together, up to 16 as one, since a server takes the requests of one connection one by one.
///
/// In a line of 64 contenders and more, the woken waiter reads two nodes with one request instead of listing, and each
/// holder writes the name of its node into the data of the lock's directory, off the path; data of others there stays.
/// Waiters of one coordinator share lists, and hand the lock on among themselves without that write.
///
/// # Examples
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use zookeeper_recipes::FairLock;
///
/// let zk = zookeeper_recipes::connect("127.0.0.1:2181").await?;
/// let lock = FairLock::new(&zk, "/locks/account-17")?;
///
/// let guard = lock.acquire().await?;
/// println!("held, token {}", guard.token());
/// guard.release().await?;
///
/// // The same with the work in the middle, which is dropped if the lock is lost:
/// let balance = lock.run(|token| async move { settle(token).await }).await?;
/// # async fn settle(_: zookeeper_recipes::FencingToken) -> u64 { 0 }
/// # Ok(())
/// # }
/// ```
#[doc(alias = "InterProcessMutex")]
#[doc(alias = "Lock")]
#[doc(alias = "mutex")]
#[derive(Clone, Debug)]
pub struct FairLock {
    line: Line,
}

impl FairLock {
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
    /// use zookeeper_recipes::{FairLock, Layout};
    ///
    /// let lock = FairLock::builder(&zk, "/locks/account-17").layout(Layout::Kazoo).build()?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn builder(zk: &Coordinator, path: &str) -> FairLockBuilder {
        FairLockBuilder {
            zk: zk.clone(),
            path: path.to_owned(),
            layout: Layout::default(),
        }
    }

    /// The path of the lock, from the chroot.
    pub fn path(&self) -> &str {
        self.line.path().as_str()
    }

    /// Waits for the lock, however long it takes: lost connections, expired sessions and servers that are away are
    /// waited out.
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
    pub async fn acquire(&self) -> Result<FairLockGuard, Error> {
        self.line
            .acquire(&Enrolment::EXCLUSIVE, None)
            .await
            .map(FairLockGuard::new)
    }

    /// As [`acquire`](Self::acquire), and says why: the reason stands behind the identity in the contender's node,
    /// where operators and other contenders read it ([`Contender::reason`]). Curator and kazoo do not look at it.
    ///
    /// ```no_run
    /// # async fn example(lock: zookeeper_recipes::FairLock) -> Result<(), Box<dyn std::error::Error>> {
    /// let guard = lock.acquire_as("nightly settlement").await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`acquire`](Self::acquire); [`Error::TooLarge`] for a reason that no node takes.
    ///
    /// # Cancel safety
    /// As [`acquire`](Self::acquire).
    pub async fn acquire_as(&self, reason: &str) -> Result<FairLockGuard, Error> {
        let enrolment = Enrolment::EXCLUSIVE.because(self.line.zk(), reason);
        self.line.acquire(&enrolment, None).await.map(FairLockGuard::new)
    }

    /// As [`try_acquire`](Self::try_acquire), and says why, as [`acquire_as`](Self::acquire_as) does.
    ///
    /// # Errors
    /// As [`try_acquire`](Self::try_acquire).
    ///
    /// # Cancel safety
    /// As [`acquire`](Self::acquire).
    pub async fn try_acquire_as(&self, reason: &str) -> Result<FairLockGuard, TryAcquireError> {
        let enrolment = Enrolment::EXCLUSIVE.because(self.line.zk(), reason);
        let hold = self.line.try_acquire(&enrolment).await?;
        hold.map(FairLockGuard::new).ok_or(TryAcquireError::Contended)
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
    ) -> Result<FairLockGuard, AcquireTimeoutError> {
        let enrolment = Enrolment::EXCLUSIVE.because(self.line.zk(), reason);
        let hold = self.line.acquire_timeout(&enrolment, limit).await?;
        Ok(FairLockGuard::new(hold))
    }

    /// Follows the holder of the lock, `None` included. Returns with the first value.
    ///
    /// The latest change is never missed, also across lost connections and sessions; while there is no connection, the
    /// value is the last one known. Clone the observer rather than to observe twice: it ends, and its watch with it,
    /// when its last clone is dropped.
    ///
    /// ```no_run
    /// # async fn example(lock: zookeeper_recipes::FairLock) -> Result<(), Box<dyn std::error::Error>> {
    /// let mut holder = lock.observe().await?;
    /// while let Some(now) = holder.changed().await {
    ///     println!("held by {:?}", now.and_then(|one| one.host().map(str::to_owned)));
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// An [`Error`] that retrying would not help.
    ///
    /// # Cost
    /// One watch, and nothing while the holder stays: contenders that come and go wake no task.
    pub async fn observe(&self) -> Result<Observer<Option<Contender>>, Error> {
        observe(self.line.zk(), HeadView::new(self.line.clone())).await
    }

    /// Takes the lock if it is free and no contender waits for it. Otherwise it fails after one read and no write.
    ///
    /// It waits while there is no connection; bound it with [`tokio::time::timeout`] where that matters.
    ///
    /// # Errors
    /// [`TryAcquireError::Contended`] if another contender is there.
    ///
    /// # Cancel safety
    /// As [`acquire`](Self::acquire).
    pub async fn try_acquire(&self) -> Result<FairLockGuard, TryAcquireError> {
        self.line
            .try_acquire(&Enrolment::EXCLUSIVE)
            .await?
            .map(FairLockGuard::new)
            .ok_or(TryAcquireError::Contended)
    }

    /// Waits for the lock for at most `limit`, requests to the ensemble included.
    ///
    /// On a timeout the contender is removed before this returns, which may take another half second; where the link
    /// is dead, it is left to the background.
    ///
    /// # Errors
    /// [`AcquireTimeoutError::Elapsed`] if the time is up.
    ///
    /// # Cancel safety
    /// As [`acquire`](Self::acquire).
    pub async fn acquire_timeout(&self, limit: Duration) -> Result<FairLockGuard, AcquireTimeoutError> {
        let hold = self.line.acquire_timeout(&Enrolment::EXCLUSIVE, limit).await?;
        Ok(FairLockGuard::new(hold))
    }

    /// Acquires the lock, runs `work` with the fencing token, and releases the lock when `work` has ended. If the lock
    /// is lost, `work` is dropped at that moment. The node is deleted only after `work` has ended or been dropped.
    ///
    /// # Errors
    /// [`RunError::Lost`] if the lock was lost before `work` was done: it ran in part. [`RunError::Error`] if the lock
    /// could not be had: it did not run.
    ///
    /// # Cancel safety
    /// Dropping the future drops `work` and then gives the lock back.
    pub async fn run<F, Fut>(&self, work: F) -> Result<Fut::Output, RunError>
    where
        F: FnOnce(FencingToken) -> Fut,
        Fut: Future,
    {
        let guard = self.acquire().await?;
        let output = guard.run_until_lost(work(guard.token())).await?;
        self.finish(guard, output).await
    }

    /// As [`run`](Self::run), but makes way as soon as another contender asks for the lock: `work` is dropped at that
    /// moment, and the lock is given back.
    ///
    /// # Errors
    /// As [`run`](Self::run); the reason of [`RunError::Lost`] is [`LossReason::Revoked`](crate::LossReason::Revoked)
    /// if it made way.
    ///
    /// # Cancel safety
    /// As [`run`](Self::run).
    pub async fn run_revocable<F, Fut>(&self, work: F) -> Result<Fut::Output, RunError>
    where
        F: FnOnce(FencingToken) -> Fut,
        Fut: Future,
    {
        let guard = self.acquire().await?;
        let output = tokio::select! {
            biased;
            output = guard.run_until_lost(work(guard.token())) => Some(output?),
            Ok(_) = guard.revocation() => None,
        };
        match output {
            Some(output) => self.finish(guard, output).await,
            None => Err(guard.hold.give_up().into()),
        }
    }

    /// Returns the holder and the waiters, in order: one list, and one read for each contender; where there
    /// are many, for 64 of them.
    ///
    /// # Errors
    /// An [`Error`] that retrying would not help.
    #[doc(alias = "getParticipantNodes")]
    pub async fn contenders(&self) -> Result<Vec<Contender>, Error> {
        self.line.contenders().await
    }

    /// Asks `contender`, usually the holder, to give its place up, and says why. Whether it does is its own decision:
    /// it sees the request with [`Hold::revocation`]. A holder that runs Curator is asked the way Curator asks
    /// (`Revoker.attemptRevoke`), which gives no reason.
    ///
    /// Returns false if the contender has left the line already. A later request replaces an earlier one.
    ///
    /// ```no_run
    /// # async fn example(lock: zookeeper_recipes::FairLock) -> Result<(), Box<dyn std::error::Error>> {
    /// if let Some(holder) = lock.contenders().await?.first() {
    ///     lock.request_revocation(holder, "the nightly run is due").await?;
    /// }
    /// let guard = lock.acquire().await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// An [`Error`] that retrying would not help: [`Error::Denied`] if the contender's node may not be written.
    ///
    /// # Cancel safety
    /// Dropping the future leaves open whether the contender is asked.
    ///
    /// # Cost
    /// One read and one write.
    #[doc(alias = "Revoker")]
    pub async fn request_revocation(&self, contender: &Contender, reason: &str) -> Result<bool, Error> {
        self.line.request_revocation(&contender.path, reason).await
    }

    /// Releases the lock behind work that is done.
    async fn finish<T>(&self, guard: FairLockGuard, output: T) -> Result<T, RunError> {
        match guard.release().await {
            // The work was done while the lock was held; that the release came too late takes nothing from it.
            Ok(()) | Err(ReleaseError::Lost(_)) => Ok(output),
            Err(ReleaseError::Error(error)) => {
                tracing::warn!(
                    path = self.path(),
                    error = &error as &dyn std::error::Error,
                    "the work is done, but the lock was not released"
                );
                Ok(output)
            }
        }
    }
}

/// The options of a [`FairLock`].
///
/// # Examples
/// ```no_run
/// # async fn example(zk: zookeeper_recipes::Coordinator) -> Result<(), Box<dyn std::error::Error>> {
/// use zookeeper_recipes::{FairLock, Layout};
///
/// // In one line with kazoo's clients.
/// let lock = FairLock::builder(&zk, "/accounts/17").layout(Layout::Kazoo).build()?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
#[must_use = "options do nothing until `build` is called"]
pub struct FairLockBuilder {
    zk: Coordinator,
    path: String,
    layout: Layout,
}

impl FairLockBuilder {
    /// Chooses the names to write.
    pub fn layout(mut self, layout: Layout) -> Self {
        self.layout = layout;
        self
    }

    /// Builds the lock. Nothing is sent.
    ///
    /// # Errors
    /// [`Error::InvalidPath`].
    pub fn build(self) -> Result<FairLock, Error> {
        let path = NodePath::new(&self.path)?;
        Ok(FairLock {
            line: Line::new(self.zk, path, self.layout.lock()),
        })
    }
}

/// The lock is held while this guard lives; it dereferences to [`Hold`].
///
/// **Dropping it releases the lock in the background**; [`release`](Self::release) waits until it is free.
///
/// # Examples
/// ```no_run
/// # async fn example(lock: zookeeper_recipes::FairLock) -> Result<(), Box<dyn std::error::Error>> {
/// let guard = lock.acquire().await?;
/// println!("held with token {}", guard.token());
/// guard.release().await?;
/// # Ok(())
/// # }
/// ```
#[must_use = "the lock is released as soon as the guard is dropped"]
#[clippy::has_significant_drop]
#[derive(Debug)]
pub struct FairLockGuard {
    hold: Hold,
}

impl FairLockGuard {
    fn new(hold: Hold) -> Self {
        Self { hold }
    }

    /// Releases the lock and returns when its node is gone, so that the next contender has it: one delete.
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

impl Deref for FairLockGuard {
    type Target = Hold;

    fn deref(&self) -> &Hold {
        &self.hold
    }
}
