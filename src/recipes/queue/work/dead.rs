//! Dead letters: items that no consumer could handle.

use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use futures::future;
use tracing::{info, warn};
use zookeeper_client as zk;

use super::WorkQueue;
use super::errors::DeadItemError;
use super::status::at;
use super::store::{AttemptEnd, Committed, DeadData, EndedAttempt, Item, ItemId, Role, Store, ended};
use crate::error::Error;
use crate::session::{Interrupted, Session};
use crate::znode::{list, read, retry_across_sessions, stat};

/// So many dead letters are redriven or purged in one transaction.
const AT_ONCE: usize = 64;

/// A dead letter, kept until it is [redriven](WorkQueue::redrive) or [purged](WorkQueue::purge).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeadItem {
    /// The id that its push returned; one of its own for what could not be read as an item.
    pub id: ItemId,
    /// What was pushed; all of what was there if that could not be read as an item.
    pub payload: Bytes,
    /// How often it was delivered.
    pub attempts: u32,
    /// The last attempts, the oldest first.
    pub history: Vec<PastAttempt>,
    /// The idempotency key that it was pushed with, which stays taken.
    pub key: Option<String>,
    /// The group that it was pushed to.
    pub group: Option<String>,
    /// Why it is dead.
    pub reason: String,
}

/// An attempt that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PastAttempt {
    /// When it ended, by the clock of the ensemble.
    pub when: SystemTime,
    /// Why it failed.
    pub reason: String,
}

impl PastAttempt {
    pub(super) fn of(past: EndedAttempt) -> Self {
        let how = match past.how {
            AttemptEnd::GivenBack => "given back",
            AttemptEnd::Lost => "its consumer was lost",
            AttemptEnd::Panicked => "its handler panicked",
        };
        let reason = if past.reason.is_empty() {
            how.to_owned()
        } else {
            past.reason
        };
        Self {
            when: at(past.when),
            reason,
        }
    }
}

/// A dead letter as it is stored.
pub(super) struct Letter {
    pub(super) data: DeadData,
    version: i32,
}

impl Letter {
    /// The letter at a node; also what another program has put there.
    pub(super) fn read(data: Vec<u8>, version: i32) -> Self {
        let raw = Bytes::from(data);
        let data = DeadData::decode(&raw).unwrap_or_else(|| DeadData {
            reason: "it cannot be read as an item".to_owned(),
            record: super::store::AttemptRecord::default(),
            item: None,
            raw,
        });
        Self { data, version }
    }

    pub(super) fn into_dead(self, id: ItemId) -> DeadItem {
        let DeadData {
            reason,
            record,
            item,
            raw,
        } = self.data;
        let (key, group) = item
            .as_ref()
            .map(|item| (item.key.clone(), item.group.clone()))
            .unwrap_or_default();
        DeadItem {
            id,
            payload: item.map_or(raw, |item| item.payload),
            attempts: u32::from(record.attempts),
            history: record.history.into_iter().map(PastAttempt::of).collect(),
            key: key.map(|key| key.to_string()),
            group: group.map(|group| group.to_string()),
            reason,
        }
    }
}

impl<T> WorkQueue<T> {
    /// Returns all dead letters. One list for each of up to 256 directories, one read for each letter.
    ///
    /// # Errors
    /// [`Error`] for what retrying would not help.
    pub async fn dead_letters(&self) -> Result<Vec<DeadItem>, Error> {
        self.dead_letters_page(None, usize::MAX).await
    }

    /// Returns up to `most` dead letters, those after `last` in an order that stays: a page at a time.
    ///
    /// # Errors
    /// As [`dead_letters`](Self::dead_letters).
    pub async fn dead_letters_page(&self, last: Option<&ItemId>, most: usize) -> Result<Vec<DeadItem>, Error> {
        let store = &self.inner.store;
        retry_across_sessions(&store.zk, |session| async move {
            store.dead_page(&session, last, most).await
        })
        .await
    }

    /// Brings a dead letter back, to the end of the queue and with all of its attempts.
    ///
    /// # Errors
    /// [`DeadItemError`].
    ///
    /// # Cancel safety
    /// Dropping the future leaves open whether the item is brought back.
    #[doc(alias = "requeue")]
    pub async fn redrive(&self, id: &ItemId) -> Result<(), DeadItemError> {
        self.settle_dead(id, true).await
    }

    /// Removes a dead letter for good, with its key.
    ///
    /// # Errors
    /// [`DeadItemError`].
    ///
    /// # Cancel safety
    /// Dropping the future leaves open whether the letter is removed.
    pub async fn purge(&self, id: &ItemId) -> Result<(), DeadItemError> {
        self.settle_dead(id, false).await
    }

    /// Brings all dead letters back that can be read, up to 64 in a transaction, and returns how many these were.
    ///
    /// # Errors
    /// [`DeadItemError`]; some may have been brought back by then.
    ///
    /// # Cancel safety
    /// Dropping the future leaves open how many are brought back.
    pub async fn redrive_all(&self) -> Result<usize, DeadItemError> {
        self.settle_all_dead(true).await
    }

    /// Removes all dead letters for good, with their keys, up to 64 in a transaction, and returns how many these were.
    ///
    /// # Errors
    /// [`DeadItemError`]; some may have been removed by then.
    ///
    /// # Cancel safety
    /// Dropping the future leaves open how many are removed.
    pub async fn purge_all(&self) -> Result<usize, DeadItemError> {
        self.settle_all_dead(false).await
    }

    async fn settle_dead(&self, id: &ItemId, back: bool) -> Result<(), DeadItemError> {
        let store = &self.inner.store;
        let ids = std::slice::from_ref(id);
        match retry_across_sessions(&store.zk, |session| async move {
            store.settle_dead(&session, ids, back).await
        })
        .await??
        {
            0 => Err(DeadItemError::Unknown { id: id.clone() }),
            _ => Ok(()),
        }
    }

    async fn settle_all_dead(&self, back: bool) -> Result<usize, DeadItemError> {
        let store = &self.inner.store;
        let ids = retry_across_sessions(&store.zk, |session| async move { store.dead_ids(&session).await }).await?;
        let mut settled = 0;
        for ids in ids.chunks(AT_ONCE) {
            let part = retry_across_sessions(&store.zk, |session| async move {
                store.settle_dead(&session, ids, back).await
            });
            settled += match part.await? {
                Ok(settled) => settled,
                // The others of the part are tried alone.
                Err(DeadItemError::Unreadable { .. } | DeadItemError::Error(_)) => self.settle_each(ids, back).await?,
                Err(error) => return Err(error),
            };
        }
        Ok(settled)
    }

    async fn settle_each(&self, ids: &[ItemId], back: bool) -> Result<usize, DeadItemError> {
        let mut settled = 0;
        for id in ids {
            match self.settle_dead(id, back).await {
                Ok(()) => settled += 1,
                Err(DeadItemError::Unknown { .. } | DeadItemError::Unreadable { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(settled)
    }
}

impl Store {
    async fn dead_ids(&self, session: &Arc<Session>) -> Result<Vec<ItemId>, Interrupted> {
        let directory = self.layout.directory("dead");
        let mut shards = list(session, &directory).await?;
        shards.sort_unstable();
        let listed = shards.iter().map(|shard| {
            let shard = directory.descendant(shard);
            async move { list(session, &shard).await }
        });
        let mut ids = Vec::new();
        for names in future::try_join_all(listed).await? {
            for name in names {
                match name.parse() {
                    Ok(id) => ids.push(id),
                    Err(_) => warn!(
                        queue = self.path(),
                        name, "a child that is no dead letter is left alone"
                    ),
                }
            }
        }
        ids.sort_unstable();
        Ok(ids)
    }

    async fn dead_page(
        &self,
        session: &Arc<Session>,
        last: Option<&ItemId>,
        most: usize,
    ) -> Result<Vec<DeadItem>, Interrupted> {
        let ids = self.dead_ids(session).await?;
        let page = ids
            .into_iter()
            .filter(|id| last.is_none_or(|last| id > last))
            .take(most);
        let letters = page.map(|id| async move {
            let found = read(session, &self.layout.dead(id.as_str())).await?;
            Ok::<_, Interrupted>(found.map(|(data, stat)| Letter::read(data, stat.version).into_dead(id)))
        });
        Ok(future::try_join_all(letters).await?.into_iter().flatten().collect())
    }

    /// Brings dead letters back or removes them, all that are there in one transaction; says how many these were.
    async fn settle_dead(
        &self,
        session: &Arc<Session>,
        ids: &[ItemId],
        back: bool,
    ) -> Result<Result<usize, DeadItemError>, Interrupted> {
        loop {
            let mut letters: Vec<(String, Letter, Option<String>)> = Vec::new();
            for id in ids {
                let path = self.layout.dead(id.as_str());
                let Some((data, stat)) = read(session, &path).await? else {
                    continue;
                };
                let letter = Letter::read(data, stat.version);
                if back && letter.data.item.is_none() {
                    return Ok(Err(DeadItemError::Unreadable { id: id.clone() }));
                }
                let key = letter
                    .data
                    .item
                    .as_ref()
                    .and_then(|item| item.key.as_ref())
                    .filter(|_| !back);
                let key = self.taken_key(session, key.map(|key| &**key)).await?;
                letters.push((path, letter, key));
            }
            if letters.is_empty() {
                return Ok(Ok(0));
            }
            let committed = self.commit(session, |draft| {
                for (path, letter, key) in &letters {
                    draft.delete(path.clone(), Some(letter.version), Role::Source(0));
                    if let Some(key) = key {
                        draft.delete(key.clone(), None, Role::Source(0));
                    }
                    if let Some(item) = letter.data.item.as_ref().filter(|_| back) {
                        draft.push_again(&Item {
                            moved: false,
                            ..item.clone()
                        });
                    }
                }
            });
            match committed.await? {
                Committed::Done(..) => {
                    info!(
                        queue = self.path(),
                        letters = letters.len(),
                        back,
                        "dead letters are settled"
                    );
                    return Ok(Ok(letters.len()));
                }
                Committed::Indeterminate(()) => return Ok(Err(DeadItemError::Indeterminate)),
                Committed::Paused | Committed::Refused(Role::Source(_), zk::Error::NoNode | zk::Error::BadVersion) => {
                    if session.end_reason().is_some() {
                        return Err(ended(session));
                    }
                }
                Committed::Refused(_, source) => return Ok(Err(Error::from_answer(self.path(), source).into())),
            }
        }
    }

    async fn taken_key(&self, session: &Arc<Session>, key: Option<&str>) -> Result<Option<String>, Interrupted> {
        let Some(path) = key.map(|key| self.layout.key(key)) else {
            return Ok(None);
        };
        Ok(stat(session, &path).await?.map(|_| path))
    }
}
