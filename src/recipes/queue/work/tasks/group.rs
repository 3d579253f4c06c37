//! Groups: items of one key, in order and one at a time.
//!
//! The items of a group stand in a lane of their own, one a node. A *token* stands for the group in the lane of a priority:
//! the consumer that claims the token has the first item of the group. The token's tally counts the attempts of that item.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;

use super::super::store::{
    BlockId, Claimable, Draft, GroupedName, Guid, Item, Kind, Lane, Picture, Role, Store, Tally, decode_items, numbers,
};
use crate::session::{Interrupted, Session};
use crate::znode::{list, read};

/// After so many items in a row a group goes behind the others.
const ROW: u32 = 16;

/// A group whose token is claimed.
#[derive(Debug)]
pub(crate) struct GroupHead {
    name: Guid,
    line: Mutex<Option<GroupLine>>,
    /// The item that was claimed with the token.
    own: Mutex<Option<Guid>>,
}

/// The items of a group, as they were last seen.
#[derive(Clone, Debug)]
struct GroupLine {
    blocks: Vec<i32>,
    /// The first items, and their blocks.
    items: Vec<(i32, GroupedName)>,
}

/// What becomes of a token that is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum GroupEnd {
    HeadEnded,
    HeadStays { delay: Duration },
}

impl GroupHead {
    pub(crate) fn new(name: Guid) -> Self {
        Self {
            name,
            line: Mutex::default(),
            own: Mutex::default(),
        }
    }

    fn line(&self) -> MutexGuard<'_, Option<GroupLine>> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What was seen of the group is outdated.
    pub(crate) fn forget(&self) {
        *self.line() = None;
    }

    /// Finds the first two items of the group, unless they are known.
    pub(crate) async fn look(&self, store: &Store, session: &Arc<Session>) -> Result<(), Interrupted> {
        if self.line().is_some() {
            return Ok(());
        }
        let lane = Lane::Group(self.name);
        let blocks = numbers::<i32>(&list(session, &store.layout.lane(lane)).await?);
        let mut items = Vec::new();
        for number in &blocks {
            let names = list(session, &store.layout.block(BlockId { lane, number: *number })).await?;
            items.extend(Picture::of(&names).grouped.into_iter().map(|name| (*number, name)));
            if items.len() > 1 {
                break;
            }
        }
        *self.line() = Some(GroupLine { blocks, items });
        Ok(())
    }

    /// The first item of the group, and what was there if that was no item.
    pub(crate) async fn head(
        &self,
        store: &Store,
        session: &Arc<Session>,
    ) -> Result<Option<Result<Item, Bytes>>, Interrupted> {
        self.look(store, session).await?;
        let head = self.line().as_ref().and_then(|line| line.items.first().copied());
        let Some((number, name)) = head else { return Ok(None) };
        *self.own.lock().unwrap_or_else(PoisonError::into_inner) = Some(name.guid);
        let block = store.layout.block(BlockId {
            lane: Lane::Group(self.name),
            number,
        });
        let Some((data, _)) = read(session, &block.child(&name.to_string())).await? else {
            return Ok(None);
        };
        let data = Bytes::from(data);
        Ok(Some(decode_items(&data).and_then(|mut items| items.pop()).ok_or(data)))
    }

    /// Drafts the end of a claim of the token.
    pub(crate) fn draft(
        &self,
        draft: &mut Draft<'_>,
        position: usize,
        at: &Claimable,
        tally: &Tally,
        version: i32,
        end: GroupEnd,
    ) {
        let line = self.line().clone().unwrap_or(GroupLine {
            blocks: Vec::new(),
            items: Vec::new(),
        });
        match end {
            GroupEnd::HeadStays { delay } if delay.is_zero() => draft.release(position, at, tally, version),
            GroupEnd::HeadStays { delay } => {
                self.remove_token(draft, position, at, version);
                draft.delay_token(self.name, at.segment.priority, delay, tally.record(0));
            }
            GroupEnd::HeadEnded => {
                let next = self.remove_head(draft, position, &line);
                match next {
                    None => {
                        self.remove_token(draft, position, at, version);
                        self.remove_group(draft, position, &line);
                    }
                    Some((_, next)) if tally.epoch.is_multiple_of(ROW) => {
                        self.remove_token(draft, position, at, version);
                        draft.put_token(self.name, next.priority, Bytes::new());
                    }
                    Some(_) => {
                        draft.release(position, at, &tally.cleared(), version);
                    }
                }
            }
        }
    }

    /// Removes the item that was claimed, unless an operator did, and says which is the next one.
    fn remove_head<'l>(
        &self,
        draft: &mut Draft<'_>,
        position: usize,
        line: &'l GroupLine,
    ) -> Option<&'l (i32, GroupedName)> {
        let own = *self.own.lock().unwrap_or_else(PoisonError::into_inner);
        match line.items.first() {
            Some((number, name)) if Some(name.guid) == own => {
                let block = draft.known.layout.block(BlockId {
                    lane: Lane::Group(self.name),
                    number: *number,
                });
                draft.delete(block.child(&name.to_string()), None, Role::Group(position));
                line.items.get(1)
            }
            next => next,
        }
    }

    fn remove_token(&self, draft: &mut Draft<'_>, position: usize, at: &Claimable, version: i32) {
        draft.end(position, at, version);
    }

    /// Removes the node of the group, unless something was pushed to it in the meantime.
    fn remove_group(&self, draft: &mut Draft<'_>, position: usize, line: &GroupLine) {
        let lane = Lane::Group(self.name);
        for number in &line.blocks {
            let block = draft.known.layout.block(BlockId { lane, number: *number });
            draft.delete(block.as_str().to_owned(), None, Role::Group(position));
        }
        let group = draft.known.layout.lane(lane);
        draft.delete(group.as_str().to_owned(), None, Role::Group(position));
    }
}

/// The group of a token.
pub(crate) fn group_of(at: &Claimable) -> Option<Guid> {
    match at.segment.kind {
        Kind::Token(group) => Some(group),
        _ => None,
    }
}
