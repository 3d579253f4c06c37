//! What is known of an item.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use tokio::time;

use super::WorkQueue;
use super::errors::{ResultError, ResultTimeoutError};
use super::store::{DeadData, ItemId, ItemPlace, Lane, Outcome, Store, ended};
use crate::error::Error;
use crate::session::{Interrupted, Session};
use crate::znode::{
    Payload, elapsed, list_and_watch, read, read_and_watch, retry_across_sessions, stat_and_watch, sync,
};

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
        /// Which attempt this is, from 1; 0 for one that was fetched ahead and not handed out.
        attempt: u32,
        /// What the consumer said last with [`progress`](super::Delivery::progress).
        progress: Option<Bytes>,
    },
    /// It is done, and its outcome is kept.
    Done,
    /// It was cancelled, and its outcome is kept.
    Cancelled,
    /// It expired, and its outcome is kept.
    Expired,
    /// It is a dead letter.
    Dead {
        /// Why.
        reason: String,
    },
}

/// An item that moves meanwhile is looked for so often.
const LOOKS: usize = 3;

/// A child watch of a busy block is set again after so long.
const DAMPING: Duration = Duration::from_millis(100);

impl<T> WorkQueue<T> {
    /// Returns where an item is: some reads. For people and for repair, not for each item. [`item`](Self::item) returns what
    /// it holds as well.
    ///
    /// # Errors
    /// [`Error`] for what retrying would not help.
    pub async fn status(&self, id: &ItemId) -> Result<ItemStatus, Error> {
        let store = &self.inner.store;
        retry_across_sessions(&store.zk, |session| async move { store.status(&session, id).await }).await
    }

    /// Waits for the result of an item, which its consumer gave with [`ack_with`](super::Delivery::ack_with).
    ///
    /// # Errors
    /// * [`ResultError::Unknown`] if there is no such item (any more) when this begins.
    /// * [`ResultError::NoResult`], [`ResultError::Cancelled`], [`ResultError::Expired`] or [`ResultError::Dead`] if the
    ///   item ended otherwise.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    ///
    /// # When the session is lost
    /// It goes on in the next session.
    ///
    /// # Cost
    /// A sync and some reads; while it waits, nothing for an item that was pushed with
    /// [`keep_outcome`](super::PushOptions::keep_outcome), else a list each time when its block changes, at most ten a
    /// second.
    pub async fn result(&self, id: &ItemId) -> Result<Bytes, ResultError> {
        let store = &self.inner.store;
        retry_across_sessions(&store.zk, |session| async move { store.result(&session, id).await }).await?
    }

    /// Waits for the result of an item for at most `limit`.
    ///
    /// # Errors
    /// [`TimeoutError::Elapsed`](crate::TimeoutError::Elapsed) when the time is up; else as [`result`](Self::result).
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub async fn result_timeout(&self, id: &ItemId, limit: Duration) -> Result<Bytes, ResultTimeoutError> {
        let zk = &self.inner.store.zk;
        let result = zk.timeout(limit, self.result(id)).await;
        result.map_or_else(|| Err(elapsed(zk, self.path(), limit)), |result| Ok(result?))
    }

    /// Waits for the result of an item as a value, which its consumer gave with
    /// [`ack_with_value`](super::Delivery::ack_with_value).
    ///
    /// # Errors
    /// As [`result`](Self::result), and [`ResultError::Undecodable`].
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub async fn result_as<R: Payload>(&self, id: &ItemId) -> Result<R, ResultError> {
        let result = self.result(id).await?;
        R::decode(result).map_err(|reason| ResultError::Undecodable { id: id.clone(), reason })
    }
}

impl Store {
    async fn status(&self, session: &Arc<Session>, id: &ItemId) -> Result<ItemStatus, Interrupted> {
        self.header(session).await?;
        sync(session, self.path()).await?;
        for _ in 0..LOOKS {
            // In this order: an item goes from its segment, maybe by another one, to its end.
            if let Some(status) = self.standing(session, id).await? {
                return Ok(status);
            }
            if let Some(reason) = self.death_of(session, id).await? {
                return Ok(ItemStatus::Dead { reason });
            }
            if let Some(outcome) = self.outcome_of(session, id).await? {
                return Ok(outcome.into());
            }
        }
        Ok(ItemStatus::Unknown)
    }

    /// The status of an item that has not ended.
    async fn standing(&self, session: &Arc<Session>, id: &ItemId) -> Result<Option<ItemStatus>, Interrupted> {
        if let Some(Lane::Group(_)) = id.origin().map(|origin| origin.block.lane) {
            return self.grouped_status(session, id).await;
        }
        let Some(place) = self.find(session, id).await? else {
            return Ok(None);
        };
        self.place_status(session, &place).await.map(Some)
    }

    async fn place_status(&self, session: &Arc<Session>, place: &ItemPlace) -> Result<ItemStatus, Interrupted> {
        if let Some(claimed) = self.claimed_status(session, place).await? {
            return Ok(claimed);
        }
        Ok(waiting_status(place, self.now(session).await?))
    }

    /// The status of an item that is claimed.
    pub(super) async fn claimed_status(
        &self,
        session: &Arc<Session>,
        place: &ItemPlace,
    ) -> Result<Option<ItemStatus>, Interrupted> {
        let Some((data, stat)) = self.claim_data(session, &place.range, place.at).await? else {
            return Ok(None);
        };
        let progress = data.progress.into_iter().find(|progress| progress.index == place.index);
        Ok(Some(ItemStatus::Claimed {
            by: data.identity,
            since: at(stat.ctime),
            attempt: place.tally.as_ref().map_or(0, |(tally, _)| tally.attempts(place.index)),
            progress: progress.map(|progress| progress.data),
        }))
    }

    async fn grouped_status(&self, session: &Arc<Session>, id: &ItemId) -> Result<Option<ItemStatus>, Interrupted> {
        let Some(origin) = id.origin() else { return Ok(None) };
        let Lane::Group(group) = origin.block.lane else {
            return Ok(None);
        };
        let items = self.grouped(session, origin.block.lane).await?;
        let Some(position) = items.iter().position(|(_, name)| name.guid == origin.guid) else {
            return Ok(None);
        };
        if position > 0 {
            return Ok(Some(ItemStatus::Ready));
        }
        match self.token_of(session, group).await? {
            Some(token) => self.place_status(session, &token).await.map(Some),
            None => Ok(Some(ItemStatus::Ready)),
        }
    }

    /// Why an item is dead, if it is.
    pub(super) async fn death_of(&self, session: &Arc<Session>, id: &ItemId) -> Result<Option<String>, Interrupted> {
        let letter = read(session, &self.layout.dead(id.as_str())).await?;
        let reason = |data: Vec<u8>| DeadData::decode(&data.into()).map(|letter| letter.reason);
        Ok(letter.map(|(data, _)| reason(data).unwrap_or_else(|| "it cannot be read as an item".to_owned())))
    }

    pub(super) async fn outcome_of(&self, session: &Arc<Session>, id: &ItemId) -> Result<Option<Outcome>, Interrupted> {
        let found = read(session, &self.layout.result(id.as_str())).await?;
        Ok(found.and_then(|(data, _)| Outcome::decode(&data.into())))
    }

    async fn result(&self, session: &Arc<Session>, id: &ItemId) -> Result<Result<Bytes, ResultError>, Interrupted> {
        let (result, dead) = (self.layout.result(id.as_str()), self.layout.dead(id.as_str()));
        sync(session, self.path()).await?;
        let mut known = false;
        loop {
            // The watches come first, so that nothing falls between them and what is asked then.
            let (done, mut done_watch) = stat_and_watch(session, &result).await?;
            let (_, mut died_watch) = stat_and_watch(session, &dead).await?;
            if done.is_some() {
                if let Some((data, _, _)) = read_and_watch(session, &result).await? {
                    return Ok(told(id, Outcome::decode(&data.into())));
                }
                continue;
            }
            if let Some(reason) = self.death_of(session, id).await? {
                return Ok(Err(ResultError::Dead { id: id.clone(), reason }));
            }
            let place = self.find_any(session, id).await?;
            let Some(block) = place else {
                if let Some(outcome) = self.outcome_of(session, id).await? {
                    return Ok(told(id, Some(outcome)));
                }
                if self.status(session, id).await? != ItemStatus::Unknown {
                    continue;
                }
                let id = id.clone();
                return Ok(Err(if known {
                    ResultError::NoResult { id }
                } else {
                    ResultError::Unknown { id }
                }));
            };
            known = true;
            // The end of an item without an outcome shows in its block alone.
            let mut block = list_and_watch(session, &self.layout.block(block)).await?;
            if self.find_any(session, id).await?.is_none() {
                continue;
            }
            let changed = async {
                if let Some((_, watch)) = block.as_mut() {
                    watch.changed().await;
                }
                time::sleep(DAMPING).await;
            };
            tokio::select! {
                () = done_watch.changed() => {}
                () = died_watch.changed() => {}
                () = changed => {}
            }
            if session.end_reason().is_some() {
                return Err(ended(session));
            }
        }
    }
}

impl From<Outcome> for ItemStatus {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Result(_) | Outcome::DoneWithoutResult => Self::Done,
            Outcome::Cancelled => Self::Cancelled,
            Outcome::Expired => Self::Expired,
        }
    }
}

/// The status of an item that nobody has claimed.
pub(super) fn waiting_status(place: &ItemPlace, now: i64) -> ItemStatus {
    match place.at.block.lane {
        Lane::Delayed(slot) if slot > now => ItemStatus::Delayed { until: at(slot) },
        _ => ItemStatus::Ready,
    }
}

fn told(id: &ItemId, outcome: Option<Outcome>) -> Result<Bytes, ResultError> {
    let id = id.clone();
    match outcome {
        Some(Outcome::Result(result)) => Ok(result),
        Some(Outcome::DoneWithoutResult) => Err(ResultError::NoResult { id }),
        Some(Outcome::Cancelled) => Err(ResultError::Cancelled { id }),
        Some(Outcome::Expired) => Err(ResultError::Expired { id }),
        None => Err(ResultError::Undecodable {
            id,
            reason: "it was not written by a work queue".to_owned(),
        }),
    }
}

pub(super) fn at(millis: i64) -> SystemTime {
    let since = Duration::from_millis(u64::try_from(millis).unwrap_or_default());
    UNIX_EPOCH.checked_add(since).unwrap_or(UNIX_EPOCH)
}
