//! [`Leadership`]: what the winner of an election has.

use std::ops::Deref;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{Mutex, watch};

use super::local::LeadingShare;
use super::marks::Marks;
use super::rank::Reign;
use super::{LeaderElection, candidate_data};
use crate::error::{Error, classify};
use crate::metrics::{self, GaugeGuard};
use crate::session::{Interrupted, Lost};
use crate::znode::{Hold, NamedEphemeral, ReleaseError};

/// Leadership lasts while this guard lives; it dereferences to [`Hold`], whose [`token`](Hold::token) is the *term*:
/// larger than that of every leader before on this path.
///
/// Dropping it resigns in the background; [`resign`](Self::resign) waits until the next one can lead.
///
/// # Examples
/// ```no_run
/// # async fn example(election: zookeeper_recipes::LeaderElection) -> Result<(), Box<dyn std::error::Error>> {
/// let leadership = election.campaign("10.0.0.7:8080").await?;
/// println!("term {}", leadership.token());
/// leadership.ready().await?;
/// leadership.run_until_lost(schedule()).await?;
/// leadership.resign().await?;
/// # async fn schedule() {}
/// # Ok(())
/// # }
/// ```
#[must_use = "leadership ends as soon as the guard is dropped"]
#[clippy::has_significant_drop]
#[derive(Debug)]
pub struct Leadership {
    hold: Hold,
    marks: Marks,
    ready_mark: Mutex<Option<NamedEphemeral>>,
    is_ready: watch::Sender<bool>,
    elected: std::time::Instant,
    reason: Option<Arc<str>>,
    _measured: GaugeGuard,
    share: LeadingShare,
    reign: Option<Reign>,
}

impl Leadership {
    pub(super) fn new(hold: Hold, election: &LeaderElection, reign: Option<Reign>) -> Self {
        let share = election.leading.begin(&hold);
        let user = hold.metrics_name();
        metrics::count(metrics::ELECTION_CHANGES, Some(user), &[], 1);
        let measured = GaugeGuard::new(metrics::ELECTION_LEADING, Some(user), None);
        Self {
            hold,
            marks: election.marks.clone(),
            ready_mark: Mutex::new(None),
            is_ready: watch::Sender::new(false),
            elected: std::time::Instant::now(),
            reason: election.reason.clone(),
            _measured: measured,
            share,
            reign,
        }
    }

    /// Tells all observers that the leader is ready to serve, and not only elected: see
    /// [`Participant::is_ready`](super::Participant::is_ready).
    ///
    /// A standby that has to load its state campaigns first, loads, and then calls this. The mark stands in a node of its
    /// own beside the election, `<path>-__election__/ready-<candidate>`, so that Curator's `LeaderLatch` is not disturbed.
    /// It goes with the leadership. Calling it again does nothing.
    ///
    /// ```no_run
    /// # async fn example(election: zookeeper_recipes::LeaderElection) -> Result<(), Box<dyn std::error::Error>> {
    /// let leadership = election.campaign("scheduler-7").await?;
    /// load_the_state().await;
    /// leadership.ready().await?;
    /// # Ok(())
    /// # }
    /// # async fn load_the_state() {}
    /// ```
    ///
    /// # Errors
    /// [`ProclaimError::Lost`] if leadership is lost.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the leader not ready; call it again.
    ///
    /// # Cost
    /// One create and one watch, and one delete in the background at the end of the leadership.
    pub async fn ready(&self) -> Result<(), ProclaimError> {
        let mut mark = self.ready_mark.lock().await;
        if mark.is_none() {
            let path = self.marks.ready(self.hold.path());
            let create = NamedEphemeral::create(self.hold.session(), &path, b"", None);
            match self.hold.run_until_lost(create).await? {
                Ok(Ok(node)) => *mark = Some(node),
                Ok(Err(_)) => {
                    let reason = "another client has made this node; remove it";
                    return Err(Error::layout(path.as_str(), reason).into());
                }
                Err(Interrupted::Lost(lost)) => return Err(lost.into()),
                Err(Interrupted::Failed(error)) => return Err(error.into()),
            }
        }
        self.share.ready();
        if !self.is_ready.send_replace(true) {
            let took = self.elected.elapsed().as_secs_f64();
            metrics::observe(
                metrics::ELECTION_READY_DURATION,
                Some(self.hold.metrics_name()),
                &[],
                took,
            );
        }
        Ok(())
    }

    /// Whether [`ready`](Self::ready) was called. Costs no request.
    pub fn is_ready(&self) -> bool {
        *self.is_ready.borrow()
    }

    /// Waits until `ready` was called.
    pub(super) async fn became_ready(&self) {
        // The sender is ours: it outlives this.
        let _ = self.is_ready.subscribe().wait_for(|is_ready| *is_ready).await;
    }

    /// Waits until a candidate of higher [rank](super::LeaderElectionBuilder::rank) asks for the leadership, and may have
    /// it: not before the hold-down is over. What was asked is told again.
    ///
    /// [`run`](LeaderElection::run) resigns by itself, once the grace is over. A candidate that campaigns by hand resigns when
    /// this returns. Without a rank it never does.
    ///
    /// # Errors
    /// [`Lost`] when leadership ends.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub async fn outranked(&self) -> Result<(), Lost> {
        let asked = async {
            match &self.reign {
                Some(reign) => reign.outranked().await,
                None => std::future::pending().await,
            }
        };
        self.hold.run_until_lost(asked).await
    }

    /// Publishes another value for all observers, in place of the one given to the campaign. When it returns, the
    /// ensemble has the value. One write, and the watch on the own node is set again. A
    /// [request to resign](crate::LeaderElection::request_revocation) stays, and costs a read and a write more.
    ///
    /// Not where Curator's `LeaderLatch` stands in line: the one right behind the leader then misses its turn, since it
    /// looks once at the data ahead of it and afterwards waits for a delete that it is no longer told of. Publish through
    /// a [`SharedValue`](crate::SharedValue) there. Its `LeaderSelector` is not harmed.
    ///
    /// # Errors
    /// [`ProclaimError::Lost`] if leadership is lost: nothing is written any more, but the value may have been before.
    ///
    /// # Cancel safety
    /// Dropping the future leaves open whether the value is published.
    pub async fn proclaim(&self, value: impl Into<Bytes>) -> Result<(), ProclaimError> {
        self.hold
            .set_data(&candidate_data(&value.into(), self.reason.as_deref()))
            .await
            .map_err(|interrupted| match interrupted {
                Interrupted::Lost(lost) => ProclaimError::Lost(lost),
                Interrupted::Failed(error) => ProclaimError::Error(error),
            })
    }

    /// Resigns, and returns when the node is gone, so that the next candidate leads: one delete.
    ///
    /// # Errors
    /// [`ReleaseError::Lost`] if leadership had been lost before.
    ///
    /// # Cancel safety
    /// Dropping the future resigns in the background.
    pub async fn resign(self) -> Result<(), ReleaseError> {
        let Self { hold, share, .. } = self;
        drop(share);
        hold.release().await
    }
}

impl Deref for Leadership {
    type Target = Hold;

    fn deref(&self) -> &Hold {
        &self.hold
    }
}

/// Why a value or a state was not, or may not have been, published.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProclaimError {
    /// Leadership is lost; another candidate may lead.
    #[error("not proclaimed; another candidate may lead")]
    Lost(#[from] Lost),
    /// The value cannot be published.
    #[error(transparent)]
    Error(#[from] Error),
}

classify!(ProclaimError, Self::Lost(lost) => lost.nature(), Self::Error(error) => error.nature());
