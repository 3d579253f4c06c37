//! Steering a queue: pause, resume, cancel.

use std::sync::Arc;

use zookeeper_client as zk;

use super::WorkQueue;
use super::errors::CancelError;
use super::store::{
    Committed, Header, Item, ItemId, ItemPlace, Lane, Outcome, Role, State, Store, decode_items, ended,
};
use crate::error::Error;
use crate::session::{Interrupted, Session};
use crate::znode::{read, retry_across_sessions, sync};

impl<T> WorkQueue<T> {
    /// Pauses the queue: no consumer claims anything until [`resume`](Self::resume). Items can be pushed, and what is
    /// claimed is finished.
    ///
    /// # Errors
    /// [`Error`] for what retrying would not help.
    ///
    /// # Cancel safety
    /// Dropping the future leaves open whether the queue is paused.
    pub async fn pause(&self) -> Result<(), Error> {
        self.pause_because("").await
    }

    /// Pauses the queue as [`pause`](Self::pause) does, with a reason that [`stats`](Self::stats) shows, beside the
    /// identity of this coordinator. Of a longer reason the first 512 characters are kept. A queue that is paused already
    /// gets the new reason.
    ///
    /// # Errors
    /// As [`pause`](Self::pause).
    ///
    /// # Cancel safety
    /// As [`pause`](Self::pause).
    ///
    /// # Examples
    /// ```no_run
    /// # async fn example(queue: zookeeper_recipes::queue::WorkQueue) -> Result<(), Box<dyn std::error::Error>> {
    /// queue.pause_because("the card network is away").await?;
    /// assert_eq!(queue.stats().await?.pause_reason.as_deref(), Some("the card network is away"));
    /// # Ok(())
    /// # }
    /// ```
    pub async fn pause_because(&self, reason: impl AsRef<str>) -> Result<(), Error> {
        let (store, reason) = (&self.inner.store, reason.as_ref());
        retry_across_sessions(&store.zk, |session| async move {
            let identity = session.identity().to_vec();
            store
                .change_header(&session, |header| header.pause(&identity, reason))
                .await
        })
        .await
    }

    /// Ends a [pause](Self::pause).
    ///
    /// # Errors
    /// As [`pause`](Self::pause).
    ///
    /// # Cancel safety
    /// Dropping the future leaves open whether the queue goes on.
    pub async fn resume(&self) -> Result<(), Error> {
        let store = &self.inner.store;
        retry_across_sessions(&store.zk, |session| async move {
            store.change_header(&session, Header::resume).await
        })
        .await
    }

    /// Cancels an item that waits: it is not delivered any more. Its outcome is "cancelled", if outcomes are kept.
    ///
    /// # Errors
    /// * [`CancelError::Unknown`] if no such item waits.
    /// * [`CancelError::Claimed`] if a consumer works on it.
    ///
    /// # Cancel safety
    /// Dropping the future leaves open whether the item is cancelled.
    #[doc(alias = "revoke")]
    pub async fn cancel(&self, id: &ItemId) -> Result<(), CancelError> {
        let store = &self.inner.store;
        retry_across_sessions(&store.zk, |session| async move { store.cancel(&session, id).await }).await?
    }
}

impl Store {
    async fn cancel(&self, session: &Arc<Session>, id: &ItemId) -> Result<Result<(), CancelError>, Interrupted> {
        sync(session, self.path()).await?;
        loop {
            let is_grouped = id
                .origin()
                .is_some_and(|origin| matches!(origin.block.lane, Lane::Group(_)));
            let committed = if is_grouped {
                return self.cancel_grouped(session, id).await;
            } else {
                let Some(place) = self.find(session, id).await? else {
                    return Ok(Err(CancelError::Unknown { id: id.clone() }));
                };
                if let Some(by) = self.claimer(session, &place).await? {
                    return Ok(Err(CancelError::Claimed { id: id.clone(), by }));
                }
                let path = place.at.segment_path(&self.layout);
                let found = read(session, &path)
                    .await?
                    .and_then(|(data, _)| decode_items(&data.into()));
                let item = found.and_then(|items| items.into_iter().nth(usize::from(place.index)));
                let Some(item) = item.filter(|item| item.id == *id) else {
                    return Ok(Err(CancelError::Unknown { id: id.clone() }));
                };
                self.commit(session, |draft| cancel(draft, &place, &item)).await?
            };
            match committed {
                Committed::Done((), _) => return Ok(Ok(())),
                Committed::Indeterminate(()) => return Ok(Err(CancelError::Indeterminate)),
                // It was claimed, or has ended, meanwhile.
                Committed::Refused(
                    Role::Source(_),
                    zk::Error::NoNode | zk::Error::NodeExists | zk::Error::BadVersion,
                ) => {}
                Committed::Refused(_, source) => return Ok(Err(Error::from_answer(self.path(), source).into())),
                Committed::Paused => {}
            }
            if session.end_reason().is_some() {
                return Err(ended(session));
            }
        }
    }

    /// The holder of the range, as text.
    async fn claimer(&self, session: &Arc<Session>, place: &ItemPlace) -> Result<Option<String>, Interrupted> {
        let claim = self.claim_data(session, &place.range, place.at).await?;
        Ok(claim.map(|(claim, _)| String::from_utf8_lossy(&claim.identity).into_owned()))
    }

    /// Cancels an item of a group, behind its first one; the first one only while it is not claimed.
    async fn cancel_grouped(
        &self,
        session: &Arc<Session>,
        id: &ItemId,
    ) -> Result<Result<(), CancelError>, Interrupted> {
        loop {
            let unknown = || Ok(Err(CancelError::Unknown { id: id.clone() }));
            let Some(origin) = id.origin() else { return unknown() };
            let Lane::Group(group) = origin.block.lane else {
                return unknown();
            };
            let items = self.grouped(session, origin.block.lane).await?;
            let Some(position) = items.iter().position(|(_, name)| name.guid == origin.guid) else {
                return unknown();
            };
            let (block, name) = items[position];
            let path = self.layout.block(block).child(&name.to_string());
            let found = read(session, &path)
                .await?
                .and_then(|(data, _)| decode_items(&data.into()));
            let Some(item) = found.and_then(|mut items| items.pop()) else {
                return unknown();
            };
            let Some(token) = self.token_of(session, group).await? else {
                continue;
            };
            if position == 0 || items.len() == 1 {
                if let Some(by) = self.claimer(session, &token).await? {
                    return Ok(Err(CancelError::Claimed { id: id.clone(), by }));
                }
            }
            let is_last = items.len() == 1;
            let committed = self.commit(session, |draft| {
                if position == 0 {
                    free_token(draft, &token, is_last);
                }
                draft.delete(path.clone(), None, Role::Source(0));
                if is_last {
                    draft.delete(
                        draft.known.layout.block(block).as_str().to_owned(),
                        None,
                        Role::Source(0),
                    );
                    draft.delete(
                        draft.known.layout.lane(block.lane).as_str().to_owned(),
                        None,
                        Role::Source(0),
                    );
                }
                draft.finish_item(&item, &Outcome::Cancelled);
            });
            match committed.await? {
                Committed::Done((), _) => return Ok(Ok(())),
                Committed::Indeterminate(()) => return Ok(Err(CancelError::Indeterminate)),
                Committed::Refused(Role::Source(_), _) | Committed::Paused => {}
                Committed::Refused(_, source) => return Ok(Err(Error::from_answer(self.path(), source).into())),
            }
            if session.end_reason().is_some() {
                return Err(ended(session));
            }
        }
    }
}

/// Proves that the token of a group is not claimed; the next first item begins with no attempt.
fn free_token(draft: &mut super::store::Draft<'_>, token: &ItemPlace, is_last: bool) {
    match (&token.tally, is_last) {
        (Some((tally, version)), true) => draft.remove_free(0, &token.at, tally, *version, None),
        (Some((tally, version)), false) => {
            draft.write_free(0, &token.at, tally, *version, &tally.cleared(), None);
        }
        (None, true) => draft.remove_fresh(0, &token.at),
        (None, false) => draft.check_fresh(0, &token.at),
    }
}

fn cancel(draft: &mut super::store::Draft<'_>, place: &ItemPlace, item: &Item) {
    match &place.tally {
        None if place.range.state == State::FreshSingle => draft.remove_fresh(0, &place.at),
        None => draft.open_fresh(0, &place.at, place.index),
        Some((tally, version)) => {
            let mut after = tally.clone();
            after.finish(place.index);
            let span = place.at.span;
            match (span.from..span.to).all(|index| after.is_done(index)) {
                true => draft.remove_free(0, &place.at, tally, *version, None),
                false => draft.write_free(0, &place.at, tally, *version, &after, None),
            }
        }
    }
    draft.finish_item(item, &Outcome::Cancelled);
}
