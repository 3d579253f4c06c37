//! What this process does in an election, for [`LeaderElection::is_leader`] and [`LeaderElection::health`].

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::LeaderElection;
use crate::observer::Observer;
use crate::session::{Health, Seconds, count, lock};
use crate::znode::{FencingToken, Hold};

/// What this process does in one election.
#[derive(Debug)]
pub(super) struct LocalLeader {
    state: Mutex<CandidateState>,
    told: watch::Sender<bool>,
}

#[derive(Debug, Default)]
struct CandidateState {
    /// How many candidates of this process stand for election.
    candidates: usize,
    /// The terms of those that lead, and which of them are ready.
    terms: Vec<(FencingToken, bool)>,
    /// How many leaders have failed in sequence, and when one stands again.
    backing_off: Option<(u32, Instant)>,
}

/// One leadership that counts until it is lost or this is dropped.
#[derive(Debug)]
pub(super) struct LeadingShare {
    counted: Arc<LocalTerm>,
}

#[derive(Debug)]
struct LocalTerm {
    leader: Arc<LocalLeader>,
    term: FencingToken,
    is_over: AtomicBool,
}

/// One candidate, or one that backs off, until this is dropped.
#[derive(Debug)]
pub(super) struct CandidateShare<'a> {
    leader: &'a LocalLeader,
    end: fn(&mut CandidateState),
}

impl Drop for CandidateShare<'_> {
    fn drop(&mut self) {
        (self.end)(&mut lock(&self.leader.state));
    }
}

impl LocalLeader {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::default(),
            told: watch::Sender::new(false),
        })
    }

    pub(super) fn observe(&self) -> Observer<bool> {
        Observer::new(self.told.subscribe())
    }

    /// Notes a candidate.
    pub(super) fn stand(&self) -> CandidateShare<'_> {
        lock(&self.state).candidates += 1;
        let end = |state: &mut CandidateState| state.candidates -= 1;
        CandidateShare { leader: self, end }
    }

    /// Notes the pause of a leader that has failed.
    pub(super) fn back_off(&self, failures: u32, pause: Duration) -> CandidateShare<'_> {
        lock(&self.state).backing_off = Some((failures, Instant::now() + pause));
        let end = |state: &mut CandidateState| state.backing_off = None;
        CandidateShare { leader: self, end }
    }

    pub(super) fn begin(self: &Arc<Self>, hold: &Hold) -> LeadingShare {
        let term = hold.token();
        self.change(|state| state.terms.push((term, false)));
        let counted = Arc::new(LocalTerm {
            leader: Arc::clone(self),
            term,
            is_over: AtomicBool::new(false),
        });
        let (lost, at_loss) = (hold.lost(), Arc::clone(&counted));
        hold.session().runtime().spawn(async move {
            lost.await;
            at_loss.end();
        });
        LeadingShare { counted }
    }

    fn change(&self, change: impl FnOnce(&mut CandidateState)) {
        let mut state = lock(&self.state);
        change(&mut state);
        let leads = !state.terms.is_empty();
        self.told
            .send_if_modified(|told| std::mem::replace(told, leads) != leads);
    }

    /// Whether this process does its part, and what that is. A leader that has to be ready is not before it is.
    fn judge(&self, has_to_be_ready: bool) -> (bool, String) {
        let state = lock(&self.state);
        let unready = state.terms.iter().find(|(_, is_ready)| !is_ready);
        match (state.terms.first(), unready, &state.backing_off) {
            (Some(_), Some((term, _)), _) if has_to_be_ready => (false, format!("leads, term {term}, not ready yet")),
            (Some((term, _)), None, _) => (true, format!("leads, term {term}, ready")),
            (Some((term, _)), Some(_), _) => (true, format!("leads, term {term}")),
            (None, _, Some((failures, until))) => {
                let left = Seconds(until.saturating_duration_since(Instant::now()));
                let failures = usize::try_from(*failures).unwrap_or(usize::MAX);
                let failed = count(failures, "leader");
                (false, format!("{failed} failed in sequence; stands again in {left}"))
            }
            (None, _, None) if state.candidates > 0 => (true, "stands by".to_owned()),
            (None, _, None) => (false, "does not stand for election".to_owned()),
        }
    }
}

impl LocalTerm {
    fn end(&self) {
        if !self.is_over.swap(true, Ordering::AcqRel) {
            self.leader
                .change(|state| state.terms.retain(|(term, _)| *term != self.term));
        }
    }
}

impl LeadingShare {
    /// The leader has said that it is ready.
    pub(super) fn ready(&self) {
        let mut state = lock(&self.counted.leader.state);
        let terms = state.terms.iter_mut().filter(|(term, _)| *term == self.counted.term);
        terms.for_each(|(_, is_ready)| *is_ready = true);
    }
}

impl Drop for LeadingShare {
    fn drop(&mut self) {
        self.counted.end();
    }
}

impl LeaderElection {
    /// Returns whether this process does its part in the election: **a standby is ready**, as is a leader. A snapshot of
    /// what this handle, its clones and their [`run`](Self::run) do; it costs no request.
    ///
    /// Not ready is
    /// * a process without a connection, as [`Coordinator::health`](crate::Coordinator::health) says;
    /// * a leader that is not [`ready`](super::Leadership::ready) yet, where
    ///   [`ready_within`](super::LeaderElectionBuilder::ready_within) asks for that;
    /// * a leader that has failed and [backs off](super::LeaderElectionBuilder::backoff);
    /// * a process that does not stand for election, because it has not begun to or its `run` has ended.
    ///
    /// Not live is only what [`Coordinator::health`](crate::Coordinator::health) calls so.
    ///
    /// ```no_run
    /// # fn example(election: &zookeeper_recipes::LeaderElection) {
    /// // election /scheduler: ready; stands by
    /// println!("{}", election.health());
    /// # }
    /// ```
    pub fn health(&self) -> Health {
        let has_to_be_ready = self.options.ready_within.is_some();
        let judge = || self.leading.judge(has_to_be_ready);
        self.line.zk().health_of("election", self.path(), judge)
    }
}
