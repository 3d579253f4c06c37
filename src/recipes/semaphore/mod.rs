//! [`Semaphore`]: so many at once, and no more.
//!
//! * `limit` – how many, agreed by all: pure rules and the node that says it
//! * `acquire` – the way to permits: turnstile, count, exchange
//! * `permit` – what is held
//! * `holders` – the holders, and asking them to give it back
//! * `errors` – why it is not

mod acquire;
mod errors;
mod holders;
mod limit;
mod permit;

use std::time::Duration;

use bytes::Bytes;

use self::limit::Agreement;
use crate::error::Error;
use crate::line::{ContenderNames, Line};
use crate::metrics::AcquireTimer;
use crate::session::Coordinator;
use crate::znode::{NodePath, elapsed, place_across_sessions, retry_across_sessions, with_deadline, with_reason};

pub use self::errors::{PermitError, PermitTimeoutError, TryPermitError};
pub use self::holders::PermitHolder;
#[cfg(feature = "_model")]
pub(crate) use self::limit::PermitLimit;
pub use self::permit::Permit;

/// Permits that are shared by all processes: at most so many connections to the bank at once.
///
/// It stands in one line with Curator's `InterProcessSemaphoreV2` on the same path and of the same number. Unlike that,
/// it takes several permits all or nothing (there, two callers that each want two of two take one each and wait without end), gives
/// each [`Permit`] a loss signal, and has a number that all users agree on.
///
/// # Layout
/// `<path>/locks/_c_<uuid>-lock-<seq>` is the line: one contender at a time looks for free permits.
/// `<path>/leases/_c_<uuid>-lease-<seq>` is one permit each, counted by all. The data of `<path>`, which Curator does
/// not look at, is the number of permits in decimal digits; once [`set_permits`](Self::set_permits) has changed it, the
/// number in force follows behind a blank, and a persistent child `<path>/keep` keeps the server from removing the
/// idle semaphore, a container, with its number.
///
/// # Fairness
/// First come, first served over all processes, whatever number each asks for: while the first in line waits for many
/// permits, no waiter behind overtakes it with few, so that big requests do not starve. The price is that few free permits
/// may lie idle for that time. A waiter whose session expires joins again at the tail.
///
/// # Cost
/// Acquire: a read, a create and a list, sent together; a list and a read; one transaction that gives up the place in
/// line for the permits. Release: one delete. Of all waiters, the first watches the permits, and each other one the
/// waiter ahead of it: a release wakes one. Waiting costs nothing while nothing changes. While a permit is held,
/// heartbeats as for [`FairLock`](crate::FairLock). Each permit is a node: do not use this for thousands.
///
/// # Examples
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use zookeeper_recipes::Semaphore;
///
/// let zk = zookeeper_recipes::connect("127.0.0.1:2181").await?;
/// let lines_to_the_bank = Semaphore::new(&zk, "/bank/lines", 3)?;
///
/// let permit = lines_to_the_bank.acquire().await?;
/// permit.run_until_lost(settle()).await?;
/// permit.release().await?;
/// # async fn settle() {}
/// # Ok(())
/// # }
/// ```
#[doc(alias = "InterProcessSemaphoreV2")]
#[derive(Clone, Debug)]
pub struct Semaphore {
    zk: Coordinator,
    agreement: Agreement,
    turnstile: Line,
    leases: NodePath,
    /// What our nodes say, where that is more than our identity.
    data: Option<Bytes>,
}

impl Semaphore {
    /// A semaphore of `permits` permits at `path`, below the chroot. Nothing is sent; the first user's number is agreed
    /// on, and a user with another number is refused.
    ///
    /// # Errors
    /// [`Error::InvalidPath`].
    pub fn new(zk: &Coordinator, path: &str, permits: u32) -> Result<Self, Error> {
        let path = NodePath::new(path)?;
        Ok(Self {
            zk: zk.clone(),
            turnstile: Line::new(
                zk.clone(),
                NodePath::new(&path.child("locks"))?,
                ContenderNames::CURATOR_LOCK,
            ),
            leases: NodePath::new(&path.child("leases"))?,
            agreement: Agreement { path, permits },
            data: None,
        })
    }

    /// The path of the semaphore, from the chroot.
    pub fn path(&self) -> &str {
        self.agreement.path.as_str()
    }

    /// Waits for one permit, however long it takes: lost connections, expired sessions and servers that are away are
    /// waited out.
    ///
    /// # Errors
    /// [`PermitError::Mismatch`] if others use another number of permits, [`PermitError::Unsatisfiable`] if there is
    /// none at all, [`PermitError::Error`] for what retrying would not help.
    ///
    /// # Cancel safety
    /// Dropping the future at any point leaves the line and takes no permit: its nodes are removed in the background,
    /// within moments while the session lives. The place in line is lost.
    ///
    /// # When the session is lost
    /// The future goes on waiting: it joins the line again, at the tail, in the next session.
    pub async fn acquire(&self) -> Result<Permit, PermitError> {
        self.acquire_many(1).await
    }

    /// Waits for `permits` permits, and takes them all at once.
    ///
    /// # Errors
    /// As [`acquire`](Self::acquire). [`PermitError::Unsatisfiable`] at once if there are not so many, and while
    /// waiting if their number [comes to be smaller](Self::set_permits); also for none at all.
    ///
    /// # Cancel safety
    /// As [`acquire`](Self::acquire).
    pub async fn acquire_many(&self, permits: u32) -> Result<Permit, PermitError> {
        self.acquire_tracked(permits, None).await
    }

    /// Takes one permit if one is free and no contender waits. If none is, that costs three reads, sent together.
    ///
    /// A contender that just passes through the line counts as waiting.
    ///
    /// # Errors
    /// [`TryPermitError::NoPermits`] if there is none.
    ///
    /// # Cancel safety
    /// As [`acquire`](Self::acquire).
    pub async fn try_acquire(&self) -> Result<Permit, TryPermitError> {
        self.try_acquire_many(1).await
    }

    /// Takes `permits` permits if so many are free and no contender waits.
    ///
    /// # Errors
    /// As [`try_acquire`](Self::try_acquire).
    ///
    /// # Cancel safety
    /// As [`acquire`](Self::acquire).
    pub async fn try_acquire_many(&self, permits: u32) -> Result<Permit, TryPermitError> {
        let attempt = |session| async move { self.try_in(&session, permits).await };
        let attempt = place_across_sessions(&self.zk, self.need(permits), attempt);
        let timer = AcquireTimer::start("semaphore", self.zk.metrics_name());
        let acquired = attempt.await;
        timer.ended(match &acquired {
            Ok(Some(_)) => "granted",
            Ok(None) => "contended",
            Err(_) => "error",
        });
        acquired?.ok_or(TryPermitError::NoPermits)
    }

    /// Waits for one permit for at most `limit`, requests to the ensemble included.
    ///
    /// On a timeout the contender is removed before this returns, which may take another half second; where the link
    /// is dead, it is left to the background.
    ///
    /// # Errors
    /// [`PermitTimeoutError::Elapsed`] if the time is up.
    ///
    /// # Cancel safety
    /// As [`acquire`](Self::acquire).
    pub async fn acquire_timeout(&self, limit: Duration) -> Result<Permit, PermitTimeoutError> {
        self.acquire_many_timeout(1, limit).await
    }

    /// Waits for `permits` permits for at most `limit`, requests to the ensemble included.
    ///
    /// # Errors
    /// As [`acquire_timeout`](Self::acquire_timeout).
    ///
    /// # Cancel safety
    /// As [`acquire`](Self::acquire).
    pub async fn acquire_many_timeout(&self, permits: u32, limit: Duration) -> Result<Permit, PermitTimeoutError> {
        let acquired = with_deadline(&self.zk, limit, |cleanup| async move {
            self.acquire_tracked(permits, Some(&cleanup)).await
        });
        let timer = AcquireTimer::start("semaphore", self.zk.metrics_name());
        let acquired = acquired.await;
        timer.ended(match &acquired {
            Ok(Some(_)) => "granted",
            Ok(None) => "timeout",
            Err(_) => "error",
        });
        acquired?.ok_or_else(|| elapsed(&self.zk, self.path(), limit))
    }

    /// As [`acquire_many`](Self::acquire_many), and says why: the reason stands behind the identity in the nodes of the
    /// contender and of its permits, where operators read it ([`PermitHolder::reason`]). Curator does not look at it.
    ///
    /// # Errors
    /// As [`acquire`](Self::acquire), and [`Error::TooLarge`] for a reason that no node takes.
    ///
    /// # Cancel safety
    /// As [`acquire`](Self::acquire).
    pub async fn acquire_many_as(&self, permits: u32, reason: &str) -> Result<Permit, PermitError> {
        self.because(reason).acquire_many(permits).await
    }

    /// As [`try_acquire_many`](Self::try_acquire_many), and says why, as [`acquire_many_as`](Self::acquire_many_as) does.
    ///
    /// # Errors
    /// As [`try_acquire`](Self::try_acquire).
    ///
    /// # Cancel safety
    /// As [`acquire`](Self::acquire).
    pub async fn try_acquire_many_as(&self, permits: u32, reason: &str) -> Result<Permit, TryPermitError> {
        self.because(reason).try_acquire_many(permits).await
    }

    /// As [`acquire_many_timeout`](Self::acquire_many_timeout), and says why, as
    /// [`acquire_many_as`](Self::acquire_many_as) does.
    ///
    /// # Errors
    /// As [`acquire_timeout`](Self::acquire_timeout).
    ///
    /// # Cancel safety
    /// As [`acquire`](Self::acquire).
    pub async fn acquire_many_timeout_as(
        &self,
        permits: u32,
        reason: &str,
        limit: Duration,
    ) -> Result<Permit, PermitTimeoutError> {
        self.because(reason).acquire_many_timeout(permits, limit).await
    }

    fn because(&self, reason: &str) -> Self {
        let data = Some(with_reason(self.zk.identity(), reason));
        Self { data, ..self.clone() }
    }

    /// Returns how many permits are free at this moment. Waiters in line come first for them. Two reads.
    ///
    /// # Errors
    /// As [`acquire`](Self::acquire).
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub async fn available_permits(&self) -> Result<u32, PermitError> {
        retry_across_sessions(&self.zk, |session| async move { self.free_in(&session).await }).await
    }

    /// Changes the number of permits for all users, from now on and until it is changed again.
    ///
    /// Growing lets waiters in. Shrinking takes no permit away: none is granted until enough came back. Waiters that
    /// want more than there are left get [`PermitError::Unsatisfiable`] when it is their turn. Clients configured with
    /// the former number, or with the new one, both keep working, so the configuration can be rolled out gradually.
    /// Users of Curator's `InterProcessSemaphoreV2` do not notice.
    ///
    /// # Errors
    /// As [`acquire`](Self::acquire).
    ///
    /// # Cancel safety
    /// Dropping the future leaves open whether the number is changed.
    pub async fn set_permits(&self, permits: u32) -> Result<(), PermitError> {
        retry_across_sessions(&self.zk, |session| async move {
            self.agreement.change(&session, permits).await
        })
        .await
    }
}

/// For a fuzzer.
#[cfg(feature = "_model")]
pub(super) fn parse(data: &[u8]) {
    _ = limit::Limit::parse(data);
}
