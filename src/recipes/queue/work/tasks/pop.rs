//! Taking items: the consumers of one process look once, stand in line once if they have to, and take for all of them.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use futures::future;
use tokio::sync::{mpsc, watch};
use tracing::{Instrument, debug, info_span};

use super::super::store::{BlockId, Guid, Header, Item, Store};
use super::assignment::{Assignment, Settling, UnderWay};
use super::claim::Claim;
use super::demand::{Demand, Demands};
use super::firsts::Firsts;
use super::prepare::Prepared;
use super::select::{Candidate, CandidateKey, STRICT_RANGES};
use super::view::{Aim, View};
use crate::error::Error;
use crate::line::Line;
use crate::session::{Interrupted, Lost, Room, Session};
use crate::znode::Ephemeral;

/// An item that came too late for its call belongs to the next pop of this handle for so long.
const KEEP: Duration = Duration::from_millis(50);

/// So many ranges are remembered that are to be left alone.
const SKIPPED: usize = 4096;

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
    /// The id of the session that has shown the view.
    session: i64,
    /// What was reserved in a session did not suffice once.
    needs_more_room: bool,
    /// Whether others were met in line, so that nothing is claimed without a place there.
    pub(super) lines_up: bool,
    pub(super) swept: Option<Instant>,
    /// What cannot be claimed before a time, though its name says so.
    pub(super) skipped: Arc<HashMap<CandidateKey, i64>>,
    /// Where ranges begin of which something is done.
    firsts: Arc<Firsts>,
    pub(super) segments: Vec<(Guid, Arc<Vec<Item>>)>,
    pub(super) claims: Vec<Weak<Claim>>,
    /// A claim that is on its way, until what it brought is handed out or given back.
    under_way: Option<UnderWay>,
    spare: Vec<Assignment>,
    spare_until: Option<Instant>,
}

impl Memory {
    /// Forgets the view of another session, whose server may be ahead of that of this one, or behind.
    fn see_through(&mut self, session: &Session) {
        if self.session != session.id() {
            self.view = View::default();
            self.session = session.id();
        }
    }

    /// Remembers where ranges begin that were read; true if others come first by that.
    pub(super) fn learn(&mut self, prepared: &Prepared) -> bool {
        let firsts = Arc::make_mut(&mut self.firsts);
        if !prepared.learn(firsts) {
            return false;
        }
        let before = self.view.line.clone();
        self.firsts.sort(&mut self.view.line);
        self.view.line != before
    }

    pub(super) fn skip(&mut self, skipped: &[(Candidate, i64)]) {
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
        if memory.spare.is_empty() {
            memory.under_way = None;
        }
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
        let room = match popper.room(&demands, &memory).await {
            Ok(room) => room,
            Err(error) => {
                demands.fail(&error);
                continue;
            }
        };
        memory.see_through(room.session());
        let turn = popper
            .turn(room.session(), &mut demands, &mut memory)
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
            Err(Interrupted::Failed(Error::TooManyEphemerals { .. })) if !memory.needs_more_room => {
                memory.needs_more_room = true;
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

impl Popper {
    /// Room for a ledger, and for the place in line, which goes when the claims come.
    async fn room(&self, demands: &Demands, memory: &Memory) -> Result<Room, Error> {
        // More may be wanted by then than now.
        let claims = match memory.needs_more_room {
            true => STRICT_RANGES,
            false => demands.wanted().len().clamp(1, STRICT_RANGES),
        };
        let (directory, mut closing) = (self.store.layout.directory("consumers"), self.closing.clone());
        tokio::select! {
            placed = self.store.zk.place(directory.as_str(), 1 + claims) => placed,
            _ = closing.wait_for(|closing| *closing) => Err(Error::Closed),
        }
    }

    fn tell_untidy(&self, view: &View) {
        for block in &view.untidy {
            let _ = self.untidy.send(*block);
        }
    }

    pub(super) fn aim(&self, header: &Header, now: i64, memory: &Memory) -> Aim {
        Aim {
            skipped: Arc::clone(&memory.skipped),
            firsts: Arc::clone(&memory.firsts),
            ..Aim::of(header, now)
        }
    }

    /// Looks what there is.
    pub(super) async fn look(&self, session: &Arc<Session>, memory: &mut Memory) -> Result<(), Interrupted> {
        let header = self.store.header(session).await?;
        let now = self.store.now(session).await?;
        self.given_back.store(false, Ordering::Relaxed);
        memory.view = memory
            .view
            .look(&self.store, session, &self.aim(&header, now, memory))
            .await?;
        Ok(())
    }

    /// Claims what is next for what is wanted by now.
    pub(super) async fn claim_for(
        &self,
        session: &Arc<Session>,
        place: Option<&Ephemeral>,
        demands: &mut Demands,
        memory: &mut Memory,
    ) -> Result<Taken, Interrupted> {
        // Before it is looked what is wanted: either the claim is waited for, or it is not made.
        memory.under_way = Some(self.settling.under_way());
        demands.refresh();
        let taken = match demands.is_empty() {
            true => Ok(Taken::Nothing),
            false => self.claim(session, place, memory, &demands.wanted()).await,
        };
        if !matches!(taken, Ok(Taken::Items(_))) {
            memory.under_way = None;
        }
        taken
    }

    /// Whether there is something to be claimed, as far as is known.
    pub(super) fn knows_some(&self, memory: &Memory) -> bool {
        !memory.view.line.is_empty() && !self.given_back.load(Ordering::Relaxed)
    }
}
