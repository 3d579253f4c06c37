//! Claiming what is next, and what has to be seen of the queue for that.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tracing::debug;
use zookeeper_client as zk;

use super::super::store::{
    ClaimData, Committed, Draft, Guid, Header, Item, Order, Role, State, Taking, decode_items, ended,
};
use super::bury::bury_lost;
use super::group::group_of;
use super::pop::{Memory, Popper, Taken};
use super::prepare::Prepared;
use super::random_index;
use super::select::{Candidate, choose};
use super::view::{Aim, View};
use crate::error::Error;
use crate::session::{Interrupted, LossReason, Lost, Session};
use crate::znode::{Ephemeral, NodeAnswer, NodeQuestion, PendingNode, Receipt, ask};

/// A view is good for so long while it has enough.
const VIEW_AGE: Duration = Duration::from_millis(100);

/// How often what is claimed may turn out to be behind something that has just come free.
const RELEASES: usize = 5;

/// What a claim is made of once it is committed.
pub(super) struct Granted {
    pub(super) nodes: Vec<Ephemeral>,
    pub(super) receipt: Receipt,
    pub(super) sent: Instant,
}

/// What was read behind a claim.
struct ReadBehind {
    view: Option<View>,
    segments: Vec<(Guid, Arc<Vec<Item>>)>,
    is_occupied: bool,
}

impl Popper {
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
            if header.paused {
                self.store.load_header(session).await?;
                if self.store.header(session).await?.paused {
                    return Ok(Taken::Paused);
                }
                continue;
            }
            let order = header.options.order;
            let chosen = choose(&memory.view.line, wanted.len(), order, random_index());
            let is_overdue = |candidate: &Candidate| matches!(candidate.range.state, State::Claimed { .. });
            if chosen.iter().any(|(candidate, _)| is_overdue(candidate)) {
                // A claim is taken over by what the clock shows now, for it may have been set back since the last reply.
                self.store.tick(session).await?;
            }
            let now = self.store.now(session).await?;
            let line = &memory.view.line;
            let prepared = Prepared::of(&self.store, session, line, &chosen, wanted, &header, now).await?;
            memory.skip(&prepared.skipped);
            if order == Order::Strict && memory.learn(&prepared) {
                continue;
            }
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
        let aim = Aim {
            own: takings.iter().map(|taking| taking.claim).collect(),
            ..self.aim(header, now, memory)
        };
        let is_strict = header.options.order == Order::Strict;
        let is_thin =
            memory.view.line.len() < aim.ranges / 2 || memory.view.looked.is_none_or(|at| at.elapsed() > VIEW_AGE);
        place.inspect(|place| place.mark_end_deliberate(true));
        let sent = Instant::now();
        let committing = self.send(session, place, takings, &pending);
        let reading = self.read_behind(session, memory, (is_strict || is_thin).then_some(&aim), takings);
        // Sent in this order, unless something has to be asked before the claim: then the list does not show it, and it is
        // looked once more.
        let (committed, behind) = tokio::join!(committing, reading);
        let receipt = match committed {
            Ok(Committed::Done((), receipt)) => receipt,
            other => {
                // What was created goes with the session; what has these names by then is another's.
                pending.into_iter().for_each(PendingNode::refused);
                let taken = self.not_committed(session, place, takings, other)?;
                if matches!(taken, Taken::Outrun) {
                    let behind = behind?;
                    memory.view = behind.view.unwrap_or_default();
                    memory.view.settle_own(&Aim { own: Vec::new(), ..aim });
                    memory.lines_up = behind.is_occupied && place.is_none();
                }
                return Ok(Err(taken));
            }
        };
        place.inspect(|place| place.deleted());
        let nodes = pending.into_iter().map(|pending| pending.created(&receipt));
        let nodes = nodes.collect::<Result<Vec<_>, Lost>>()?;
        let behind = behind?;
        for (guid, items) in behind.segments {
            memory.segments.retain(|(known, _)| *known != guid);
            memory.segments.push((guid, items));
        }
        match behind.view {
            Some(view) => {
                memory.view = view;
                if !is_strict {
                    memory.view.settle_own(&aim);
                }
            }
            None => memory.view.claimed_own(takings),
        }
        memory.lines_up = behind.is_occupied;
        Ok(Ok(Granted { nodes, receipt, sent }))
    }

    async fn send(
        &self,
        session: &Arc<Session>,
        place: Option<&Ephemeral>,
        takings: &[Taking],
        pending: &[PendingNode],
    ) -> Result<Committed<()>, Interrupted> {
        let data = ClaimData {
            identity: Bytes::copy_from_slice(session.identity()),
            ..ClaimData::default()
        }
        .encode();
        let committing = self.store.commit(session, |draft| {
            draft.check_running();
            if let Some(place) = place {
                draft.delete(place.path().to_owned(), None, Role::Place);
            }
            for (position, (taking, node)) in takings.iter().zip(pending).enumerate() {
                draft.take(position, taking, node.path(), data.clone());
            }
        });
        committing.await
    }

    /// What a claim that was not committed comes to.
    fn not_committed(
        &self,
        session: &Session,
        place: Option<&Ephemeral>,
        takings: &[Taking],
        committed: Result<Committed<()>, Interrupted>,
    ) -> Result<Taken, Interrupted> {
        match committed? {
            Committed::Paused => {
                place.inspect(|place| place.mark_end_deliberate(false));
                Ok(Taken::Paused)
            }
            Committed::Refused(role, source) => {
                place.inspect(|place| place.mark_end_deliberate(false));
                self.refused(place, takings, role, source)?;
                Ok(Taken::Outrun)
            }
            Committed::Indeterminate(()) | Committed::Done(..) => Err(ended(session)),
        }
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

    /// Reads what has to be known with a claim, in one request: the queue, if it is to be looked; who stands in line; and
    /// the segments that are not known yet. One that is gone or unreadable is read again by its holder.
    async fn read_behind(
        &self,
        session: &Arc<Session>,
        memory: &Memory,
        look: Option<&Aim>,
        takings: &[Taking],
    ) -> Result<ReadBehind, Interrupted> {
        let is_unknown = |taking: &&Taking| {
            let guid = taking.range.segment.guid;
            group_of(&taking.claim).is_none() && !memory.segments.iter().any(|(known, _)| *known == guid)
        };
        let unknown: Vec<&Taking> = takings.iter().filter(is_unknown).collect();
        let segments = unknown
            .iter()
            .map(|taking| taking.claim.segment_path(&self.store.layout));
        let questions = std::iter::once(self.line.occupied()).chain(segments.map(NodeQuestion::Data));
        let (view, answers) = match look {
            Some(aim) => {
                let looked = memory.view.look_and_ask(&self.store, session, aim, questions.collect());
                let (view, answers) = looked.await?;
                (Some(view), answers)
            }
            None => (None, ask(session, &questions.collect::<Vec<_>>()).await?),
        };
        let mut answers = answers.into_iter();
        let in_line = answers.next().flatten().and_then(NodeAnswer::into_children);
        let read = unknown.iter().zip(answers).filter_map(|(taking, answer)| {
            let (data, _) = answer?.into_data()?;
            let items = decode_items(&Bytes::from(data))?;
            Some((taking.range.segment.guid, Arc::new(items)))
        });
        Ok(ReadBehind {
            view,
            segments: read.collect(),
            is_occupied: self.line.is_occupied_by(&in_line.unwrap_or_default()),
        })
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
            ..self.aim(header, now, memory)
        };
        let is_shown = |view: &View| {
            takings
                .iter()
                .all(|taking| view.shows(&taking.claim.claim_path(&self.store.layout)))
        };
        if !is_shown(&memory.view) {
            memory.view = memory.view.look(&self.store, session, &aim).await?;
        }
        Ok(memory.view.is_first(&aim, takings))
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
                draft_release(draft, position, taking);
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
}

/// What was claimed is given back, and nothing of it was handed out.
pub(super) fn draft_release(draft: &mut Draft<'_>, position: usize, taking: &Taking) {
    let (claim, mut tally) = (&taking.claim, taking.tally.clone());
    (claim.span.from..claim.span.to).for_each(|index| tally.take_back(index));
    draft.release(position, claim, &tally, taking.version());
}

/// Registers the nodes of claims before they are sent. On an error none of them is to be removed: its name may be that
/// of another's claim.
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
