//! [`LeaderElection`]: one of many candidates leads, and the others know which one.
//!
//! * `builder` – [`LeaderElectionBuilder`], the options
//! * `leadership` – [`Leadership`], what the leader has
//! * `run` – campaigning, working and resigning again and again, with back-off
//! * `observe` – the leader and the candidates, for candidates and bystanders alike
//! * `local` – whether this process leads, and its health
//! * `marks` – the nodes beside the line; `rank` – which candidate should lead, and how others make way

mod builder;
mod leadership;
mod local;
mod marks;
mod observe;
mod rank;
mod run;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;

use self::builder::ElectionOptions;
use self::local::LocalLeader;
use self::marks::Marks;
use self::rank::{Flaps, Reign};
use crate::error::Error;
use crate::line::{AcquireTimeoutError, Enrolment, Line, Mode, TryAcquireError};
use crate::session::{CleanupToken, Coordinator};
use crate::znode::{Hold, check_listener, value_with_reason};

pub use self::builder::{ElectionLayout, LeaderElectionBuilder};
pub use self::leadership::{Leadership, ProclaimError};
pub use self::observe::Participant;

/// An election: of all candidates at a path, one leads, across processes and machines.
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
/// A campaign with no candidate in front: create and list, one round trip. Resigning: one delete. A waiting candidate costs
/// one watch, on the one right before it, and nothing while it waits. An observer costs two watches, on the leader's node
/// and on where it says that it is ready.
/// While a candidate leads, it sends at most eight heartbeats a session timeout.
///
/// # What does not work beside Curator
/// * `LeaderLatch` right behind a leader of ours misses its turn after [`proclaim`](Leadership::proclaim) and
///   [`request_revocation`](Self::request_revocation), which change the data of a candidate: do not call them there.
///   [`ready`](Leadership::ready) and [rank](LeaderElectionBuilder::rank) change none. A candidate of ours wakes at any
///   change of the one ahead of it.
/// * Candidates of Curator have no rank. They are never asked to make way, do not make way, and are never ready.
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
#[doc(alias = "LeaderLatch")]
#[doc(alias = "LeaderSelector")]
#[doc(alias = "Election")]
#[derive(Clone, Debug)]
pub struct LeaderElection {
    line: Line,
    marks: Marks,
    options: ElectionOptions,
    leading: Arc<LocalLeader>,
    flaps: Arc<Mutex<Flaps>>,
    /// Why its candidates stand.
    reason: Option<Arc<str>>,
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
        self.campaign_with(value.into(), None).await
    }

    /// What is left to be removed of a campaign that is dropped holds a token of `cleanup`.
    async fn campaign_with(&self, value: Bytes, cleanup: Option<&CleanupToken>) -> Result<Leadership, Error> {
        let _candidate = self.leading.stand();
        let enrolment = self.enrolment(&value);
        let Some(rank) = self.options.rank.rank else {
            let hold = self.line.acquire(&enrolment, cleanup).await?;
            return Ok(self.elected(hold));
        };
        let stand_by = |session, path| self.stand_by(session, path, rank, cleanup);
        loop {
            if let Some(hold) = self.line.acquire_unless(&enrolment, cleanup, stand_by).await? {
                return Ok(self.elected(hold));
            }
        }
    }

    fn elected(&self, hold: Hold) -> Leadership {
        let rank = self.options.rank.rank;
        let reign = rank.map(|rank| Reign::begin(self, &hold, rank));
        Leadership::new(hold, self, reign)
    }

    /// Leads if there is no leader and no other candidate. Otherwise it fails after one read and no write.
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
            .try_acquire(&self.enrolment(&value.into()))
            .await?
            .map(|hold| self.elected(hold))
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
        let _candidate = self.leading.stand();
        let hold = self.line.acquire_timeout(&self.enrolment(&value.into()), limit).await?;
        Ok(self.elected(hold))
    }

    /// As [`campaign`](Self::campaign), and says why: the reason stands behind the value in the candidate's node, where
    /// operators ([`Contender::reason`](crate::Contender::reason)) and other candidates ([`Participant::reason`]) read it.
    /// Curator's `LeaderLatch` takes both together for the id of the participant.
    ///
    /// ```no_run
    /// # async fn example(election: zookeeper_recipes::LeaderElection) -> Result<(), Box<dyn std::error::Error>> {
    /// let leadership = election.campaign_as("scheduler-7", "release of Tuesday").await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`campaign`](Self::campaign).
    ///
    /// # Cancel safety
    /// As [`campaign`](Self::campaign).
    pub async fn campaign_as(&self, value: impl Into<Bytes>, reason: &str) -> Result<Leadership, Error> {
        self.because(reason).campaign(value).await
    }

    /// As [`try_campaign`](Self::try_campaign), and says why, as [`campaign_as`](Self::campaign_as) does.
    ///
    /// # Errors
    /// As [`try_campaign`](Self::try_campaign).
    ///
    /// # Cancel safety
    /// As [`campaign`](Self::campaign).
    pub async fn try_campaign_as(&self, value: impl Into<Bytes>, reason: &str) -> Result<Leadership, TryAcquireError> {
        self.because(reason).try_campaign(value).await
    }

    /// As [`campaign_timeout`](Self::campaign_timeout), and says why, as [`campaign_as`](Self::campaign_as) does.
    ///
    /// # Errors
    /// As [`campaign_timeout`](Self::campaign_timeout).
    ///
    /// # Cancel safety
    /// As [`campaign`](Self::campaign).
    pub async fn campaign_timeout_as(
        &self,
        value: impl Into<Bytes>,
        reason: &str,
        limit: Duration,
    ) -> Result<Leadership, AcquireTimeoutError> {
        self.because(reason).campaign_timeout(value, limit).await
    }

    fn because(&self, reason: &str) -> Self {
        Self {
            reason: Some(reason.into()),
            ..self.clone()
        }
    }

    fn enrolment(&self, value: &Bytes) -> Enrolment {
        Enrolment {
            mode: Mode::Exclusive,
            data: Some(candidate_data(value, self.reason.as_deref())),
            ahead: None,
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
    /// // The process that asks for the leadership:
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
}

/// The data of a candidate's node.
fn candidate_data(value: &Bytes, reason: Option<&str>) -> Bytes {
    match reason {
        Some(reason) => value_with_reason(value, reason),
        None => value.clone(),
    }
}

/// For a fuzzer.
#[cfg(feature = "_model")]
pub(super) fn parse(data: &[u8]) {
    let name = String::from_utf8_lossy(data);
    if let Some(mark) = marks::RankMark::parse(&name) {
        assert_eq!(marks::RankMark::parse(&mark.to_string()), Some(mark));
    }
}
