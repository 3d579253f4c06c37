//! Who works on which items, without counting the others.

use std::sync::Arc;

use super::WorkQueue;
use super::stats::ClaimInfo;
use super::store::{Picture, Range, Store};
use crate::error::Error;
use crate::session::{Interrupted, Session};
use crate::znode::{list, retry_across_sessions, sync};

/// The claims of a queue at about one moment, and whether it is paused. How many items wait is not counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct QueueClaims {
    /// The claims, and their consumers.
    pub claims: Vec<ClaimInfo>,
    /// Whether the queue is paused.
    pub paused: bool,
    /// The identity of the coordinator that paused it.
    pub paused_by: Option<String>,
    /// Why it was paused, see [`WorkQueue::pause_because`].
    pub pause_reason: Option<String>,
}

impl<T> WorkQueue<T> {
    /// Returns the claims of the queue and whether it is paused, and counts nothing else: cheap, however long the backlog is.
    /// For people and for repair.
    ///
    /// Consumers claim from the front. So of each priority, and of each moment at which delayed items were due, the blocks of
    /// some 192 pushes are read from the front until one holds items and no claim. **A claim behind such a block is not
    /// seen**: all that is claimed is told by [`stats`](Self::stats). Which delayed items are due is told by the clock of this
    /// machine, if the handle has sent nothing yet. Where there is no queue, there are no claims, and
    /// none is made.
    ///
    /// # Errors
    /// [`Error`] for what retrying would not help.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    ///
    /// # Cost
    /// Reads alone: a sync, a read, two lists, and a list for each 17 minutes in which delayed items are due; then for each
    /// priority, and each moment at which some are due, a list, one for each block with a claim, and one for the block
    /// behind; a read for each claim, and another one if it is of several items.
    ///
    /// # Examples
    /// ```no_run
    /// # async fn example(queue: zookeeper_recipes::queue::WorkQueue) -> Result<(), Box<dyn std::error::Error>> {
    /// for claim in queue.claims().await?.claims {
    ///     println!("{} items since {:?}", claim.items, claim.since);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn claims(&self) -> Result<QueueClaims, Error> {
        let store = &self.inner.store;
        retry_across_sessions(&store.zk, |session| async move { store.claims(&session).await }).await
    }
}

impl Store {
    async fn claims(&self, session: &Arc<Session>) -> Result<QueueClaims, Interrupted> {
        sync(session, self.path()).await?;
        let Some(header) = self.read_header(session).await? else {
            return Ok(QueueClaims::default());
        };
        let mut claims = Vec::new();
        for lane in self.lanes(session, self.approximate_now()).await? {
            for block in self.blocks_of(session, lane).await? {
                let ranges = Picture::of(&list(session, &self.layout.block(block)).await?).ranges;
                for range in &ranges {
                    claims.extend(self.claim_info(session, block, range).await?);
                }
                if !ranges.is_empty() && ranges.iter().all(Range::is_free) {
                    break;
                }
            }
        }
        Ok(QueueClaims {
            claims,
            paused: header.paused,
            paused_by: header.paused_by,
            pause_reason: header.pause_reason,
        })
    }
}
