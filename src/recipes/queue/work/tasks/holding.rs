//! Turning what was claimed into items that are held.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use tracing::{info, warn};

use super::super::store::{
    AttemptRecord, Committed, DeadData, Guid, Item, ItemId, Origin, Outcome, Role, Taking, decode_items, ended,
};
use super::assignment::{Assignment, Verdict};
use super::claim::{Claim, Open};
use super::claiming::Granted;
use super::group::{GroupEnd, GroupHead, group_of};
use super::pop::{Memory, Popper};
use crate::session::{Interrupted, Session};
use crate::znode::{Hold, Receipt, read};

/// So many segments are kept that were read, since they hold more than was claimed of them.
const SEGMENTS: usize = 16;

/// So many claims have a watch of their own; the loss of others is told when they are settled.
const WATCHED: usize = 64;

/// Why something is dead that was no item.
pub(crate) const UNREADABLE: &str = "it cannot be read as an item";

impl Popper {
    /// Turns what was claimed into items that are held.
    pub(super) async fn hold(
        &self,
        session: &Arc<Session>,
        memory: &mut Memory,
        granted: Granted,
        takings: &[Taking],
        now: i64,
    ) -> Result<Vec<Assignment>, Interrupted> {
        let Granted { nodes, receipt, sent } = granted;
        if let Some(node) = nodes.first() {
            node.recheck_after_reconnect().await?;
            session.prove(node.end()).await?;
        }
        memory.claims.retain(|claim| claim.strong_count() > 0);
        let mut assignments = Vec::new();
        for (mut node, taking) in nodes.into_iter().zip(takings) {
            if memory.claims.len() < WATCHED {
                node.watch_soon();
            }
            let hold = Hold::new(node, self.store.zk.clone());
            info!(
                queue = self.store.path(),
                claim = hold.path(),
                zxid = receipt.ledger.mzxid,
                "claimed"
            );
            let found = match group_of(&taking.claim) {
                Some(name) => {
                    let group = GroupHead::new(name);
                    let head = group.head(&self.store, session).await?;
                    (
                        head.map(|head| head.map(|item| BTreeMap::from([(0, item)]))),
                        Some(group),
                    )
                }
                None => (self.items_of(session, memory, taking).await?, None),
            };
            let (items, group) = match found {
                (Some(Ok(items)), group) => (items, group),
                (raw, group) => {
                    let raw = raw.and_then(Result::err);
                    self.drop_unreadable(session, hold, taking, raw, group).await?;
                    continue;
                }
            };
            let claim = self.claim_of(hold, taking, group, items, &receipt, sent);
            memory.claims.push(Arc::downgrade(&claim));
            assignments.extend(self.assign(&claim, taking, now));
        }
        memory.segments.retain(|(_, items)| items.len() > 1);
        let excess = memory.segments.len().saturating_sub(SEGMENTS);
        memory.segments.drain(..excess);
        Ok(assignments)
    }

    fn claim_of(
        &self,
        hold: Hold,
        taking: &Taking,
        group: Option<GroupHead>,
        items: BTreeMap<u8, Item>,
        receipt: &Receipt,
        sent: Instant,
    ) -> Arc<Claim> {
        let identity = Bytes::copy_from_slice(hold.session().identity());
        let open = Open::new(taking, items, identity, receipt.ledger.mzxid);
        let claim = Claim::new(hold, taking.claim, group, open);
        if let Some(deadline) = taking.claim.deadline {
            claim.end_at(deadline, receipt.ledger.mtime, sent);
        }
        Arc::new(claim)
    }

    /// One for each item of a claim, but for those that are of no use any more.
    fn assign(&self, claim: &Arc<Claim>, taking: &Taking, now: i64) -> Vec<Assignment> {
        let items: Vec<(u8, Item)> = claim
            .open()
            .items
            .iter()
            .map(|(index, item)| (*index, item.clone()))
            .collect();
        let max_attempts = self.store.max_attempts();
        let mut assignments = Vec::new();
        for (index, item) in items {
            let expired = item.expires.is_some_and(|expires| expires <= now);
            let before = taking.before.as_ref().map_or(0, |(tally, _)| tally.attempts(0));
            let is_lost = claim.group.is_some() && before >= max_attempts;
            let assignment = Assignment::new(claim, index, item, &self.settling);
            if expired {
                assignment.settle_soon(Verdict::Done {
                    outcome: Outcome::Expired,
                    next: Vec::new(),
                });
            } else if is_lost {
                let reason = format!("its consumer was lost at attempt {before} of {max_attempts}");
                assignment.settle_soon(Verdict::Rejected { reason });
            } else {
                assignments.push(assignment);
            }
        }
        assignments
    }

    /// The items that were claimed, by their index; what was there if these were no items; nothing if nothing was.
    async fn items_of(
        &self,
        session: &Arc<Session>,
        memory: &Memory,
        taking: &Taking,
    ) -> Result<Option<Result<BTreeMap<u8, Item>, Bytes>>, Interrupted> {
        let guid = taking.range.segment.guid;
        let known = memory
            .segments
            .iter()
            .find(|(known, _)| *known == guid)
            .map(|(_, items)| Arc::clone(items));
        let items = match known {
            Some(items) => items,
            None => {
                let Some((data, _)) = read(session, &taking.claim.segment_path(&self.store.layout)).await? else {
                    return Ok(None);
                };
                let data = Bytes::from(data);
                match decode_items(&data) {
                    Some(items) => Arc::new(items),
                    None => return Ok(Some(Err(data))),
                }
            }
        };
        let own = own_items(taking, &items);
        Ok((!own.is_empty()).then_some(Ok(own)))
    }

    /// Puts what cannot be read to the dead letters, or removes what is left of a segment that is gone.
    async fn drop_unreadable(
        &self,
        session: &Arc<Session>,
        hold: Hold,
        taking: &Taking,
        raw: Option<Bytes>,
        group: Option<GroupHead>,
    ) -> Result<(), Interrupted> {
        let version = taking.version();
        if let Some(raw) = &raw {
            let path = taking.claim.segment_path(&self.store.layout);
            warn!(
                queue = self.store.path(),
                path,
                bytes = raw.len(),
                "unreadable; it is put to the dead letters"
            );
        }
        hold.node().mark_end_deliberate(true);
        let id = ItemId::new(
            Origin {
                block: taking.claim.block,
                guid: Guid::random(),
            },
            0,
        );
        let committed = self.store.commit(session, |draft| {
            match &group {
                Some(group) => group.draft(draft, 0, &taking.claim, &taking.tally, version, GroupEnd::HeadEnded),
                None => draft.end(0, &taking.claim, version),
            }
            if let Some(raw) = &raw {
                let letter = DeadData {
                    reason: UNREADABLE.to_owned(),
                    record: AttemptRecord::default(),
                    item: None,
                    raw: raw.clone(),
                };
                draft.persist(draft.known.layout.dead(id.as_str()), letter.encode(), Role::Other);
            }
        });
        match committed.await? {
            Committed::Done(..) => hold.node().deleted(),
            Committed::Refused(role, source) => {
                warn!(queue = self.store.path(), ?role, %source, "what is left of a segment cannot be removed");
            }
            Committed::Paused => {}
            Committed::Indeterminate(()) => return Err(ended(session)),
        }
        Ok(())
    }
}

/// The items of a segment that were claimed and are not done, by their index.
pub(super) fn own_items(taking: &Taking, items: &[Item]) -> BTreeMap<u8, Item> {
    let span = taking.claim.span;
    let numbered = (0_u8..).zip(items);
    let inside = numbered.filter(|(index, _)| (span.from..span.to).contains(index) && !taking.tally.is_done(*index));
    let own = inside.map(|(index, item)| {
        let mut own = item.clone();
        if items.len() > 1 {
            // So that one item does not keep the others of its segment in memory.
            own.payload = Bytes::copy_from_slice(&item.payload);
        }
        (index, own)
    });
    own.collect()
}
