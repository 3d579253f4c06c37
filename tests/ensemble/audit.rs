//! Whether all can be true that contenders were told of items and turns.
//!
//! * A work queue: what was pushed is done once or dead; an acknowledgement is that of the delivery that did the item, and
//!   nobody is given the item after that.
//! * A FIFO queue: no item is handed out twice, and none is lost but one for each pop in whose middle a process was
//!   killed; items of one producer leave in the order in which they came.
//! * A relay: each turn is given the result of the last one before it that was completed, and is told if there was one in
//!   between that was not.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::AddAssign;

use crate::books::{Event, Fact};

/// How often an item of a work queue is delivered before it is dead.
pub(crate) const MAX_ATTEMPTS: u32 = 8;

/// What there is before the first turn of a relay.
pub(crate) const NO_RESULT: &str = "0:0";

/// What sound books contain.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sum {
    /// In work queues.
    done: usize,
    dead: usize,
    deliveries: usize,
    acks_in_doubt: usize,
    /// In FIFO queues.
    popped: usize,
    pops_in_doubt: usize,
    lost: usize,
    may_be_lost: usize,
    /// In all queues.
    pushes_in_doubt: usize,
    /// In relays.
    completed: usize,
    not_completed: usize,
    told_of_loss: usize,
}

/// All facts of one queue or relay.
#[derive(Default)]
struct Page<'a> {
    path: &'a str,
    facts: Vec<&'a Fact>,
    violations: Vec<String>,
    sum: Sum,
}

/// Checks all books together, with what was found in the end. Tells every violation.
pub(crate) fn audit(facts: &[Fact]) -> Result<Sum, Vec<String>> {
    let mut pages = BTreeMap::<&str, Page<'_>>::new();
    for fact in facts {
        let page = pages.entry(&fact.path).or_default();
        page.path = &fact.path;
        page.facts.push(fact);
    }
    let mut sum = Sum::default();
    let mut violations = Vec::new();
    for page in pages.values_mut() {
        match page.facts.iter().any(|fact| fact.event == Event::Popping) {
            true => page.check_pops(),
            false => page.check_items(),
        }
        page.check_turns();
        sum += page.sum;
        violations.append(&mut page.violations);
    }
    match violations.is_empty() {
        true => Ok(sum),
        false => Err(violations),
    }
}

impl<'a> Page<'a> {
    fn those(&self, event: Event) -> Vec<&'a Fact> {
        let found = self.facts.iter().filter(|fact| fact.event == event);
        found.copied().collect()
    }

    fn violated(&mut self, subject: &str, what: &str) {
        let path = self.path;
        let told = self.facts.iter().filter(|fact| fact.subject == subject);
        let told: Vec<String> = told
            .map(|fact| format!("{} {:?} {}", fact.who, fact.event, fact.token))
            .collect();
        let violation = format!("{path}: {subject} {what} [{}]", told.join(", "));
        self.violations.push(violation);
    }

    /// Whatever the queue is: the items that are in it, and those that may be.
    fn items(&self) -> (BTreeSet<&'a str>, BTreeSet<&'a str>) {
        let items = |event| {
            self.those(event)
                .into_iter()
                .map(|fact| fact.subject.as_str())
                .collect()
        };
        (items(Event::Pushed), items(Event::Pushing))
    }

    fn check_items(&mut self) {
        let (pushed, pushing) = self.items();
        let mut ended = BTreeMap::<&str, Option<i64>>::new();
        for (event, is_done) in [(Event::Done, true), (Event::Dead, false)] {
            for fact in self.those(event) {
                if ended.insert(&fact.subject, is_done.then_some(fact.token)).is_some() {
                    self.violated(&fact.subject, "was done or dead twice");
                }
                if !pushing.contains(fact.subject.as_str()) {
                    self.violated(&fact.subject, "was pushed by nobody");
                }
            }
        }
        let mut deliveries = BTreeMap::<&str, BTreeSet<i64>>::new();
        for fact in self.those(Event::Delivered) {
            if !deliveries.entry(&fact.subject).or_default().insert(fact.token) {
                self.violated(&fact.subject, "was delivered twice with one token");
            }
        }
        for (item, token) in &ended {
            let Some(token) = token else { continue };
            let tokens = deliveries.get(item);
            if tokens.is_none_or(|tokens| !tokens.contains(token)) {
                self.violated(item, "was done by a delivery that nobody was given");
            }
            if tokens.and_then(BTreeSet::last).is_some_and(|last| last > token) {
                self.violated(item, "was delivered after it was done");
            }
        }
        let done_by = |fact: &Fact| ended.get(fact.subject.as_str()).copied().flatten() == Some(fact.token);
        for fact in self.those(Event::Acked) {
            if !done_by(fact) {
                self.violated(&fact.subject, "was acknowledged in vain");
            }
        }
        for fact in self.those(Event::NotAcked) {
            if done_by(fact) {
                self.violated(&fact.subject, "was done by a delivery that was given back or lost");
            }
        }
        for item in pushed.iter().filter(|item| !ended.contains_key(*item)) {
            self.violated(item, "was lost");
        }
        self.sum.pushes_in_doubt += pushing.difference(&pushed).count();
        self.sum.done += ended.values().filter(|token| token.is_some()).count();
        self.sum.dead += ended.values().filter(|token| token.is_none()).count();
        self.sum.deliveries += self.those(Event::Delivered).len();
        self.sum.acks_in_doubt += self.those(Event::AckDoubted).len();
    }

    fn check_pops(&mut self) {
        let (popped, doubted) = (self.those(Event::Popped), self.those(Event::PopDoubted));
        let (pushed, pushing) = self.items();
        let mut gone = BTreeSet::new();
        for fact in &popped {
            if !gone.insert(fact.subject.as_str()) {
                self.violated(&fact.subject, "was popped twice");
            }
        }
        gone.extend(doubted.iter().map(|fact| fact.subject.as_str()));
        for item in gone.difference(&pushing) {
            self.violated(item, "was pushed by nobody");
        }
        let open = self.open_pops();
        let lost: Vec<&str> = pushed.difference(&gone).copied().collect();
        self.sum.lost += lost.len();
        if lost.len() > open {
            for item in lost {
                self.violated(item, &format!("was lost, and no more than {open} may be"));
            }
        }
        self.check_order(&popped);
        self.sum.pushes_in_doubt += pushing.difference(&pushed).count();
        self.sum.may_be_lost += open;
        self.sum.popped += popped.len();
        self.sum.pops_in_doubt += doubted.len();
    }

    /// Pops that have come to nothing, since somebody was killed.
    fn open_pops(&self) -> usize {
        let begun = self.those(Event::Popping).len();
        let ended = [Event::Popped, Event::PopDoubted, Event::NotPopped, Event::PopDropped];
        let ended = self.facts.iter().filter(|fact| ended.contains(&fact.event)).count();
        begun.saturating_sub(ended)
    }

    /// One contender pops the items of one producer in the order in which they were pushed, unless it has dropped pops:
    /// what these removed comes later.
    fn check_order(&mut self, popped: &[&'a Fact]) {
        let dropped: BTreeSet<&str> = self.those(Event::PopDropped).iter().map(|fact| &*fact.who).collect();
        let mut last = BTreeMap::new();
        for fact in popped.iter().filter(|fact| !dropped.contains(&*fact.who)) {
            let Some((producer, number)) = fact.subject.rsplit_once('.') else {
                continue;
            };
            let number: u64 = number.parse().unwrap_or_default();
            let before = last.insert((&*fact.who, producer), number);
            if before.is_some_and(|before| before > number) {
                self.violated(&fact.subject, "was popped after a younger one");
            }
        }
    }

    fn check_turns(&mut self) {
        let mut turns = BTreeMap::<i64, &Fact>::new();
        for event in [Event::Began, Event::BeganAfterLoss] {
            for fact in self.those(event) {
                if turns.insert(fact.token, fact).is_some() {
                    self.violated(&fact.subject, "was given to two turns of one token");
                }
            }
        }
        let refused: BTreeSet<i64> = self.those(Event::NotCompleted).iter().map(|fact| fact.token).collect();
        let completed: BTreeMap<i64, &Fact> = [Event::Completed, Event::CompletionDoubted]
            .into_iter()
            .flat_map(|event| self.those(event))
            .map(|fact| (fact.token, fact))
            .collect();
        let mut chain = BTreeMap::new();
        for (token, turn) in &turns {
            let given = &*turn.subject;
            let Some((step, by)) = parse_result(given) else {
                self.violated(given, "is no result");
                continue;
            };
            if chain.insert(by, step).is_some_and(|told| told != step) {
                self.violated(given, "was given, and another result of that turn too");
            }
            if refused.contains(&by) {
                self.violated(given, "was given though its turn was not completed");
            }
            if by != 0 && !turns.contains_key(&by) {
                self.violated(given, "is the result of a turn that nobody had");
            }
            if completed.get(&by).is_some_and(|completion| completion.subject != given) {
                self.violated(given, "was given, which is not the result of that turn");
            }
            // Whose results it should have been given, if they were completed, or else been told of.
            for (between, _) in turns.range(by + 1..*token) {
                if completed
                    .get(between)
                    .is_some_and(|fact| fact.event == Event::Completed)
                {
                    self.violated(given, &format!("was given to {token}, past the result of {between}"));
                }
                if turn.event == Event::Began {
                    self.violated(given, &format!("was given to {token} with no word of {between}"));
                }
            }
            self.sum.told_of_loss += usize::from(turn.event == Event::BeganAfterLoss);
        }
        // The last turn is one of ours, after all others: each completed one was given to somebody.
        if !chain.values().copied().eq(0..chain.len() as u64) {
            self.violated("", &format!("the chain has gaps: {chain:?}"));
        }
        self.sum.completed += chain.len().saturating_sub(1);
        self.sum.not_completed += turns.len().saturating_sub(chain.len());
    }
}

/// The result of a turn: how many were completed with it, and its token.
pub(crate) fn parse_result(result: &str) -> Option<(u64, i64)> {
    let (step, token) = result.split_once(':')?;
    Some((step.parse().ok()?, token.parse().ok()?))
}

impl AddAssign for Sum {
    fn add_assign(&mut self, other: Self) {
        self.done += other.done;
        self.dead += other.dead;
        self.deliveries += other.deliveries;
        self.acks_in_doubt += other.acks_in_doubt;
        self.popped += other.popped;
        self.pops_in_doubt += other.pops_in_doubt;
        self.lost += other.lost;
        self.may_be_lost += other.may_be_lost;
        self.pushes_in_doubt += other.pushes_in_doubt;
        self.completed += other.completed;
        self.not_completed += other.not_completed;
        self.told_of_loss += other.told_of_loss;
    }
}

impl fmt::Display for Sum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            done,
            dead,
            deliveries,
            acks_in_doubt,
            popped,
            pops_in_doubt,
            lost,
            may_be_lost,
            pushes_in_doubt,
            completed,
            not_completed,
            told_of_loss,
        } = self;
        write!(
            f,
            "work queues: {done} items done once, {dead} dead, in {deliveries} deliveries, {acks_in_doubt} acks in doubt; "
        )?;
        write!(
            f,
            "FIFO queues: {popped} popped, {pops_in_doubt} in doubt, {lost} lost of {may_be_lost} that may be; "
        )?;
        write!(f, "{pushes_in_doubt} pushes in doubt; ")?;
        write!(
            f,
            "relays: {completed} turns completed, {not_completed} not, {told_of_loss} told of a lost predecessor"
        )
    }
}

#[cfg(test)]
mod tests;
