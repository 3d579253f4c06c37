//! The mark of the head on a random walk: contenders list once through the server of their session, then watch and read
//! through another server. Both lag by any number of transactions. Holders mark or do not, release, crash; waiters give
//! up; an operator writes into nodes. After each step at most one contender whose node exists believes that it holds.
//!
//! Each rule is broken once, to see that the walks find what it is for.

use std::collections::{BTreeMap, BTreeSet};

use fastrand::Rng;

use super::head_mark::{MarkVerdict, judge, mark, may_replace};
use crate::znode::WatchOutcome;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Broken {
    Nothing,
    /// A node that is not there is taken for a deleted one, whatever server shows it.
    AbsenceIsDeletion,
    /// Any event of the watch is taken for a deletion.
    AnyEventIsDeletion,
    /// Holders go on as readers, and mark.
    DowngradeWithMarks,
    /// Waiters mark.
    WaitersMark,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Create(u32),
    Delete(u32),
    Mark(u32),
    Touch(u32),
    /// The first goes, the second comes in its place.
    Replace(u32, u32),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Belief {
    Enrolled,
    WaitsBehind(u32),
    Holds,
}

/// A contender: its node, how much of the log its server has applied, what it believes, whether it marked.
#[derive(Clone, Debug)]
struct Walker {
    node: u32,
    applied: usize,
    belief: Belief,
    is_marked: bool,
}

#[derive(Default)]
struct ModelView {
    there: BTreeSet<u32>,
    data: Vec<u8>,
    seen: BTreeSet<u32>,
    touched: BTreeSet<u32>,
}

fn view(log: &[Step]) -> ModelView {
    let mut view = ModelView::default();
    for step in log {
        match *step {
            Step::Create(node) => _ = (view.there.insert(node), view.seen.insert(node)),
            Step::Delete(node) => _ = view.there.remove(&node),
            Step::Replace(gone, node) => {
                view.there.remove(&gone);
                view.there.insert(node);
                view.seen.insert(node);
            }
            Step::Mark(node) => {
                assert!(may_replace(&view.data));
                view.data = mark(&node.to_string());
            }
            Step::Touch(node) => _ = view.touched.insert(node),
        }
    }
    view
}

struct Walk {
    random: Rng,
    broken: Broken,
    log: Vec<Step>,
    alive: BTreeMap<u32, Walker>,
}

/// Numbers grow by so much, so that a downgraded holder fits in behind its own number.
const GAP: u32 = 10;

impl Walk {
    /// What the list of a server that has applied so much tells.
    fn list(&self, walker: &mut Walker, applied: usize) {
        let there = view(&self.log[..applied]).there;
        if there.contains(&walker.node) {
            let ahead = there.range(..walker.node).next_back();
            walker.belief = ahead.map_or(Belief::Holds, |ahead| Belief::WaitsBehind(*ahead));
        }
    }

    /// What a contender that waits behind `blocker` is told and does about it.
    fn look(&mut self, walker: &mut Walker, blocker: u32) {
        let seen = view(&self.log[..walker.applied]);
        let is_gone = !seen.there.contains(&blocker);
        let is_told = is_gone && seen.seen.contains(&blocker);
        let is_touched = seen.touched.contains(&blocker);
        let told = match self.broken {
            _ if is_told => WatchOutcome::Deleted,
            Broken::AbsenceIsDeletion if is_gone => WatchOutcome::Deleted,
            Broken::AnyEventIsDeletion if is_touched => WatchOutcome::Deleted,
            _ if is_touched || is_gone => WatchOutcome::Unknown,
            _ => return,
        };
        if self.random.bool() {
            walker.applied = self.random.usize(walker.applied..=self.log.len());
        }
        let now = view(&self.log[..walker.applied]);
        let shows_own = now.there.contains(&walker.node) || self.broken == Broken::AbsenceIsDeletion;
        match judge(&blocker.to_string(), told, Some(&now.data), shows_own) {
            MarkVerdict::Head => walker.belief = Belief::Holds,
            MarkVerdict::List | MarkVerdict::Recheck => self.list(walker, walker.applied),
        }
    }

    fn step(&mut self) {
        let kind = self.random.f64();
        if kind < 0.22 || self.alive.is_empty() {
            let node = (self.log.len() as u32 + 1) * GAP;
            self.log.push(Step::Create(node));
            let applied = self.random.usize(0..=self.log.len());
            let belief = Belief::Enrolled;
            let walker = Walker {
                node,
                applied,
                belief,
                is_marked: false,
            };
            self.alive.insert(node, walker);
            return;
        }
        let nodes: Vec<u32> = self.alive.keys().copied().collect();
        let chosen = nodes[self.random.usize(..nodes.len())];
        let mut walker = self.alive.remove(&chosen).expect("chosen among the living");
        let is_kept = match walker.belief {
            _ if kind < 0.45 => {
                walker.applied = self.random.usize(walker.applied..=self.log.len());
                true
            }
            Belief::Enrolled if kind < 0.60 => {
                let applied = self.random.usize(0..=self.log.len());
                self.list(&mut walker, applied);
                true
            }
            Belief::WaitsBehind(blocker) if kind < 0.80 => {
                self.look(&mut walker, blocker);
                true
            }
            Belief::Holds => self.hold(&mut walker, kind),
            _ if kind > 0.93 => {
                self.log.push(Step::Delete(walker.node));
                false
            }
            _ if kind > 0.88 => {
                self.log.push(Step::Touch(walker.node));
                true
            }
            _ => true,
        };
        if self.broken == Broken::WaitersMark && is_kept && self.random.f64() < 0.05 {
            self.log.push(Step::Mark(walker.node));
        }
        if is_kept {
            self.alive.insert(walker.node, walker);
        }
    }

    /// What a holder does; false if its node is gone.
    fn hold(&mut self, walker: &mut Walker, kind: f64) -> bool {
        if kind < 0.70 && !walker.is_marked {
            walker.is_marked = true;
            self.log.push(Step::Mark(walker.node));
        } else if kind < 0.80 {
            let reader = walker.node + 1;
            if self.broken == Broken::DowngradeWithMarks && walker.node.is_multiple_of(GAP) && self.random.bool() {
                self.log.push(Step::Replace(walker.node, reader));
                walker.node = reader;
            } else {
                self.log.push(Step::Delete(walker.node));
                return false;
            }
        } else if kind > 0.88 {
            self.log.push(Step::Touch(walker.node));
        }
        true
    }

    fn holders(&self) -> usize {
        let there = view(&self.log).there;
        let holds = |walker: &&Walker| walker.belief == Belief::Holds && there.contains(&walker.node);
        self.alive.values().filter(holds).count()
    }
}

/// Whether two held at the same time in one of so many walks.
fn two_hold(walks: u64, broken: Broken) -> bool {
    let two_hold = |seed: &u64| {
        let (random, log, alive) = (Rng::with_seed(*seed), Vec::new(), BTreeMap::new());
        let mut walk = Walk {
            random,
            broken,
            log,
            alive,
        };
        (0..120).any(|_| {
            walk.step();
            walk.holders() > 1
        })
    };
    (0..walks).any(|seed| two_hold(&seed))
}

#[test]
fn with_the_mark_of_the_head_one_holds_at_a_time() {
    assert!(!two_hold(1_000, Broken::Nothing));
}

#[test]
fn each_rule_of_the_mark_is_needed() {
    for broken in [
        Broken::AbsenceIsDeletion,
        Broken::AnyEventIsDeletion,
        Broken::DowngradeWithMarks,
        Broken::WaitersMark,
    ] {
        assert!(two_hold(6_000, broken), "{broken:?} was not noticed");
    }
}
