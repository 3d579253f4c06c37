//! [`DoubleBarrier`]: all begin together, and all end together.
//!
//! * `rule` – what a member does, from what it sees; pure
//! * `view` – looking at the barrier, and the transactions on it
//! * `entered` – being inside, and leaving

mod entered;
mod rule;
#[cfg(test)]
mod rule_tests;
mod view;

use std::sync::Arc;
use std::time::Duration;

use tracing::{Instrument, debug, info, info_span};

use self::rule::{Enter, Ready};
use self::view::{Directory, has_ready, members};
use crate::error::{Error, WaitTimeoutError};
use crate::session::{CleanupToken, Coordinator, Interrupted, Lost, Session};
use crate::znode::{
    Ephemeral, Hold, NewChild, NodePath, Parents, Tag, elapsed, list, place_across_sessions, retry_across_sessions,
    with_deadline,
};

pub use self::entered::{Entered, LeaveTimeoutError};

/// A meeting point for several processes: each phase of a batch begins when all workers are there, and the next one not
/// before all are done.
///
/// A member waits in [`enter`](Self::enter) until as many members as there have to be are there at once. It is in the
/// barrier until it leaves or dies, and [`Entered::leave`] returns when no member is inside any more. Then the barrier may
/// be entered again.
///
/// It is Curator's `DistributedDoubleBarrier` on the same path (kazoo's members are counted too): a node
/// `<path>/<uuid>` for each member, ephemeral, and `<path>/ready`, persistent, while the barrier is open. Unlike theirs:
/// * A member that gives up waiting, or dies before the barrier opens, is not counted: the barrier opens in a
///   transaction that checks all members whom it counts (CURATOR-318, CURATOR-80).
/// * A member that dies inside is not waited for, and may [enter](Self::enter) again (CURATOR-330).
/// * A `ready` that is left from members that all died opens nothing; it is removed.
/// * A member that wakes late passes all the same, even if others have left in the meantime.
///
/// # More members than there have to be
/// A member that arrives while the barrier is open enters at once, and the others wait for it to leave. One that arrives
/// after all have left waits for the next opening.
///
/// # Cost
/// Enter: a create and a list, sent together, and a read that sets a watch; the last one to come reads once more and
/// opens the barrier with one transaction. Waiting costs nothing, the opening wakes each member once. Leave: a list, a
/// read, a delete and a watch each; a departure wakes one, the last one wakes all. While a member is inside, heartbeats
/// as for [`FairLock`](crate::FairLock).
///
/// # Examples
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use zookeeper_recipes::DoubleBarrier;
///
/// let zk = zookeeper_recipes::connect("127.0.0.1:2181").await?;
/// let phase = DoubleBarrier::new(&zk, "/settlement/2026-11-21/phase-2", 4)?;
///
/// let inside = phase.enter().await?;
/// // ... this worker's share of the phase ...
/// inside.leave().await?;
/// # Ok(())
/// # }
/// ```
#[doc(alias = "DistributedDoubleBarrier")]
#[derive(Clone, Debug)]
pub struct DoubleBarrier {
    zk: Coordinator,
    directory: Directory,
    parties: usize,
}

impl DoubleBarrier {
    /// A barrier at `path`, below the chroot, that opens when `parties` members are there; all of them are to be given
    /// the same number. Nothing is sent.
    ///
    /// # Errors
    /// [`Error::InvalidPath`].
    pub fn new(zk: &Coordinator, path: &str, parties: usize) -> Result<Self, Error> {
        let path = NodePath::new(path)?;
        Ok(Self {
            zk: zk.clone(),
            directory: Directory { path },
            parties,
        })
    }

    /// The path of the barrier, from the chroot.
    pub fn path(&self) -> &str {
        self.directory.path.as_str()
    }

    /// How many members are there at this moment, waiting or inside: one read.
    ///
    /// # Errors
    /// An [`Error`] that retrying would not help.
    pub async fn members(&self) -> Result<usize, Error> {
        retry_across_sessions(&self.zk, |session| async move {
            let children = list(&session, &self.directory.path).await?;
            Ok(members(&children).count())
        })
        .await
    }

    /// Waits until the barrier is open, however long it takes. It opens when as many members as there have to be are
    /// waiting at once; it is open while some of them are inside.
    ///
    /// # Errors
    /// An [`Error`] that retrying would not help.
    ///
    /// # Cancel safety
    /// Dropping the future at any point withdraws the member: its node is removed in the background, within moments
    /// while the session lives. If the barrier opens before that, the member is one that died inside.
    ///
    /// # When the session is lost
    /// The future goes on waiting, as another member in the next session.
    pub async fn enter(&self) -> Result<Entered, Error> {
        self.enter_witnessed(None).await
    }

    /// [`enter`](Self::enter) for at most `limit`, requests to the ensemble included.
    ///
    /// On a timeout the member is withdrawn before this returns, which may take another half second; where the link is
    /// dead, it is left to the background.
    ///
    /// # Errors
    /// [`WaitTimeoutError::Elapsed`] if the time is up.
    ///
    /// # Cancel safety
    /// As [`enter`](Self::enter).
    pub async fn enter_timeout(&self, limit: Duration) -> Result<Entered, WaitTimeoutError> {
        let entered = with_deadline(&self.zk, limit, |cleanup| async move {
            self.enter_witnessed(Some(&cleanup)).await
        });
        entered.await?.ok_or_else(|| elapsed(&self.zk, self.path(), limit))
    }

    async fn enter_witnessed(&self, cleanup: Option<&CleanupToken>) -> Result<Entered, Error> {
        place_across_sessions(&self.zk, (self.path(), 1), |session| async move {
            self.enter_in(&session, cleanup).await
        })
        .instrument(info_span!("enter", path = self.path()))
        .await
    }

    async fn enter_in(&self, session: &Arc<Session>, cleanup: Option<&CleanupToken>) -> Result<Entered, Interrupted> {
        let member = NewChild {
            parent: &self.directory.path,
            tag: Tag::Member,
            data: session.identity(),
            parents: Parents::Containers,
            cleanup,
            is_listed: true,
        };
        let (mut node, mut listed) = Ephemeral::create(session, member).await?;
        let is_complete = |listed: &Vec<String>| members(listed).count() >= self.parties;
        let mut fence = match listed.as_ref().is_some_and(is_complete) {
            // Most likely this member opens the barrier.
            true => self.directory.fence(session).await?,
            false => None,
        };
        // Most likely we wait, else: then no watch is set that would have to be taken back.
        let mut watched = fence.is_none() && listed.as_deref().is_some_and(|listed| !has_ready(listed));
        loop {
            let (ready, ready_watch) = self.directory.see_ready(session, watched).await?;
            watched = false;
            if let Some(ready) = ready.filter(|ready| ready.is_inside(node.czxid())) {
                return self.inside(node, ready).await;
            }
            // Older than the member, it says nothing by itself.
            let ages = ready.is_some();
            let children = match listed.take() {
                Some(listed) if !ages => listed,
                _ => list(session, &self.directory.path).await?,
            };
            let others = self.directory.others(session, &children, node.name(), ages).await?;
            match (rule::enter(node.czxid(), self.parties, ready, &others), ready) {
                (Enter::Pass, Some(ready)) => return self.inside(node, ready).await,
                (Enter::Join(inside), Some(ready)) => _ = self.directory.join(session, ready, inside).await?,
                (Enter::Open(_) | Enter::Clear, _) if fence.is_none() => {
                    fence = self.directory.fence(session).await?;
                    if fence.is_none() {
                        // No directory, so neither our node.
                        node.recheck().await?;
                    }
                }
                (Enter::Open(others), _) => {
                    if let Some(fence) = fence.take() {
                        let all = std::iter::once(node.name()).chain(others.iter().copied());
                        if !self.directory.open(session, &fence, all).await? {
                            // One of them is gone, and it may be ours.
                            node.recheck().await?;
                        }
                    }
                }
                (Enter::Clear, Some(ready)) => {
                    if let Some(fence) = fence.take() {
                        self.directory.clear(session, &fence, ready).await?;
                    }
                }
                _ => {
                    let Some(mut ready_watch) = ready_watch else {
                        (watched, listed) = (true, Some(children));
                        continue;
                    };
                    node.watch();
                    debug!(node = node.path(), members = others.len() + 1, "waiting");
                    tokio::select! {
                        () = ready_watch.changed() => {}
                        reason = node.end().reached() => return Err(Lost { reason }.into()),
                    }
                }
            }
        }
    }

    /// Makes a hold of a member for whom the barrier was opened, if its node was there at that moment: it is, if it still
    /// is now.
    async fn inside(&self, mut node: Ephemeral, ready: Ready) -> Result<Entered, Interrupted> {
        let session = Arc::clone(node.session());
        let (is_there, proven) = futures::future::join(node.recheck(), session.prove(node.end())).await;
        is_there?;
        proven?;
        node.watch();
        if let Some(reason) = node.end().reason() {
            return Err(Lost { reason }.into());
        }
        let hold = Hold::new(node, self.zk.clone());
        info!(node = hold.path(), "entered");
        Ok(Entered::new(hold, self.clone(), ready))
    }
}
