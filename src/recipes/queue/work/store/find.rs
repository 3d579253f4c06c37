//! Finding an item by its id, wherever it was moved.

use std::sync::Arc;

use super::codec::decode_text;
use super::item::ItemId;
use super::names::{GroupedName, Guid, Kind};
use super::paths::{BlockId, Lane, Slots, numbers, span_start};
use super::picture::{Picture, Range, State};
use super::records::ClaimData;
use super::tally::Tally;
use super::{Claimable, Store};
use crate::session::{Interrupted, Session};
use crate::znode::{NodePath, list, read};

/// Where an item stands.
#[derive(Clone, Debug)]
pub(crate) struct ItemPlace {
    pub(crate) range: Range,
    pub(crate) at: Claimable,
    /// The index in its segment.
    pub(crate) index: u8,
    pub(crate) tally: Option<(Tally, i32)>,
}

impl Store {
    /// The claim of a range, which is at `at`; none of one that is free.
    pub(crate) async fn claim_data(
        &self,
        session: &Arc<Session>,
        range: &Range,
        at: Claimable,
    ) -> Result<Option<(ClaimData, zookeeper_client::Stat)>, Interrupted> {
        let State::Claimed { epoch, deadline } = range.state else {
            return Ok(None);
        };
        let path = Claimable { epoch, deadline, ..at }.claim_path(&self.layout);
        let claim = read(session, &path).await?;
        Ok(claim.map(|(data, stat)| (ClaimData::decode(&data).unwrap_or_default(), stat)))
    }

    /// The items of a group, in line, and their blocks.
    pub(crate) async fn grouped(
        &self,
        session: &Arc<Session>,
        lane: Lane,
    ) -> Result<Vec<(BlockId, GroupedName)>, Interrupted> {
        let mut items = Vec::new();
        for block in self.blocks_of(session, lane).await? {
            let names = list(session, &self.layout.block(block)).await?;
            items.extend(Picture::of(&names).grouped.into_iter().map(|name| (block, name)));
        }
        Ok(items)
    }

    /// Looks through all lanes for the token of a group.
    pub(crate) async fn token_of(&self, session: &Arc<Session>, group: Guid) -> Result<Option<ItemPlace>, Interrupted> {
        for block in self.blocks(session).await? {
            let names = list(session, &self.layout.block(block)).await?;
            let ranges = Picture::of(&names).ranges;
            if let Some(range) = ranges
                .into_iter()
                .find(|range| range.segment.kind == Kind::Token(group))
            {
                return self.place(session, block, range, 0).await;
            }
        }
        Ok(None)
    }

    /// Where an item of no group stands.
    pub(crate) async fn find(&self, session: &Arc<Session>, id: &ItemId) -> Result<Option<ItemPlace>, Interrupted> {
        let Some(origin) = id.origin() else { return Ok(None) };
        let there =
            |range: &Range| range.segment.guid == origin.guid && (range.span.from..range.span.to).contains(&id.index());
        if let Some(place) = self.find_in(session, origin.block, id.index(), there).await? {
            return Ok(Some(place));
        }
        let Some((data, _)) = read(session, &self.layout.moved(id.as_str())).await? else {
            return Ok(None);
        };
        let Some(moved) = decode_text(&data).and_then(|path| self.absolute(&path)) else {
            return Ok(None);
        };
        self.find_moved(session, &moved).await
    }

    async fn find_in(
        &self,
        session: &Arc<Session>,
        block: BlockId,
        index: u8,
        there: impl Fn(&Range) -> bool,
    ) -> Result<Option<ItemPlace>, Interrupted> {
        let names = list(session, &self.layout.block(block)).await?;
        match Picture::of(&names).ranges.into_iter().find(there) {
            Some(range) => self.place(session, block, range, index).await,
            None => Ok(None),
        }
    }

    /// The place of an item that was moved to a segment whose name may lack its number.
    async fn find_moved(&self, session: &Arc<Session>, moved: &NodePath) -> Result<Option<ItemPlace>, Interrupted> {
        let Some((block, name)) = moved.as_str().rsplit_once('/') else {
            return Ok(None);
        };
        let Some(block) = self.block_at(block) else {
            return Ok(None);
        };
        let names = list(session, &self.layout.block(block)).await?;
        let is_there = |range: &Range| range.segment.to_string().starts_with(name);
        match Picture::of(&names).ranges.into_iter().find(is_there) {
            Some(range) => self.place(session, block, range, 0).await,
            None => Ok(None),
        }
    }

    fn block_at(&self, path: &str) -> Option<BlockId> {
        let mut parts = path.strip_prefix(self.path())?.split('/').skip(1);
        let lane = match parts.next()? {
            "lanes" => Lane::Ready(parts.next()?.parse().ok()?),
            "delayed" => Lane::Delayed(parts.nth(1)?.parse().ok()?),
            _ => return None,
        };
        Some(BlockId {
            lane,
            number: parts.next()?.parse().ok()?,
        })
    }

    /// `None` if the item at that index is done.
    async fn place(
        &self,
        session: &Arc<Session>,
        block: BlockId,
        range: Range,
        index: u8,
    ) -> Result<Option<ItemPlace>, Interrupted> {
        let at = Claimable::unclaimed(block, &range);
        let tally = match range.state {
            State::FreshSingle | State::FreshRest => None,
            _ => {
                let found = read(session, &at.opened_path(&self.layout)).await?;
                let tally = found.and_then(|(data, stat)| Some((Tally::decode(&data)?, stat.version)));
                if tally.as_ref().is_none_or(|(tally, _)| tally.is_done(index)) {
                    return Ok(None);
                }
                tally
            }
        };
        Ok(Some(ItemPlace {
            range,
            at,
            index,
            tally,
        }))
    }

    /// All blocks of lanes and slots.
    pub(crate) async fn blocks(&self, session: &Arc<Session>) -> Result<Vec<BlockId>, Interrupted> {
        let mut blocks = Vec::new();
        for lane in self.lanes(session, i64::MAX).await? {
            blocks.extend(self.blocks_of(session, lane).await?);
        }
        Ok(blocks)
    }

    /// The lanes of all priorities, and the slots that are due by this time of the ensemble's clock.
    pub(crate) async fn lanes(&self, session: &Arc<Session>, due: i64) -> Result<Vec<Lane>, Interrupted> {
        let mut lanes: Vec<Lane> = Vec::new();
        let priorities = numbers::<u8>(&list(session, &self.layout.directory("lanes")).await?);
        lanes.extend(priorities.into_iter().map(Lane::Ready));
        let delayed = Slots::Delayed;
        let spans = numbers::<i64>(&list(session, &self.layout.slots(delayed)).await?);
        for span in spans.into_iter().filter(|span| span_start(*span) <= due) {
            let slots = numbers::<i64>(&list(session, &self.layout.span(delayed, span)).await?);
            lanes.extend(slots.into_iter().filter(|slot| *slot <= due).map(Lane::Delayed));
        }
        Ok(lanes)
    }

    /// The blocks of a lane, the first in line first.
    pub(crate) async fn blocks_of(&self, session: &Arc<Session>, lane: Lane) -> Result<Vec<BlockId>, Interrupted> {
        let numbers = numbers::<i32>(&list(session, &self.layout.lane(lane)).await?);
        Ok(numbers.into_iter().map(|number| BlockId { lane, number }).collect())
    }

    /// The block in which an item stands.
    pub(crate) async fn find_any(&self, session: &Arc<Session>, id: &ItemId) -> Result<Option<BlockId>, Interrupted> {
        if let Some(origin) = id.origin().filter(|origin| matches!(origin.block.lane, Lane::Group(_))) {
            let items = self.grouped(session, origin.block.lane).await?;
            return Ok(items
                .into_iter()
                .find(|(_, name)| name.guid == origin.guid)
                .map(|(block, _)| block));
        }
        Ok(self.find(session, id).await?.map(|place| place.at.block))
    }
}
