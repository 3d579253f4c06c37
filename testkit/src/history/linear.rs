//! Whether a history of operations is linearizable: whether each could have taken effect at one moment between its call
//! and its return, so that together they are what a single thread would have seen.
//!
//! The search is that of Wing and Gong with Lowe's memory, as in Knossos and Porcupine. A history of several things is
//! linearizable if that of each one is, so check them apart.

use std::collections::HashSet;
use std::hash::Hash;
use std::time::Duration;

/// What operations do to a thing when they come one after the other.
pub trait Sequential {
    /// The thing.
    type State: Clone + Eq + Hash;
    /// What is done to it, with what came of it.
    type Op;

    /// The thing before the first operation.
    fn start(&self) -> Self::State;

    /// The thing after `op`; none if nothing like that can come of it in this state.
    fn step(&self, state: &Self::State, op: &Self::Op) -> Option<Self::State>;
}

/// An operation, and when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timed<Op> {
    /// What was done.
    pub op: Op,
    /// It took effect no earlier.
    pub called: Duration,
    /// It took effect no later; `None`: it may take effect at any time after the call, or never.
    pub returned: Option<Duration>,
}

/// What the search came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Linear {
    /// There is an order.
    Yes,
    /// There is none.
    No {
        /// The operation that fits nowhere in the longest order that was found; an index into the history.
        stuck: usize,
    },
    /// The search was given up.
    Undecided,
}

/// Looks for an order of `history`, in `steps` steps at most.
pub fn linearizable<S: Sequential>(thing: &S, history: &[Timed<S::Op>], steps: usize) -> Linear {
    Search {
        thing,
        history,
        events: Events::of(history),
    }
    .run(steps)
}

struct Search<'a, S: Sequential> {
    thing: &'a S,
    history: &'a [Timed<S::Op>],
    events: Events,
}

impl<S: Sequential> Search<'_, S> {
    fn run(mut self, steps: usize) -> Linear {
        let mut seen = HashSet::new();
        let mut order: Vec<(usize, S::State)> = Vec::new();
        let (mut state, mut done) = (self.thing.start(), 0);
        let mut due = self.history.iter().filter(|timed| timed.returned.is_some()).count();
        let mut longest = None;
        let mut event = self.events.next(0);
        for _ in 0..steps {
            if due == 0 {
                return Linear::Yes;
            }
            let Event { op, is_return } = self.events.list[event];
            if is_return {
                if longest.is_none_or(|(length, _)| length < order.len()) {
                    longest = Some((order.len(), op));
                }
                let Some((last, before)) = order.pop() else {
                    let stuck = longest.map_or(op, |(_, stuck)| stuck);
                    return Linear::No { stuck };
                };
                state = before;
                done ^= mark(last);
                due += usize::from(self.history[last].returned.is_some());
                event = self.events.put_back(last);
                continue;
            }
            let after = self.thing.step(&state, &self.history[op].op);
            match after {
                Some(after) if seen.insert((done ^ mark(op), after.clone())) => {
                    done ^= mark(op);
                    order.push((op, std::mem::replace(&mut state, after)));
                    due -= usize::from(self.history[op].returned.is_some());
                    self.events.take_out(op);
                    event = self.events.next(0);
                }
                _ => event = self.events.next(event),
            }
        }
        Linear::Undecided
    }
}

/// A number for each operation. Sets of operations are told apart by the sum of their numbers: 128 bits, so that a sound
/// history fails by chance in no lifetime, and an unsound one never passes.
fn mark(op: usize) -> u128 {
    let half = |salt: u64| {
        let mut word = (op as u64).wrapping_add(salt).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        word = (word ^ (word >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        u128::from(word ^ (word >> 31))
    };
    half(1) << 64 | half(0x5851_F42D_4C95_7F2D)
}

#[derive(Clone, Copy)]
struct Event {
    op: usize,
    is_return: bool,
}

/// Calls and returns in the order of time, as a list from which operations are taken out and put back. Number 0 is its
/// head, and its end.
struct Events {
    list: Vec<Event>,
    after: Vec<usize>,
    before: Vec<usize>,
    /// Of each operation, its call and its return.
    of: Vec<(usize, Option<usize>)>,
}

impl Events {
    fn of<Op>(history: &[Timed<Op>]) -> Self {
        let mut moments: Vec<(Duration, bool, usize)> = Vec::new();
        for (op, timed) in history.iter().enumerate() {
            moments.push((timed.called, false, op));
            // What returns at the moment of a call overlaps it: calls come first.
            moments.extend(timed.returned.map(|returned| (returned.max(timed.called), true, op)));
        }
        moments.sort_unstable();
        let mut of = vec![(0, None); history.len()];
        let head = Event {
            op: 0,
            is_return: false,
        };
        let mut list = vec![head];
        for (_, is_return, op) in moments {
            match is_return {
                true => of[op].1 = Some(list.len()),
                false => of[op].0 = list.len(),
            }
            list.push(Event { op, is_return });
        }
        let count = list.len();
        Self {
            list,
            after: (1..=count).map(|next| next % count).collect(),
            before: (0..count).map(|at| (at + count - 1) % count).collect(),
            of,
        }
    }

    fn next(&self, event: usize) -> usize {
        self.after[event]
    }

    fn take_out(&mut self, op: usize) {
        let (call, returned) = self.of[op];
        for event in [Some(call), returned].into_iter().flatten() {
            let (before, after) = (self.before[event], self.after[event]);
            self.after[before] = after;
            self.before[after] = before;
        }
    }

    /// Returns the event after its call.
    fn put_back(&mut self, op: usize) -> usize {
        let (call, returned) = self.of[op];
        for event in [returned, Some(call)].into_iter().flatten() {
            let (before, after) = (self.before[event], self.after[event]);
            self.after[before] = event;
            self.before[after] = event;
        }
        self.after[call]
    }
}

#[cfg(test)]
mod tests;
