//! Steps that move items: an item of a segment that others hold, a delay, the token of a group.

use std::time::Duration;

use bytes::Bytes;
use zookeeper_client as zk;

use super::codec::{encode_items, encode_text};
use super::draft::{Draft, Role};
use super::item::Item;
use super::names::{Child, Guid, Kind, SegmentName, Span};
use super::paths::{Lane, slot_after};
use super::steps::Claimable;
use super::tally::{AttemptRecord, Tally};

impl Draft<'_> {
    /// Takes an item out of its segment, to stand alone at its place in line.
    pub(crate) fn take_out(&mut self, claim: &Claimable, index: u8, item: &Item, record: AttemptRecord) {
        let (guid, kind) = (Guid::random(), Kind::TakenOut(index));
        let kind = if let Kind::TakenOut(_) = claim.segment.kind {
            claim.segment.kind
        } else {
            kind
        };
        let segment = SegmentName {
            guid,
            kind,
            count: 1,
            priority: item.priority,
            ..claim.segment
        };
        let out = Claimable {
            segment,
            span: Span { from: 0, to: 1 },
            epoch: 0,
            deadline: None,
            ..*claim
        };
        let path = out.segment_path(self.known.layout);
        self.move_to(path, zk::CreateMode::Persistent, &out, item, record, Role::Other);
    }

    /// Puts an item into the slot of a later time.
    pub(crate) fn delay(&mut self, delay: Duration, item: &Item, record: AttemptRecord) {
        let slot = slot_after(self.known.now, delay);
        let mut item = item.clone();
        item.due = slot;
        self.append(Lane::Delayed(slot), &item, record);
    }

    /// Puts an item to the end of a lane, with what is known of it.
    pub(crate) fn append(&mut self, lane: Lane, item: &Item, record: AttemptRecord) {
        let block = self.tail(lane);
        let (guid, time) = (Guid::random(), self.known.now);
        let segment = SegmentName {
            sequence: 0,
            kind: Kind::Pushed,
            guid,
            count: 1,
            priority: item.priority,
            time,
        };
        let claim = Claimable {
            block,
            segment,
            span: Span { from: 0, to: 1 },
            epoch: 0,
            deadline: None,
        };
        let path = self.known.layout.block(block).child(&segment.prefix());
        self.move_to(
            path,
            zk::CreateMode::PersistentSequential,
            &claim,
            item,
            record,
            Role::Into(lane),
        );
        self.ring();
    }

    /// Puts the token of a group into the slot of a later time, with what is known of its first item.
    pub(crate) fn delay_token(&mut self, group: Guid, priority: u8, delay: Duration, record: AttemptRecord) {
        let lane = Lane::Delayed(slot_after(self.known.now, delay));
        let guid = self.put_token_into(lane, group, priority, Bytes::new());
        let (opened, mut tally) = (
            Child::Opened {
                guid,
                span: Span { from: 0, to: 1 },
            },
            Tally::default(),
        );
        tally.set_record(0, record);
        let block = self.tail(lane);
        let path = self.known.layout.block(block).child(&opened.to_string());
        self.persist(path, tally.encode(), Role::Into(lane));
    }

    fn move_to(
        &mut self,
        path: String,
        mode: zk::CreateMode,
        to: &Claimable,
        item: &Item,
        record: AttemptRecord,
        role: Role,
    ) {
        let layout = self.known.layout;
        let moved = Item {
            moved: true,
            ..item.clone()
        };
        let mut tally = Tally::default();
        tally.set_record(0, record);
        let place = path.strip_prefix(layout.root().as_str()).unwrap_or_default().to_owned();
        self.create(path, encode_items([&moved]), mode, role);
        self.persist(to.opened_path(layout), tally.encode(), role);
        let data = encode_text(&place);
        match item.moved {
            true => self.set(layout.moved(item.id.as_str()), data, None, Role::Other),
            false => self.persist(layout.moved(item.id.as_str()), data, Role::Other),
        }
    }
}
