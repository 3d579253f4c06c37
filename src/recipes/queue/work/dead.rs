//! Items that nobody could handle.

use std::sync::Arc;

use bytes::{Buf, Bytes};
use futures::future;
use tracing::{info, warn};
use zookeeper_client as zk;

use super::WorkQueue;
use super::draft::Role;
use super::errors::DeadItemError;
use super::item::{DEFAULT_PRIORITY, Item, ItemId};
use super::segment::decode;
use super::settle::UNREADABLE;
use super::shared::{Committed, QueueInner};
use crate::error::Error;
use crate::session::{Interrupted, RecipeError, Session};
use crate::znode::{list, read, retry_across_sessions, stat};

/// An item that nobody could handle, kept until it is [redriven](WorkQueue::redrive) or [purged](WorkQueue::purge).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeadItem {
    /// The id that its push returned; one of its own for what could not be read as an item.
    pub id: ItemId,
    /// What was pushed; all of what was there if that could not be read as an item.
    pub payload: Bytes,
    /// How often it was delivered.
    pub attempts: u32,
    /// The idempotency key that it was pushed with, which stays taken.
    pub key: Option<String>,
    /// Why it is dead.
    pub reason: String,
}

/// A dead letter as it is stored.
struct Letter {
    reason: String,
    item: Item,
    version: i32,
}

impl Letter {
    /// The letter at the node of this item; also what somebody else has put there.
    fn read(id: &ItemId, data: Vec<u8>, stat: &zk::Stat) -> Self {
        let data = Bytes::from(data);
        Self::parse(data.clone(), stat.version).unwrap_or_else(|| Self {
            reason: UNREADABLE.to_owned(),
            item: Item {
                id: id.clone(),
                priority: DEFAULT_PRIORITY,
                due: stat.ctime,
                arrival: stat.czxid,
                attempt: 0,
                key: None,
                payload: data,
            },
            version: stat.version,
        })
    }

    /// Whether it was never an item: such a one was never delivered.
    fn is_unreadable(&self) -> bool {
        self.reason == UNREADABLE && self.item.attempt == 0
    }

    fn parse(mut data: Bytes, version: i32) -> Option<Self> {
        let length = usize::from(data.try_get_u16().ok()?);
        if data.len() < length {
            return None;
        }
        let reason = String::from_utf8(data.split_to(length).into()).ok()?;
        let item = decode(&data)?.pop()?;
        Some(Self { reason, item, version })
    }
}

impl WorkQueue {
    /// All dead items. One list for each of up to 256 directories, one read for each item.
    ///
    /// # Errors
    /// [`Error`] for what retrying would not help.
    pub async fn dead(&self) -> Result<Vec<DeadItem>, Error> {
        retry_across_sessions(
            &self.shared.zk,
            |session| async move { self.shared.dead(&session).await },
        )
        .await
    }

    /// Brings a dead item back, to its place in line and with all of its attempts.
    ///
    /// # Errors
    /// [`DeadItemError`].
    ///
    /// # Cancel safety
    /// Dropping the future leaves open whether the item is brought back.
    pub async fn redrive(&self, id: &ItemId) -> Result<(), DeadItemError> {
        self.settle_dead(id, true).await
    }

    /// Removes a dead item for good, with its key.
    ///
    /// # Errors
    /// [`DeadItemError`].
    ///
    /// # Cancel safety
    /// Dropping the future leaves open whether the item is removed.
    pub async fn purge(&self, id: &ItemId) -> Result<(), DeadItemError> {
        self.settle_dead(id, false).await
    }

    async fn settle_dead(&self, id: &ItemId, back: bool) -> Result<(), DeadItemError> {
        retry_across_sessions(&self.shared.zk, |session| async move {
            self.shared.settle_dead(&session, id, back).await
        })
        .await
    }
}

impl RecipeError for DeadItemError {}

impl QueueInner {
    async fn dead(&self, session: &Arc<Session>) -> Result<Vec<DeadItem>, Interrupted> {
        let directory = self.layout.directory("dead");
        let mut dead = Vec::new();
        for shard in list(session, &directory).await? {
            let shard = directory.descendant(&shard);
            let names = list(session, &shard).await?;
            let shard = &shard;
            let letters = names.iter().map(|name| async move {
                let Some(id) = ItemId::from_stored(name) else {
                    warn!(path = %shard, name = %name, "a child that is no dead item is left alone");
                    return Ok(None);
                };
                let read = read(session, &shard.child(name)).await?;
                Ok::<_, Interrupted>(read.map(|(data, stat)| Letter::read(&id, data, &stat)))
            });
            dead.extend(future::try_join_all(letters).await?.into_iter().flatten());
        }
        dead.sort_by_key(|letter: &Letter| letter.item.rank());
        let dead = dead.into_iter().map(|Letter { reason, item, .. }| DeadItem {
            id: item.id,
            payload: item.payload,
            attempts: item.attempt,
            key: item.key.map(|key| key.to_string()),
            reason,
        });
        Ok(dead.collect())
    }

    /// Why an item is dead, if it is.
    pub(super) async fn death_of(&self, session: &Arc<Session>, id: &ItemId) -> Result<Option<String>, Interrupted> {
        let letter = read(session, &self.layout.dead(id.as_str())).await?;
        Ok(letter.map(|(data, stat)| Letter::read(id, data, &stat).reason))
    }

    async fn settle_dead(
        &self,
        session: &Arc<Session>,
        id: &ItemId,
        back: bool,
    ) -> Result<(), Interrupted<DeadItemError>> {
        let path = self.layout.dead(id.as_str());
        loop {
            let letter = read(session, &path).await?;
            let Some(letter) = letter.map(|(data, stat)| Letter::read(id, data, &stat)) else {
                return Err(Interrupted::Failed(DeadItemError::Unknown { id: id.clone() }));
            };
            if back && letter.is_unreadable() {
                return Err(Interrupted::Failed(DeadItemError::Unreadable { id: id.clone() }));
            }
            let key = letter.item.key.as_ref().filter(|_| !back);
            let key = match key.map(|key| self.layout.key(key)) {
                Some(path) => stat(session, &path).await?.map(|_| path),
                None => None,
            };
            let committed = self.commit(session, |draft| {
                draft.delete(path.clone(), Some(letter.version), Role::Source(0));
                if let Some(key) = &key {
                    draft.delete(key.clone(), None, Role::Source(0));
                }
                if back {
                    draft.count(1);
                    let item = Item {
                        attempt: 0,
                        ..letter.item.clone()
                    };
                    draft.put_back(item.priority, vec![item]);
                }
                Ok(())
            });
            match committed.await? {
                Committed::Done(..) => {
                    info!(queue = self.path(), item = %id, back, "a dead item is settled");
                    return Ok(());
                }
                Committed::Indeterminate(()) => return Err(Interrupted::Failed(DeadItemError::Indeterminate)),
                Committed::Refused(Role::Source(_), zk::Error::NoNode | zk::Error::BadVersion) => {}
                Committed::Refused(_, source) => {
                    return Err(Interrupted::Failed(Error::from_answer(&path, source).into()));
                }
            }
        }
    }
}
