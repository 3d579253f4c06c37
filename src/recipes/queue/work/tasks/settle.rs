//! What becomes of items that were claimed: done, given back, or put to the dead letters.
//!
//! Whatever is settled while a transaction is under way goes into the next one, so that acknowledgements of one process
//! travel together. Each transaction changes or ends the claims that the items belong to, so that an item that was lost in
//! the meantime is not settled: another consumer has it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, watch};
use tracing::{debug, info, warn};
use zookeeper_client as zk;

use super::super::errors::AckError;
use super::super::store::{
    AttemptEnd, BlockId, ClaimData, Committed, Draft, EndedAttempt, Item, ItemId, OVERHEAD, Outcome, Progress, Role,
    Store, Tally, ended,
};
use super::assignment::{Settlement, Verdict};
use super::claim::Claim;
use super::group::GroupEnd;
use super::keys::Batch;
use super::random;
use crate::error::Error;
use crate::session::{Interrupted, LossReason, Session};
use crate::znode::Receipt;

/// How many operations a transaction has, and how many bytes it carries, about.
const OPERATIONS: usize = 900;
const BYTES: usize = 256 * 1024;

/// So many bytes of progress are kept for an item.
const PROGRESS: usize = 1024;

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

/// A claim, and what of it is settled in one transaction.
struct Held<'a> {
    claim: Arc<Claim>,
    settlements: Vec<&'a Settlement>,
}

/// What a claim is after a transaction.
#[derive(Debug)]
pub(super) struct After {
    pub(super) tally: Tally,
    is_written: bool,
    pub(super) left: BTreeSet<u8>,
    noted: Vec<u8>,
    data: Option<ClaimData>,
    pub(super) gives_back: bool,
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
    let mut waiting: std::collections::VecDeque<Settlement> = std::collections::VecDeque::new();
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
                        settlement.answer(Err(crate::session::Lost { reason }.into()));
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
                Ok(Committed::Refused(Role::Key, zk::Error::NodeExists)) => {
                    drop(claims);
                    if let Err(error) = next.look_up(&self.store, session).await {
                        return self.interrupted(batch, error).await;
                    }
                }
                // Somebody pushed to the group in the meantime.
                Ok(Committed::Refused(Role::Group(position), zk::Error::NotEmpty | zk::Error::NoNode)) => {
                    if let Some(group) = claims.get(position).and_then(|held| held.claim.group.as_ref()) {
                        group.forget();
                    }
                }
                Ok(Committed::Refused(Role::Held(position), zk::Error::NoNode | zk::Error::BadVersion)) => {
                    if let Some(held) = claims.get(position) {
                        let hold = &held.claim.hold;
                        warn!(
                            queue = self.store.path(),
                            claim = hold.path(),
                            "a claim was taken away from us"
                        );
                        hold.node().end().set(LossReason::NodeRemoved);
                    }
                    return batch;
                }
                Ok(Committed::Refused(role, error)) => {
                    let path = match role {
                        Role::Held(position) => claims
                            .get(position)
                            .map(|held| held.claim.at.segment_path(&self.store.layout)),
                        _ => None,
                    };
                    let error = Error::from_answer(path.as_deref().unwrap_or(self.store.path()), error);
                    return self.settle_each_or_refuse(batch, &error).await;
                }
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
            open.items.retain(|index, _| after.left.contains(index));
            open.handed_out.retain(|index| after.left.contains(index));
            open.tally = after.tally;
            if after.is_written {
                open.version = open.version.wrapping_add(1);
            }
            open.noted
                .extend(after.noted.iter().map(|index| (*index, receipt.ledger.mzxid)));
            if let Some(data) = after.data {
                open.claim_version = open.claim_version.wrapping_add(1);
                if data.deadline != open.data.deadline {
                    claim.end_at(data.deadline, receipt.ledger.mtime, sent);
                }
                open.data = data;
            }
            if after.gives_back {
                self.given_back.store(true, Ordering::Relaxed);
            }
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
    let mut places = std::collections::HashMap::new();
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

/// What of a claim is left, and what goes elsewhere.
struct Progressing {
    after: After,
    /// What is given back at its place in line.
    in_place: Vec<u8>,
    /// How long a group waits.
    delay: Duration,
}

fn draft_claim(draft: &mut Draft<'_>, position: usize, held: &Held<'_>) -> After {
    let open = held.claim.open();
    let after = After {
        tally: open.tally.clone(),
        is_written: false,
        left: open.items.keys().copied().collect(),
        noted: Vec::new(),
        data: None,
        gives_back: false,
    };
    let mut progressing = Progressing {
        after,
        in_place: Vec::new(),
        delay: Duration::ZERO,
    };
    let is_group = held.claim.group.is_some();
    let mut acknowledged = false;
    for settlement in &held.settlements {
        let Some(item) = open.items.get(&settlement.index) else {
            continue;
        };
        let at = if is_group { 0 } else { settlement.index };
        acknowledged |= matches!(settlement.verdict, Verdict::Done { .. });
        progressing.judge(draft, settlement, at, item, &open.data, is_group);
    }
    let Progressing {
        mut after,
        in_place,
        delay,
    } = progressing;
    let at = &held.claim.at;
    if let Some(group) = held.claim.group.as_ref().filter(|_| after.left.is_empty()) {
        let ended = if in_place.is_empty() {
            GroupEnd::HeadEnded
        } else {
            GroupEnd::HeadStays { delay }
        };
        after.gives_back = true;
        group.draft(draft, position, at, &after.tally, open.version, ended);
        return after;
    }
    if acknowledged && open.ahead > 0 {
        note_ahead(&mut after, &open);
    }
    if after.left.is_empty() {
        match in_place.is_empty() {
            true => draft.end(position, at, open.version),
            false => {
                after.gives_back = true;
                draft.release(position, at, &after.tally, open.version);
            }
        }
        return after;
    }
    for index in in_place {
        if let Some(item) = open.items.get(&index) {
            draft.take_out(at, index, item, after.tally.record(index));
            after.tally.finish(index);
            after.gives_back = true;
        }
    }
    if after.tally != open.tally {
        after.is_written = true;
        draft.keep(position, at, &after.tally, open.version);
    }
    if let Some(data) = &after.data {
        let path = at.claim_path(draft.known.layout);
        draft.set(path, data.encode(), Some(open.claim_version), Role::Held(position));
    }
    after
}

/// Notes the next items of a claim whose items are handed out one after the other.
fn note_ahead(after: &mut After, open: &super::claim::Open) {
    let is_ready = |index: &&u8| open.noted.contains_key(index) && !open.handed_out.contains(index);
    let ready = after.left.iter().filter(is_ready).count() + after.noted.len();
    let next = after
        .left
        .iter()
        .filter(|index| !open.noted.contains_key(index) && !after.noted.contains(index));
    let next: Vec<u8> = next.take(open.ahead.saturating_sub(ready)).copied().collect();
    for index in next {
        after.tally.note(index);
        after.noted.push(index);
    }
}

impl Progressing {
    fn judge(
        &mut self,
        draft: &mut Draft<'_>,
        settlement: &Settlement,
        at: u8,
        item: &Item,
        data: &ClaimData,
        is_group: bool,
    ) {
        let after = &mut self.after;
        let now = draft.known.now;
        match &settlement.verdict {
            Verdict::Done { outcome, .. } => {
                draft.finish_item(item, outcome);
                after.tally.finish(at);
                after.left.remove(&settlement.index);
            }
            Verdict::Failed { delay, how, reason } => {
                after.tally.end(
                    at,
                    EndedAttempt {
                        when: now,
                        how: *how,
                        reason: reason.clone(),
                    },
                );
                after.left.remove(&settlement.index);
                let options = &draft.known.header.options;
                let attempts = after.tally.attempts(at);
                if attempts >= options.max_attempts {
                    let reason = format!(
                        "it was given back at attempt {attempts} of {}{}",
                        options.max_attempts,
                        because(reason)
                    );
                    draft.bury(item, after.tally.record(at), &reason);
                    after.tally.finish(at);
                    return;
                }
                let delay = delay.unwrap_or_else(|| options.retry.delay(attempts, random()));
                if delay.is_zero() || is_group {
                    self.in_place.push(settlement.index);
                    self.delay = delay;
                } else {
                    draft.delay(delay, item, after.tally.record(at));
                    after.tally.finish(at);
                }
            }
            Verdict::Rejected { reason } => {
                after.tally.end(
                    at,
                    EndedAttempt {
                        when: now,
                        how: AttemptEnd::GivenBack,
                        reason: reason.clone(),
                    },
                );
                draft.bury(item, after.tally.record(at), reason);
                after.tally.finish(at);
                after.left.remove(&settlement.index);
            }
            Verdict::NotDelivered => {
                after.tally.take_back(at);
                after.left.remove(&settlement.index);
                self.in_place.push(settlement.index);
            }
            Verdict::Note => {
                if after.tally.open & super::super::store::bit(at) == 0 {
                    after.tally.note(at);
                    after.noted.push(settlement.index);
                }
            }
            // Without a deadline there is nothing to put off.
            Verdict::Extend(_) if after.tally.deadline == 0 => {}
            Verdict::Extend(by) => {
                let by = i64::try_from(by.as_millis()).unwrap_or(i64::MAX / 4);
                let data = after.data.get_or_insert_with(|| data.clone());
                data.deadline = now.saturating_add(by).max(data.deadline).max(after.tally.deadline);
            }
            Verdict::Progress(bytes) => {
                let progress = &mut after.data.get_or_insert_with(|| data.clone()).progress;
                progress.retain(|known| known.index != at);
                let bytes = bytes.slice(..bytes.len().min(PROGRESS));
                progress.push(Progress {
                    index: at,
                    when: now,
                    data: bytes,
                });
            }
        }
    }
}

fn because(reason: &str) -> String {
    if reason.is_empty() {
        String::new()
    } else {
        format!(": {reason}")
    }
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
