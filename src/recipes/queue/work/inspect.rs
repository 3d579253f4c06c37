//! What is known of an item.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use futures::future;

use super::WorkQueue;
use super::errors::{ResultError, ResultTimeoutError};
use super::front::complete;
use super::item::{Item, ItemId};
use super::layout::{Lane, SegmentName, Slots, numbers};
use super::segment::decode;
use super::shared::QueueInner;
use crate::error::Error;
use crate::session::{Interrupted, RecipeError, Session};
use crate::znode::{NodePath, elapsed, list, read, read_and_watch, retry_across_sessions, stat, stat_and_watch, sync};

/// Where an item is on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ItemStatus {
    /// There is none: it was never pushed, or is done and nothing of it is kept.
    Unknown,
    /// It waits for a consumer.
    Ready,
    /// It waits for its time.
    Delayed {
        /// When it is due, by the clock of the ensemble.
        until: SystemTime,
    },
    /// A consumer works on it.
    Claimed {
        /// The identity that the consumer's coordinator was given.
        by: Bytes,
        /// Since when, by the clock of the ensemble.
        since: SystemTime,
        /// Which attempt this is, from 1.
        attempt: u32,
    },
    /// It is done, and its result is kept.
    Done,
    /// Nobody could handle it.
    Dead {
        /// Why.
        reason: String,
    },
}

impl WorkQueue {
    /// How many items wait, delayed ones included and claimed ones not: a list for each block of some 512 pushes.
    ///
    /// # Errors
    /// [`Error`] for what retrying would not help.
    pub async fn len(&self) -> Result<u64, Error> {
        retry_across_sessions(
            &self.shared.zk,
            |session| async move { self.shared.count(&session).await },
        )
        .await
    }

    /// Whether no item waits. Costs as [`len`](Self::len).
    ///
    /// # Errors
    /// As [`len`](Self::len).
    pub async fn is_empty(&self) -> Result<bool, Error> {
        self.len().await.map(|len| len == 0)
    }

    /// Where an item is. Some reads; for one that was given back or delayed, all of those of its priority are looked
    /// through, so this is for people and for repair, not for each item.
    ///
    /// # Errors
    /// [`Error`] for what retrying would not help.
    pub async fn status(&self, id: &ItemId) -> Result<ItemStatus, Error> {
        retry_across_sessions(&self.shared.zk, |session| async move {
            self.shared.status(&session, id).await
        })
        .await
    }

    /// Waits for the result of an item, which its consumer gave with [`ack_with`](super::Delivery::ack_with). If it is
    /// acknowledged without one, nobody is told: bound the wait with [`result_timeout`](Self::result_timeout).
    ///
    /// # Errors
    /// * [`ResultError::Unknown`] if there is no such item (any more) when this begins.
    /// * [`ResultError::Dead`] if nobody could handle it.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    ///
    /// # When the session is lost
    /// It goes on in the next session.
    ///
    /// # Cost
    /// A sync and six reads or so to begin with, and those of [`status`](Self::status); while it waits, nothing.
    pub async fn result(&self, id: &ItemId) -> Result<Bytes, ResultError> {
        retry_across_sessions(&self.shared.zk, |session| async move {
            self.shared.result(&session, id).await
        })
        .await
    }

    /// Waits for the result of an item for at most `limit`.
    ///
    /// # Errors
    /// [`ResultTimeoutError::Elapsed`] when the time is up; else as [`result`](Self::result).
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub async fn result_timeout(&self, id: &ItemId, limit: Duration) -> Result<Bytes, ResultTimeoutError> {
        let result = self.shared.zk.timeout(limit, self.result(id)).await;
        result.map_or_else(
            || Err(elapsed(&self.shared.zk, self.path(), limit)),
            |result| Ok(result?),
        )
    }
}

impl RecipeError for ResultError {}

impl QueueInner {
    async fn count(&self, session: &Arc<Session>) -> Result<u64, Interrupted> {
        let mut count = 0_usize;
        for block in self.blocks(session).await? {
            for name in list(session, &block).await? {
                // What a name says may be anything.
                count = count.saturating_add(SegmentName::parse(&name).map_or(0, |name| name.count));
            }
        }
        Ok(u64::try_from(count).unwrap_or(u64::MAX))
    }

    /// All blocks of items that wait.
    async fn blocks(&self, session: &Arc<Session>) -> Result<Vec<NodePath>, Interrupted> {
        let mut blocks = Vec::new();
        let ready = self.layout.directory("ready");
        for priority in list(session, &ready).await? {
            let lane = ready.descendant(&priority);
            let numbers = numbers::<i32>(&list(session, &lane).await?);
            blocks.extend(numbers.iter().map(|block| lane.descendant(&block.to_string())));
        }
        let later = self.layout.directory("later");
        for priority in list(session, &later).await? {
            blocks.extend(self.later_blocks(session, &later.descendant(&priority)).await?);
        }
        Ok(blocks)
    }

    async fn later_blocks(&self, session: &Arc<Session>, spans: &NodePath) -> Result<Vec<NodePath>, Interrupted> {
        let mut blocks = Vec::new();
        for span in list(session, spans).await? {
            let span = spans.descendant(&span);
            for slot in list(session, &span).await? {
                let slot = span.descendant(&slot);
                let names = list(session, &slot).await?;
                blocks.extend(names.iter().map(|block| slot.descendant(block)));
            }
        }
        Ok(blocks)
    }

    async fn status(&self, session: &Arc<Session>, id: &ItemId) -> Result<ItemStatus, Interrupted> {
        sync(session, self.path()).await?;
        loop {
            let before = self.changes(session).await?;
            if let Some(status) = self.look_for(session, id).await? {
                return Ok(status);
            }
            // It may have passed us on its way from one place to another.
            if self.changes(session).await? == before {
                return Ok(ItemStatus::Unknown);
            }
        }
    }

    /// What changes whenever an item goes from one place to another.
    async fn changes(&self, session: &Arc<Session>) -> Result<[Option<(i64, i64)>; 2], Interrupted> {
        let claimed = self.layout.directory("claimed");
        let stats = future::try_join(stat(session, self.path()), stat(session, claimed.as_str())).await?;
        let change = |stat: Option<zookeeper_client::Stat>| stat.map(|stat| (stat.mzxid, stat.pzxid));
        Ok([change(stats.0), change(stats.1)])
    }

    async fn look_for(&self, session: &Arc<Session>, id: &ItemId) -> Result<Option<ItemStatus>, Interrupted> {
        if stat(session, &self.layout.result(id.as_str())).await?.is_some() {
            return Ok(Some(ItemStatus::Done));
        }
        if let Some(reason) = self.death_of(session, id).await? {
            return Ok(Some(ItemStatus::Dead { reason }));
        }
        let now = self.now(session).await?;
        let waiting = |item: &Item| match item.due > now {
            true => ItemStatus::Delayed { until: at(item.due) },
            false => ItemStatus::Ready,
        };
        let Some(origin) = id.origin() else { return Ok(None) };
        let block = self.layout.block(origin.lane, origin.block);
        if let Some(item) = self.find_in(session, &block, Some(origin.guid), id).await? {
            return Ok(Some(match origin.lane {
                // Whatever our idea of the ensemble's clock: it may be a moment behind.
                Lane::Ready(_) => ItemStatus::Ready,
                _ => waiting(&item),
            }));
        }
        if let Some(claimed) = self.find_claimed(session, id).await? {
            return Ok(Some(claimed));
        }
        let priority = match origin.lane {
            Lane::Ready(priority) | Lane::Later(priority, _) => priority,
            Lane::Expiry(_) => return Ok(None),
        };
        let later = self.layout.slots(Slots::Later(priority));
        for block in self.later_blocks(session, &later).await? {
            if let Some(item) = self.find_in(session, &block, None, id).await? {
                return Ok(Some(waiting(&item)));
            }
        }
        // One of several items of a claim may have died meanwhile, without a trace in what tells of changes.
        let reason = self.death_of(session, id).await?;
        Ok(reason.map(|reason| ItemStatus::Dead { reason }))
    }

    /// The item, if it is in a segment of this block, or in the one with this guid.
    async fn find_in(
        &self,
        session: &Arc<Session>,
        block: &NodePath,
        guid: Option<&str>,
        id: &ItemId,
    ) -> Result<Option<Item>, Interrupted> {
        for name in list(session, block).await? {
            let Some(parsed) = SegmentName::parse(&name) else {
                continue;
            };
            if guid.is_some_and(|guid| guid != parsed.guid) {
                continue;
            }
            let Some((data, stat)) = read(session, &block.child(&name)).await? else {
                continue;
            };
            let Some(mut items) = decode(&data.into()) else {
                continue;
            };
            complete(&mut items, &stat);
            if let Some(item) = items.into_iter().find(|item| item.id == *id) {
                return Ok(Some(item));
            }
        }
        Ok(None)
    }

    async fn find_claimed(&self, session: &Arc<Session>, id: &ItemId) -> Result<Option<ItemStatus>, Interrupted> {
        let claimed = self.layout.directory("claimed");
        for name in list(session, &claimed).await? {
            let Some((data, stat)) = read(session, &claimed.child(&name)).await? else {
                continue;
            };
            let items = decode(&data.into()).unwrap_or_default();
            let Some(item) = items.into_iter().find(|item| item.id == *id) else {
                continue;
            };
            // Without it, the consumer is gone, and the item is as good as given back.
            return Ok(Some(match read(session, &self.layout.claim(&name)).await? {
                Some((identity, _)) => ItemStatus::Claimed {
                    by: identity.into(),
                    since: at(stat.ctime),
                    attempt: item.attempt,
                },
                None => ItemStatus::Ready,
            }));
        }
        Ok(None)
    }

    async fn result(&self, session: &Arc<Session>, id: &ItemId) -> Result<Bytes, Interrupted<ResultError>> {
        let (result, dead) = (self.layout.result(id.as_str()), self.layout.dead(id.as_str()));
        // The watches come first, so that nothing falls between them and what is asked then.
        sync(session, self.path()).await?;
        let mut known = false;
        loop {
            if let Some((data, _, _)) = read_and_watch(session, &result).await? {
                return Ok(data.into());
            }
            let (done, mut done_watch) = stat_and_watch(session, &result).await?;
            let (died, mut died_watch) = stat_and_watch(session, &dead).await?;
            if done.is_some() {
                continue;
            }
            if died.is_some() {
                if let Some(reason) = self.death_of(session, id).await? {
                    return Err(Interrupted::Failed(ResultError::Dead { id: id.clone(), reason }));
                }
                continue;
            }
            if !known {
                match self.status(session, id).await? {
                    ItemStatus::Unknown => return Err(Interrupted::Failed(ResultError::Unknown { id: id.clone() })),
                    _ => known = true,
                }
            }
            tokio::select! {
                () = done_watch.changed() => {}
                () = died_watch.changed() => {}
            }
            if session.end_reason().is_some() {
                return Err(Interrupted::from(super::claim::ended(session)));
            }
        }
    }
}

fn at(millis: i64) -> SystemTime {
    let since = Duration::from_millis(u64::try_from(millis).unwrap_or_default());
    UNIX_EPOCH.checked_add(since).unwrap_or(UNIX_EPOCH)
}
