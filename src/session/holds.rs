//! What a session's lease means for what is granted and held in it.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{self, Sleep};
use tracing::warn;

use super::core::Session;
use super::lease::LeaseClock;
use super::moment::Moment;
use super::runtime;
use super::state::{Lease, LossReason};
use crate::metrics;

impl Session {
    /// A request sent at `sent` was committed. It counts only if the session is known to be ours.
    pub(crate) fn proved(&self, sent: Moment) {
        if self.is_verified() {
            let now = Moment::now();
            self.with_lease(|lease| {
                if lease.is_held() {
                    let left = lease.remaining(now).as_secs_f64();
                    metrics::observe(metrics::LEASE_REMAINING, None, &[], left);
                }
                lease.proved(sent, now);
            });
            metrics::observe(metrics::PROOF_DURATION, None, &[], (now - sent).as_secs_f64());
            self.tell_of_proof();
        }
    }

    /// Whether a hold that is granted now can be prolonged in time.
    pub(super) fn may_grant(&self) -> bool {
        self.end_reason().is_none() && self.is_verified() && self.with_lease(|lease| lease.may_grant(Moment::now()))
    }

    /// Counts a grant that waits for its proof, for which heartbeats are sent as for a hold.
    pub(super) fn await_grant(self: &Arc<Self>) -> PendingGrant {
        let (cannot_be_kept, latency, margin) = self.with_lease(|lease| {
            lease.await_grant();
            (lease.cannot_be_kept(), lease.latency(), lease.margin_length())
        });
        if cannot_be_kept && self.is_first_slow_proof() {
            warn!(
                ?latency,
                ?margin,
                "the ensemble commits so slowly that no hold could be kept; waiting for it to become faster"
            );
        }
        self.call_attention();
        PendingGrant {
            session: Arc::clone(self),
        }
    }

    /// How long holds of this session may still be believed; zero once it ended or its lease lapsed.
    pub(crate) fn remaining(self: &Arc<Self>) -> Duration {
        if self.end_reason().is_some() {
            return Duration::ZERO;
        }
        let (remaining, lapsed) = self.with_lease(|lease| {
            let now = Moment::now();
            (lease.remaining(now), lease.is_lapsed(now))
        });
        if lapsed {
            self.end(LossReason::LeaseLapsed);
        }
        remaining
    }

    /// Begins a hold that rests on the session's lease, which is confirmed by heartbeats from now on.
    pub(crate) fn hold(self: &Arc<Self>) -> LeaseHold {
        let next_look = Moment::now() + LeaseClock::alive_interval(self.timeout());
        let is_urgent = self.with_lease(|lease| {
            lease.hold();
            let due = [lease.heartbeat_due(), lease.deadline()];
            due.into_iter().flatten().any(|due| due <= next_look)
        });
        // The supervisor looks by then anyway; waking it with each hold would slow short ones down.
        if is_urgent {
            self.call_attention();
        }
        LeaseHold {
            session: Arc::clone(self),
        }
    }
}

/// A share in the session's lease.
pub(crate) struct LeaseHold {
    session: Arc<Session>,
}

impl Drop for LeaseHold {
    fn drop(&mut self) {
        self.session.with_lease(LeaseClock::release);
    }
}

/// A grant that waits for its proof.
pub(super) struct PendingGrant {
    session: Arc<Session>,
}

impl Drop for PendingGrant {
    fn drop(&mut self) {
        self.session.with_lease(LeaseClock::grant_ended);
    }
}

/// The lease of a session, as a hold sees it.
pub(crate) struct SessionLease(Arc<Session>);

impl SessionLease {
    pub(crate) fn of(session: &Arc<Session>) -> Arc<dyn Lease> {
        Arc::new(Self(Arc::clone(session)))
    }
}

impl Lease for SessionLease {
    fn remaining(&self) -> Duration {
        self.0.remaining()
    }

    fn sleep(&self, pause: Duration) -> Sleep {
        // On the thread that all coordinators share: a runtime that the user chose may be blocked.
        match runtime::shared() {
            Ok(shared) => {
                let _context = shared.enter();
                time::sleep(pause)
            }
            Err(_) => self.0.timer(pause),
        }
    }
}
