//! [`Draft`]: a transaction on a queue, as values, before it is sent; and what each of its steps is there for.

use std::collections::HashMap;

use bytes::Bytes;
use zookeeper_client as zk;

use super::header::Header;
use super::item::Item;
use super::paths::{BlockId, Lane, QueueLayout, slot_after};
use super::records::{Forgotten, Level, encode_forgotten};
use super::turnover::ItemCounts;
use crate::session::Operation;

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
    counts: ItemCounts,
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
        /// What it makes of the level, and the version that this gets.
        level: Option<(Level, i32)>,
        counts: ItemCounts,
    },
    Missing(Vec<Lane>),
    /// Nothing is claimed while the queue is paused.
    Paused,
}

impl<'a> Draft<'a> {
    pub(crate) fn new(known: Knowledge<'a>) -> Self {
        Self {
            known,
            steps: Vec::new(),
            lanes: Vec::new(),
            missing: Vec::new(),
            change: 0,
            counts: ItemCounts::default(),
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
        let pushed = u32::try_from(change).unwrap_or_default();
        self.counts.add(ItemCounts { pushed, done: 0 });
    }

    /// An item is done, or of no use any more.
    pub(crate) fn count_done(&mut self) {
        self.counts.add(ItemCounts { pushed: 0, done: 1 });
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

    /// Whether a lane that is needed now is made by this transaction.
    pub(crate) fn would_make(&self, lane: Lane) -> bool {
        !self.lanes.contains(&lane) && !self.known.tails.contains_key(&lane)
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
            level = Some((after, version.wrapping_add(1)));
        }
        Drafted::Complete {
            steps: self.steps,
            level,
            counts: self.counts,
        }
    }
}
