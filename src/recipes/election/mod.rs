//! [`LeaderElection`]: one of many leads, and the others know who.
//!
//! * `builder` – [`LeaderElectionBuilder`], the options
//! * `leadership` – [`Leadership`], what the leader has
//! * `observe` – who leads and who stands for election, for candidates and bystanders alike

mod builder;
mod leadership;
mod observe;

use std::future::Future;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tracing::{debug, info, warn};

use crate::error::Error;
use crate::line::{AcquireTimeoutError, Enrolment, Line, Mode, TryAcquireError};
use crate::session::Coordinator;
use crate::znode::{ReleaseError, check_listener};

pub use self::builder::{ElectionLayout, LeaderElectionBuilder};
pub use self::leadership::{Leadership, ProclaimError};
pub use self::observe::Participant;

/// An election: of all who campaign at a path, one leads, across processes and machines.
///
/// It stands in one line with Curator's `LeaderLatch` or `LeaderSelector` on the same path, as chosen with
/// [`ElectionLayout`].
///
/// # Fairness
/// Candidates lead in the order in which the ensemble created their nodes. A candidate whose session expires joins
/// again at the tail.
///
/// # When the session is lost
/// A candidate goes on waiting in the next session. A leader has lost: leadership goes on through a lost connection
/// for as long as its lease runs, a third to a half of the session timeout, and ends before another can lead.
///
/// # Cost
/// A campaign with nobody in front: create and list, one round trip. Resigning: one delete. A waiting candidate costs
/// one watch, on the one right before it, and nothing while it waits. An observer costs one watch on the leader's node.
/// While a candidate leads, it sends at most eight heartbeats a session timeout.
///
/// # Examples
/// ```no_run
/// use std::ops::ControlFlow;
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use zookeeper_recipes::LeaderElection;
///
/// let zk = zookeeper_recipes::connect("127.0.0.1:2181").await?;
/// let election = LeaderElection::new(&zk, "/scheduler/leader")?;
///
/// let leadership = election.campaign("scheduler-7").await?;
/// println!("leading, term {}", leadership.token());
/// leadership.resign().await?;
///
/// // The same again and again, with the work in the middle, which is dropped whenever leadership is lost:
/// let done = election
///     .run("scheduler-7", |leadership| async move {
///         match schedule_until_done(leadership.token()).await {
///             true => ControlFlow::Break("done"),
///             false => ControlFlow::Continue(()),
///         }
///     })
///     .await?;
/// # async fn schedule_until_done(_: zookeeper_recipes::FencingToken) -> bool { true }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct LeaderElection {
    line: Line,
}

impl LeaderElection {
    /// An election at `path`, below the chroot. Nothing is sent; the node at `path` is made when it is first needed.
    ///
    /// # Errors
    /// [`Error::InvalidPath`].
    pub fn new(zk: &Coordinator, path: &str) -> Result<Self, Error> {
        Self::builder(zk, path).build()
    }

    /// Starts to build an election at `path` with options.
    ///
    /// ```no_run
    /// # fn example(zk: zookeeper_recipes::Coordinator) -> Result<(), zookeeper_recipes::Error> {
    /// use zookeeper_recipes::{ElectionLayout, LeaderElection};
    ///
    /// let election = LeaderElection::builder(&zk, "/scheduler/leader")
    ///     .layout(ElectionLayout::LeaderSelector)
    ///     .build()?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn builder(zk: &Coordinator, path: &str) -> LeaderElectionBuilder {
        LeaderElectionBuilder::new(zk, path)
    }

    /// The path of the election, from the chroot.
    pub fn path(&self) -> &str {
        self.line.path().as_str()
    }

    /// Stands for election with `value` until it is won, however long it takes: lost connections, expired sessions
    /// and servers that are away are waited out. The value is what others see of us, for example an address.
    ///
    /// # Errors
    /// [`Error::TooLarge`] for a value that no node takes, and what else retrying would not help.
    ///
    /// # Cancel safety
    /// Dropping the future at any point withdraws the candidate: its node is removed in the background, within
    /// moments while the session lives. The place in line is lost.
    ///
    /// # When the session is lost
    /// The future goes on waiting: it stands again, at the tail, in the next session.
    pub async fn campaign(&self, value: impl Into<Bytes>) -> Result<Leadership, Error> {
        self.line
            .acquire(&enrolment(value.into()), None)
            .await
            .map(Leadership::new)
    }

    /// Leads if nobody does and nobody waits to. If somebody does, that is found out with one read.
    ///
    /// It waits while there is no connection; bound it with [`tokio::time::timeout`] where that matters.
    ///
    /// # Errors
    /// [`TryAcquireError::Contended`] if there are other candidates.
    ///
    /// # Cancel safety
    /// As [`campaign`](Self::campaign).
    pub async fn try_campaign(&self, value: impl Into<Bytes>) -> Result<Leadership, TryAcquireError> {
        self.line
            .try_acquire(&enrolment(value.into()))
            .await?
            .map(Leadership::new)
            .ok_or(TryAcquireError::Contended)
    }

    /// Stands for election for at most `limit`, requests to the ensemble included.
    ///
    /// On a timeout the candidate is removed before this returns, which may take another half second; where the link
    /// is dead, it is left to the background.
    ///
    /// # Errors
    /// [`AcquireTimeoutError::Elapsed`] if the time is up.
    ///
    /// # Cancel safety
    /// As [`campaign`](Self::campaign).
    pub async fn campaign_timeout(
        &self,
        value: impl Into<Bytes>,
        limit: Duration,
    ) -> Result<Leadership, AcquireTimeoutError> {
        let hold = self.line.acquire_timeout(&enrolment(value.into()), limit).await?;
        Ok(Leadership::new(hold))
    }

    /// Campaigns, runs `work` while leading, and campaigns again, until `work` says [`ControlFlow::Break`], whose
    /// value this returns after resigning.
    ///
    /// Whenever leadership is lost, `work` is dropped at that moment, wherever it was. Only when `work` is done or was
    /// dropped is the node deleted. After a [`ControlFlow::Continue`] that hands over to the next candidate, and we
    /// stand again behind all others. So at most one `work` of all who run at this path is running at any time, as far
    /// as the ensemble can tell: let what it writes to check [`token`](crate::Hold::token).
    ///
    /// A task that `work` has spawned is its own to end. If it has kept a clone of the leadership, leadership lasts
    /// until that is dropped or lost.
    ///
    /// # Errors
    /// An [`Error`] that retrying would not help. Losing the leadership is none.
    ///
    /// # Cancel safety
    /// Dropping the future drops `work` first and then resigns, or withdraws the candidate, in the background.
    pub async fn run<F, Fut, B>(&self, value: impl Into<Bytes>, mut work: F) -> Result<B, Error>
    where
        F: FnMut(Arc<Leadership>) -> Fut,
        Fut: Future<Output = ControlFlow<B>>,
    {
        let value = value.into();
        loop {
            let leadership = Arc::new(self.campaign(value.clone()).await?);
            match leadership.run_until_lost(work(Arc::clone(&leadership))).await {
                Ok(flow) => {
                    self.hand_over(leadership).await;
                    if let ControlFlow::Break(output) = flow {
                        return Ok(output);
                    }
                }
                Err(lost) => info!(path = self.path(), reason = %lost.reason, "leadership lost; standing again"),
            }
        }
    }

    /// Asks `participant`, usually the leader, to resign or to withdraw, and says why. Whether it does is its own
    /// decision: it sees the request with [`Hold::revocation`](crate::Hold::revocation) of its [`Leadership`], also one
    /// that was made while it waited.
    ///
    /// Returns false if the participant is gone already. A later request replaces an earlier one; a
    /// [proclamation](Leadership::proclaim) does not.
    ///
    /// Not where Curator's `LeaderLatch` stands in line, for the reason that [`proclaim`](Leadership::proclaim) gives.
    ///
    /// ```no_run
    /// # async fn example(election: zookeeper_recipes::LeaderElection) -> Result<(), Box<dyn std::error::Error>> {
    /// // The one who asks for the leadership:
    /// if let Some(leader) = election.leader().await? {
    ///     election.request_revocation(&leader, "this host is to be rebooted").await?;
    /// }
    ///
    /// // The leader:
    /// use std::ops::ControlFlow;
    /// election
    ///     .run("scheduler-7", |leadership| async move {
    ///         tokio::select! {
    ///             () = schedule() => ControlFlow::Break(()),
    ///             // Hands over, and stands again behind all others.
    ///             _ = leadership.revocation() => ControlFlow::Continue(()),
    ///         }
    ///     })
    ///     .await?;
    /// # async fn schedule() {}
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// An [`Error`] that retrying would not help: [`Error::Denied`] if the participant's node may not be written,
    /// [`Error::Layout`] for one that runs Curator, which has no ear for it: neither `LeaderLatch` nor `LeaderSelector`
    /// is `Revocable` (CURATOR-650).
    ///
    /// # Cancel safety
    /// Dropping the future leaves open whether the participant is asked.
    ///
    /// # Cost
    /// One read and one write.
    pub async fn request_revocation(&self, participant: &Participant, reason: &str) -> Result<bool, Error> {
        check_listener(&participant.path)?;
        self.line.request_revocation(&participant.path, reason).await
    }

    /// Resigns. The work was done while leading; that the end came too late takes nothing from it.
    async fn hand_over(&self, leadership: Arc<Leadership>) {
        let Some(leadership) = Arc::into_inner(leadership) else {
            return debug!(
                path = self.path(),
                "the work is done, but a clone of its leadership is kept"
            );
        };
        if let Err(ReleaseError::Error(error)) = leadership.resign().await {
            warn!(
                path = self.path(),
                error = &error as &dyn std::error::Error,
                "could not resign"
            );
        }
    }
}

fn enrolment(value: Bytes) -> Enrolment {
    Enrolment {
        mode: Mode::Exclusive,
        data: Some(value),
        ahead: None,
    }
}
