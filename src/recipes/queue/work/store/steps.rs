//! The transactions by which ranges of items are claimed and settled.

use bytes::Bytes;
use zookeeper_client as zk;

use super::draft::{Draft, Role};
use super::item::Item;
use super::names::{Child, SegmentName, Span};
use super::paths::{BlockId, QueueLayout};
use super::picture::{Range, State};
use super::records::{DeadData, Outcome};
use super::tally::{AttemptRecord, Tally};

/// A range on its way to be claimed, or claimed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Claimable {
    pub(crate) block: BlockId,
    pub(crate) segment: SegmentName,
    pub(crate) span: Span,
    pub(crate) epoch: u32,
    pub(crate) deadline: Option<i64>,
}

impl Claimable {
    /// A range, without a claim.
    pub(crate) fn unclaimed(block: BlockId, range: &Range) -> Self {
        Self {
            block,
            segment: range.segment,
            span: range.span,
            epoch: 0,
            deadline: None,
        }
    }

    pub(super) fn child(&self, layout: &QueueLayout, child: Child) -> String {
        layout.block(self.block).child(&child.to_string())
    }

    pub(crate) fn segment_path(&self, layout: &QueueLayout) -> String {
        self.child(layout, Child::Segment(self.segment))
    }

    pub(crate) fn opened_path(&self, layout: &QueueLayout) -> String {
        let Self {
            segment: SegmentName { guid, .. },
            span,
            ..
        } = *self;
        self.child(layout, Child::Opened { guid, span })
    }

    pub(crate) fn claim_path(&self, layout: &QueueLayout) -> String {
        let Self {
            segment: SegmentName { guid, .. },
            span,
            epoch,
            deadline,
            ..
        } = *self;
        self.child(
            layout,
            Child::Claimed {
                guid,
                span,
                epoch,
                deadline,
            },
        )
    }

    /// Whether the segment has no other range.
    pub(crate) fn is_whole(&self) -> bool {
        self.span.from == 0 && self.span.to == self.segment.count
    }
}

/// What is taken out of a range, and what of it is left.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Taking {
    pub(crate) range: Range,
    /// What is claimed; its name is that of the claim.
    pub(crate) claim: Claimable,
    pub(crate) tally: Tally,
    /// What was known of the range: its tally, and the version of that.
    pub(crate) before: Option<(Tally, i32)>,
    /// The version of the claim that is taken over.
    pub(crate) over: Option<i32>,
}

impl Taking {
    /// The version of the tally once the range is claimed.
    pub(crate) fn version(&self) -> i32 {
        match &self.before {
            Some((_, version)) if self.claim.span == self.range.span => version.wrapping_add(1),
            _ => 0,
        }
    }
}

impl Draft<'_> {
    /// Claims a range, or a part of it, with a claim at `claim_path`.
    pub(crate) fn take(&mut self, position: usize, taking: &Taking, claim_path: &str, data: Bytes) {
        let role = Role::Source(position);
        let layout = self.known.layout;
        let Taking {
            range,
            claim,
            tally,
            before,
            over,
        } = taking;
        let opened = claim.opened_path(layout);
        match (range.state, before) {
            (State::FreshSingle, _) | (_, None) if range.segment.count == 1 => {
                self.check(claim.segment_path(layout), role);
                self.persist(opened, tally.encode(), role);
            }
            (State::FreshRest, _) | (_, None) => {
                let fresh = |from| {
                    claim.child(
                        layout,
                        Child::Fresh {
                            guid: range.segment.guid,
                            from,
                        },
                    )
                };
                self.delete(fresh(range.span.from), None, role);
                if claim.span.to < range.span.to {
                    self.persist(fresh(claim.span.to), Bytes::new(), role);
                }
                self.persist(opened, tally.encode(), role);
            }
            (_, Some((before, version))) => {
                let whole = Claimable {
                    span: range.span,
                    ..*claim
                };
                let is_part = claim.span != range.span;
                self.reopen(&whole, before, *version, (!is_part).then_some(tally), *over, role);
                if is_part {
                    self.persist(opened, tally.encode(), role);
                    if claim.span.to < range.span.to {
                        let span = Span {
                            from: claim.span.to,
                            ..range.span
                        };
                        let rest = Claimable { span, ..*claim };
                        self.persist(rest.opened_path(layout), before.part(span.from, span.to).encode(), role);
                    }
                }
            }
        }
        self.create(claim_path.to_owned(), data, zk::CreateMode::Ephemeral, role);
    }

    /// Writes the tally of a range, or removes it, and proves that its latest claim does not stand: by taking it over, or by
    /// the probe, which creates a node with its name and deletes it.
    fn reopen(
        &mut self,
        range: &Claimable,
        before: &Tally,
        version: i32,
        after: Option<&Tally>,
        over: Option<i32>,
        role: Role,
    ) {
        let layout = self.known.layout;
        let opened = range.opened_path(layout);
        match after {
            Some(tally) => self.set(opened, tally.encode(), Some(version), role),
            None => self.delete(opened, Some(version), role),
        }
        if before.epoch == 0 {
            return;
        }
        let deadline = (before.deadline != 0).then_some(before.deadline);
        let latest = Claimable {
            epoch: before.epoch,
            deadline,
            ..*range
        }
        .claim_path(layout);
        if over.is_none() {
            self.create(latest.clone(), Bytes::new(), zk::CreateMode::Ephemeral, role);
        }
        self.delete(latest, over, role);
    }

    /// Removes a free range whose items all end in this transaction.
    pub(crate) fn remove_free(
        &mut self,
        position: usize,
        range: &Claimable,
        before: &Tally,
        version: i32,
        over: Option<i32>,
    ) {
        let role = Role::Source(position);
        self.reopen(range, before, version, None, over, role);
        if range.is_whole() {
            self.delete(range.segment_path(self.known.layout), None, role);
        }
    }

    /// Proves that a single item was never claimed.
    pub(crate) fn check_fresh(&mut self, position: usize, range: &Claimable) {
        let role = Role::Source(position);
        let opened = range.opened_path(self.known.layout);
        self.persist(opened.clone(), Bytes::new(), role);
        self.delete(opened, None, role);
    }

    /// Removes a single item that was never claimed.
    pub(crate) fn remove_fresh(&mut self, position: usize, range: &Claimable) {
        self.check_fresh(position, range);
        self.delete(range.segment_path(self.known.layout), None, Role::Source(position));
    }

    /// Opens what of a segment was never claimed, with one item that ends in this transaction.
    pub(crate) fn open_fresh(&mut self, position: usize, range: &Claimable, index: u8) {
        let role = Role::Source(position);
        let layout = self.known.layout;
        let fresh = Child::Fresh {
            guid: range.segment.guid,
            from: range.span.from,
        };
        self.delete(range.child(layout, fresh), None, role);
        let mut tally = Tally::default();
        tally.finish(index);
        self.persist(range.opened_path(layout), tally.encode(), role);
    }

    /// Writes the tally of a free range.
    pub(crate) fn write_free(
        &mut self,
        position: usize,
        range: &Claimable,
        before: &Tally,
        version: i32,
        after: &Tally,
        over: Option<i32>,
    ) {
        self.reopen(range, before, version, Some(after), over, Role::Source(position));
    }

    /// The claim goes on.
    pub(crate) fn keep(&mut self, position: usize, claim: &Claimable, tally: &Tally, version: i32) {
        let role = Role::Held(position);
        self.check(claim.claim_path(self.known.layout), role);
        self.set(
            claim.opened_path(self.known.layout),
            tally.encode(),
            Some(version),
            role,
        );
    }

    /// The claim ends, and what is left of its range is free.
    pub(crate) fn release(&mut self, position: usize, claim: &Claimable, tally: &Tally, version: i32) {
        let role = Role::Held(position);
        self.delete(claim.claim_path(self.known.layout), None, role);
        self.set(
            claim.opened_path(self.known.layout),
            tally.encode(),
            Some(version),
            role,
        );
    }

    /// The claim ends, and nothing is left of its range.
    pub(crate) fn end(&mut self, position: usize, claim: &Claimable, version: i32) {
        let role = Role::Held(position);
        self.delete(claim.claim_path(self.known.layout), None, role);
        self.delete(claim.opened_path(self.known.layout), Some(version), role);
        if claim.is_whole() {
            self.delete(claim.segment_path(self.known.layout), None, role);
        }
    }

    /// The item has ended: so many are left in the queue, and nothing says where it stands.
    fn forget(&mut self, item: &Item) {
        self.count(-1);
        if item.moved {
            self.delete(self.known.layout.moved(item.id.as_str()), None, Role::Other);
        }
    }

    /// The item is done, cancelled or of no use any more.
    pub(crate) fn finish_item(&mut self, item: &Item, outcome: &Outcome) {
        self.forget(item);
        self.count_done();
        let is_kept =
            matches!(outcome, Outcome::Result(_)) || item.wants_outcome || self.known.header.options.all_outcomes;
        if is_kept {
            let path = self.known.layout.result(item.id.as_str());
            self.persist(path, outcome.encode(), Role::Other);
        }
        self.forget_later(item, is_kept);
    }

    /// Puts the item to the dead letters.
    pub(crate) fn bury(&mut self, item: &Item, record: AttemptRecord, reason: &str) {
        self.forget(item);
        let letter = DeadData {
            reason: reason.to_owned(),
            record,
            item: Some(Item {
                moved: false,
                ..item.clone()
            }),
            raw: Bytes::new(),
        };
        self.persist(self.known.layout.dead(item.id.as_str()), letter.encode(), Role::Other);
    }
}
