//! [`Assignment`]: one item of a claim, on its way to the user or with the user.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot, watch};

use super::super::errors::AckError;
use super::super::store::{AttemptEnd, Item, ItemId, NewEntry, Outcome};
use super::claim::Claim;
use crate::metrics::{self, CallTimer, MessagingCall, UserName};
use crate::session::{LossReason, Lost};

/// What becomes of an item.
#[derive(Clone, Debug)]
pub(crate) enum Verdict {
    Done {
        outcome: Outcome,
        next: Vec<NewEntry>,
    },
    /// It failed; `None` for the delay of the queue's policy.
    Failed {
        delay: Option<Duration>,
        how: AttemptEnd,
        reason: String,
    },
    Rejected {
        reason: String,
    },
    /// It was not handed out.
    NotDelivered,
    /// It is about to be handed out.
    Note,
    /// It is held for longer.
    Extend(Duration),
    Progress(Bytes),
}

impl Verdict {
    /// What is counted once it is written.
    fn outcome(&self) -> Option<&'static str> {
        match self {
            Self::Done { .. } => Some("done"),
            Self::Failed { .. } => Some("failed"),
            Self::Rejected { .. } => Some("rejected"),
            _ => None,
        }
    }

    /// What metrics call it; a note and progress are not calls that are timed.
    fn call(&self) -> Option<MessagingCall> {
        match self {
            Self::Done { .. } => Some(MessagingCall::Ack),
            Self::Failed { .. } => Some(MessagingCall::Nack),
            Self::Rejected { .. } => Some(MessagingCall::Reject),
            Self::Extend(_) => Some(MessagingCall::Extend),
            Self::NotDelivered | Self::Note | Self::Progress(_) => None,
        }
    }

    /// Whether the item stays with the claim.
    pub(crate) fn keeps(&self) -> bool {
        matches!(self, Self::Note | Self::Extend(_) | Self::Progress(_))
    }
}

/// A verdict on an item, on its way.
#[derive(Debug)]
pub(crate) struct Settlement {
    pub(crate) claim: Arc<Claim>,
    pub(crate) index: u8,
    pub(crate) id: ItemId,
    pub(crate) verdict: Verdict,
    /// No task waits for it where an item is dropped.
    pub(crate) reply: Option<oneshot::Sender<Result<Vec<ItemId>, AckError>>>,
}

/// The way to the task that settles.
#[derive(Clone, Debug)]
pub(crate) struct Settling {
    pub(crate) settlements: mpsc::UnboundedSender<Vec<Settlement>>,
    /// How many items of this handle are with the user.
    pub(crate) handed_out: watch::Sender<usize>,
    /// How many settlements are on their way.
    pub(crate) pending: watch::Sender<usize>,
    /// How many claims are on their way that may have to be given back.
    claiming: watch::Sender<usize>,
}

impl Settling {
    pub(crate) fn new(settlements: mpsc::UnboundedSender<Vec<Settlement>>) -> Self {
        Self {
            settlements,
            handed_out: watch::Sender::new(0),
            pending: watch::Sender::new(0),
            claiming: watch::Sender::new(0),
        }
    }

    fn send(&self, settlements: Vec<Settlement>) -> Result<(), mpsc::error::SendError<Vec<Settlement>>> {
        self.pending.send_modify(|pending| *pending += settlements.len());
        self.settlements.send(settlements)
    }

    /// Counts a claim as on its way until what is returned is dropped.
    pub(crate) fn under_way(&self) -> UnderWay {
        self.claiming.send_modify(|claims| *claims += 1);
        UnderWay(self.claiming.clone())
    }

    /// Waits until all that was settled has been written, and no claim is on its way that may have to be given back.
    pub(crate) async fn flushed(&self) {
        // Neither fails while this sender is there. What a claim gives back is pending before it counts as over.
        let _ = self.claiming.subscribe().wait_for(|claims| *claims == 0).await;
        let _ = self.pending.subscribe().wait_for(|pending| *pending == 0).await;
    }

    /// Waits until no item of this handle is with the user.
    pub(crate) async fn until_settled(&self) {
        // It does not fail while this sender is there.
        let _ = self.handed_out.subscribe().wait_for(|items| *items == 0).await;
    }
}

/// A claim that is on its way, or may have to be given back.
#[derive(Debug)]
pub(crate) struct UnderWay(watch::Sender<usize>);

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.send_modify(|claims| *claims = claims.saturating_sub(1));
    }
}

/// An item of a claim: given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Assignment {
    pub(crate) claim: Arc<Claim>,
    pub(crate) index: u8,
    pub(crate) item: Item,
    settling: Settling,
    state: Mutex<AssignmentStage>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum AssignmentStage {
    Fetched,
    HandedOut,
    Settled,
}

impl Assignment {
    pub(crate) fn new(claim: &Arc<Claim>, index: u8, item: Item, settling: &Settling) -> Self {
        Self {
            claim: Arc::clone(claim),
            index,
            item,
            settling: settling.clone(),
            state: Mutex::new(AssignmentStage::Fetched),
        }
    }

    pub(crate) fn is_noted(&self) -> bool {
        self.claim.open().noted.contains_key(&self.index)
    }

    pub(crate) fn attempt(&self) -> u32 {
        self.claim.open().tally.attempts(self.tally_index())
    }

    /// The tally of a group's token counts the attempts of its head.
    fn tally_index(&self) -> u8 {
        if self.claim.group.is_some() { 0 } else { self.index }
    }

    /// The user has it, if it is still held.
    pub(crate) fn hand_out(&self) -> Result<(), Lost> {
        if self.claim.remaining().is_zero() {
            return Err(self.loss());
        }
        *self.stage() = AssignmentStage::HandedOut;
        self.claim.open().handed_out.insert(self.index);
        metrics::count_messages(self.user(), MessagingCall::Pop, 1);
        self.settling.handed_out.send_modify(|items| *items += 1);
        Ok(())
    }

    /// The label `name` of metrics.
    pub(crate) fn user(&self) -> &UserName {
        self.claim.hold.metrics_name()
    }

    /// Counts what became of the item.
    fn count(&self, outcome: &'static str) {
        let user = Some(self.user());
        metrics::count(metrics::QUEUE_SETTLED, user, &[("outcome", outcome)], 1);
        if matches!(outcome, "done" | "rejected") {
            metrics::observe(metrics::QUEUE_ATTEMPTS, user, &[], f64::from(self.attempt()));
        }
    }

    fn stage(&self) -> std::sync::MutexGuard<'_, AssignmentStage> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Why it is not held any more.
    fn loss(&self) -> Lost {
        let reason = self.claim.hold.node().end().reason().unwrap_or(LossReason::LeaseLapsed);
        Lost { reason }
    }

    fn settlement(
        &self,
        verdict: Verdict,
        reply: Option<oneshot::Sender<Result<Vec<ItemId>, AckError>>>,
    ) -> Settlement {
        Settlement {
            claim: Arc::clone(&self.claim),
            index: self.index,
            id: self.item.id.clone(),
            verdict,
            reply,
        }
    }

    /// Settles the item, unless that was done before; goes on when the future is dropped.
    pub(crate) async fn settle(&self, verdict: Verdict) -> Result<Vec<ItemId>, AckError> {
        let timer = verdict.call().map(|call| CallTimer::start(self.user(), call));
        let settled = self.settle_untimed(verdict).await;
        if let Some(timer) = timer {
            timer.ended(settled.as_ref().err().map(AckError::label));
        }
        settled
    }

    async fn settle_untimed(&self, verdict: Verdict) -> Result<Vec<ItemId>, AckError> {
        if !verdict.keeps() && !self.leave() {
            return Err(Lost {
                reason: LossReason::Released,
            }
            .into());
        }
        let outcome = verdict.outcome();
        let (reply, settled) = oneshot::channel();
        if self.settling.send(vec![self.settlement(verdict, Some(reply))]).is_err() {
            // The task is gone with its runtime, and the session with it.
            let reason = self.claim.hold.lost().reason().unwrap_or(LossReason::Closed);
            return Err(Lost { reason }.into());
        }
        // An error means the same, maybe while this was on its way.
        let settled = settled.await.unwrap_or(Err(AckError::Indeterminate));
        match (&settled, outcome) {
            (Ok(_), Some(outcome)) => self.count(outcome),
            (Err(AckError::Lost(_)), Some(_)) => self.count("lost"),
            _ => {}
        }
        settled
    }

    /// Settles the item in the background.
    pub(crate) fn settle_soon(&self, verdict: Verdict) {
        if self.leave() {
            if let Some(outcome) = verdict.outcome() {
                self.count(outcome);
            }
            // An error means that the task is gone with its runtime: then the item goes back with the session.
            let _ = self.settling.send(vec![self.settlement(verdict, None)]);
        }
    }

    /// It is with the user no longer; false if it was settled before.
    fn leave(&self) -> bool {
        match std::mem::replace(&mut *self.stage(), AssignmentStage::Settled) {
            AssignmentStage::Settled => false,
            AssignmentStage::Fetched => true,
            AssignmentStage::HandedOut => {
                self.settling
                    .handed_out
                    .send_modify(|items| *items = items.saturating_sub(1));
                true
            }
        }
    }

    /// Notes items that are about to be handed out, all at once.
    pub(crate) async fn note<'a>(all: impl Iterator<Item = &'a Self>) {
        let mut settlements = Vec::new();
        let mut replies = Vec::new();
        let mut settling = None;
        for assignment in all.filter(|assignment| !assignment.is_noted()) {
            let (reply, noted) = oneshot::channel();
            settlements.push(assignment.settlement(Verdict::Note, Some(reply)));
            replies.push(noted);
            settling = Some(&assignment.settling);
        }
        if settling.is_some_and(|settling| settling.send(settlements).is_ok()) {
            // What became of each stands in its claim.
            for reply in replies {
                let _ = reply.await;
            }
        }
    }

    /// Gives back what was not handed out, all at once.
    pub(crate) fn give_back(all: impl IntoIterator<Item = Self>) {
        let mut settling = None;
        let mut settlements = Vec::new();
        for assignment in all {
            if assignment.leave() {
                settlements.push(assignment.settlement(Verdict::NotDelivered, None));
                settling = Some(assignment.settling.clone());
            }
        }
        if let Some(settling) = settling {
            let _ = settling.send(settlements);
        }
    }
}

impl Drop for Assignment {
    fn drop(&mut self) {
        let verdict = match *self.stage() {
            AssignmentStage::Settled => return,
            AssignmentStage::Fetched => Verdict::NotDelivered,
            AssignmentStage::HandedOut => Verdict::Failed {
                delay: Some(Duration::ZERO),
                how: AttemptEnd::GivenBack,
                reason: "it was dropped".to_owned(),
            },
        };
        self.settle_soon(verdict);
    }
}
