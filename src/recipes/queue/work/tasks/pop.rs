//! Taking items: the consumers of one process look once, stand in line once if they have to, and take for all of them.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::future;
use tokio::sync::{mpsc, watch};
use tracing::{Instrument, debug, info, info_span, warn};
use zookeeper_client as zk;

use super::super::store::{
    AttemptRecord, BlockId, ClaimData, Committed, DeadData, Guid, Header, Item, ItemId, Order, Origin, Outcome, Role,
    Store, Taking, decode_items, ended,
};
use super::assignment::{Assignment, Settling, Verdict};
use super::claim::{Claim, Open};
use super::demand::{Demand, Demands};
use super::group::{GroupHead, group_of};
use super::prepare::{Prepared, bury_lost};
use super::random_index;
use super::select::{Candidate, CandidateKey, choose};
use super::view::{Aim, View};
use crate::error::Error;
use crate::line::Line;
use crate::session::{Interrupted, LossReason, Lost, Session};
use crate::znode::{Ephemeral, Hold, PendingNode, Receipt, read};

/// An item that came too late for who wanted it belongs to the next pop of this handle for so long.
const KEEP: Duration = Duration::from_millis(50);

/// A view is good for so long while it has enough.
const VIEW_AGE: Duration = Duration::from_millis(100);

/// So many segments are kept that were read, since they hold more than was claimed of them.
const SEGMENTS: usize = 16;

/// So many claims have a watch of their own; the loss of others is told when they are settled.
const WATCHED: usize = 64;

/// So many ranges are remembered that are to be left alone.
const SKIPPED: usize = 4096;

/// How often what is claimed may turn out to be behind something that has just come free.
const RELEASES: usize = 5;

/// What takes items needs beside its memory.
#[derive(Debug)]
pub(crate) struct Popper {
    pub(crate) store: Arc<Store>,
    pub(crate) line: Line,
    pub(crate) settling: Settling,
    pub(crate) given_back: Arc<AtomicBool>,
    pub(crate) untidy: mpsc::UnboundedSender<BlockId>,
    /// True once the queue is closed.
    pub(crate) closing: watch::Receiver<bool>,
}

/// What is remembered from one turn to the next.
#[derive(Debug, Default)]
pub(super) struct Memory {
    pub(super) view: View,
    /// Whether others were met in line, so that nothing is claimed without a place there.
    pub(super) lines_up: bool,
    pub(super) swept: Option<Instant>,
    /// What cannot be claimed before a time, though its name says so.
    pub(super) skipped: Arc<HashMap<CandidateKey, i64>>,
    segments: Vec<(Guid, Arc<Vec<Item>>)>,
    claims: Vec<Weak<Claim>>,
    spare: Vec<Assignment>,
    spare_until: Option<Instant>,
}

impl Memory {
    fn skip(&mut self, skipped: &[(Candidate, i64)]) {
        if skipped.is_empty() {
            return;
        }
        let known = Arc::make_mut(&mut self.skipped);
        if known.len() > SKIPPED {
            known.clear();
        }
        known.extend(skipped.iter().map(|(candidate, until)| (candidate.key(), *until)));
        let is_skipped = |candidate: &Candidate| skipped.iter().any(|(skipped, _)| skipped == candidate);
        self.view.line.retain(|candidate| !is_skipped(candidate));
    }
}

/// What came of a claim.
#[derive(Debug)]
pub(super) enum Taken {
    Items(Vec<Assignment>),
    /// What was to be taken is not there any more: it is to be looked again.
    Outrun,
    Nothing,
    Paused,
    /// An item is given its last attempt alone: what else is open has to be settled first.
    Isolated,
}

/// Takes items for those that want some, until nothing can want any more.
pub(crate) async fn take_all(popper: Popper, incoming: mpsc::UnboundedReceiver<Demand>) {
    let (mut demands, mut memory) = (Demands::new(incoming, popper.closing.clone()), Memory::default());
    loop {
        let goes_on = tokio::select! {
            some = demands.some() => some,
            () = until(memory.spare_until), if !memory.spare.is_empty() => {
                Assignment::give_back(memory.spare.drain(..));
                continue;
            }
        };
        if !goes_on {
            break;
        }
        memory.spare.retain(|spare| !spare.claim.remaining().is_zero());
        if !memory.spare.is_empty() {
            let spare = std::mem::take(&mut memory.spare);
            memory.spare = demands.hand_out(spare);
            continue;
        }
        let session = match popper.store.zk.session().await {
            Ok(session) => session,
            Err(error) => {
                demands.fail(&error);
                continue;
            }
        };
        let turn = popper
            .turn(&session, &mut demands, &mut memory)
            .instrument(info_span!("take", queue = popper.store.path()));
        match turn.await {
            Ok(assignments) => {
                demands.refresh();
                memory.spare = demands.hand_out(assignments);
                memory.spare_until = Some(Instant::now() + KEEP);
                popper.tell_untidy(&memory.view);
            }
            Err(Interrupted::Lost(Lost { reason })) => {
                debug!(%reason, "the turn is lost; beginning again");
                memory.view = View::default();
            }
            Err(Interrupted::Failed(error)) => demands.fail(&popper.store.zk.ended().unwrap_or(error)),
        }
    }
    Assignment::give_back(memory.spare.drain(..));
    demands.fail(&Error::Closed);
}

async fn until(instant: Option<Instant>) {
    match instant {
        Some(instant) => tokio::time::sleep_until(instant.into()).await,
        None => future::pending().await,
    }
}

/// What a claim is made of once it is committed.
struct Granted {
    nodes: Vec<Ephemeral>,
    receipt: Receipt,
    sent: Instant,
}

impl Popper {
    fn tell_untidy(&self, view: &View) {
        for block in &view.untidy {
            let _ = self.untidy.send(*block);
        }
    }

    pub(super) fn aim(&self, header: &Header, now: i64, skipped: &Arc<HashMap<CandidateKey, i64>>) -> Aim {
        let ranges = match header.options.order {
            Order::Strict => 64,
            Order::Window(width) => usize::from(width).max(16),
        };
        Aim {
            ranges,
            now,
            aging: header.options.aging,
            own: Vec::new(),
            skipped: Arc::clone(skipped),
        }
    }

    /// Looks what there is.
    pub(super) async fn look(&self, session: &Arc<Session>, memory: &mut Memory) -> Result<(), Interrupted> {
        let header = self.store.header(session).await?;
        let now = self.store.now(session).await?;
        self.given_back.store(false, Ordering::Relaxed);
        memory.view = memory
            .view
            .look(&self.store, session, &self.aim(&header, now, &memory.skipped))
            .await?;
        Ok(())
    }

    /// Whether there is something to be claimed, as far as is known.
    pub(super) fn knows_some(&self, memory: &Memory) -> bool {
        !memory.view.line.is_empty() && !self.given_back.load(Ordering::Relaxed)
    }

    /// Claims what is next in the view, in exchange for the place in line if there is one.
    pub(super) async fn claim(
        &self,
        session: &Arc<Session>,
        mut place: Option<&Ephemeral>,
        memory: &mut Memory,
        wanted: &[bool],
    ) -> Result<Taken, Interrupted> {
        for _ in 0..RELEASES {
            let header = self.store.header(session).await?;
            let now = self.store.now(session).await?;
            if header.paused {
                self.store.load_header(session).await?;
                if self.store.header(session).await?.paused {
                    return Ok(Taken::Paused);
                }
                continue;
            }
            let order = header.options.order;
            let chosen = choose(&memory.view.line, wanted.len(), order, random_index());
            let prepared = Prepared::of(&self.store, session, &chosen, wanted, &header, now).await?;
            memory.skip(&prepared.skipped);
            if prepared.takings.is_empty() && !prepared.skipped.is_empty() {
                continue;
            }
            if prepared.has_dead {
                bury_lost(&self.store, session, &memory.view.line, &header, now).await?;
                return Ok(Taken::Outrun);
            }
            if prepared.takings.is_empty() {
                return Ok(if prepared.is_outdated {
                    Taken::Outrun
                } else {
                    Taken::Nothing
                });
            }
            if prepared.is_isolated && *self.settling.handed_out.borrow() > 0 {
                return Ok(Taken::Isolated);
            }
            let granted = match self
                .commit(session, place, memory, &prepared.takings, &header, now)
                .await?
            {
                Ok(granted) => granted,
                Err(taken) => return Ok(taken),
            };
            let is_behind =
                order == Order::Strict && !self.is_first(session, memory, &prepared.takings, &header, now).await?;
            if is_behind {
                self.release(session, granted, &prepared.takings).await?;
                // It is given up with the first claim.
                place = None;
                continue;
            }
            let claims = self.hold(session, memory, granted, &prepared.takings, now).await?;
            return Ok(Taken::Items(claims));
        }
        Ok(Taken::Outrun)
    }

    /// Sends the claim, and behind it what has to be read for it.
    async fn commit(
        &self,
        session: &Arc<Session>,
        place: Option<&Ephemeral>,
        memory: &mut Memory,
        takings: &[Taking],
        header: &Header,
        now: i64,
    ) -> Result<Result<Granted, Taken>, Interrupted> {
        let layout = &self.store.layout;
        let pending = pending_nodes(session, takings.iter().map(|taking| taking.claim.claim_path(layout)))?;
        let data = ClaimData {
            identity: Bytes::copy_from_slice(session.identity()),
            ..ClaimData::default()
        }
        .encode();
        let expect_end = |expected| place.inspect(|place| place.mark_end_deliberate(expected));
        expect_end(true);
        let sent = Instant::now();
        let committing = self.store.commit(session, |draft| {
            draft.check_running();
            if let Some(place) = place {
                draft.delete(place.path().to_owned(), None, Role::Place);
            }
            for (position, (taking, node)) in takings.iter().zip(&pending).enumerate() {
                draft.take(position, taking, node.path(), data.clone());
            }
        });
        let aim = Aim {
            own: takings.iter().map(|taking| taking.claim).collect(),
            ..self.aim(header, now, &memory.skipped)
        };
        let is_thin =
            memory.view.line.len() < aim.ranges / 2 || memory.view.looked.is_none_or(|at| at.elapsed() > VIEW_AGE);
        let looks = header.options.order == Order::Strict || is_thin;
        let view = &memory.view;
        let looking = async {
            match looks {
                true => view.look(&self.store, session, &aim).await.map(Some),
                false => Ok(None),
            }
        };
        let reading = self.read_segments(session, &memory.segments, takings);
        let occupied = self.line.is_occupied(session);
        let (committed, looked, segments, occupied) = tokio::join!(committing, looking, reading, occupied);
        let committed = match committed {
            Ok(committed) => committed,
            Err(error) => {
                // Their nodes go with the session; what has these names by then is another's.
                pending.into_iter().for_each(PendingNode::refused);
                return Err(error);
            }
        };
        let receipt = match committed {
            Committed::Done((), receipt) => receipt,
            Committed::Indeterminate(()) => {
                pending.into_iter().for_each(PendingNode::refused);
                return Err(ended(session));
            }
            Committed::Paused => {
                pending.into_iter().for_each(PendingNode::refused);
                expect_end(false);
                return Ok(Err(Taken::Paused));
            }
            Committed::Refused(role, source) => {
                pending.into_iter().for_each(PendingNode::refused);
                expect_end(false);
                self.refused(place, takings, role, source)?;
                memory.view = looked?.unwrap_or_default();
                memory.view.settle_own(&Aim { own: Vec::new(), ..aim });
                memory.lines_up = occupied? && place.is_none();
                return Ok(Err(Taken::Outrun));
            }
        };
        place.inspect(|place| place.deleted());
        let nodes = pending
            .into_iter()
            .map(|pending| pending.created(&receipt))
            .collect::<Result<Vec<_>, Lost>>()?;
        for (guid, items) in segments? {
            memory.segments.retain(|(known, _)| *known != guid);
            memory.segments.push((guid, items));
        }
        match looked? {
            Some(view) => {
                memory.view = view;
                if header.options.order != Order::Strict {
                    memory.view.settle_own(&aim);
                }
            }
            None => memory.view.claimed_own(takings),
        }
        memory.lines_up = occupied?;
        Ok(Ok(Granted { nodes, receipt, sent }))
    }

    /// An error unless what was to be claimed is gone.
    fn refused(
        &self,
        place: Option<&Ephemeral>,
        takings: &[Taking],
        role: Role,
        source: zk::Error,
    ) -> Result<(), Interrupted> {
        debug!(queue = self.store.path(), ?role, error = %source, "not claimed");
        match (role, source) {
            (Role::Place, zk::Error::NoNode) => {
                place.inspect(|place| place.deleted());
                Err(Lost {
                    reason: LossReason::NodeRemoved,
                }
                .into())
            }
            (Role::Source(_), zk::Error::NoNode | zk::Error::NodeExists | zk::Error::BadVersion) => Ok(()),
            (role, source) => {
                let path = match role {
                    Role::Source(position) => takings
                        .get(position)
                        .map(|taking| taking.claim.segment_path(&self.store.layout)),
                    _ => None,
                };
                Err(Error::from_answer(path.as_deref().unwrap_or(self.store.path()), source).into())
            }
        }
    }

    /// The segments that are not known yet. One that is gone or unreadable is read again by who holds it.
    async fn read_segments(
        &self,
        session: &Arc<Session>,
        known: &[(Guid, Arc<Vec<Item>>)],
        takings: &[Taking],
    ) -> Result<Vec<(Guid, Arc<Vec<Item>>)>, Interrupted> {
        let is_unknown = |taking: &&Taking| {
            let guid = taking.range.segment.guid;
            group_of(&taking.claim).is_none() && !known.iter().any(|(known, _)| *known == guid)
        };
        let reads = takings.iter().filter(is_unknown).map(|taking| async move {
            let path = taking.claim.segment_path(&self.store.layout);
            let found = read(session, &path).await?;
            let items = found.and_then(|(data, _)| decode_items(&Bytes::from(data)));
            Ok::<_, Interrupted>(items.map(|items| (taking.range.segment.guid, Arc::new(items))))
        });
        Ok(future::try_join_all(reads).await?.into_iter().flatten().collect())
    }

    /// Whether nothing is free ahead of what was just claimed, at a moment after that.
    async fn is_first(
        &self,
        session: &Arc<Session>,
        memory: &mut Memory,
        takings: &[Taking],
        header: &Header,
        now: i64,
    ) -> Result<bool, Interrupted> {
        let aim = Aim {
            own: takings.iter().map(|taking| taking.claim).collect(),
            ..self.aim(header, now, &memory.skipped)
        };
        let is_shown = |view: &View| {
            takings
                .iter()
                .all(|taking| view.shows(&taking.claim.claim_path(&self.store.layout)))
        };
        if !is_shown(&memory.view) {
            memory.view = memory.view.look(&self.store, session, &aim).await?;
        }
        Ok(memory.view.settle_own(&aim))
    }

    /// Gives back what was claimed and not handed out.
    async fn release(&self, session: &Arc<Session>, granted: Granted, takings: &[Taking]) -> Result<(), Interrupted> {
        debug!(
            queue = self.store.path(),
            "something ahead has come free; it is taken first"
        );
        granted.nodes.iter().for_each(|node| node.mark_end_deliberate(true));
        let released = self.store.commit(session, |draft| {
            for (position, taking) in takings.iter().enumerate() {
                let (claim, mut tally) = (&taking.claim, taking.tally.clone());
                (claim.span.from..claim.span.to).for_each(|index| tally.take_back(index));
                draft.release(position, claim, &tally, taking.version());
            }
        });
        match released.await? {
            Committed::Done(..) => granted.nodes.iter().for_each(Ephemeral::deleted),
            // An operator was there: what is left of it is removed.
            Committed::Refused(..) | Committed::Paused => {}
            Committed::Indeterminate(()) => return Err(ended(session)),
        }
        Ok(())
    }

    /// Turns what was claimed into items that are held.
    async fn hold(
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
        let version = taking.version();
        let tally = taking.tally.clone();
        let noted = items
            .keys()
            .filter(|index| tally.open & super::super::store::bit(**index) != 0);
        let noted = noted.map(|index| (*index, receipt.ledger.mzxid)).collect();
        let open = Open {
            items,
            tally,
            version,
            noted,
            handed_out: std::collections::BTreeSet::new(),
            ahead: 0,
            data: ClaimData {
                identity: Bytes::copy_from_slice(hold.session().identity()),
                ..ClaimData::default()
            },
            claim_version: 0,
        };
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
        let span = taking.claim.span;
        let is_many = items.len() > 1;
        let numbered = (0_u8..).zip(items.iter());
        let inside =
            numbered.filter(|(index, _)| (span.from..span.to).contains(index) && !taking.tally.is_done(*index));
        let own = inside.map(|(index, item)| {
            // So that one item does not keep the others of its segment in memory.
            let payload = if is_many {
                Bytes::copy_from_slice(&item.payload)
            } else {
                item.payload.clone()
            };
            (
                index,
                Item {
                    payload,
                    ..item.clone()
                },
            )
        });
        let own: BTreeMap<u8, Item> = own.collect();
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
                Some(group) => group.draft(
                    draft,
                    0,
                    &taking.claim,
                    &taking.tally,
                    version,
                    super::group::GroupEnd::HeadEnded,
                ),
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

/// Registers the nodes of claims before they are sent. On an error none of them is to be removed: its name may be that of
/// another's claim.
fn pending_nodes(session: &Arc<Session>, paths: impl Iterator<Item = String>) -> Result<Vec<PendingNode>, Error> {
    let mut pending = Vec::new();
    for path in paths {
        match PendingNode::new(session, path) {
            Ok(node) => pending.push(node),
            Err(error) => {
                pending.into_iter().for_each(PendingNode::refused);
                return Err(error);
            }
        }
    }
    Ok(pending)
}

/// Why something is dead that was no item.
pub(crate) const UNREADABLE: &str = "it cannot be read as an item";
