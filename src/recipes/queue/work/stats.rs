//! What a queue holds, in numbers.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures::future;

use super::WorkQueue;

use super::store::{
    BlockId, Claimable, ItemCounts, Kind, Lane, Picture, Range, State, Store, Tally, TurnoverRecord, span,
};
use crate::error::Error;
use crate::metrics::{self, UserName};
use crate::session::{Interrupted, Session};
use crate::znode::{list, read, retry_across_sessions, stat, sync};

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
    /// The identity of the coordinator that paused it.
    pub paused_by: Option<String>,
    /// Why it was paused, see [`WorkQueue::pause_because`].
    pub pause_reason: Option<String>,
    /// How many items came and went lately.
    pub turnover: Turnover,
}

/// How many items came to a queue and ended in the last ten to twenty seconds.
///
/// The handles of the queue count what they do, and write it with the transactions by which they do it. A handle that was
/// closed, or whose session has ended, is not counted any more. Of what a handle did at the same moment in two
/// transactions, one may be missing until its next transaction.
///
/// # Examples
/// ```no_run
/// # async fn example(queue: zookeeper_recipes::queue::WorkQueue) -> Result<(), Box<dyn std::error::Error>> {
/// let turnover = queue.stats().await?.turnover;
/// if turnover.pushed_per_second() > turnover.done_per_second() {
///     println!("the queue grows");
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Turnover {
    /// Items that were pushed, next steps and redriven dead letters included.
    pub pushed: usize,
    /// Items that were acknowledged, or cancelled, or whose time to be delivered was over.
    pub done: usize,
    /// In this time, by the clock of the ensemble.
    pub over: Duration,
}

impl Turnover {
    /// Returns how many items were pushed in a second.
    pub fn pushed_per_second(&self) -> f64 {
        self.per_second(self.pushed)
    }

    /// Returns how many items were done in a second.
    pub fn done_per_second(&self) -> f64 {
        self.per_second(self.done)
    }

    fn per_second(&self, items: usize) -> f64 {
        let items = f64::from(u32::try_from(items).unwrap_or(u32::MAX));
        match self.over.is_zero() {
            true => 0.0,
            false => items / self.over.as_secs_f64(),
        }
    }
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
    /// The id of its session, with which the claim goes.
    pub session_id: i64,
    /// From when on others take the items over, by the clock of the ensemble; `None` without a deadline.
    pub deadline: Option<SystemTime>,
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
    /// Returns how many items wait, delayed ones included and claimed ones not: a sync, and a list for each block of some
    /// 192 pushes. Nothing is written, and no queue is made.
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

    /// Returns what the queue holds and how fast: as [`len`](Self::len), a read for each claim, and one for each
    /// transaction that the handles of the queue have under way at once. Nothing is written, and no queue is made: a
    /// handle that has sent nothing yet tells delayed items from ready ones, and ages, by the clock of this machine.
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
        sync(session, self.path()).await?;
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
        let now = self.approximate_now();
        let Some(header) = self.read_header(session).await? else {
            let turnover = turnover(&ItemCounts::default(), now);
            return Ok(QueueStats {
                turnover,
                ..QueueStats::default()
            });
        };
        let mut stats = QueueStats {
            paused: header.paused,
            paused_by: header.paused_by,
            pause_reason: header.pause_reason,
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
            stats.turnover = self.turnover_of_all(session).await?;
        }
        Ok(stats)
    }

    /// How many items of a range are not done.
    async fn open_items(&self, session: &Arc<Session>, block: BlockId, range: &Range) -> Result<usize, Interrupted> {
        if range.len() == 1 || range.state == State::FreshRest {
            return Ok(range.len());
        }
        let at = Claimable::unclaimed(block, range);
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
        let items = self.grouped(session, lane).await?.len();
        let claimed = usize::from(!token.is_free()).min(items);
        stats.claimed += claimed;
        stats.ready += items - claimed;
        Ok(())
    }

    /// What a claimed range tells of its claim; nothing of one that is free.
    pub(super) async fn claim_info(
        &self,
        session: &Arc<Session>,
        block: BlockId,
        range: &Range,
    ) -> Result<Option<ClaimInfo>, Interrupted> {
        let at = Claimable::unclaimed(block, range);
        let (State::Claimed { deadline, .. }, Some((claim, stat))) =
            (range.state, self.claim_data(session, range, at).await?)
        else {
            return Ok(None);
        };
        let items = self.open_items(session, block, range).await?;
        let extended = Some(claim.deadline).filter(|deadline| *deadline != 0);
        Ok(Some(ClaimInfo {
            by: claim.identity,
            since: super::status::at(stat.ctime),
            items,
            session_id: stat.ephemeral_owner,
            deadline: extended.or(deadline).map(super::status::at),
        }))
    }

    /// What all handles of the queue did lately. A handle writes several ledgers; the last one that it wrote counts.
    async fn turnover_of_all(&self, session: &Arc<Session>) -> Result<Turnover, Interrupted> {
        let directory = self.layout.directory("ledgers");
        let ledgers = list(session, &directory).await?;
        let reads = ledgers.iter().map(|ledger| {
            let ledger = directory.descendant(ledger);
            async move { read(session, ledger.as_str()).await }
        });
        let mut latest: HashMap<u64, (i64, TurnoverRecord)> = HashMap::new();
        for (data, stat) in future::try_join_all(reads).await?.into_iter().flatten() {
            if let Some(record) = TurnoverRecord::decode(data) {
                let known = latest.entry(record.handle()).or_insert((stat.mzxid, record));
                if known.0 < stat.mzxid {
                    *known = (stat.mzxid, record);
                }
            }
        }
        let now = self.approximate_now();
        let mut counts = ItemCounts::default();
        for (_, record) in latest.values() {
            counts.add(record.since(now));
        }
        Ok(turnover(&counts, now))
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

fn turnover(counts: &ItemCounts, now: i64) -> Turnover {
    let items = |items: u32| usize::try_from(items).unwrap_or(usize::MAX);
    Turnover {
        pushed: items(counts.pushed),
        done: items(counts.done),
        over: Duration::from_millis(u64::try_from(span(now)).unwrap_or_default()),
    }
}
