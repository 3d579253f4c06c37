//! Transactions: what becomes of them, and what their senders make of that.

use std::time::Duration;

use zookeeper_recipes::model::queue::{ModelClaim, ModelQueue, ModelStep, ModelTaking, ModelVerdict};

use super::act::{Delivery, renamed};
use super::consumer::{Flight, Phase, Purpose};
use super::{GROWS, ONE_PLACE, ORDER, QueueModel, REFUSED, STEP, State, TOLD, Without};

/// The session of the producer, which has no ephemeral nodes.
const PRODUCER: u8 = u8::MAX;

/// What a client hears.
enum Answer {
    Done,
    Refused,
    Nothing,
}

impl Flight {
    pub(super) fn new(steps: Vec<ModelStep>, purpose: Purpose) -> Self {
        Self {
            steps,
            purpose,
            is_committed: false,
            is_over: false,
        }
    }
}

fn is_opened(path: &str) -> bool {
    path.contains("/o-")
}

fn is_own(state: &State, index: usize, path: &str) -> bool {
    let node = state.tree.nodes.get(path);
    node.is_some_and(|node| node.owner == Some(state.consumers[index].session))
}

fn is_claim(path: &str) -> bool {
    path.contains("/c-")
}

impl QueueModel {
    /// The transaction without what is taken away.
    fn weakened(&self, state: &State, flight: &Flight) -> Vec<ModelStep> {
        let steps = flight.steps.clone();
        let is_settling = matches!(flight.purpose, Purpose::Settle { .. });
        let unversioned = |step, wanted: fn(&str) -> bool| match step {
            ModelStep::Set(path, data, _) if wanted(&path) => ModelStep::Set(path, data, None),
            ModelStep::Delete(path, _) if wanted(&path) => ModelStep::Delete(path, None),
            step => step,
        };
        let is_no_proof = |step: &ModelStep| match step {
            ModelStep::Check(path, _) => !is_claim(path),
            ModelStep::Delete(path, None) if is_claim(path) => state.tree.nodes.contains_key(path),
            _ => true,
        };
        let steps = steps.into_iter();
        match self.without {
            Some(Without::Probe) => without_probe(steps.collect()),
            Some(Without::TallyVersion) => steps.map(|step| unversioned(step, is_opened)).collect(),
            Some(Without::RightProbe) => steps.map(misspelt).collect(),
            Some(Without::ClaimVersion) => steps.map(|step| unversioned(step, is_claim)).collect(),
            Some(Without::SegmentCheck) => {
                let is_check = |step: &ModelStep| matches!(step, ModelStep::Check(path, _) if path.contains("/s-"));
                steps.filter(|step| !is_check(step)).collect()
            }
            Some(Without::ClaimCheck) if is_settling => steps.filter(is_no_proof).collect(),
            Some(Without::ClaimAndTally) if is_settling => {
                let steps = steps.filter(is_no_proof);
                steps.map(|step| unversioned(step, is_opened)).collect()
            }
            _ => steps.collect(),
        }
    }

    /// Sends a transaction, or sends it again as it is.
    fn send(&self, state: &mut State, flight: &mut Flight, session: u8, delivery: Delivery) -> Option<Answer> {
        if delivery != Delivery::Answered {
            state.faults = state.faults.checked_sub(1)?;
        }
        if delivery == Delivery::RequestLost {
            return Some(Answer::Nothing);
        }
        let ledger = match flight.purpose {
            Purpose::Push(_) => Without::PushLedger,
            _ => Without::Ledger,
        };
        let is_known = flight.is_committed && !self.lacks(ledger);
        if !is_known {
            let steps = self.weakened(state, flight);
            match state.tree.after(&steps, &self.setting.fixed, session) {
                Some(tree) => {
                    state.tree = tree;
                    flight.is_committed = true;
                    took_place(state, &flight.purpose);
                }
                None if delivery == Delivery::ReplyLost => return None,
                None => return Some(Answer::Refused),
            }
        }
        Some(match delivery {
            Delivery::ReplyLost => Answer::Nothing,
            _ => Answer::Done,
        })
    }

    pub(super) fn transact_push(&self, state: &mut State, mut flight: Flight, delivery: Delivery) -> Option<()> {
        match self.send(state, &mut flight, PRODUCER, delivery)? {
            Answer::Done => state.pushed += 1,
            Answer::Refused => _ = state.broken.get_or_insert(TOLD),
            Answer::Nothing => state.push = Some(flight),
        }
        Some(())
    }

    pub(super) fn transact(
        &self,
        state: &mut State,
        index: usize,
        mut flight: Flight,
        delivery: Delivery,
    ) -> Option<()> {
        let session = state.consumers[index].session;
        match self.send(state, &mut flight, session, delivery)? {
            Answer::Done => self.done(state, index, flight),
            Answer::Refused => self.refused(state, index, flight),
            Answer::Nothing => state.consumers[index].phase = Phase::InDoubt(flight),
        }
        Some(())
    }

    fn done(&self, state: &mut State, index: usize, flight: Flight) {
        state.consumers[index].read = None;
        match flight.purpose {
            Purpose::Claim(takings) => self.claimed(state, index, takings),
            Purpose::Settle { after, done, .. } => {
                if done.is_some_and(|item| state.done[item] == 0) {
                    state.broken.get_or_insert(TOLD);
                }
                self.go_on(state, index, after, flight.is_over);
            }
            Purpose::Push(_) | Purpose::Release(_) | Purpose::Bury => state.consumers[index].rest(),
        }
    }

    fn claimed(&self, state: &mut State, index: usize, takings: Vec<ModelTaking>) {
        let is_over = |taking: &ModelTaking| taking.deadline().is_some_and(|deadline| deadline <= state.now);
        if takings.iter().any(is_over) && !self.lacks(Without::OwnDeadline) {
            return self.leave(state, index, &takings);
        }
        let claims = takings.iter().filter_map(|taking| self.claim_of(state, taking));
        let items = claims.flat_map(|claim| self.items_of(&claim)).collect::<Vec<_>>();
        let of_first_push = |item: &usize| self.setting.push_of(*item) == self.setting.push_of(items[0]);
        let of_first_push = items.iter().copied().filter(of_first_push);
        let consumer = &mut state.consumers[index];
        consumer.new_items = of_first_push.map(|item| (item, false)).collect();
        match self.setting.is_strict() {
            true => consumer.phase = Phase::Claimed(takings),
            false => self.hold(state, index, &takings),
        }
    }

    /// These claims have ended for their consumer, which is to delete them.
    fn leave(&self, state: &mut State, index: usize, takings: &[ModelTaking]) {
        let paths = takings.iter().map(|taking| self.setting.rules.paths(taking).0);
        state.consumers[index].strays.extend(paths);
        state.consumers[index].rest();
    }

    fn claim_of(&self, state: &State, taking: &ModelTaking) -> Option<ModelClaim> {
        let (_, segment) = self.setting.rules.paths(taking);
        self.setting.rules.claim(taking, &state.tree.read(&segment)?.0)
    }

    fn items_of(&self, claim: &ModelClaim) -> Vec<usize> {
        claim.items().map(|(_, id)| self.setting.item(id)).collect()
    }

    pub(super) fn hold(&self, state: &mut State, index: usize, takings: &[ModelTaking]) {
        let claims = takings.iter().filter_map(|taking| self.claim_of(state, taking));
        let claims: Vec<_> = claims.collect();
        if claims.len() < takings.len() {
            state.broken.get_or_insert(ONE_PLACE);
        }
        self.go_on(state, index, claims, false);
    }

    /// The consumer holds these, but for those that have ended.
    fn go_on(&self, state: &mut State, index: usize, mut claims: Vec<ModelClaim>, is_over: bool) {
        claims.retain(|claim| claim.items().next().is_some());
        let now = state.now;
        let keeps = self.lacks(Without::OwnDeadline);
        let is_held = |claim: &ModelClaim| keeps || !is_over && claim.deadline().is_none_or(|deadline| deadline > now);
        let (held, ended): (Vec<_>, Vec<_>) = claims.into_iter().partition(is_held);
        let consumer = &mut state.consumers[index];
        let paths = ended.iter().map(|claim| self.setting.rules.paths(&claim.taking()).0);
        consumer.strays.extend(paths);
        consumer.phase = if held.is_empty() {
            Phase::Idle
        } else {
            Phase::Holding(held)
        };
        if consumer.phase == Phase::Idle {
            consumer.new_items.clear();
        }
    }

    fn refused(&self, state: &mut State, index: usize, flight: Flight) {
        let is_over = flight.is_over;
        let (mut before, done) = match flight.purpose {
            Purpose::Settle { before, done, .. } => (before, done),
            Purpose::Release(takings) => {
                let paths = takings.iter().map(|taking| self.setting.rules.paths(taking).0);
                let standing: Vec<_> = paths.filter(|path| is_own(state, index, path)).collect();
                state.consumers[index].strays.extend(standing);
                return state.consumers[index].rest();
            }
            Purpose::Push(_) | Purpose::Claim(_) | Purpose::Bury => {
                self.judge_refusal(state, index);
                return state.consumers[index].rest();
            }
        };
        let lost = before.remove(0);
        let (path, _) = self.setting.rules.paths(&lost.taking());
        let stands = is_own(state, index, &path);
        let is_judged = matches!(self.without, None | Some(Without::ClaimCheck));
        if flight.is_committed && done.is_some() || stands && is_judged {
            state.broken.get_or_insert(TOLD);
        }
        state.consumers[index].strays.extend(stands.then_some(path));
        self.go_on(state, index, before, is_over);
    }

    /// A claim or a burial is refused only where something has changed since the consumer looked. Else it would be refused
    /// for ever.
    pub(super) fn judge_refusal(&self, state: &mut State, index: usize) {
        if self.knows_all(state, index) {
            state.broken.get_or_insert(REFUSED);
        }
    }

    /// Whether nothing has changed since the consumer looked.
    pub(super) fn knows_all(&self, state: &State, index: usize) -> bool {
        let consumer = &state.consumers[index];
        let is_listed = consumer.view.as_ref() == Some(&state.tree.list(&self.setting.block));
        let mut read = consumer.read.iter().flatten();
        is_listed && read.all(|(path, known)| *known == state.tree.read(path))
    }

    /// So much time has passed that the claims have ended that were made before.
    pub(super) fn end_overdue(&self, state: &mut State) {
        for index in 0..state.consumers.len() {
            match state.consumers[index].phase.clone() {
                Phase::Holding(claims) => self.go_on(state, index, claims, false),
                Phase::InDoubt(mut flight) => {
                    let before: &[ModelClaim] = match &flight.purpose {
                        Purpose::Settle { before, .. } => before,
                        _ => &[],
                    };
                    let mut deadlines = before.iter().filter_map(ModelClaim::deadline);
                    flight.is_over |= deadlines.any(|deadline| deadline <= state.now);
                    state.consumers[index].phase = Phase::InDoubt(flight);
                }
                Phase::Claimed(takings) | Phase::Behind(takings) if !self.lacks(Without::OwnDeadline) => {
                    self.leave(state, index, &takings);
                }
                _ => {}
            }
        }
    }

    pub(super) fn hand_out(&self, state: &mut State, index: usize) -> Option<()> {
        let consumer = &mut state.consumers[index];
        let Phase::Holding(claims) = &mut consumer.phase else {
            return None;
        };
        let claim = claims.first_mut()?;
        let (place, item) = claim.items().next().map(|(place, id)| (place, self.setting.item(id)))?;
        let attempt = claim.attempt(place)?;
        claim.hand_out(place);
        let is_passed = consumer.new_items.contains(&(item, false));
        consumer.new_items.retain(|(new, _)| *new != item);
        if is_passed && self.setting.is_strict() {
            state.broken.get_or_insert(ORDER);
        }
        if attempt <= state.attempts[item] {
            state.broken.get_or_insert(GROWS);
        }
        state.attempts[item] = attempt;
        Some(())
    }

    /// A user may do this or not.
    pub(super) fn choose(
        &self,
        state: &mut State,
        index: usize,
        verdict: ModelVerdict,
        delivery: Delivery,
    ) -> Option<()> {
        state.choices = state.choices.checked_sub(1)?;
        self.settle(state, index, 0, verdict, delivery)
    }

    pub(super) fn extension(&self) -> Option<ModelVerdict> {
        let by = Duration::from_millis(STEP.unsigned_abs() + 1000);
        self.setting.scene.has_deadlines.then_some(ModelVerdict::Extend(by))
    }

    /// Settles an item of the first claim, the first one or another; what is not handed out is given back as a whole.
    pub(super) fn settle(
        &self,
        state: &mut State,
        index: usize,
        which: usize,
        verdict: ModelVerdict,
        delivery: Delivery,
    ) -> Option<()> {
        let Phase::Holding(before) = state.consumers[index].phase.clone() else {
            return None;
        };
        let claim = before.first()?;
        let (place, item) = claim
            .items()
            .nth(which)
            .map(|(place, id)| (place, self.setting.item(id)))?;
        let verdicts: Vec<(u8, ModelVerdict)> = match verdict {
            ModelVerdict::NotDelivered if which == 0 => claim.items().map(|(place, _)| (place, verdict)).collect(),
            _ => vec![(place, verdict)],
        };
        let (steps, left) = self.setting.rules.settle(claim, &verdicts, state.now);
        let steps = renamed(steps, "/b-", &ModelQueue::guid(&format!("b{item}")));
        let mut after = before.clone();
        after[0] = left;
        let done = (verdict == ModelVerdict::Done).then_some(item);
        let purpose = Purpose::Settle { before, after, done };
        self.transact(state, index, Flight::new(steps, purpose), delivery)
    }
}

/// What the queue is after a transaction, with or without its reply.
fn took_place(state: &mut State, purpose: &Purpose) {
    match purpose {
        Purpose::Push(number) => state.in_queue = number + 1,
        Purpose::Settle { done: Some(item), .. } => state.done[*item] += 1,
        _ => {}
    }
}

/// A probe for a name at which something stands.
fn misspelt(step: ModelStep) -> ModelStep {
    match step {
        ModelStep::Delete(path, None) if is_claim(&path) => ModelStep::Delete(format!("{path}x"), None),
        step => step,
    }
}

/// Without the creates and deletes of one name, one after the other.
fn without_probe(steps: Vec<ModelStep>) -> Vec<ModelStep> {
    let mut left: Vec<ModelStep> = Vec::new();
    for step in steps {
        match (left.last(), &step) {
            (Some(ModelStep::CreateEphemeral(made, _)), ModelStep::Delete(path, None)) if made == path => {
                left.pop();
            }
            _ => left.push(step),
        }
    }
    left
}
