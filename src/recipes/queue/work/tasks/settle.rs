//! What becomes of items that were claimed: done, given back, or put to the dead letters.
//!
//! Whatever is settled while a transaction is under way goes into the next one, so that acknowledgements of one process
//! travel together. Each transaction changes or ends the claims that the items belong to, so that an item that was lost
//! in the meantime is not settled: another consumer has it.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, watch};
use tracing::{debug, info, warn};
use zookeeper_client as zk;

use super::super::errors::AckError;
use super::super::store::{AttemptEnd, BlockId, Committed, Draft, ItemId, OVERHEAD, Outcome, Role, Store, ended};
use super::assignment::{Settlement, Verdict};
use super::judge::{After, Held, draft_claim};
use super::keys::Batch;
use crate::error::Error;
use crate::session::{Interrupted, LossReason, Lost, Session};
use crate::znode::Receipt;

/// How many operations a transaction has, and how many bytes it carries, about.
const OPERATIONS: usize = 900;
const BYTES: usize = 256 * 1024;

/// What settles needs beside the store.
#[derive(Clone, Debug)]
pub(crate) struct Settler {
    pub(crate) store: Arc<Store>,
    /// Set when items are free again, so that the next pop looks before it claims.
    pub(crate) given_back: Arc<AtomicBool>,
    /// How many settlements are on their way.
    pub(crate) pending: watch::Sender<usize>,
    /// Where blocks are told in which something may be left over.
    pub(crate) untidy: mpsc::UnboundedSender<BlockId>,
}

/// Why a transaction was refused.
enum Refusal {
    /// A next step was pushed before.
    KeyTaken,
    /// Another client pushed to the group in the meantime.
    GroupChanged,
    ClaimTaken,
    Failed(Error),
}

impl Settlement {
    fn answer(self, answer: Result<Vec<ItemId>, AckError>) {
        match self.reply {
            // An error means that the caller is gone.
            Some(reply) => drop(reply.send(answer)),
            None => {
                if let Err(error) = answer {
                    debug!(item = %self.id, %error, "a dropped item goes back with its claim");
                }
            }
        }
    }

    fn payload(&self) -> usize {
        self.claim
            .open()
            .items
            .get(&self.index)
            .map_or(0, |item| item.payload.len())
    }

    /// About how many operations and bytes it adds to a transaction.
    fn cost(&self) -> (usize, usize) {
        match &self.verdict {
            Verdict::Done { outcome, next } => {
                let next_bytes: usize = next.iter().map(|entry| entry.payload.len() + OVERHEAD).sum();
                let result = if let Outcome::Result(result) = outcome {
                    result.len()
                } else {
                    0
                };
                (5 + 2 * next.len(), OVERHEAD + result + next_bytes)
            }
            Verdict::Failed { .. } | Verdict::Rejected { .. } | Verdict::NotDelivered => {
                (6, 2 * OVERHEAD + self.payload())
            }
            Verdict::Note | Verdict::Extend(_) | Verdict::Progress(_) => (2, OVERHEAD),
        }
    }
}

/// Settles what comes, until nothing more can come.
pub(crate) async fn settle_all(settler: Settler, mut incoming: mpsc::UnboundedReceiver<Vec<Settlement>>) {
    let mut waiting: VecDeque<Settlement> = VecDeque::new();
    loop {
        if waiting.is_empty() {
            match incoming.recv().await {
                Some(settlements) => waiting.extend(settlements),
                None => return,
            }
        }
        while let Ok(settlements) = incoming.try_recv() {
            waiting.extend(settlements);
        }
        let mut batch = Vec::new();
        let (mut operations, mut bytes) = (0, 0);
        while let Some(next) = waiting.front() {
            let cost = next.cost();
            operations += cost.0;
            bytes += cost.1;
            if !batch.is_empty() && (operations > OPERATIONS || bytes > BYTES) {
                break;
            }
            batch.extend(waiting.pop_front());
        }
        let settled = batch.len();
        settler.settle(batch).await;
        settler
            .pending
            .send_modify(|pending| *pending = pending.saturating_sub(settled));
    }
}

impl Settler {
    async fn settle(&self, mut batch: Vec<Settlement>) {
        while !batch.is_empty() {
            let mut held = Vec::with_capacity(batch.len());
            for settlement in batch {
                let end = settlement.claim.hold.node().end();
                match settlement.claim.remaining().is_zero() {
                    false => held.push(settlement),
                    true => {
                        let reason = end.reason().unwrap_or(LossReason::LeaseLapsed);
                        settlement.answer(Err(Lost { reason }.into()));
                    }
                }
            }
            let Some(first) = held.first() else { return };
            // What is held is held by the current session, unless that has just been replaced.
            let session = Arc::clone(first.claim.hold.node().session());
            let of_session = |settlement: &Settlement| Arc::ptr_eq(settlement.claim.hold.node().session(), &session);
            let (now, later): (Vec<_>, Vec<_>) = held.into_iter().partition(of_session);
            batch = self.settle_in(&session, now).await;
            batch.extend(later);
        }
    }

    /// Settles what can be settled, and gives the rest back to be tried again.
    async fn settle_in(&self, session: &Arc<Session>, batch: Vec<Settlement>) -> Vec<Settlement> {
        let mut next = Batch::new(batch.iter().flat_map(|settlement| match &settlement.verdict {
            Verdict::Done { next, .. } => next.as_slice(),
            _ => &[],
        }));
        loop {
            let claims = claims_of(&batch);
            for held in &claims {
                if let Some(group) = &held.claim.group {
                    if let Err(error) = group.look(&self.store, session).await {
                        return self.interrupted(batch, error).await;
                    }
                }
            }
            claims
                .iter()
                .for_each(|held| held.claim.hold.node().mark_end_deliberate(true));
            let sent = Instant::now();
            let committed = self
                .store
                .commit(session, |draft| draft_all(draft, &claims, &next))
                .await;
            if !matches!(committed, Ok(Committed::Done(..))) {
                claims
                    .iter()
                    .for_each(|held| held.claim.hold.node().mark_end_deliberate(false));
            }
            match committed {
                Ok(Committed::Done((ids, after), receipt)) => {
                    self.settled(&claims, after, &receipt, sent);
                    drop(claims);
                    answer_all(batch, next.with_new(ids));
                    return Vec::new();
                }
                Ok(Committed::Refused(role, error)) => match self.refusal(&claims, role, error) {
                    Refusal::KeyTaken => {
                        drop(claims);
                        if let Err(error) = next.look_up(&self.store, session).await {
                            return self.interrupted(batch, error).await;
                        }
                    }
                    Refusal::GroupChanged => {}
                    Refusal::ClaimTaken => return batch,
                    Refusal::Failed(error) => return self.settle_each_or_refuse(batch, &error).await,
                },
                Ok(Committed::Paused) => return batch,
                Ok(Committed::Indeterminate(_)) => {
                    debug!(queue = self.store.path(), error = ?ended(session), "not known what was settled");
                    batch
                        .into_iter()
                        .for_each(|settlement| settlement.answer(Err(AckError::Indeterminate)));
                    return Vec::new();
                }
                Err(error) => return self.interrupted(batch, error).await,
            }
        }
    }

    /// Why a transaction was refused; what that says of a claim or a group is noted there.
    fn refusal(&self, claims: &[Held<'_>], role: Role, error: zk::Error) -> Refusal {
        let claim = |position: usize| claims.get(position).map(|held| &held.claim);
        match (role, error) {
            (Role::Key, zk::Error::NodeExists) => Refusal::KeyTaken,
            (Role::Group(position), zk::Error::NotEmpty | zk::Error::NoNode) => {
                if let Some(group) = claim(position).and_then(|claim| claim.group.as_ref()) {
                    group.forget();
                }
                Refusal::GroupChanged
            }
            (Role::Held(position), zk::Error::NoNode | zk::Error::BadVersion) => {
                if let Some(claim) = claim(position) {
                    warn!(
                        queue = self.store.path(),
                        claim = claim.hold.path(),
                        "a claim was taken away from us"
                    );
                    claim.hold.node().end().set(LossReason::NodeRemoved);
                }
                Refusal::ClaimTaken
            }
            (role, error) => {
                let segment = match role {
                    Role::Held(position) => claim(position).map(|claim| claim.at.segment_path(&self.store.layout)),
                    _ => None,
                };
                Refusal::Failed(Error::from_answer(
                    segment.as_deref().unwrap_or(self.store.path()),
                    error,
                ))
            }
        }
    }

    async fn interrupted(&self, batch: Vec<Settlement>, error: Interrupted) -> Vec<Settlement> {
        match error {
            Interrupted::Lost(_) => batch,
            Interrupted::Failed(error) => self.settle_each_or_refuse(batch, &error).await,
        }
    }

    /// What cannot be settled together may be settled alone, and what cannot be settled takes nothing else with it.
    async fn settle_each_or_refuse(&self, batch: Vec<Settlement>, error: &Error) -> Vec<Settlement> {
        if batch.len() == 1 {
            return refuse_all(batch, error);
        }
        debug!(queue = self.store.path(), %error, "settling one by one");
        for settlement in batch {
            Box::pin(self.settle(vec![settlement])).await;
        }
        Vec::new()
    }

    /// Remembers what a committed transaction has settled.
    fn settled(&self, claims: &[Held<'_>], after: Vec<After>, receipt: &Receipt, sent: Instant) {
        for (held, after) in claims.iter().zip(after) {
            let claim = &held.claim;
            let mut open = claim.open();
            let deadline = after.data.as_ref().map(|data| data.deadline);
            if let Some(deadline) = deadline.filter(|deadline| *deadline != open.data.deadline) {
                claim.end_at(deadline, receipt.ledger.mtime, sent);
            }
            if after.gives_back {
                self.given_back.store(true, Ordering::Relaxed);
            }
            open.settled(after, receipt.ledger.mzxid);
            if open.items.is_empty() {
                claim.hold.node().deleted();
                if !claim.at.is_whole() {
                    // Others may have been done before: then the segment is left over.
                    let _ = self.untidy.send(claim.at.block);
                }
            } else {
                claim.hold.node().mark_end_deliberate(false);
            }
        }
        for settlement in claims.iter().flat_map(|held| &held.settlements) {
            let claim = settlement.claim.hold.path();
            match &settlement.verdict {
                Verdict::Done { .. } => debug!(queue = self.store.path(), item = %settlement.id, claim, "done"),
                verdict if verdict.keeps() => {}
                verdict => info!(queue = self.store.path(), item = %settlement.id, claim, ?verdict, "not done"),
            }
        }
    }
}

/// Each claim once, with what of it is settled.
fn claims_of(batch: &[Settlement]) -> Vec<Held<'_>> {
    let mut claims: Vec<Held<'_>> = Vec::new();
    let mut places = HashMap::new();
    for settlement in batch {
        let place = *places.entry(Arc::as_ptr(&settlement.claim)).or_insert_with(|| {
            claims.push(Held {
                claim: Arc::clone(&settlement.claim),
                settlements: Vec::new(),
            });
            claims.len() - 1
        });
        claims[place].settlements.push(settlement);
    }
    claims
}

fn draft_all(draft: &mut Draft<'_>, claims: &[Held<'_>], next: &Batch) -> (Vec<ItemId>, Vec<After>) {
    let after = claims
        .iter()
        .enumerate()
        .map(|(position, held)| draft_claim(draft, position, held))
        .collect();
    (draft.push(next.new_entries()), after)
}

fn answer_all(batch: Vec<Settlement>, ids: Vec<ItemId>) {
    let mut ids = ids.into_iter();
    for settlement in batch {
        let count = match &settlement.verdict {
            Verdict::Done { next, .. } => next.len(),
            _ => 0,
        };
        let ids = ids.by_ref().take(count).collect();
        settlement.answer(Ok(ids));
    }
}

/// Tells that it cannot be done; what was to be done goes back to the queue instead.
fn refuse_all(batch: Vec<Settlement>, error: &Error) -> Vec<Settlement> {
    let mut back = Vec::new();
    for settlement in batch {
        match settlement.verdict {
            Verdict::Done { .. } => back.push(Settlement {
                claim: Arc::clone(&settlement.claim),
                index: settlement.index,
                id: settlement.id.clone(),
                verdict: Verdict::Failed {
                    delay: Some(Duration::ZERO),
                    how: AttemptEnd::GivenBack,
                    reason: error.to_string(),
                },
                reply: None,
            }),
            _ => warn!(item = %settlement.id, %error, "not given back; it stays claimed until its session ends"),
        }
        settlement.answer(Err(AckError::Error(error.clone())));
    }
    back
}
