//! [`Draft`]: a transaction on a queue, before it is sent, and what each of its steps is there for.

use std::collections::{BTreeMap, HashMap};

use uuid::Uuid;
use zookeeper_client as zk;

use super::item::{Item, ItemId, NewItem, Origin};
use super::layout::{Lane, QueuePaths, SegmentName};
use super::level::{Bound, Level};
use super::segment::{OVERHEAD, encode};
use crate::session::Operation;

/// How many items go into one segment, and how many bytes of them unless it is a single one.
const SEGMENT_ITEMS: usize = 128;
const SEGMENT_BYTES: usize = 64 * 1024;

/// What a step is there for: who has to look into it when it is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// Checks that the last block of a lane is still that one.
    Tail(Lane),
    /// Puts a segment there.
    Segment(Lane),
    /// Rings, and counts.
    Level,
    /// Takes an idempotency key.
    Key,
    /// Takes a segment, of this number in the caller's order, out of its lane.
    Source(usize),
    /// Gives up the place in the line of consumers.
    Place,
    /// Changes or removes the items of a claim, of this number in the caller's order, or the claim.
    Claimed(usize),
    /// Anything else.
    Other,
}

/// What is known of a queue while a transaction is drafted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Known<'a> {
    pub(super) layout: &'a QueuePaths,
    pub(super) tails: &'a HashMap<Lane, i32>,
    pub(super) level: Level,
    /// The ensemble's clock, in milliseconds.
    pub(super) now: i64,
}

/// A transaction on a queue.
#[derive(Debug)]
pub(super) struct Draft<'a> {
    pub(super) known: Known<'a>,
    steps: Vec<(Operation, Role)>,
    checked: Vec<Lane>,
    missing: Vec<Lane>,
    change: i64,
    rings: bool,
}

/// A draft that is complete, or what has to be found out first.
#[derive(Debug)]
pub(super) enum Drafted {
    Complete(Vec<(Operation, Role)>, Option<Bound>),
    Missing(Vec<Lane>),
}

impl<'a> Draft<'a> {
    pub(super) fn new(known: Known<'a>) -> Self {
        Self {
            known,
            steps: Vec::new(),
            checked: Vec::new(),
            missing: Vec::new(),
            change: 0,
            rings: false,
        }
    }

    pub(super) fn step(&mut self, operation: Operation, role: Role) {
        self.steps.push((operation, role));
    }

    pub(super) fn create(&mut self, path: String, data: bytes::Bytes, mode: zk::CreateMode, role: Role) {
        self.step(Operation::Create(path, data, mode), role);
    }

    pub(super) fn delete(&mut self, path: String, version: Option<i32>, role: Role) {
        self.step(Operation::Delete(path, version), role);
    }

    /// So many items more are in the queue, or fewer.
    pub(super) fn count(&mut self, change: i64) {
        self.change += change;
    }

    /// Tells the consumers that there is something to take.
    pub(super) fn ring(&mut self) {
        self.rings = true;
    }

    /// Puts new items into the queue, with their keys, and says which ids they get.
    pub(super) fn push<'i>(&mut self, items: impl IntoIterator<Item = &'i NewItem>) -> Vec<ItemId> {
        let mut ids = Vec::new();
        let mut lanes: BTreeMap<Lane, Vec<(usize, Item)>> = BTreeMap::new();
        let mut batches: HashMap<Lane, (String, usize)> = HashMap::new();
        for (position, new) in items.into_iter().enumerate() {
            let priority = new.priority();
            let (lane, due) = match new.options.delay.is_zero() {
                true => (Lane::Ready(priority), 0),
                false => {
                    let slot = Lane::slot_after(self.known.now, new.options.delay);
                    (Lane::Later(priority, slot), slot)
                }
            };
            let block = self.tail(lane);
            let (guid, count) = batches
                .entry(lane)
                .or_insert_with(|| (Uuid::new_v4().simple().to_string(), 0));
            let id = ItemId::new(&Origin { lane, block, guid }, *count);
            *count += 1;
            if let Some(key) = &new.options.key {
                let path = self.known.layout.key(key);
                let data = id.as_str().to_owned().into();
                self.create(path, data, zk::CreateMode::Persistent, Role::Key);
            }
            ids.push(id.clone());
            let item = Item {
                id,
                priority,
                due,
                arrival: 0,
                attempt: 0,
                key: new.options.key.clone(),
                payload: new.payload.clone(),
            };
            lanes.entry(lane).or_default().push((position, item));
        }
        for (lane, items) in lanes {
            let guid = batches.remove(&lane).map(|(guid, _)| guid).unwrap_or_default();
            self.put(lane, &guid, items.into_iter().map(|(_, item)| item));
        }
        self.count(i64::try_from(ids.len()).unwrap_or(i64::MAX));
        ids
    }

    /// Puts items of a priority, which have been in the queue before, back to where they were in line.
    pub(super) fn put_back(&mut self, priority: u8, items: Vec<Item>) {
        let Some(due) = items.iter().map(|item| item.due).min() else {
            return;
        };
        self.put_into(Lane::given_back(priority, due), items);
    }

    /// Puts items into a lane.
    pub(super) fn put_into(&mut self, lane: Lane, items: impl IntoIterator<Item = Item>) {
        let guid = Uuid::new_v4().simple().to_string();
        self.put(lane, &guid, items);
    }

    fn put(&mut self, lane: Lane, guid: &str, items: impl IntoIterator<Item = Item>) {
        let block = self.tail(lane);
        if !matches!(lane, Lane::Expiry(_)) {
            self.ring();
        }
        let mut segment: Vec<Item> = Vec::new();
        let mut size = 0;
        for item in items {
            let added = item.payload.len() + OVERHEAD;
            if !segment.is_empty() && (segment.len() == SEGMENT_ITEMS || size + added > SEGMENT_BYTES) {
                self.add_segment(lane, block, guid, &segment);
                segment.clear();
                size = 0;
            }
            size += added;
            segment.push(item);
        }
        if !segment.is_empty() {
            self.add_segment(lane, block, guid, &segment);
        }
    }

    fn add_segment(&mut self, lane: Lane, block: i32, guid: &str, items: &[Item]) {
        let directory = self.known.layout.block(lane, block);
        let path = directory.child(&SegmentName::prefix(items.len(), guid));
        let mode = zk::CreateMode::PersistentSequential;
        self.create(path, encode(items), mode, Role::Segment(lane));
    }

    /// The last block of a lane, which the transaction checks.
    fn tail(&mut self, lane: Lane) -> i32 {
        let Some(tail) = self.known.tails.get(&lane).copied() else {
            if !self.missing.contains(&lane) {
                self.missing.push(lane);
            }
            return 0;
        };
        if !self.checked.contains(&lane) {
            self.checked.push(lane);
            let path = self.known.layout.lane(lane).as_str().to_owned();
            self.step(Operation::check(path, tail), Role::Tail(lane));
        }
        tail
    }

    pub(super) fn finish(mut self) -> Drafted {
        if !self.missing.is_empty() {
            return Drafted::Missing(self.missing);
        }
        let Level { bound, version } = self.known.level;
        let bound = bound.map(|bound| Bound {
            items: bound.items.saturating_add_signed(self.change),
            ..bound
        });
        let counts = bound.is_some() && self.change != 0;
        if counts || self.rings {
            let root = self.known.layout.root().as_str();
            let set = Operation::set_data(root, Level::data(bound), bound.map(|_| version));
            self.step(set, Role::Level);
        }
        Drafted::Complete(self.steps, bound)
    }
}
