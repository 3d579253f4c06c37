//! [`Draft`]: a transaction on a queue, as values, before it is sent; and what each of its steps is there for.

use std::collections::HashMap;

use bytes::Bytes;
use zookeeper_client as zk;

use super::codec::{Forgotten, Level, OVERHEAD, encode_forgotten, encode_items, encode_text};
use super::header::Header;
use super::item::{Item, ItemId, NewEntry, Origin};
use super::paths::Child;
use super::paths::{BlockId, GroupedName, Guid, Kind, Lane, QueueLayout, SegmentName, slot_after};
use crate::session::Operation;

/// How many items go into one segment, and how many bytes of them unless it is a single one.
const SEGMENT_ITEMS: usize = 64;
const SEGMENT_BYTES: usize = 64 * 1024;

/// What a step is there for: what has to be looked at again when it is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// Checks that the agreed options are still these.
    Header,
    /// Checks that the last block of a lane is still that one.
    Tail(Lane),
    /// Makes a lane, or its first block.
    NewLane(Lane),
    /// Puts a segment there.
    Into(Lane),
    /// Tells consumers that something has come.
    Bell,
    /// Counts the items of a bounded queue.
    Level,
    /// Takes an idempotency key.
    Key,
    /// Claims a range, of this number in the caller's order.
    Source(usize),
    /// Gives up the place in the line of consumers.
    Place,
    /// Changes or ends a claim, of this number in the caller's order.
    Held(usize),
    /// Removes the node of a group, which has to be empty.
    Group(usize),
    /// Anything else.
    Other,
}

/// What is known of a queue while a transaction is drafted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Knowledge<'a> {
    pub(crate) layout: &'a QueueLayout,
    pub(crate) tails: &'a HashMap<Lane, i32>,
    pub(crate) header: &'a Header,
    pub(crate) level: Option<(Level, i32)>,
    /// The ensemble's clock, in milliseconds.
    pub(crate) now: i64,
}

/// A transaction on a queue.
#[derive(Debug)]
pub(crate) struct Draft<'a> {
    pub(crate) known: Knowledge<'a>,
    steps: Vec<(Operation, Role)>,
    lanes: Vec<Lane>,
    missing: Vec<Lane>,
    change: i64,
    rings: bool,
    checks_header: bool,
    needs_running: bool,
    to_forget: [Vec<Forgotten>; 2],
}

/// A draft that is complete, or what has to be found out first.
#[derive(Debug)]
pub(crate) enum Drafted {
    Complete {
        steps: Vec<(Operation, Role)>,
        level: Option<Level>,
    },
    Missing(Vec<Lane>),
    /// Nothing is claimed while the queue is paused.
    Paused,
}

/// A segment that is filled.
struct Filling {
    lane: Lane,
    priority: u8,
    guid: Guid,
    items: Vec<Item>,
    size: usize,
}

impl<'a> Draft<'a> {
    pub(crate) fn new(known: Knowledge<'a>) -> Self {
        Self {
            known,
            steps: Vec::new(),
            lanes: Vec::new(),
            missing: Vec::new(),
            change: 0,
            rings: false,
            checks_header: false,
            needs_running: false,
            to_forget: Default::default(),
        }
    }

    pub(crate) fn step(&mut self, operation: Operation, role: Role) {
        self.steps.push((operation, role));
    }

    pub(crate) fn create(&mut self, path: String, data: Bytes, mode: zk::CreateMode, role: Role) {
        self.step(Operation::Create(path, data, mode), role);
    }

    pub(crate) fn persist(&mut self, path: String, data: Bytes, role: Role) {
        self.create(path, data, zk::CreateMode::Persistent, role);
    }

    pub(crate) fn set(&mut self, path: String, data: Bytes, version: Option<i32>, role: Role) {
        self.step(Operation::SetData(path, data, version), role);
    }

    pub(crate) fn delete(&mut self, path: String, version: Option<i32>, role: Role) {
        self.step(Operation::Delete(path, version), role);
    }

    pub(crate) fn check(&mut self, path: String, role: Role) {
        self.step(Operation::Check(path, -1), role);
    }

    /// So many items more are in the queue, or fewer.
    pub(crate) fn count(&mut self, change: i64) {
        self.change += change;
    }

    /// Tells the consumers that there is something to take.
    pub(crate) fn ring(&mut self) {
        self.rings = true;
    }

    /// The transaction relies on the agreed options.
    pub(crate) fn check_header(&mut self) {
        self.checks_header = true;
    }

    /// The transaction claims something, which is not done while the queue is paused.
    pub(crate) fn check_running(&mut self) {
        self.checks_header = true;
        self.needs_running = true;
    }

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
        let name = Guid::of_text(group);
        let lane = Lane::Group(name);
        let is_new = !self.lanes.contains(&lane) && !self.known.tails.contains_key(&lane);
        let block = self.tail(lane);
        let guid = Guid::random();
        let id = ItemId::new(Origin { block, guid }, 0);
        let item = self.known.item(entry, id.clone(), 0);
        let grouped = GroupedName {
            sequence: 0,
            guid,
            priority: entry.priority,
            time: self.known.now,
        };
        let path = self.known.layout.block(block).child(&grouped.prefix());
        self.create(
            path,
            encode_items([&item]),
            zk::CreateMode::PersistentSequential,
            Role::Into(lane),
        );
        if is_new {
            let (ahead, behind) = std::mem::take(filling)
                .into_iter()
                .partition(|filled| filled.lane == Lane::Ready(entry.priority));
            *filling = behind;
            Vec::into_iter(ahead).for_each(|filled| self.put(filled));
            self.put_token(name, entry.priority, encode_text(group));
        }
        id
    }

    /// Puts an item that has been in the queue before to the end of the queue, or of its group.
    pub(crate) fn push_again(&mut self, item: &Item) {
        self.count(1);
        self.check_header();
        let Some(group) = item.group.as_deref() else {
            self.append(Lane::Ready(item.priority), item, super::tally::AttemptRecord::default());
            return;
        };
        let name = Guid::of_text(group);
        let lane = Lane::Group(name);
        let is_new = !self.lanes.contains(&lane) && !self.known.tails.contains_key(&lane);
        let block = self.tail(lane);
        let guid = item.id.origin().map_or_else(Guid::random, |origin| origin.guid);
        let grouped = GroupedName {
            sequence: 0,
            guid,
            priority: item.priority,
            time: self.known.now,
        };
        let path = self.known.layout.block(block).child(&grouped.prefix());
        self.create(
            path,
            encode_items([item]),
            zk::CreateMode::PersistentSequential,
            Role::Into(lane),
        );
        if is_new {
            self.put_token(name, item.priority, encode_text(group));
        }
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

    /// The last block of a lane, which the transaction checks; it makes the lane if none is known.
    pub(crate) fn tail(&mut self, lane: Lane) -> BlockId {
        let known = self.known.tails.get(&lane).copied();
        let number = known.unwrap_or_default();
        if self.lanes.contains(&lane) {
            return BlockId { lane, number };
        }
        self.lanes.push(lane);
        let path = self.known.layout.lane(lane);
        match (known, lane) {
            (Some(version), _) => self.step(Operation::Check(path.as_str().to_owned(), version), Role::Tail(lane)),
            // Most lanes of a priority are there.
            (None, Lane::Ready(_)) => self.missing.push(lane),
            (None, _) => {
                self.persist(path.as_str().to_owned(), Bytes::new(), Role::NewLane(lane));
                self.persist(path.child("0"), Bytes::new(), Role::NewLane(lane));
            }
        }
        BlockId { lane, number }
    }

    /// The key of an item, or its outcome, is forgotten after a time.
    pub(crate) fn forget_later(&mut self, item: &Item, has_outcome: bool) {
        let options = &self.known.header.options;
        let (id, key) = (item.id.clone(), item.key.clone());
        let same = options.dedupe == options.retention;
        if has_outcome || (same && key.is_some()) {
            let key = key.clone().filter(|_| same);
            self.to_forget[0].push(Forgotten {
                id: id.clone(),
                key,
                outcome: has_outcome,
            });
        }
        if !same && key.is_some() {
            self.to_forget[1].push(Forgotten {
                id,
                key,
                outcome: false,
            });
        }
    }

    pub(crate) fn finish(mut self) -> Drafted {
        let options = &self.known.header.options;
        let delays = [options.retention, options.dedupe];
        for (forgotten, delay) in std::mem::take(&mut self.to_forget).iter().zip(delays) {
            for part in forgotten.chunks(128) {
                let lane = Lane::Expiry(slot_after(self.known.now, delay));
                let block = self.tail(lane);
                let path = self.known.layout.block(block).child("e-");
                self.create(
                    path,
                    encode_forgotten(part),
                    zk::CreateMode::PersistentSequential,
                    Role::Into(lane),
                );
            }
        }
        if !self.missing.is_empty() {
            return Drafted::Missing(self.missing);
        }
        if self.needs_running && self.known.header.paused {
            return Drafted::Paused;
        }
        if self.checks_header {
            let path = self.known.layout.root().as_str().to_owned();
            let check = Operation::Check(path, self.known.header.version);
            self.steps.insert(0, (check, Role::Header));
        }
        if self.rings {
            self.set(self.known.layout.bell(), Bytes::new(), None, Role::Bell);
        }
        let mut level = None;
        if let Some((before, version)) = self.known.level.filter(|_| self.change != 0) {
            let after = Level {
                items: before.items.saturating_add_signed(self.change),
                ..before
            };
            self.set(self.known.layout.level(), after.encode(), Some(version), Role::Level);
            level = Some(after);
        }
        Drafted::Complete {
            steps: self.steps,
            level,
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
