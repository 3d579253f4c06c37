//! Steps that put items into a queue.

use bytes::Bytes;
use zookeeper_client as zk;

use super::codec::{OVERHEAD, encode_items, encode_text};
use super::draft::{Draft, Knowledge, Role};
use super::item::{Item, ItemId, NewEntry, Origin};
use super::names::{Child, GroupedName, Guid, Kind, SegmentName};
use super::paths::{BlockId, Lane, slot_after};
use super::tally::AttemptRecord;

/// How many items go into one segment, and how many bytes of them unless it is a single one.
const SEGMENT_ITEMS: usize = 64;
const SEGMENT_BYTES: usize = 64 * 1024;

/// A segment that is filled.
struct Filling {
    lane: Lane,
    priority: u8,
    guid: Guid,
    items: Vec<Item>,
    size: usize,
}

impl Draft<'_> {
    /// Puts new items into the queue, with their keys, and says which ids they get.
    pub(crate) fn push<'i>(&mut self, entries: impl IntoIterator<Item = &'i NewEntry>) -> Vec<ItemId> {
        let (mut ids, mut filling) = (Vec::new(), Vec::<Filling>::new());
        for entry in entries {
            self.check_header();
            let id = match &entry.group {
                Some(group) => self.push_grouped(entry, group, &mut filling),
                None => self.push_plain(entry, &mut filling),
            };
            if let Some(key) = &entry.key {
                let path = self.known.layout.key(key);
                self.persist(path, encode_text(id.as_str()), Role::Key);
            }
            ids.push(id);
        }
        filling.into_iter().for_each(|filled| self.put(filled));
        self.count(i64::try_from(ids.len()).unwrap_or(i64::MAX));
        ids
    }

    fn push_plain(&mut self, entry: &NewEntry, filling: &mut Vec<Filling>) -> ItemId {
        let (lane, due) = match entry.delay.is_zero() {
            true => (Lane::Ready(entry.priority), 0),
            false => {
                let slot = slot_after(self.known.now, entry.delay);
                (Lane::Delayed(slot), slot)
            }
        };
        let added = entry.payload.len() + OVERHEAD;
        let place = filling
            .iter()
            .position(|filled| (filled.lane, filled.priority) == (lane, entry.priority));
        let is_full = |filled: &Filling| filled.items.len() == SEGMENT_ITEMS || filled.size + added > SEGMENT_BYTES;
        let place = match place {
            Some(place) if is_full(&filling[place]) => {
                let filled = filling.remove(place);
                self.put(filled);
                None
            }
            place => place,
        };
        let place = place.unwrap_or_else(|| {
            let (priority, guid) = (entry.priority, Guid::random());
            filling.push(Filling {
                lane,
                priority,
                guid,
                items: Vec::new(),
                size: 0,
            });
            filling.len() - 1
        });
        let block = self.tail(lane);
        let filled = &mut filling[place];
        let index = u8::try_from(filled.items.len()).unwrap_or(u8::MAX);
        let id = ItemId::new(
            Origin {
                block,
                guid: filled.guid,
            },
            index,
        );
        filled.size += added;
        filled.items.push(self.known.item(entry, id.clone(), due));
        id
    }

    /// Puts an item of a group into its lane, with a token if the group is made by that.
    fn push_grouped(&mut self, entry: &NewEntry, group: &str, filling: &mut Vec<Filling>) -> ItemId {
        let lane = Lane::Group(Guid::of_text(group));
        let is_new = self.would_make(lane);
        let block = self.tail(lane);
        let guid = Guid::random();
        let id = ItemId::new(Origin { block, guid }, 0);
        let item = self.known.item(entry, id.clone(), 0);
        self.put_grouped(block, guid, &item);
        if is_new {
            // What was pushed before the group stands before its token.
            let (ahead, behind) = std::mem::take(filling)
                .into_iter()
                .partition(|filled| filled.lane == Lane::Ready(entry.priority));
            *filling = behind;
            Vec::into_iter(ahead).for_each(|filled| self.put(filled));
            self.put_token(Guid::of_text(group), entry.priority, encode_text(group));
        }
        id
    }

    /// Puts an item that has been in the queue before to the end of the queue, or of its group.
    pub(crate) fn push_again(&mut self, item: &Item) {
        self.count(1);
        self.check_header();
        let Some(group) = item.group.as_deref() else {
            self.append(Lane::Ready(item.priority), item, AttemptRecord::default());
            return;
        };
        let lane = Lane::Group(Guid::of_text(group));
        let is_new = self.would_make(lane);
        let block = self.tail(lane);
        let guid = item.id.origin().map_or_else(Guid::random, |origin| origin.guid);
        self.put_grouped(block, guid, item);
        if is_new {
            self.put_token(Guid::of_text(group), item.priority, encode_text(group));
        }
    }

    fn put_grouped(&mut self, block: BlockId, guid: Guid, item: &Item) {
        let name = GroupedName {
            sequence: 0,
            guid,
            priority: item.priority,
            time: self.known.now,
        };
        let path = self.known.layout.block(block).child(&name.prefix());
        let (data, mode) = (encode_items([item]), zk::CreateMode::PersistentSequential);
        self.create(path, data, mode, Role::Into(block.lane));
    }

    /// Puts the token of a group to the end of the lane of a priority.
    pub(crate) fn put_token(&mut self, group: Guid, priority: u8, data: Bytes) {
        self.put_token_into(Lane::Ready(priority), group, priority, data);
    }

    pub(crate) fn put_token_into(&mut self, lane: Lane, group: Guid, priority: u8, data: Bytes) -> Guid {
        let block = self.tail(lane);
        let (kind, guid, time) = (Kind::Token(group), Guid::random(), self.known.now);
        let name = SegmentName {
            sequence: 0,
            kind,
            guid,
            count: 1,
            priority,
            time,
        };
        let path = self.known.layout.block(block).child(&name.prefix());
        self.create(path, data, zk::CreateMode::PersistentSequential, Role::Into(lane));
        self.ring();
        guid
    }

    fn put(&mut self, filled: Filling) {
        let Filling {
            lane,
            priority,
            guid,
            items,
            ..
        } = filled;
        self.put_segment(lane, priority, guid, &items);
    }

    /// Puts items into a lane, as one segment.
    pub(crate) fn put_segment(&mut self, lane: Lane, priority: u8, guid: Guid, items: &[Item]) {
        let block = self.tail(lane);
        self.ring();
        let count = u8::try_from(items.len()).unwrap_or(u8::MAX);
        let name = SegmentName {
            sequence: 0,
            kind: Kind::Pushed,
            guid,
            count,
            priority,
            time: self.known.now,
        };
        let directory = self.known.layout.block(block);
        self.create(
            directory.child(&name.prefix()),
            encode_items(items),
            zk::CreateMode::PersistentSequential,
            Role::Into(lane),
        );
        if count > 1 {
            let fresh = Child::Fresh { guid, from: 0 };
            self.persist(directory.child(&fresh.to_string()), Bytes::new(), Role::Into(lane));
        }
    }
}

impl Knowledge<'_> {
    fn item(&self, entry: &NewEntry, id: ItemId, due: i64) -> Item {
        let millis = |duration: std::time::Duration| i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
        Item {
            id,
            priority: entry.priority,
            due,
            key: entry.key.clone(),
            group: entry.group.clone(),
            expires: entry.expires_after.map(|after| self.now.saturating_add(millis(after))),
            wants_outcome: entry.wants_outcome,
            moved: false,
            payload: entry.payload.clone(),
        }
    }
}
