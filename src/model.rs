//! The pure parts of the crate, for a model checker alone: **no part of the API**, and without any stability.
//!
//! Times are values: durations since an origin that the caller chooses.

pub mod fuzz;

/// The decisions of a work queue's consumer.
pub mod queue {
    pub use crate::recipes::queue::model::{
        ModelClaim, ModelFirsts, ModelLack, ModelNode, ModelQueue, ModelStep, ModelTaking, ModelTurn, ModelVerdict,
        model_tally,
    };
}

use std::time::Duration;

use crate::line::{self, Position};
use crate::recipes::PermitLimit;
use crate::session::{LeaseClock, Moment};

/// The lease arithmetic of one session.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ModelLease(LeaseClock);

impl ModelLease {
    /// The lease of a session with this timeout and margin, whose client is silent for `silence` at most.
    pub fn new(timeout: Duration, margin: Duration, silence: Duration, opened: Duration) -> Self {
        Self(LeaseClock::new(timeout, margin, silence, Moment::from(opened)))
    }

    /// The margin that is used by default.
    pub fn default_margin(timeout: Duration) -> Duration {
        LeaseClock::default_margin(timeout)
    }

    /// The longest silence of a client whose session was asked for and granted with this timeout.
    pub fn client_silence(timeout: Duration) -> Duration {
        LeaseClock::client_silence(LeaseClock::connection_timeout(timeout), timeout)
    }

    /// How often a running process calls [`alive`](Self::alive).
    pub fn alive_interval(timeout: Duration) -> Duration {
        LeaseClock::alive_interval(timeout)
    }

    /// The process runs.
    pub fn alive(&mut self, now: Duration) {
        self.0.alive(Moment::from(now));
    }

    /// A request sent at `sent` is known at `now` to have been committed.
    pub fn proved(&mut self, sent: Duration, now: Duration) {
        self.0.proved(Moment::from(sent), Moment::from(now));
    }

    /// A heartbeat is sent.
    pub fn heartbeat_sent(&mut self, now: Duration) {
        self.0.heartbeat_sent(Moment::from(now));
    }

    /// A grant waits for its proof.
    pub fn await_grant(&mut self) {
        self.0.await_grant();
    }

    /// The grant was made, or given up.
    pub fn grant_ended(&mut self) {
        self.0.grant_ended();
    }

    /// A hold begins.
    pub fn hold(&mut self) {
        self.0.hold();
    }

    /// A hold ends.
    pub fn release(&mut self) {
        self.0.release();
    }

    /// Whether a hold may be granted.
    pub fn may_grant(&mut self, now: Duration) -> bool {
        self.0.may_grant(Moment::from(now))
    }

    /// How long the session may be believed.
    pub fn remaining(&mut self, now: Duration) -> Duration {
        self.0.remaining(Moment::from(now))
    }

    /// Whether the lease has lapsed while something was held.
    pub fn is_lapsed(&mut self, now: Duration) -> bool {
        self.0.is_lapsed(Moment::from(now))
    }

    /// When the next heartbeat is due, if something is held.
    pub fn heartbeat_due(&self) -> Option<Duration> {
        self.0.heartbeat_due().map(|due| due - Moment::from(Duration::ZERO))
    }
}

/// Where a contender stands in a line of Curator's read-write locks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// It is not in the list.
    Missing,
    /// Granted.
    Granted,
    /// It waits for this one.
    BlockedBy(String),
}

/// Finds the place of `own` among `children`, names as Curator's `InterProcessReadWriteLock` writes them.
pub fn place(own: &str, children: &[String]) -> Option<Place> {
    line::with_position_in_rw_line(own, children, |position| match position {
        Position::Missing => Place::Missing,
        Position::Granted => Place::Granted,
        Position::BlockedBy(name) => Place::BlockedBy(name.to_owned()),
    })
}

/// Whether `wanted` permits are granted where `limit` exist and `taken` are out; none if they never will be.
pub fn permits(limit: u32, taken: usize, wanted: u32) -> Option<bool> {
    PermitLimit::of(limit).is_granted(taken, wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    const T: Duration = Duration::from_secs(10);

    #[test]
    fn the_exported_parts_are_those_of_the_crate() {
        let margin = ModelLease::default_margin(T);
        let mut lease = ModelLease::new(T, margin, T * 3 / 20, Duration::ZERO);
        assert_eq!(lease.remaining(Duration::ZERO), T - margin);
        lease.hold();
        assert!(lease.is_lapsed(T));
        let children = ["_c_a-__WRIT__0000000000", "_c_b-__READ__0000000001"].map(str::to_owned);
        let blocked = Place::BlockedBy(children[0].clone());
        assert_eq!(place(&children[1], &children), Some(blocked));
        assert_eq!(place(&children[0], &children), Some(Place::Granted));
        assert_eq!(
            (permits(3, 2, 1), permits(3, 3, 1), permits(3, 0, 4)),
            (Some(true), Some(false), None)
        );
    }
}
