//! The trouble: midway, one worker stands still while it holds a lock, until another one has taken its place.
//!
//! Processes do this without being asked: in a long garbage collection, in a virtual machine that is being moved, on a
//! laptop that sleeps. Here the worker's thread is blocked. Its session is served by that same thread
//! (`ConnectOptions::runtime`), so no heartbeat leaves any more: the ensemble expires the session as it would expire that of
//! a stopped process.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use zookeeper_recipes::{FairLockGuard, FencingToken};

use crate::job::Job;
use crate::report::Report;
use demos::payment::Payment;

/// No worker stands still for longer, should the others have failed meanwhile.
const LIMIT: Duration = Duration::from_secs(60);

/// Which worker is stopped before which write, and until when.
#[derive(Debug)]
pub(crate) struct Stall {
    victim: Payment,
    phase: Mutex<Phase>,
    changed: Condvar,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Phase {
    Ahead,
    Standing { token: FencingToken, since: Instant },
    Over,
}

impl Stall {
    /// Picks a request from the middle: one that does not arrive twice, and after which another payment to the same
    /// account comes, so that another worker has to take the account over.
    pub(crate) fn plan(requests: &[Payment]) -> Option<Self> {
        let is_single = |request: &&Payment| requests.iter().filter(|other| other == request).count() == 1;
        let (middle, _) = requests
            .iter()
            .enumerate()
            .skip(requests.len() / 2)
            .find(|(index, request)| {
                let mut later = requests[index + 1..]
                    .iter()
                    .filter(|later| later.account == request.account);
                is_single(request) && later.any(|later| is_single(&later))
            })?;
        Some(Self {
            victim: requests[middle].clone(),
            phase: Mutex::new(Phase::Ahead),
            changed: Condvar::new(),
        })
    }

    /// The account whose lock is held by the worker that stands still.
    pub(crate) fn account(&self) -> &str {
        &self.victim.account
    }

    /// Called right before a write. Blocks the thread if this is the one to be stopped.
    pub(crate) fn before_write(&self, worker: &str, request: &Payment, guard: &FairLockGuard, job: &Job) {
        let (token, report) = (guard.token(), &job.report);
        let mut phase = self.phase();
        if *phase != Phase::Ahead || *request != self.victim {
            return;
        }
        let Payment { id, account, .. } = request;
        report.say(format_args!(
            "{worker} holds {account}, token {token}, about to write {id}"
        ));
        report.say(format_args!("{worker} STANDS STILL, heartbeats and all"));
        report.say(format_args!("{account} is awaited until that session expires"));
        job.timeline.stalled(token, guard.remaining());
        *phase = Phase::Standing {
            token,
            since: Instant::now(),
        };
        let (mut phase, _) = self
            .changed
            .wait_timeout_while(phase, LIMIT, |phase| *phase != Phase::Over)
            .unwrap_or_else(PoisonError::into_inner);
        *phase = Phase::Over;
        report.say(format_args!(
            "{worker} goes on, as if it held {account}: it writes {id}"
        ));
    }

    /// Called after a payment was settled. If the account was taken over from the worker that stands still, that one wakes.
    pub(crate) fn after_write(&self, worker: &str, request: &Payment, token: FencingToken, report: &Report) {
        let mut phase = self.phase();
        let Phase::Standing { token: older, since } = *phase else {
            return;
        };
        let Payment { id, account, .. } = request;
        if *account == self.victim.account && token > older {
            report.say(format_args!(
                "{worker} has {account} after {:.1} s, token {token}: settles {id}",
                since.elapsed().as_secs_f64()
            ));
            *phase = Phase::Over;
            self.changed.notify_all();
        }
    }

    /// No worker stands still any more, nor will.
    pub(crate) fn end(&self) {
        *self.phase() = Phase::Over;
        self.changed.notify_all();
    }

    fn phase(&self) -> MutexGuard<'_, Phase> {
        self.phase.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
