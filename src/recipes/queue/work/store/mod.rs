//! What stands in ZooKeeper: no task and no channel is here.
//!
//! * `paths`, `names`, `codec`, `records`, `item`, `tally`, `header`, `retry` – names and data of the nodes
//! * `picture` – what one list of a block shows
//! * `draft`, `pushing`, `moving`, `steps` – transactions as values
//! * `find` – where an item stands
//! * `commit` – sending them, exactly once each
//! * `parsers` – for a fuzzer, all that reads
//! * `expiry` – what is forgotten after a time
//! * `turnover` – how many items came and went lately

mod codec;
mod commit;
mod draft;
mod expiry;
mod find;
mod header;
mod item;
mod moving;
mod names;
#[cfg(feature = "_model")]
mod parsers;
mod paths;
mod picture;
mod pushing;
mod records;
mod retry;
mod steps;
mod tally;
mod turnover;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::error::Error;
use crate::session::{Coordinator, Interrupted, LossReason, Lost, Operation, Retry, Session};
use crate::znode::{Ledgers, NodePath, Parents, Transaction, ensure_path, read, stat};

pub(crate) use self::codec::{OVERHEAD, decode_items, decode_text};
pub(crate) use self::commit::Committed;
pub(crate) use self::draft::{Draft, Role};
#[cfg(feature = "_model")]
pub(crate) use self::draft::{Drafted, Knowledge};
pub(crate) use self::find::ItemPlace;
pub use self::header::Order;
pub(crate) use self::header::{Asked, Header};
pub(crate) use self::item::{DEFAULT_PRIORITY, Item, NewEntry, Origin};
pub use self::item::{InvalidItemId, ItemId};
#[cfg(test)]
pub(crate) use self::names::SegmentName;
pub(crate) use self::names::{GroupedName, Guid, Kind, Span};
#[cfg(feature = "_model")]
pub(crate) use self::parsers::PARSERS;
pub(crate) use self::paths::{BlockId, Lane, QueueLayout, Slots, numbers, span_of, span_start};
pub(crate) use self::picture::{Picture, Range, State};
pub(crate) use self::records::{ClaimData, DeadData, Level, Outcome, Progress};
pub use self::retry::RetryPolicy;
pub(crate) use self::steps::{Claimable, Taking};
pub(crate) use self::tally::{AttemptEnd, AttemptRecord, EndedAttempt, Tally, bit};
pub(crate) use self::turnover::{ItemCounts, TurnoverRecord, span};

/// After this time the ensemble's clock is asked for again.
const CLOCK_AGE: Duration = Duration::from_secs(60);

/// So many milliseconds may our idea of the ensemble's clock be ahead of it, for clocks do not run alike.
const CLOCK_ERROR: i64 = 100;

/// How many lanes are remembered; the others are asked for again.
const LANES: usize = 1024;

/// One queue as this process sees it.
#[derive(Debug)]
pub(crate) struct Store {
    pub(crate) zk: Coordinator,
    pub(crate) layout: QueueLayout,
    asked: Asked,
    ledgers: Ledgers,
    seen: Mutex<Seen>,
}

/// What was seen of the queue. All of it may be outdated; transactions check what they rely on.
#[derive(Debug)]
struct Seen {
    tails: HashMap<Lane, i32>,
    header: Option<Arc<Header>>,
    level: Option<(Level, i32)>,
    clock: Option<(Instant, i64)>,
    /// What this handle has pushed and ended.
    turnover: TurnoverRecord,
}

impl Seen {
    fn new() -> Self {
        Self {
            tails: HashMap::new(),
            header: None,
            level: None,
            clock: None,
            turnover: TurnoverRecord::new(),
        }
    }

    /// A transaction has written this level and given it this version. Another one of this handle may have written or read
    /// a later one meanwhile, which stands: a level beside the version of another one would let too many items in.
    fn wrote_level(&mut self, (level, version): (Level, i32)) {
        if self.level.is_none_or(|(_, seen)| version.wrapping_sub(seen) > 0) {
            self.level = Some((level, version));
        }
    }
}

impl Store {
    pub(crate) fn new(zk: Coordinator, path: NodePath, asked: Asked) -> Self {
        Self {
            zk,
            ledgers: Ledgers::new(path.descendant("ledgers")),
            layout: QueueLayout::new(path),
            asked,
            seen: Mutex::new(Seen::new()),
        }
    }

    pub(crate) fn path(&self) -> &str {
        self.layout.root().as_str()
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The ensemble's clock, in milliseconds: about a link's delay behind, and not ahead of it unless it was set back since
    /// the last reply.
    pub(crate) async fn now(&self, session: &Arc<Session>) -> Result<i64, Interrupted> {
        // Nothing is put below a node that is no queue.
        self.header(session).await?;
        loop {
            if let Some(now) = self.clock() {
                return Ok(now);
            }
            self.tick(session).await?;
            if let Some(reason) = session.end_reason() {
                return Err(Lost { reason }.into());
            }
        }
    }

    /// The ensemble's clock as far as is known, else the clock of this machine: nothing is sent.
    pub(crate) fn approximate_now(&self) -> i64 {
        let here = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.clock()
            .unwrap_or_else(|| i64::try_from(here.as_millis()).unwrap_or(i64::MAX))
    }

    fn clock(&self) -> Option<i64> {
        let (at, time) = self.seen().clock?;
        let age = at.elapsed();
        let passed = i64::try_from(age.as_millis()).ok()?;
        (age < CLOCK_AGE).then_some(time + passed)
    }

    /// A reply to what was sent at `sent` said that the ensemble's clock showed `time`.
    fn set_clock(&self, time: i64, sent: Instant) {
        let mut seen = self.seen();
        let now = Instant::now();
        let latest = match seen.clock {
            Some(known) => newer_clock(known, time, sent, now),
            None => time,
        };
        seen.clock = Some((now, latest));
    }

    /// What the queue's node says, as far as is known; it is made if there is none.
    pub(crate) async fn header(&self, session: &Arc<Session>) -> Result<Arc<Header>, Interrupted> {
        let known = self.seen().header.clone();
        match known {
            Some(header) => Ok(header),
            None => self.load_header(session).await,
        }
    }

    /// Asks what the queue's node says; nothing if there is no queue, and none is made.
    pub(crate) async fn read_header(&self, session: &Arc<Session>) -> Result<Option<Header>, Interrupted> {
        let path = self.path();
        match read(session, path).await? {
            Some((data, stat)) if !data.is_empty() => {
                let header = Header::parse(path, &data, stat.version)?;
                self.asked.check(path, &header.options)?;
                Ok(Some(header))
            }
            _ => Ok(None),
        }
    }

    /// How often an item is delivered, as far as is known.
    pub(crate) fn max_attempts(&self) -> u32 {
        self.seen()
            .header
            .as_ref()
            .map_or(u32::MAX, |header| header.options.max_attempts)
    }

    /// Asks what the queue's node says, and makes the queue if there is none.
    pub(crate) async fn load_header(&self, session: &Arc<Session>) -> Result<Arc<Header>, Interrupted> {
        let path = self.path();
        loop {
            let found = read(session, path).await?;
            let version = match &found {
                Some((data, stat)) if !data.is_empty() => {
                    let header = Header::parse(path, data, stat.version)?;
                    self.asked.check(path, &header.options)?;
                    return self.adopt(session, header).await;
                }
                // A directory that was made for it.
                Some((_, stat)) => Some(stat.version),
                None => None,
            };
            self.make(session, version).await?;
        }
    }

    async fn adopt(&self, session: &Arc<Session>, header: Header) -> Result<Arc<Header>, Interrupted> {
        if header.options.capacity.is_some() {
            self.load_level(session).await?;
        }
        let header = Arc::new(header);
        self.seen().header = Some(Arc::clone(&header));
        Ok(header)
    }

    /// Makes the queue, unless it is made by another at this moment.
    async fn make(&self, session: &Arc<Session>, version: Option<i32>) -> Result<(), Interrupted> {
        let header = Header::new(self.asked.options());
        let path = self.path().to_owned();
        let (data, mode) = (header.data(), zookeeper_client::CreateMode::Persistent);
        let mut steps = vec![match version {
            None => Operation::Create(path, data, mode),
            Some(_) => Operation::SetData(path, data, version),
        }];
        // A directory that was made for the queue may hold what is left of an older one.
        if version.is_none() {
            let child = |name: &str, data| Operation::Create(self.layout.root().child(name), data, mode);
            steps.extend(["bell", "lanes", "delayed"].map(|name| child(name, bytes::Bytes::new())));
            if let Some(capacity) = header.options.capacity {
                steps.push(child("level", bytes::Bytes::new()));
                steps.push(child("level/0", Level { capacity, items: 0 }.encode()));
            }
        }
        let Transaction::Refused(_, source) = self.transact(session, &steps).await? else {
            return Ok(());
        };
        match (source, self.layout.root().parent()) {
            (zookeeper_client::Error::NodeExists | zookeeper_client::Error::BadVersion, _) => Ok(()),
            // Only where something above is missing are rights needed there.
            (zookeeper_client::Error::NoNode, Some(above)) => ensure_path(session, &above, Parents::Containers).await,
            (source, _) => Err(Error::from_answer(self.path(), source).into()),
        }
    }

    /// How many items a bounded queue holds.
    pub(crate) async fn load_level(&self, session: &Arc<Session>) -> Result<Option<(Level, i32)>, Interrupted> {
        let path = self.layout.level();
        loop {
            let Some((data, stat)) = read(session, &path).await? else {
                let Some(capacity) = self.asked.capacity.flatten() else {
                    self.seen().level = None;
                    return Ok(None);
                };
                ensure_path(session, &self.layout.directory("level"), Parents::Persistent).await?;
                let data = Level { capacity, items: 0 }.encode();
                let mode = zookeeper_client::CreateMode::Persistent;
                self.transact(session, &[Operation::Create(path.clone(), data, mode)])
                    .await?;
                continue;
            };
            let level = Level::decode(&data).ok_or_else(|| Error::Layout {
                path: path.clone(),
                reason: "it counts the items of a bounded queue and holds something else; remove it",
            })?;
            self.seen().level = Some((level, stat.version));
            return Ok(self.seen().level);
        }
    }

    /// Sends a transaction whose outcome may stay unknown.
    pub(crate) async fn transact(
        &self,
        session: &Arc<Session>,
        steps: &[Operation],
    ) -> Result<Transaction, Interrupted> {
        crate::znode::commit(&mut Retry::new(session, self.path(), 0), session, steps).await
    }

    /// Looks where a lane ends; nothing is known of one that is not there.
    async fn find_tail(&self, session: &Arc<Session>, lane: Lane) -> Result<(), Interrupted> {
        let path = self.layout.lane(lane);
        let tail = match (stat(session, path.as_str()).await?, lane) {
            (Some(stat), _) => Some(stat.version),
            // If another makes it and goes on to the next block, this turns out in the transaction.
            (None, Lane::Ready(_)) => {
                ensure_path(session, &path.descendant("0"), Parents::Persistent).await?;
                Some(0)
            }
            (None, _) => None,
        };
        match tail {
            Some(tail) => self.seen().tails.insert(lane, tail),
            None => self.seen().tails.remove(&lane),
        };
        Ok(())
    }

    /// The lane is gone, or is gone soon.
    pub(crate) fn forget_tail(&self, lane: Lane) {
        self.seen().tails.remove(&lane);
    }

    /// Changes the queue's own node, whatever is changed there at the same time.
    pub(crate) async fn change_header(
        &self,
        session: &Arc<Session>,
        change: impl Fn(&mut Header),
    ) -> Result<(), Interrupted> {
        let mut retry = Retry::new(session, self.path(), 0);
        loop {
            let known = self.load_header(session).await?;
            let mut header = Header::clone(&known);
            change(&mut header);
            if header == *known {
                return Ok(());
            }
            let path = self.path().to_owned();
            let step = Operation::SetData(path, header.data(), Some(known.version));
            match self.transact(session, &[step]).await? {
                Transaction::Refused(_, zookeeper_client::Error::BadVersion | zookeeper_client::Error::NoNode) => {
                    retry.raced().await?;
                }
                Transaction::Refused(_, source) => return Err(Error::from_answer(self.path(), source).into()),
                // If it was not done, this is seen at the next turn.
                _ => {}
            }
        }
    }
}

/// What the ensemble's clock shows `now`, from what it was known to show at a moment, and from a reply to what was sent at
/// `sent`, which said `time`.
///
/// Each reply is a lower bound, since it may have been long on its way; the largest one is the best. But a clock that shows
/// less than it was thought to show before that was sent has been set back.
fn newer_clock((at, known): (Instant, i64), time: i64, sent: Instant, now: Instant) -> i64 {
    let millis = |duration: Duration| i64::try_from(duration.as_millis()).unwrap_or(i64::MAX / 4);
    let then = match sent.checked_duration_since(at) {
        Some(later) => known.saturating_add(millis(later)),
        None => known.saturating_sub(millis(at.saturating_duration_since(sent))),
    };
    if time < then.saturating_sub(CLOCK_ERROR) {
        return time;
    }
    time.max(known.saturating_add(millis(now.saturating_duration_since(at))))
}

pub(crate) fn ended(session: &Session) -> Interrupted {
    let reason = session.end_reason().unwrap_or(LossReason::SessionExpired);
    Lost { reason }.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_follows_the_ensemble_both_ways() {
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        let known = (at(0), 10_000);
        // A reply that was long on its way tells less than what is known by then.
        assert_eq!(newer_clock(known, 10_400, at(300), at(2_000)), 12_000);
        // One that was quick tells more.
        assert_eq!(newer_clock(known, 10_900, at(300), at(800)), 10_900);
        // One that was sent before what is known came.
        assert_eq!(newer_clock((at(500), 10_500), 10_300, at(200), at(600)), 10_600);
        // A clock that was set back, or ahead.
        assert_eq!(newer_clock(known, 5_350, at(300), at(400)), 5_350);
        assert_eq!(newer_clock(known, 15_350, at(300), at(400)), 15_350);
        // Clocks do not run alike.
        assert_eq!(newer_clock(known, 10_250, at(300), at(400)), 10_400);
    }
    #[test]
    fn a_later_level_stands() {
        let level = |items| Level { capacity: 10, items };
        let mut seen = Seen::new();
        seen.wrote_level((level(3), 5));
        seen.wrote_level((level(4), 6));
        assert_eq!(seen.level, Some((level(4), 6)));
        seen.wrote_level((level(2), 5));
        assert_eq!(seen.level, Some((level(4), 6)));
        seen.level = Some((level(9), i32::MAX));
        seen.wrote_level((level(8), i32::MIN));
        assert_eq!(seen.level, Some((level(8), i32::MIN)));
    }
}
