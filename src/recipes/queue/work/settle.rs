//! What becomes of items that were claimed: done, given back, or put aside as dead.
//!
//! Whatever is settled while a transaction is under way goes into the next one, so that acknowledgements of one process
//! travel together. Each transaction changes or removes the claims that the items belong to, so that an item that was
//! lost in the meantime is not settled: it is somebody else's.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::{BufMut, Bytes};
use tokio::sync::{mpsc, oneshot};
use tracing::{debug, info, warn};
use zookeeper_client as zk;

use super::claim::{Claim, ended};
use super::draft::{Draft, Role};
use super::errors::AckError;
use super::item::{Item, ItemId, NewItem};
use super::keys::Batch;
use super::layout::Lane;
use super::segment::{OVERHEAD, encode};
use super::shared::{Committed, QueueInner};
use crate::error::Error;
use crate::session::Operation;
use crate::session::{Interrupted, LossReason, Session};

/// How many items are settled in one transaction, and how many bytes it carries, about.
const SETTLED_ITEMS: usize = 1024;
const SETTLED_BYTES: usize = 256 * 1024;

/// Why an item was not done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// It had been claimed, but nobody was there any more who wanted it.
    NotDelivered,
    /// Its consumer gave it back.
    GivenBack { delay: Duration },
    /// Its consumer is gone, or took too long.
    ConsumerLost,
    /// Its consumer says that nobody can handle it.
    Rejected { reason: String },
    /// It is no item at all.
    Unreadable,
}

/// What becomes of an item.
#[derive(Clone, Debug)]
pub(super) enum Settle {
    Done { result: Option<Bytes>, next: Vec<NewItem> },
    Failed(Failure),
}

/// A verdict on an item, on its way.
#[derive(Debug)]
pub(super) struct Settlement {
    pub(super) claim: Arc<Claim>,
    pub(super) id: ItemId,
    pub(super) verdict: Settle,
    /// Nobody waits for it where an item is dropped.
    pub(super) reply: Option<oneshot::Sender<Result<Vec<ItemId>, AckError>>>,
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

    fn size(&self) -> usize {
        let payload = || {
            self.claim
                .open()
                .items
                .get(&self.id)
                .map_or(0, |item| item.payload.len())
        };
        OVERHEAD
            + match &self.verdict {
                Settle::Done { result, next } => {
                    let next: usize = next.iter().map(|item| item.payload.len() + OVERHEAD).sum();
                    next + result.as_ref().map_or(0, Bytes::len)
                }
                Settle::Failed(_) => payload(),
            }
    }
}

/// Settles what comes, until nothing more can come.
pub(super) async fn settle_all(shared: Arc<QueueInner>, mut incoming: mpsc::UnboundedReceiver<Settlement>) {
    let mut waiting = None;
    while let Some(first) = match waiting.take() {
        Some(settlement) => Some(settlement),
        None => incoming.recv().await,
    } {
        let mut batch = Vec::new();
        let mut size = first.size();
        batch.push(first);
        while batch.len() < SETTLED_ITEMS {
            let Ok(next) = incoming.try_recv() else { break };
            size += next.size();
            if size > SETTLED_BYTES {
                waiting = Some(next);
                break;
            }
            batch.push(next);
        }
        shared.settle(batch).await;
    }
}

impl QueueInner {
    async fn settle(&self, mut batch: Vec<Settlement>) {
        while !batch.is_empty() {
            let mut held = Vec::with_capacity(batch.len());
            for settlement in batch {
                match settlement.claim.hold.check() {
                    Ok(()) => held.push(settlement),
                    Err(lost) => settlement.answer(Err(lost.into())),
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
            Settle::Done { next, .. } => next.as_slice(),
            Settle::Failed(_) => &[],
        }));
        let claims = claims_of(&batch);
        loop {
            claims
                .iter()
                .for_each(|(claim, _)| claim.hold.node().mark_end_deliberate(true));
            let committed = self
                .commit(session, |draft| Ok(self.draft(draft, &batch, &claims, &next)))
                .await;
            if !matches!(committed, Ok(Committed::Done(..))) {
                claims
                    .iter()
                    .for_each(|(claim, _)| claim.hold.node().mark_end_deliberate(false));
            }
            match committed {
                Ok(Committed::Done(ids, _)) => {
                    self.settled(&batch, &claims);
                    let mut ids = next.with_new(ids).into_iter();
                    for settlement in batch {
                        let count = match &settlement.verdict {
                            Settle::Done { next, .. } => next.len(),
                            Settle::Failed(_) => 0,
                        };
                        let ids = ids.by_ref().take(count).collect();
                        settlement.answer(Ok(ids));
                    }
                    return Vec::new();
                }
                Ok(Committed::Refused(Role::Key, zk::Error::NodeExists)) => {
                    match self.look_up(session, &mut next).await {
                        Ok(()) => {}
                        Err(Interrupted::Failed(error)) => return self.settle_each_or_refuse(batch, &error).await,
                        Err(Interrupted::Lost(_)) => return batch,
                    }
                }
                Ok(Committed::Refused(Role::Claimed(position), zk::Error::NoNode | zk::Error::BadVersion)) => {
                    let Some((claim, _)) = claims.get(position) else {
                        return batch;
                    };
                    warn!(
                        queue = self.path(),
                        claim = claim.hold.path(),
                        "a claim was taken away from us"
                    );
                    claim.hold.node().end().set(LossReason::NodeRemoved);
                    return batch;
                }
                Ok(Committed::Refused(_, error)) => {
                    let error = Error::from_answer(self.path(), error);
                    return self.settle_each_or_refuse(batch, &error).await;
                }
                Ok(Committed::Indeterminate(_)) => {
                    debug!(queue = self.path(), error = ?ended(session), "not known what was settled");
                    batch
                        .into_iter()
                        .for_each(|settlement| settlement.answer(Err(AckError::Indeterminate)));
                    return Vec::new();
                }
                Err(Interrupted::Lost(_)) => return batch,
                Err(Interrupted::Failed(error)) => return self.settle_each_or_refuse(batch, &error).await,
            }
        }
    }

    /// What cannot be settled together may be settled alone, and what cannot be settled takes nothing else with it.
    async fn settle_each_or_refuse(&self, batch: Vec<Settlement>, error: &Error) -> Vec<Settlement> {
        if batch.len() == 1 {
            return refuse_all(batch, error);
        }
        debug!(queue = self.path(), %error, "settling one by one");
        for settlement in batch {
            Box::pin(self.settle(vec![settlement])).await;
        }
        Vec::new()
    }

    fn draft(
        &self,
        draft: &mut Draft<'_>,
        batch: &[Settlement],
        claims: &[(Arc<Claim>, BTreeSet<ItemId>)],
        next: &Batch,
    ) -> Vec<ItemId> {
        for (position, (claim, settled)) in claims.iter().enumerate() {
            let role = Role::Claimed(position);
            let open = claim.open();
            let left: Vec<_> = open.items.values().filter(|item| !settled.contains(&item.id)).collect();
            let (path, version) = (claim.claimed.clone(), Some(open.version));
            if left.is_empty() {
                draft.delete(path, version, role);
                draft.delete(claim.hold.path().to_owned(), None, role);
            } else {
                let data = encode(left);
                draft.step(Operation::SetData(path, data, version), role);
                // The items may be there while the claim is not: then they are as good as given back.
                let path = claim.hold.path().to_owned();
                draft.step(Operation::exists(path), role);
            }
        }
        let mut forgotten = Vec::new();
        let mut failed: BTreeMap<String, (Failure, Vec<Item>)> = BTreeMap::new();
        for settlement in batch {
            let Some(item) = settlement.claim.open().items.get(&settlement.id).cloned() else {
                continue;
            };
            match &settlement.verdict {
                Settle::Done { result, .. } => {
                    draft.count(-1);
                    if let Some(result) = result {
                        let path = self.layout.result(item.id.as_str());
                        draft.create(path, result.clone(), zk::CreateMode::Persistent, Role::Other);
                    }
                    if result.is_some() || item.key.is_some() {
                        forgotten.push(to_forget(item, result.is_some()));
                    }
                }
                Settle::Failed(failure) => {
                    let alike = failed.entry(format!("{failure:?}"));
                    alike.or_insert_with(|| (failure.clone(), Vec::new())).1.push(item);
                }
            }
        }
        for (failure, items) in failed.into_values() {
            fail(draft, self.settings.max_attempts, &items, &failure);
        }
        if !forgotten.is_empty() {
            let slot = Lane::slot_after(draft.known.now, self.settings.result_retention);
            draft.put_into(Lane::Expiry(slot), forgotten);
        }
        draft.push(next.new_items())
    }

    /// Remembers what a committed transaction has settled.
    fn settled(&self, batch: &[Settlement], claims: &[(Arc<Claim>, BTreeSet<ItemId>)]) {
        for (claim, settled) in claims {
            let mut open = claim.open();
            open.items.retain(|id, _| !settled.contains(id));
            open.version = open.version.wrapping_add(1);
            if open.items.is_empty() {
                claim.hold.node().deleted();
            } else {
                claim.hold.node().mark_end_deliberate(false);
            }
        }
        for settlement in batch {
            let claim = settlement.claim.hold.path();
            match &settlement.verdict {
                Settle::Done { .. } => debug!(queue = self.path(), item = %settlement.id, claim, "done"),
                Settle::Failed(reason) => {
                    info!(queue = self.path(), item = %settlement.id, claim, ?reason, "not done");
                }
            }
        }
    }
}

/// Each claim once, with what of it is settled.
fn claims_of(batch: &[Settlement]) -> Vec<(Arc<Claim>, BTreeSet<ItemId>)> {
    let mut claims: Vec<(Arc<Claim>, BTreeSet<ItemId>)> = Vec::new();
    for settlement in batch {
        let id = settlement.id.clone();
        match claims
            .iter_mut()
            .find(|(claim, _)| Arc::ptr_eq(claim, &settlement.claim))
        {
            Some((_, settled)) => drop(settled.insert(id)),
            None => claims.push((Arc::clone(&settlement.claim), BTreeSet::from([id]))),
        }
    }
    claims
}

/// Tells that it cannot be done; what was to be done goes back to the queue instead.
fn refuse_all(batch: Vec<Settlement>, error: &Error) -> Vec<Settlement> {
    let mut back = Vec::new();
    for settlement in batch {
        match settlement.verdict {
            Settle::Done { .. } => back.push(Settlement {
                claim: Arc::clone(&settlement.claim),
                id: settlement.id.clone(),
                verdict: Settle::Failed(Failure::GivenBack { delay: Duration::ZERO }),
                reply: None,
            }),
            Settle::Failed(_) => {
                warn!(item = %settlement.id, %error, "not given back; it stays claimed until its session ends");
            }
        }
        settlement.answer(Err(AckError::Error(error.clone())));
    }
    back
}

/// What the retention forgets of an item that is done: its id, its key, and whether there is a result, as an item.
fn to_forget(item: Item, has_result: bool) -> Item {
    Item {
        payload: Bytes::from_static(if has_result { b"result" } else { b"" }),
        ..item
    }
}

/// Puts items back to where they were in line, or later, or aside for good.
pub(super) fn fail(draft: &mut Draft<'_>, max_attempts: u32, items: &[Item], failure: &Failure) {
    let mut back: BTreeMap<u8, Vec<Item>> = BTreeMap::new();
    let later = match failure {
        Failure::GivenBack { delay } if !delay.is_zero() => Some(Lane::slot_after(draft.known.now, *delay)),
        _ => None,
    };
    for item in items {
        if let Some(reason) = death(item, max_attempts, failure) {
            let path = draft.known.layout.dead(item.id.as_str());
            draft.create(
                path,
                dead_letter(item, &reason),
                zk::CreateMode::Persistent,
                Role::Other,
            );
            if *failure != Failure::Unreadable {
                draft.count(-1);
            }
            continue;
        }
        let mut item = item.clone();
        if *failure == Failure::NotDelivered {
            item.attempt = item.attempt.saturating_sub(1);
        }
        // Else due at once, also if the ensemble's clock was set back.
        item.due = later.unwrap_or(item.due.min(draft.known.now));
        back.entry(item.priority).or_default().push(item);
    }
    for (priority, items) in back {
        match later {
            Some(slot) => draft.put_into(Lane::Later(priority, slot), items),
            None => draft.put_back(priority, items),
        }
    }
}

fn death(item: &Item, max_attempts: u32, failure: &Failure) -> Option<String> {
    match failure {
        Failure::NotDelivered => None,
        Failure::Rejected { reason } => Some(reason.clone()),
        Failure::Unreadable => Some(UNREADABLE.to_owned()),
        Failure::GivenBack { .. } | Failure::ConsumerLost => (item.attempt >= max_attempts).then(|| match failure {
            Failure::ConsumerLost => format!("its consumer was lost in attempt {}", item.attempt),
            _ => format!("given back in attempt {}", item.attempt),
        }),
    }
}

/// The reason that stands in a dead letter that was never an item.
pub(super) const UNREADABLE: &str = "it cannot be read as an item";

/// A dead letter: the length of the reason, the reason, the item.
pub(super) fn dead_letter(item: &Item, reason: &str) -> Bytes {
    const REASON: usize = 1024;
    let mut end = reason.len().min(REASON);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    let mut data = Vec::new();
    data.put_u16(u16::try_from(end).unwrap_or_default());
    data.put_slice(&reason.as_bytes()[..end]);
    data.put_slice(&encode([item]));
    data.into()
}
