//! All that is known of one item, with what was pushed.

use std::sync::Arc;

use bytes::Bytes;

use super::WorkQueue;
use super::dead::{Letter, PastAttempt};
use super::status::{ItemStatus, waiting_status};
use super::store::{AttemptRecord, Item, ItemId, ItemPlace, Lane, Store, decode_items};
use crate::error::Error;
use crate::session::{Interrupted, Session};
use crate::znode::{read, retry_across_sessions, sync};

/// All that is known of an item, as [`WorkQueue::item`] has seen it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ItemInfo {
    /// Where it is.
    pub status: ItemStatus,
    /// What was pushed; `None` if it is done, cancelled, expired or unknown, or cannot be read.
    pub payload: Option<Bytes>,
    /// How often it was delivered, the attempt that goes on included.
    pub attempts: u32,
    /// The last attempts that have ended, the oldest first.
    pub history: Vec<PastAttempt>,
    /// Its priority, where the payload is known.
    pub priority: Option<u8>,
    /// The idempotency key that it was pushed with.
    pub key: Option<String>,
    /// The group that it was pushed to.
    pub group: Option<String>,
}

/// An item that moves meanwhile is looked for so often.
const LOOKS: usize = 3;

impl<T> WorkQueue<T> {
    /// Returns all that is known of an item: where it is, what was pushed, and how its attempts ended. For people and for
    /// repair, not for each item.
    ///
    /// **Nothing is claimed**: by the time this returns, the item may be elsewhere. To have it, pop it. No queue is made
    /// where there is none.
    ///
    /// The clock of the ensemble is not asked for, which would be a write: unless this handle pushed or popped in the last
    /// minute, the clock of this machine decides whether a delayed item is due.
    ///
    /// # Errors
    /// [`Error`] for what retrying would not help.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    ///
    /// # Cost
    /// Reads alone: a sync, and a read of the queue; a list of one block and up to three reads for an item that waits or is
    /// claimed, two reads more for one that was moved. For an item of a group it lists the group, and the blocks of the
    /// queue until it finds the group's. For one that has ended, two reads more.
    ///
    /// # Examples
    /// ```no_run
    /// # async fn example(queue: zookeeper_recipes::queue::WorkQueue) -> Result<(), Box<dyn std::error::Error>> {
    /// let id = queue.push("17 10.00").await?;
    /// let item = queue.item(&id).await?;
    /// println!("{:?} after {} attempts: {:?}", item.status, item.attempts, item.payload);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn item(&self, id: &ItemId) -> Result<ItemInfo, Error> {
        let store = &self.inner.store;
        retry_across_sessions(&store.zk, |session| async move { store.info(&session, id).await }).await
    }
}

impl ItemInfo {
    fn ended(status: ItemStatus) -> Self {
        Self {
            status,
            payload: None,
            attempts: 0,
            history: Vec::new(),
            priority: None,
            key: None,
            group: None,
        }
    }

    fn standing(status: ItemStatus, item: Option<Item>, record: AttemptRecord) -> Self {
        let mut info = Self {
            attempts: u32::from(record.attempts),
            history: record.history.into_iter().map(PastAttempt::of).collect(),
            ..Self::ended(status)
        };
        if let Some(item) = item {
            info.payload = Some(item.payload);
            info.priority = Some(item.priority);
            info.key = item.key.map(|key| key.to_string());
            info.group = item.group.map(|group| group.to_string());
        }
        info
    }

    fn dead(letter: Letter, id: &ItemId) -> Self {
        let priority = letter.data.item.as_ref().map(|item| item.priority);
        let dead = letter.into_dead(id.clone());
        Self {
            status: ItemStatus::Dead { reason: dead.reason },
            payload: Some(dead.payload),
            attempts: dead.attempts,
            history: dead.history,
            priority,
            key: dead.key,
            group: dead.group,
        }
    }
}

impl Store {
    async fn info(&self, session: &Arc<Session>, id: &ItemId) -> Result<ItemInfo, Interrupted> {
        sync(session, self.path()).await?;
        if self.read_header(session).await?.is_none() {
            return Ok(ItemInfo::ended(ItemStatus::Unknown));
        }
        for _ in 0..LOOKS {
            // In this order: an item goes from its segment, maybe by another one, to its end.
            if let Some(info) = self.standing_info(session, id).await? {
                return Ok(info);
            }
            if let Some((data, stat)) = read(session, &self.layout.dead(id.as_str())).await? {
                return Ok(ItemInfo::dead(Letter::read(data, stat.version), id));
            }
            if let Some(outcome) = self.outcome_of(session, id).await? {
                return Ok(ItemInfo::ended(outcome.into()));
            }
        }
        Ok(ItemInfo::ended(ItemStatus::Unknown))
    }

    /// An item that has not ended; nothing as well if it was moved meanwhile.
    async fn standing_info(&self, session: &Arc<Session>, id: &ItemId) -> Result<Option<ItemInfo>, Interrupted> {
        if let Some(Lane::Group(_)) = id.origin().map(|origin| origin.block.lane) {
            return self.grouped_info(session, id).await;
        }
        let Some(place) = self.find(session, id).await? else {
            return Ok(None);
        };
        let Some((data, _)) = read(session, &place.at.segment_path(&self.layout)).await? else {
            return Ok(None);
        };
        let items = decode_items(&Bytes::from(data)).unwrap_or_default();
        let item = items.into_iter().nth(usize::from(place.index));
        let (status, record) = self.standing_at(session, &place).await?;
        Ok(Some(ItemInfo::standing(status, item, record)))
    }

    async fn grouped_info(&self, session: &Arc<Session>, id: &ItemId) -> Result<Option<ItemInfo>, Interrupted> {
        let Some(origin) = id.origin() else { return Ok(None) };
        let Lane::Group(group) = origin.block.lane else {
            return Ok(None);
        };
        let line = self.grouped(session, origin.block.lane).await?;
        let Some(position) = line.iter().position(|(_, name)| name.guid == origin.guid) else {
            return Ok(None);
        };
        let (block, name) = line[position];
        let Some((data, _)) = read(session, &self.layout.block(block).child(&name.to_string())).await? else {
            return Ok(None);
        };
        let item = decode_items(&Bytes::from(data)).and_then(|mut items| items.pop());
        // The token of the group stands for its first item.
        let token = match position {
            0 => self.token_of(session, group).await?,
            _ => None,
        };
        let (status, record) = match token {
            Some(token) => self.standing_at(session, &token).await?,
            None => (ItemStatus::Ready, AttemptRecord::default()),
        };
        Ok(Some(ItemInfo::standing(status, item, record)))
    }

    async fn standing_at(
        &self,
        session: &Arc<Session>,
        place: &ItemPlace,
    ) -> Result<(ItemStatus, AttemptRecord), Interrupted> {
        let claimed = self.claimed_status(session, place).await?;
        let status = claimed.unwrap_or_else(|| waiting_status(place, self.approximate_now()));
        let tally = place.tally.as_ref();
        let record = tally.map(|(tally, _)| tally.record(place.index)).unwrap_or_default();
        Ok((status, record))
    }
}
