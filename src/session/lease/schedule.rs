//! When proofs are due, and what may be granted meanwhile.
//!
//! Nothing here moves the end of the lease: it only decides when to ask for the proofs that do.

use std::time::Duration;

use super::LeaseClock;
use crate::session::moment::Moment;

impl LeaseClock {
    /// When the next heartbeat is due, if something is held or a grant waits. One at a time is in flight.
    pub(crate) fn heartbeat_due(&self) -> Option<Moment> {
        if self.holds == 0 && self.grants == 0 {
            return None;
        }
        let regular = self.latest + Self::heartbeat_interval(self.timeout);
        let using = self.ripe().map(|ripe| self.spaced(ripe));
        Some(using.map_or(regular, |using| using.min(regular)))
    }

    /// A heartbeat is sent at `now`.
    pub(crate) fn heartbeat_sent(&mut self, now: Moment) {
        self.heartbeats = [Some(now), self.heartbeats[0]];
    }

    /// When the oldest voucher that no proof has used is ripe.
    fn ripe(&self) -> Option<Moment> {
        let ripe = self.proofs.iter().map(|proof| proof.acknowledged + self.margin);
        ripe.into_iter().find(|ripe| *ripe > self.latest)
    }

    /// `due`, or as much later that no time `T` sees more than 8 heartbeats, however many vouchers there are.
    fn spaced(&self, due: Moment) -> Moment {
        let [last, before] = self.heartbeats;
        let after = |sent: Option<Moment>, pause: Duration| sent.map_or(due, |sent| sent + pause);
        let (last, before) = (after(last, self.timeout / 20), after(before, self.timeout / 4));
        due.max(last).max(before)
    }
}

impl LeaseClock {
    /// Counts a grant that waits for its proof. The schedule of heartbeats runs for it as for a hold.
    pub(crate) fn await_grant(&mut self) {
        self.grants += 1;
    }

    /// A grant was made, or given up.
    pub(crate) fn grant_ended(&mut self) {
        self.grants = self.grants.saturating_sub(1);
    }

    /// Whether a hold granted at `now` could be prolonged before its lease ends.
    ///
    /// The lease has to outlast the moment at which the oldest unused voucher is ripe, by the time that a proof takes
    /// and one hundredth of the session timeout.
    pub(crate) fn may_grant(&mut self, now: Moment) -> bool {
        let from = self.ripe().map_or(now, |ripe| ripe.max(now));
        !self.is_lapsed(now) && self.end - from > self.latency + self.timeout / 100
    }

    /// Whether proofs take so long, for this margin, that no hold could be kept: grants wait in vain.
    /// Worth a warning that names [`latency`](Self::latency) and [`margin_length`](Self::margin_length).
    pub(crate) fn cannot_be_kept(&self) -> bool {
        2 * (self.margin + self.latency) + Self::heartbeat_interval(self.timeout) >= self.timeout
    }

    /// How long the latest proof took.
    pub(crate) fn latency(&self) -> Duration {
        self.latency
    }

    /// The margin that this clock counts with.
    pub(crate) fn margin_length(&self) -> Duration {
        self.margin
    }
}
