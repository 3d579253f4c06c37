//! [`Entered`]: being inside, until all leave.

use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use tracing::debug;

use super::DoubleBarrier;
use super::rule::{self, Leave, Ready};
use crate::error::{Error, TimeoutError};
use crate::session::{Interrupted, Lost, Session};
use crate::znode::{
    Ephemeral, Hold, ReleaseError, WITHDRAWAL_GRACE, elapsed, list, retry_across_sessions, watch_existing,
};

/// A member inside a barrier, for the others to wait for; it dereferences to [`Hold`], which says whether they do.
///
/// Dropping it leaves the barrier in the background, and does not wait for others.
///
/// # Examples
/// ```no_run
/// # async fn example(phase: zookeeper_recipes::DoubleBarrier) -> Result<(), Box<dyn std::error::Error>> {
/// let entered = phase.enter().await?;
/// entered.run_until_lost(work()).await?;
/// // Waits until all others are done.
/// entered.leave().await?;
/// # async fn work() {}
/// # Ok(())
/// # }
/// ```
#[must_use = "the barrier is left as soon as this is dropped"]
#[clippy::has_significant_drop]
#[derive(Debug)]
pub struct Entered {
    hold: Hold,
    barrier: DoubleBarrier,
    inside: Ready,
}

impl Entered {
    pub(super) fn new(hold: Hold, barrier: DoubleBarrier, inside: Ready) -> Self {
        Self { hold, barrier, inside }
    }

    /// Leaves the barrier, and returns when all members inside have left or died.
    ///
    /// # Errors
    /// [`ReleaseError::Lost`] if the member was lost before: the others did not wait for it. [`ReleaseError::Error`]
    /// for what retrying would not help.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the barrier in the background, and does not wait for others.
    ///
    /// # When the session is lost
    /// The member has left. The future goes on waiting for the others in the next session.
    pub async fn leave(self) -> Result<(), ReleaseError> {
        let Self { hold, barrier, inside } = self;
        barrier.leave(&mut Some(hold.into_node()?), inside).await?;
        Ok(())
    }

    /// [`leave`](Self::leave), and wait for the others for at most `limit`, requests to the ensemble included.
    ///
    /// Also on a timeout the member has left when this returns, which may take another half second; where the link is
    /// dead, that is left to the background.
    ///
    /// # Errors
    /// [`LeaveTimeoutError::Elapsed`] if others are still inside.
    ///
    /// # Cancel safety
    /// As [`leave`](Self::leave).
    pub async fn leave_timeout(self, limit: Duration) -> Result<(), LeaveTimeoutError> {
        let Self { hold, barrier, inside } = self;
        let mut node = Some(hold.into_node().map_err(ReleaseError::from)?);
        if let Some(left) = barrier.zk.timeout(limit, barrier.leave(&mut node, inside)).await {
            return left.map_err(|error| TimeoutError::Error(error.into()));
        }
        if let Some(node) = node.take() {
            if barrier.zk.timeout(WITHDRAWAL_GRACE, node.remove()).await.is_none() {
                debug!(path = barrier.path(), "timed out; the member is left to the reaper");
            }
        }
        Err(elapsed(&barrier.zk, barrier.path(), limit))
    }
}

impl Deref for Entered {
    type Target = Hold;

    fn deref(&self) -> &Hold {
        &self.hold
    }
}

impl DoubleBarrier {
    /// Removes `own` at the right moment, and waits for the others.
    async fn leave(&self, own: &mut Option<Ephemeral>, mut inside: Ready) -> Result<(), Error> {
        if let Some(session) = own.as_ref().map(|own| Arc::clone(own.session())) {
            match self.leave_in(&session, own, &mut inside).await {
                Ok(()) => return Ok(()),
                Err(Interrupted::Failed(error)) => return Err(self.zk.ended().unwrap_or(error)),
                // Of the session or of the node: either way it has left.
                Err(Interrupted::Lost(Lost { reason })) => debug!(%reason, "left without our doing"),
            }
        }
        // Dropped, it goes to the reaper, if it is still there at all.
        own.take();
        retry_across_sessions(&self.zk, |session| async move {
            let mut inside = inside;
            self.leave_in(&session, &mut None, &mut inside).await
        })
        .await
    }

    async fn leave_in(
        &self,
        session: &Arc<Session>,
        own: &mut Option<Ephemeral>,
        inside: &mut Ready,
    ) -> Result<(), Interrupted> {
        let mut fence = None;
        loop {
            let ready = self.directory.read_ready(session).await?;
            let open = ready.filter(|ready| ready.czxid == inside.czxid);
            *inside = open.unwrap_or(*inside);
            let children = list(session, &self.directory.path).await?;
            let name = own.as_ref().map(|own| own.name().to_owned());
            let ages = open.is_none() && own.is_none();
            let others = self
                .directory
                .others(session, &children, name.as_deref().unwrap_or_default(), ages)
                .await?;
            let mut step = rule::leave(name.as_deref(), *inside, ready, &others);
            if step == Leave::Withdraw {
                if let Some(node) = own.take() {
                    node.remove().await?;
                }
                if open.is_none() {
                    continue;
                }
                step = rule::leave(None, *inside, ready, &others);
            }
            match step {
                Leave::Done => return Ok(()),
                Leave::Withdraw => {}
                Leave::Close(version) => {
                    if let Some(node) = own.take() {
                        *own = node.remove_with((&self.directory.ready(), version)).await?;
                    }
                    if own.is_none() {
                        return Ok(());
                    }
                }
                Leave::Clear => match fence.take() {
                    Some(fence) => _ = self.directory.clear(session, &fence, *inside).await?,
                    None => fence = self.directory.fence(session).await?,
                },
                Leave::Watch(member) => {
                    let (now, mut ready_watch) = self.directory.watch_ready(session).await?;
                    if now != ready {
                        continue;
                    }
                    let Some(mut watch) = watch_existing(session, &self.directory.path.child(member)).await? else {
                        continue;
                    };
                    debug!(path = self.path(), member, "waiting for the others to leave");
                    tokio::select! {
                        () = watch.changed() => {}
                        () = ready_watch.changed() => {}
                        lost = ended(own.as_ref()) => return Err(lost.into()),
                    }
                }
            }
        }
    }
}

/// Waits for the end of the node; without one, for ever.
async fn ended(own: Option<&Ephemeral>) -> Lost {
    match own {
        Some(own) => Lost {
            reason: own.end().reached().await,
        },
        None => std::future::pending().await,
    }
}

/// Why a barrier was not left by all in time. After [`Elapsed`](TimeoutError::Elapsed) the member has left, and others
/// are still inside.
pub type LeaveTimeoutError = TimeoutError<ReleaseError>;
