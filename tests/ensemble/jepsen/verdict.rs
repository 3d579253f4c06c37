//! Judges what the clients called, a place at a time.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::AddAssign;
use std::time::Duration;

use zookeeper_testkit::history::linear::{Linear, Timed, linearizable};
use zookeeper_testkit::history::things::{Access, Holding, Register, Shares};
use zookeeper_testkit::{Grant, History, Mode};

use super::call::{Call, What};
use super::place::{Duty, Place};

/// A search that takes longer is given up.
const STEPS: usize = 50_000_000;

/// What was found at a place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Verdict {
    /// What was judged.
    pub(crate) subject: String,
    /// How many operations took effect, and how many may have.
    pub(crate) operations: usize,
    pub(crate) in_doubt: usize,
    /// How many came too late and were not carried out; of a mutex, the holds that ended before their holder did.
    pub(crate) refused: usize,
    /// How many of them cannot be, or were undone.
    pub(crate) anomalies: usize,
}

/// The calls of one place, the last word of each.
#[derive(Default)]
pub(crate) struct Calls(BTreeMap<(String, What), Call>);

impl Calls {
    pub(crate) fn note(&mut self, call: Call) {
        self.0.insert((call.turn.clone(), call.what), call);
    }

    fn of(&self, what: What) -> impl Iterator<Item = &Call> {
        self.0.values().filter(move |call| call.what == what)
    }

    fn get(&self, turn: &str, what: What) -> Option<&Call> {
        self.0.get(&(turn.to_owned(), what))
    }

    /// How many holds ended before their holder gave them back.
    fn lapsed(&self) -> usize {
        let lapsed = |released: &&Call| {
            let end = self.get(&released.turn, What::Release);
            end.is_some_and(|end| end.called < released.called)
        };
        self.of(What::BlindRelease).filter(lapsed).count()
    }

    /// Changes that took effect, or may have.
    fn changes(&self) -> impl Iterator<Item = &Call> {
        let may_be = |call: &&Call| call.returned.is_some() || self.get(&call.turn, What::NoChange).is_none();
        self.of(What::Change).filter(may_be)
    }
}

/// Judges the calls of a place; `found` is there in the end.
pub(crate) fn judge(place: Place, calls: &Calls, found: &str) -> Vec<Verdict> {
    match place.duty {
        Duty::Mutex => vec![leased(place, calls), blind(place, calls)],
        Duty::Register(_) => vec![register(place, calls, found)],
        Duty::SetInMemory(_) | Duty::SetInEnsemble(_) => vec![set(place, calls, found)],
    }
}

/// Acquisitions and releases are linearizable, where a hold ends when its guard says so.
fn leased(place: Place, calls: &Calls) -> Verdict {
    let mut history = Vec::new();
    let mut in_doubt = 0;
    for acquired in calls.of(What::Acquire) {
        let (shares, token) = (acquired.shares, acquired.number);
        history.push(timed(Holding::Acquire { shares, token }, acquired));
        let open = Call {
            called: acquired.returned.unwrap_or_default(),
            returned: None,
            ..acquired.clone()
        };
        // Of a process that was killed before it wrote another word.
        let released = calls.get(&acquired.turn, What::Release).unwrap_or(&open);
        in_doubt += usize::from(released.returned.is_none());
        history.push(timed(Holding::Release { shares }, released));
    }
    let anomalies = match linearizable(&Shares { limit: place.limit() }, &history, STEPS) {
        Linear::Yes => 0,
        Linear::No { .. } => blind_overlaps(place, calls, What::Release).max(1),
        Linear::Undecided => 1,
    };
    Verdict {
        subject: format!("{}-Leased", place.subject()),
        operations: history.len() - in_doubt,
        in_doubt,
        refused: calls.lapsed(),
        anomalies,
    }
}

/// The same, where a hold ends when the program thinks so that never looks at its guard.
fn blind(place: Place, calls: &Calls) -> Verdict {
    Verdict {
        subject: format!("{}-Blind", place.subject()),
        operations: 2 * calls.of(What::BlindRelease).count(),
        in_doubt: 0,
        refused: 0,
        anomalies: blind_overlaps(place, calls, What::BlindRelease),
    }
}

/// How many holds overlap that exclude one another.
fn blind_overlaps(place: Place, calls: &Calls, end: What) -> usize {
    let history = History::new();
    for released in calls.of(end).filter(|call| call.returned.is_some()) {
        let Some(acquired) = calls.get(&released.turn, What::Acquire) else {
            continue;
        };
        history.record(Grant {
            path: place.to_string(),
            who: acquired.turn.clone(),
            mode: match acquired.shares {
                all if all == place.limit() => Mode::Exclusive,
                taken => Mode::Permits {
                    taken,
                    limit: place.limit(),
                },
            },
            token: acquired.number,
            granted_at: acquired.returned.unwrap_or_default(),
            ended_at: Some(released.called),
        });
    }
    history.check().err().map_or(0, |violations| violations.len())
}

/// Each element that was added is there in the end, and none that was not.
fn set(place: Place, calls: &Calls, found: &str) -> Verdict {
    let found: BTreeSet<&str> = found.split_whitespace().collect();
    let may_be: BTreeSet<&str> = calls.changes().map(|call| &*call.turn).collect();
    let added = calls.changes().filter(|call| call.returned.is_some());
    let added: BTreeSet<&str> = added.map(|call| &*call.turn).collect();
    Verdict {
        subject: place.subject(),
        operations: added.len(),
        in_doubt: may_be.len() - added.len(),
        refused: calls.of(What::NoChange).count(),
        anomalies: added.difference(&found).count() + found.difference(&may_be).count(),
    }
}

/// Each change was made to what the one before it left, as the last read shows, too.
fn register(place: Place, calls: &Calls, found: &str) -> Verdict {
    let number = |call: &Call| u64::try_from(call.number).unwrap_or_default();
    let change = |call| timed(Access::Change(number(call), number(call) + 1), call);
    let mut history: Vec<_> = calls.changes().map(change).collect();
    let changes = calls.changes().filter(|call| call.returned.is_some()).count();
    let end = history
        .iter()
        .filter_map(|timed| timed.returned)
        .max()
        .unwrap_or_default();
    let in_doubt = history.len() - changes;
    history.push(Timed {
        op: Access::Read(found.parse().unwrap_or_default()),
        called: end + Duration::from_nanos(1),
        returned: Some(end + Duration::from_secs(1)),
    });
    let anomalies = match linearizable(&Register, &history, STEPS) {
        Linear::Yes => 0,
        Linear::No { .. } | Linear::Undecided => {
            let done = calls.changes().filter(|call| call.returned.is_some());
            let from: BTreeSet<i64> = done.map(|call| call.number).collect();
            (changes - from.len()).max(1)
        }
    };
    Verdict {
        subject: place.subject(),
        operations: changes,
        in_doubt,
        refused: calls.of(What::NoChange).count(),
        anomalies,
    }
}

fn timed<Op>(op: Op, call: &Call) -> Timed<Op> {
    Timed {
        op,
        called: call.called,
        returned: call.returned,
    }
}

impl AddAssign for Verdict {
    fn add_assign(&mut self, other: Self) {
        self.operations += other.operations;
        self.in_doubt += other.in_doubt;
        self.refused += other.refused;
        self.anomalies += other.anomalies;
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            subject,
            operations,
            in_doubt,
            refused,
            anomalies,
        } = self;
        write!(
            f,
            "{subject}: {operations} operations, {in_doubt} in doubt, {refused} refused, {anomalies} anomalies"
        )
    }
}

#[cfg(test)]
mod tests;
