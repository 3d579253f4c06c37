//! The lease clock: until when a session may be believed, from what the ensemble has committed.
//!
//! # What proves a session, and what does not
//! The *leader* expires a session when it has not heard of it for the session timeout `T` (rounded up to a tick). It
//! hears of a session that is connected to a follower only through the follower's answers to the leader's own pings,
//! one every half tick, which list the sessions the follower received anything from since the answer before
//! (`LearnerSessionTracker`, `Learner.ping`, `LearnerHandler`). So
//! * a client's ping, or a read, is answered by the follower alone: a follower that is cut off from the leader goes on
//!   answering both for up to `tickTime * syncLimit` while the leader expires the session. It proves nothing;
//! * a committed request (a create, a delete, a multi that only checks) passed the leader, which refuses requests of
//!   an expired session: when it was committed, after it was *sent*, the session was alive. It is a *proof*;
//! * but forwarding a request does not itself count as hearing of the session. The leader has heard of it as of the
//!   last answered ping before the proof arrived, which lists what the follower had received by then.
//!
//! # The arithmetic
//! Let a proof be sent at `s` and acknowledged, and let `p` be half a tick. The follower's last answer left at most
//! `p` before the proof passed, so it lists every packet of ours that arrived before `s - p`. If we sent packets at
//! gaps of at most `g`, one of them was sent no earlier than `s - p - g`, and the leader expires the session no
//! earlier than
//!
//! ```text
//!     s - g - p + T
//! ```
//!
//! That is why the clock counts from the **send** time (the acknowledgement may be slow, the leader's clock does not
//! wait for it) and from a proof **before** the latest acknowledged one: the newest that had been *acknowledged* half a
//! tick before the latest was sent, since only then is it in the follower's last answer for sure. Proofs that follow
//! each other faster may share one answer, and do not vouch for each other.
//!
//! The first proof after an idle time has none before it, and where the margin is large the proof before is older than
//! the last ping. So pings count as well: there `g` is the longest silence of a connected zookeeper-client, which pings
//! after `3/20 T` (checked every `T/20`), while this process runs. The supervisor notes a sign of life every `T/20`; a
//! gap of more than `T/10` in these signs is a pause during which nothing may have been sent, and shorter ones are
//! allowed for. A proof that takes longer than `T/100` counts as a pause too: pings were as slow. (A link that stalls
//! only between two proofs, and a follower that is cut off right after it recovers, would escape this.) The opening of
//! the session needs no such care: the leader itself counts from it.
//!
//! The *margin* covers `p` (half a tick; a session timeout is at least two ticks unless the server was configured
//! otherwise, so a quarter of `T` is enough when the tick is unknown) and the rates of two clocks (one hundredth).
//!
//! # Fail-stop
//! A lease that ran out while something was held has *lapsed*: no later proof revives it, whoever looks first.
//!
//! # Time
//! The caller says what time it is, as a [`Moment`]. That clock goes on while the machine is suspended: the hold of a
//! machine that slept through its session has lapsed when it wakes. Where the system has no such clock, only fencing
//! tokens protect against that.

use std::collections::VecDeque;
use std::time::Duration;

use super::moment::Moment;

/// The lease arithmetic of one session; pure, the caller says what time it is.
#[derive(Debug)]
pub(crate) struct LeaseClock {
    timeout: Duration,
    margin: Duration,
    /// Proofs, thinned out; the first is the newest that can vouch for the next.
    proofs: VecDeque<Proof>,
    latest: Moment,
    /// Signs of life of this process: the last one, and the last pause between two of them.
    alive: Moment,
    paused: Option<Pause>,
    end: Moment,
    holds: usize,
    lapsed: bool,
}

#[derive(Clone, Copy, Debug)]
struct Proof {
    sent: Moment,
    acknowledged: Moment,
}

/// A time during which this process may have sent nothing, or nothing may have arrived.
#[derive(Clone, Copy, Debug)]
struct Pause {
    from: Moment,
    until: Moment,
}

impl LeaseClock {
    /// The clock of a session whose opening began at `opened`.
    pub(crate) fn new(timeout: Duration, margin: Duration, opened: Moment) -> Self {
        Self {
            timeout,
            margin,
            proofs: VecDeque::new(),
            latest: opened,
            alive: opened,
            paused: None,
            end: opened + timeout.saturating_sub(margin),
            holds: 0,
            lapsed: false,
        }
    }

    /// The margin used when none is configured: half of the largest tick that a server allows, and 1 %.
    pub(crate) fn default_margin(timeout: Duration) -> Duration {
        timeout / 4 + timeout / 100
    }

    /// How often something held is confirmed, and the longest silence of a client whose process runs.
    pub(crate) fn heartbeat_interval(timeout: Duration) -> Duration {
        timeout / 5
    }

    /// How often the supervisor notes that this process runs.
    pub(crate) fn alive_interval(timeout: Duration) -> Duration {
        timeout / 20
    }

    /// This process runs.
    pub(crate) fn alive(&mut self, now: Moment) {
        if now.saturating_duration_since(self.alive) > self.unnoticed() {
            self.pause(self.alive, now);
        }
        self.alive = self.alive.max(now);
    }

    /// Notes a pause. Two with too little between them for a ping to tell of are one.
    fn pause(&mut self, from: Moment, until: Moment) {
        let joined = self
            .paused
            .filter(|pause| pause.until + self.silence() + self.margin > from);
        self.paused = Some(Pause {
            from: joined.map_or(from, |pause| pause.from.min(from)),
            until: joined.map_or(until, |pause| pause.until.max(until)),
        });
    }

    /// A request sent at `sent` is known at `now` to have been committed in this session.
    pub(crate) fn proved(&mut self, sent: Moment, now: Moment) {
        if self.is_lapsed(now) || sent <= self.latest {
            return;
        }
        self.latest = sent;
        if now.saturating_duration_since(sent) > self.timeout / 100 {
            // What was sent meanwhile may have been on its way as long.
            self.pause(sent, now);
        }
        let vouches = |proof: &Proof| proof.acknowledged + self.margin <= sent;
        while self.proofs.get(1).is_some_and(vouches) {
            self.proofs.pop_front();
        }
        let before = self
            .proofs
            .front()
            .filter(|proof| vouches(proof))
            .map(|proof| proof.sent);
        let thinned = self.timeout / 20;
        if self.proofs.back().is_none_or(|last| last.sent + thinned <= sent) {
            let acknowledged = now;
            self.proofs.push_back(Proof { sent, acknowledged });
        }
        let heard = before.max(self.pinged_before(sent));
        let end = heard.map(|heard| heard + self.timeout.saturating_sub(self.margin));
        self.end = end.map_or(self.end, |end| end.max(self.end));
    }

    /// The longest pause that may pass for none.
    fn unnoticed(&self) -> Duration {
        2 * Self::alive_interval(self.timeout)
    }

    /// The longest time between two packets of the client while no pause is noticed.
    fn silence(&self) -> Duration {
        Self::heartbeat_interval(self.timeout) + self.unnoticed()
    }

    /// The latest time by which the client has pinged for sure before a proof sent at `sent`.
    fn pinged_before(&self, sent: Moment) -> Option<Moment> {
        let silence = self.silence();
        let pinged = sent.min(self.alive).checked_sub(silence)?;
        match self.paused {
            // Pings sent since the pause must have had the time to get to the leader.
            Some(pause) if pinged.checked_sub(self.margin)? < pause.until => {
                pause.from.checked_sub(silence).map(|before| before.min(pinged))
            }
            _ => Some(pinged),
        }
    }

    /// Counts a hold that rests on this lease.
    pub(crate) fn hold(&mut self) {
        self.holds += 1;
    }

    /// A hold ended.
    pub(crate) fn release(&mut self) {
        self.holds = self.holds.saturating_sub(1);
    }

    pub(crate) fn is_held(&self) -> bool {
        self.holds > 0
    }

    /// How long the session may still be believed at `now`.
    pub(crate) fn remaining(&mut self, now: Moment) -> Duration {
        if self.is_lapsed(now) {
            Duration::ZERO
        } else {
            self.end.saturating_duration_since(now)
        }
    }

    /// Whether the lease ran out while something was held, now or at any time before.
    pub(crate) fn is_lapsed(&mut self, now: Moment) -> bool {
        self.lapsed |= self.is_held() && self.end <= now;
        self.lapsed
    }

    /// When the lease of what is held runs out.
    pub(crate) fn deadline(&self) -> Option<Moment> {
        self.is_held().then_some(self.end)
    }

    /// When the next heartbeat is due, if something is held.
    pub(crate) fn heartbeat_due(&self) -> Option<Moment> {
        self.is_held()
            .then(|| self.latest + Self::heartbeat_interval(self.timeout))
    }
}

#[cfg(test)]
#[path = "lease_tests.rs"]
mod tests;
