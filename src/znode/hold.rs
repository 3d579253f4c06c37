//! [`Hold`]: what every guard is underneath.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::ephemeral::Ephemeral;
use super::fenced::CheckWriter;
use super::name::recipe_of;
use super::token::FencingToken;
use crate::error::{Error, classify};
use crate::metrics::{self, GaugeGuard, UserName};
use crate::session::{Coordinator, End, Interrupted, LossReason, Lost, LostSignal, Session, SessionLease};

/// A place that is held: what the guards of all recipes dereference to.
///
/// # When the session is lost
/// [`is_held`](Self::is_held) turns false and [`lost`](Self::lost) resolves at the moment at which the ensemble may
/// give the place away, not later. A hold never comes back to life; acquire again.
///
/// What no lock can prevent is a pause (of the process, of the machine) *inside* the protected code, between a look at
/// [`is_held`](Self::is_held) and the effect. Hand [`token`](Self::token) to the resource, or write with
/// [`fenced`](Self::fenced).
///
/// # Examples
/// ```no_run
/// # async fn example(hold: zookeeper_recipes::Hold) -> Result<(), Box<dyn std::error::Error>> {
/// println!("{} is held with token {}, sure for {:?}", hold.path(), hold.token(), hold.remaining());
/// tokio::select! {
///     () = settle() => println!("settled"),
///     lost = hold.lost() => println!("lost: {lost}"),
/// }
/// // The same in one call; what it returns is valid for sure.
/// hold.run_until_lost(settle()).await?;
/// # async fn settle() {}
/// # Ok(())
/// # }
/// ```
#[must_use = "dropping it gives the place up"]
#[clippy::has_significant_drop]
#[derive(Debug)]
pub struct Hold {
    /// Dropped first, while the nodes are as they were.
    measured: HoldTimer,
    node: Ephemeral,
    /// Further nodes, created together with the first: they share its end, and its czxid.
    others: Vec<Ephemeral>,
    /// Keeps the session supervised while something is held, even if all other handles are gone.
    _zk: Coordinator,
}

impl Hold {
    /// Turns a node that was found to be granted into a hold, and watches it from now on.
    pub(crate) fn new(node: Ephemeral, zk: Coordinator) -> Self {
        Self::of_all(node, Vec::new(), zk)
    }

    /// Turns nodes that were created together, and that were all found to be granted, into one hold.
    pub(crate) fn of_all(node: Ephemeral, others: Vec<Ephemeral>, zk: Coordinator) -> Self {
        let hold = Self {
            measured: HoldTimer::start(&node, zk.metrics_name()),
            node,
            others,
            _zk: zk,
        };
        hold.nodes().for_each(|node| node.set_held(true));
        // The share in the lease goes with the end, not with the guard: what is lost does not count any more.
        hold.node.end().keep(hold.session().hold());
        hold
    }

    /// The fencing token, which is larger than that of every earlier hold on this path. Costs no request.
    pub fn token(&self) -> FencingToken {
        FencingToken::from(self.node.czxid())
    }

    /// What measures it.
    pub(super) fn measured(&self) -> &HoldTimer {
        &self.measured
    }

    /// The name that metrics carry.
    pub(crate) fn metrics_name(&self) -> &UserName {
        self._zk.metrics_name()
    }

    /// Path of the node that stands for this hold, from the chroot; of the first one, where several locks are held.
    pub fn path(&self) -> &str {
        self.node.path()
    }

    /// Whether the place is ours at this moment. Costs no request; right even if the process has just been paused.
    pub fn is_held(&self) -> bool {
        !self.remaining().is_zero()
    }

    /// For how long the place is certainly ours if nothing more is heard from the ensemble: zero once it is lost,
    /// a third to a half of the session timeout while the ensemble answers fast, at least a
    /// fifth while it is slow. Costs no request.
    pub fn remaining(&self) -> Duration {
        let remaining = self.node.session().remaining();
        if self.node.end().reason().is_some() {
            Duration::ZERO
        } else {
            remaining
        }
    }

    /// A signal that resolves with the reason when the hold ends.
    pub fn lost(&self) -> LostSignal {
        self.node.end().signal(Some(SessionLease::of(self.session())))
    }

    /// Runs `work` until it is done or the hold is lost, whichever comes first. Biased to the loss: a result that
    /// was ready only after it is not returned.
    ///
    /// # Errors
    /// [`Lost`], after `work` was dropped.
    ///
    /// # Cancel safety
    /// Dropping the future drops `work`; the place stays held.
    pub async fn run_until_lost<F: Future>(&self, work: F) -> Result<F::Output, Lost> {
        let output = tokio::select! {
            biased;
            reason = self.lost() => return Err(Lost { reason }),
            output = work => output,
        };
        self.check().map(|()| output)
    }

    /// Writes that commit only while this hold lasts, as the ensemble sees it.
    ///
    /// ```no_run
    /// # async fn example(lock: zookeeper_recipes::FairLock) -> Result<(), Box<dyn std::error::Error>> {
    /// let guard = lock.acquire().await?;
    /// let mut write = guard.fenced();
    /// write.add_set_data("/accounts/17", b"balance 4200", None);
    /// write.commit().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn fenced(&self) -> CheckWriter<'_> {
        CheckWriter::new(self)
    }

    /// The session that holds.
    pub(crate) fn session(&self) -> &Arc<Session> {
        self.node.session()
    }

    /// The node that stands for this hold.
    pub(crate) fn node(&self) -> &Ephemeral {
        &self.node
    }

    /// All nodes that stand for this hold.
    pub(super) fn nodes(&self) -> impl Iterator<Item = &Ephemeral> {
        std::iter::once(&self.node).chain(&self.others)
    }

    /// An error if the hold is lost.
    pub(crate) fn check(&self) -> Result<(), Lost> {
        if self.is_held() {
            return Ok(());
        }
        Err(Lost {
            reason: self.node.end().reason().unwrap_or(LossReason::LeaseLapsed),
        })
    }

    /// Replaces the node's data.
    pub(crate) async fn set_data(&self, data: &[u8]) -> Result<(), Interrupted> {
        self.check()?;
        self.node.set_data(data).await
    }

    /// Goes on holding with a node at `path` in the place of ours, without a gap and with the same token.
    pub(crate) async fn replace(self, path: String) -> Result<Self, Interrupted> {
        self.check()?;
        let identity = self.node.session().identity().to_vec();
        let mut node = self.node.replace(path, &identity).await?;
        node.watch();
        Ok(Self::of_all(node, self.others, self._zk))
    }

    /// The node, no longer held: no lease is kept up for it.
    pub(crate) fn into_node(self) -> Result<Ephemeral, Lost> {
        self.check()?;
        self.node.end().drop_share();
        self.node.set_held(false);
        Ok(self.node)
    }

    /// Gives the place up because another asked for it. The node is removed in the background.
    pub(crate) fn give_up(self) -> Lost {
        let end = self.node.end();
        end.set(LossReason::Revoked);
        Lost {
            reason: end.reason().unwrap_or(LossReason::Revoked),
        }
    }

    /// Deletes the node and waits until it is gone.
    pub(crate) async fn release(self) -> Result<(), ReleaseError> {
        self.check()?;
        let removed = if self.others.is_empty() {
            self.node.remove().await
        } else {
            let nodes = std::iter::once(self.node).chain(self.others);
            Ephemeral::remove_all(nodes.collect()).await
        };
        removed.map_err(|interrupted| match interrupted {
            Interrupted::Lost(lost) => ReleaseError::Lost(lost),
            Interrupted::Failed(error) => ReleaseError::Error(error),
        })
    }
}

/// Measures one hold, until it is dropped.
#[derive(Debug)]
pub(super) struct HoldTimer {
    end: Arc<End>,
    recipe: &'static str,
    user: UserName,
    began: Instant,
    /// Whether a request to make way was received.
    is_asked: AtomicBool,
    _holds: GaugeGuard,
}

impl HoldTimer {
    fn start(node: &Ephemeral, user: &UserName) -> Self {
        let recipe = recipe_of(node.name());
        Self {
            end: Arc::clone(node.end()),
            recipe,
            user: user.clone(),
            began: Instant::now(),
            is_asked: AtomicBool::new(false),
            _holds: GaugeGuard::new(metrics::HOLDS, Some(user), Some(("recipe", recipe))),
        }
    }

    /// A request to make way was received: it is counted once a hold.
    pub(super) fn received(&self) {
        if !self.is_asked.swap(true, Ordering::Relaxed) {
            self.count_revocation("received");
        }
    }

    fn count_revocation(&self, outcome: &'static str) {
        let labels = [("recipe", self.recipe), ("outcome", outcome)];
        metrics::count(metrics::REVOCATIONS, Some(&self.user), &labels, 1);
    }
}

impl Drop for HoldTimer {
    fn drop(&mut self) {
        let (outcome, lost) = match self.end.reason() {
            None => ("dropped", None),
            Some(LossReason::Released) => ("released", None),
            Some(reason) => ("lost", Some(reason.label())),
        };
        let recipe = ("recipe", self.recipe);
        metrics::observe(
            metrics::HOLD_DURATION,
            Some(&self.user),
            &[recipe, ("outcome", outcome)],
            self.began.elapsed().as_secs_f64(),
        );
        let has_made_way = matches!(
            self.end.reason(),
            None | Some(LossReason::Released | LossReason::Revoked)
        );
        if has_made_way && self.is_asked.load(Ordering::Relaxed) {
            self.count_revocation("granted");
        }
        if let Some(reason) = lost {
            let labels = [recipe, ("error.type", reason)];
            metrics::count(metrics::LOSSES, Some(&self.user), &labels, 1);
        }
    }
}

/// Why a release did not go as it should.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReleaseError {
    /// The hold was lost before it could be released: another contender may have had the place in the meantime.
    #[error("the hold was lost before it was released")]
    Lost(#[from] Lost),
    /// The node could not be deleted; it goes when its session ends.
    #[error(transparent)]
    Error(#[from] Error),
}

classify!(ReleaseError, Self::Lost(lost) => lost.nature(), Self::Error(error) => error.nature());
