//! What a queue holds, in numbers.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures::future;

use super::WorkQueue;

use super::store::{BlockId, ClaimData, Claimable, Kind, Lane, Picture, Range, State, Store, Tally, numbers};
use crate::error::Error;
use crate::metrics::{self, UserName};
use crate::session::{Interrupted, Session};
use crate::znode::{list, read, retry_across_sessions, stat};

/// What a queue holds at about one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct QueueStats {
    /// Items that could be delivered now, those of groups included.
    pub ready: usize,
    /// Items that wait for their time.
    pub delayed: usize,
    /// Items that consumers hold.
    pub claimed: usize,
    /// The claims, and their consumers.
    pub claims: Vec<ClaimInfo>,
    /// Dead letters.
    pub dead: usize,
    /// The age of the oldest item that could be delivered now.
    pub oldest: Option<Duration>,
    /// Whether the queue is paused.
    pub paused: bool,
}

/// A claim of a consumer.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClaimInfo {
    /// The identity that the consumer's coordinator was given.
    pub by: Bytes,
    /// Since when, by the clock of the ensemble.
    pub since: SystemTime,
    /// How many items it holds.
    pub items: usize,
}

impl QueueStats {
    fn record(&self, user: &UserName) {
        let states = [
            ("ready", self.ready),
            ("delayed", self.delayed),
            ("claimed", self.claimed),
            ("dead", self.dead),
        ];
        for (state, items) in states {
            let items = f64::from(u32::try_from(items).unwrap_or(u32::MAX));
            metrics::set(metrics::QUEUE_ITEMS, Some(user), &[("state", state)], items);
        }
        let age = self.oldest.unwrap_or_default().as_secs_f64();
        metrics::set(metrics::QUEUE_OLDEST_AGE, Some(user), &[], age);
    }
}

impl<T> WorkQueue<T> {
    /// Returns how many items wait, delayed ones included and claimed ones not: a list for each block of some 192
    /// pushes.
    ///
    /// # Errors
    /// [`Error`] for what retrying would not help.
    #[doc(alias = "size")]
    pub async fn len(&self) -> Result<usize, Error> {
        let store = &self.inner.store;
        let counted =
            retry_across_sessions(&store.zk, |session| async move { store.count(&session, false).await }).await?;
        Ok(counted.ready + counted.delayed)
    }

    /// Whether no item waits. Costs as [`len`](Self::len).
    ///
    /// # Errors
    /// As [`len`](Self::len).
    pub async fn is_empty(&self) -> Result<bool, Error> {
        self.len().await.map(|len| len == 0)
    }

    /// Returns what the queue holds: as [`len`](Self::len), and a read for each claim.
    ///
    /// # Errors
    /// As [`len`](Self::len).
    pub async fn stats(&self) -> Result<QueueStats, Error> {
        let store = &self.inner.store;
        let stats =
            retry_across_sessions(&store.zk, |session| async move { store.count(&session, true).await }).await?;
        stats.record(store.zk.metrics_name());
        Ok(stats)
    }
}

impl Store {
    async fn count(&self, session: &Arc<Session>, all: bool) -> Result<QueueStats, Interrupted> {
        let path = self.layout.bell();
        let rung = async || Ok::<_, Interrupted>(stat(session, &path).await?.map(|bell| bell.version));
        let mut before = rung().await?;
        loop {
            let stats = self.count_once(session, all).await?;
            if stats.ready + stats.delayed + stats.claimed > 0 {
                return Ok(stats);
            }
            // What was moved from one block to another meanwhile may have been seen in neither; each move rings.
            let after = rung().await?;
            if before == after {
                return Ok(stats);
            }
            before = after;
        }
    }

    async fn count_once(&self, session: &Arc<Session>, all: bool) -> Result<QueueStats, Interrupted> {
        let header = self.header(session).await?;
        let now = self.now(session).await?;
        let mut stats = QueueStats {
            paused: header.paused,
            ..QueueStats::default()
        };
        let mut oldest = None;
        for block in self.blocks(session).await? {
            let names = list(session, &self.layout.block(block)).await?;
            for range in Picture::of(&names).ranges {
                if let Kind::Token(group) = range.segment.kind {
                    self.count_group(session, Lane::Group(group), &range, &mut stats)
                        .await?;
                } else {
                    let items = self.open_items(session, block, &range).await?;
                    match (range.state, block.lane) {
                        (State::Claimed { .. }, _) => stats.claimed += items,
                        (_, Lane::Delayed(slot)) if slot > now => stats.delayed += items,
                        _ => stats.ready += items,
                    }
                }
                match range.state {
                    State::Claimed { .. } if all => stats.claims.extend(self.claim_info(session, block, &range).await?),
                    State::Claimed { .. } => {}
                    _ => oldest = Some(oldest.map_or(range.segment.time, |oldest: i64| oldest.min(range.segment.time))),
                }
            }
        }
        stats.oldest =
            oldest.map(|time| Duration::from_millis(u64::try_from(now.saturating_sub(time)).unwrap_or_default()));
        if all {
            stats.dead = self.count_dead(session).await?;
        }
        Ok(stats)
    }

    /// How many items of a range are not done.
    async fn open_items(&self, session: &Arc<Session>, block: BlockId, range: &Range) -> Result<usize, Interrupted> {
        if range.len() == 1 || range.state == State::FreshRest {
            return Ok(range.len());
        }
        let at = Claimable {
            block,
            segment: range.segment,
            span: range.span,
            epoch: 0,
            deadline: None,
        };
        let found = read(session, &at.opened_path(&self.layout)).await?;
        let tally = found.and_then(|(data, _)| Tally::decode(&data)).unwrap_or_default();
        Ok((range.span.from..range.span.to)
            .filter(|index| !tally.is_done(*index))
            .count())
    }

    async fn count_group(
        &self,
        session: &Arc<Session>,
        lane: Lane,
        token: &Range,
        stats: &mut QueueStats,
    ) -> Result<(), Interrupted> {
        let blocks = numbers::<i32>(&list(session, &self.layout.lane(lane)).await?);
        let listed = blocks.into_iter().map(|number| {
            let path = self.layout.block(BlockId { lane, number });
            async move { list(session, &path).await }
        });
        let items: usize = future::try_join_all(listed)
            .await?
            .iter()
            .map(|names| Picture::of(names).grouped.len())
            .sum();
        let claimed = usize::from(!token.is_free()).min(items);
        stats.claimed += claimed;
        stats.ready += items - claimed;
        Ok(())
    }

    async fn claim_info(
        &self,
        session: &Arc<Session>,
        block: BlockId,
        range: &Range,
    ) -> Result<Option<ClaimInfo>, Interrupted> {
        let State::Claimed { epoch, deadline } = range.state else {
            return Ok(None);
        };
        let at = Claimable {
            block,
            segment: range.segment,
            span: range.span,
            epoch,
            deadline,
        };
        let Some((data, stat)) = read(session, &at.claim_path(&self.layout)).await? else {
            return Ok(None);
        };
        let items = self.open_items(session, block, range).await?;
        let by = ClaimData::decode(&data).unwrap_or_default().identity;
        Ok(Some(ClaimInfo {
            by,
            since: super::status::at(stat.ctime),
            items,
        }))
    }

    async fn count_dead(&self, session: &Arc<Session>) -> Result<usize, Interrupted> {
        let directory = self.layout.directory("dead");
        let shards = list(session, &directory).await?;
        let listed = shards.iter().map(|shard| {
            let shard = directory.descendant(shard);
            async move { list(session, &shard).await }
        });
        Ok(future::try_join_all(listed).await?.iter().map(Vec::len).sum())
    }
}
