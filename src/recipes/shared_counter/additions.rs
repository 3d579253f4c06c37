//! [`Additions`]: the additions of one process to one counter, which are made together.
//!
//! Additions that are waiting go into one transaction. A task of the coordinator's runtime makes it, so that a caller
//! that gives up does not stop the others. The sums are those of one addition after the other, in the order of the
//! calls.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use tokio::sync::{Notify, oneshot};

use super::{Encoding, SharedCounter, SharedCounterError};
use crate::session::lock;
use crate::znode::{Stored, UpdateOutcome};

/// What the handles of one coordinator on one counter share.
#[derive(Debug, Default)]
pub(super) struct CounterState {
    int64: Additions,
    int32: Additions,
}

impl CounterState {
    pub(super) fn of(&self, encoding: Encoding) -> &Additions {
        match encoding {
            Encoding::Int64 => &self.int64,
            Encoding::Int32 => &self.int32,
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct Additions {
    waiting: Mutex<WaitingAdditions>,
    /// Tells that the last caller has gone.
    nobody_left: Notify,
}

#[derive(Debug, Default)]
struct WaitingAdditions {
    next: Vec<Addition>,
    /// Whether a task makes them.
    is_served: bool,
    callers: usize,
}

type Answer = Result<i64, SharedCounterError>;

#[derive(Debug)]
pub(super) struct Addition {
    delta: i64,
    reply: oneshot::Sender<Answer>,
}

impl Additions {
    /// Lets an addition wait for its transaction; says whether a task has to be started that makes it.
    pub(super) fn push(&self, delta: i64) -> (oneshot::Receiver<Answer>, AdditionCaller<'_>, bool) {
        let (reply, answer) = oneshot::channel();
        let mut waiting = lock(&self.waiting);
        waiting.next.push(Addition { delta, reply });
        waiting.callers += 1;
        let is_first = !std::mem::replace(&mut waiting.is_served, true);
        (answer, AdditionCaller(self), is_first)
    }

    /// The additions that are waiting, without those whose callers are gone.
    fn take(&self) -> Vec<Addition> {
        let mut next = std::mem::take(&mut lock(&self.waiting).next);
        next.retain(|addition| !addition.reply.is_closed());
        next
    }

    /// As [`take`](Self::take); none if there are none, and then nothing makes them any more.
    fn take_or_rest(&self) -> Option<Vec<Addition>> {
        let mut waiting = lock(&self.waiting);
        waiting.next.retain(|addition| !addition.reply.is_closed());
        waiting.is_served = !waiting.next.is_empty();
        waiting.is_served.then(|| std::mem::take(&mut waiting.next))
    }

    /// Waits until every caller has gone.
    async fn abandoned(&self) {
        while lock(&self.waiting).callers > 0 {
            self.nobody_left.notified().await;
        }
    }
}

/// A caller that waits for an addition.
#[derive(Debug)]
pub(super) struct AdditionCaller<'a>(&'a Additions);

impl Drop for AdditionCaller<'_> {
    fn drop(&mut self) {
        let mut waiting = lock(&self.0.waiting);
        waiting.callers -= 1;
        if waiting.callers == 0 {
            self.0.nobody_left.notify_one();
        }
    }
}

/// The task that makes the additions of one counter. If it is torn down with its runtime, the next caller starts
/// another.
struct AdditionServer<'a> {
    additions: &'a Additions,
    is_done: bool,
}

impl Drop for AdditionServer<'_> {
    fn drop(&mut self) {
        if self.is_done {
            return;
        }
        let mut waiting = lock(&self.additions.waiting);
        waiting.is_served = false;
        // The callers that wait are told by their channels.
        waiting.next.clear();
    }
}

/// Makes additions until none is left.
pub(super) async fn serve(state: Arc<CounterState>, counter: SharedCounter) {
    let additions = state.of(counter.encoding);
    let mut server = AdditionServer {
        additions,
        is_done: false,
    };
    while let Some(batch) = additions.take_or_rest() {
        tokio::select! {
            () = make(additions, &counter, batch) => {}
            // Nothing is left to be told. What is on its way may be counted or not.
            () = additions.abandoned() => {}
        }
    }
    server.is_done = true;
}

/// Makes these additions, and those that come while another client comes first.
async fn make(additions: &Additions, counter: &SharedCounter, mut batch: Vec<Addition>) {
    let mut befores = Vec::new();
    let updated = counter.register.update(|stored| {
        // Nothing was written so far: callers that have gone since are not counted.
        batch.retain(|addition| !addition.reply.is_closed());
        batch.extend(additions.take());
        let (sums, data) = sums(counter, stored, batch.iter().map(|addition| addition.delta))?;
        befores = sums;
        Ok::<_, SharedCounterError>(data)
    });
    let outcome = updated.await;
    let mut befores = befores.into_iter();
    for Addition { reply, .. } in batch {
        let before = befores.next().flatten();
        // An error means that the caller has gone.
        let _ = reply.send(match &outcome {
            Err(error) => Err(error.clone()),
            Ok(UpdateOutcome::Applied | UpdateOutcome::Unchanged) => before.ok_or(SharedCounterError::Overflow),
            Ok(UpdateOutcome::Indeterminate) => Err(match before {
                Some(_) => SharedCounterError::Indeterminate,
                None => SharedCounterError::Overflow,
            }),
        });
    }
}

/// The count before each addition, none for one that has no room and is left out, and what is to be written.
fn sums(
    counter: &SharedCounter,
    stored: Option<&Stored>,
    deltas: impl Iterator<Item = i64>,
) -> Result<(Vec<Option<i64>>, Option<Bytes>), SharedCounterError> {
    let encoding = counter.encoding;
    let mut count = encoding.count(counter.path(), stored)?;
    let add = |delta| {
        let sum = count.checked_add(delta).filter(|sum| encoding.holds(*sum))?;
        Some(std::mem::replace(&mut count, sum))
    };
    let befores: Vec<_> = deltas.map(add).collect();
    let is_changed = befores.iter().any(Option::is_some);
    let data = if is_changed { encoding.encode(count) } else { None };
    Ok((befores, data))
}
