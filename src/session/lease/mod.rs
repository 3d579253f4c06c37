//! The lease clock: until when a session may be believed, from what the ensemble has committed.
//!
//! # What proves a session, and what does not
//! The *leader* expires a session when it has not heard of it for the session timeout `T` (rounded up to a tick). It
//! hears of a session that is connected to a follower only through the follower's answers to the leader's own pings.
//! The leader pings every half tick. An answer lists the sessions from which the follower has received anything since
//! its answer before (`LearnerSessionTracker`, `Learner.ping`, `LearnerHandler`). So
//! * a client's ping, or a read, is answered by the follower alone. A follower that is cut off from the leader goes on
//!   answering both for up to `tickTime * syncLimit`, while the leader expires the session. Neither proves anything;
//! * a committed request (a create, a delete, a multi that only checks) passed the leader, which refuses requests of
//!   an expired session. The session was alive when it was committed, after it was *sent*. It is a *proof*;
//! * but forwarding a request does not itself count as hearing of the session. The leader has heard of it as of the
//!   last answered ping before the proof arrived, which lists what the follower had received by then.
//!
//! # The arithmetic
//! Let a proof be sent at `s` and acknowledged, and let `p` be half a tick. The follower's last answer left at most
//! `p` before the proof passed, so it lists every packet of ours that arrived before `s - p`. If we sent packets at
//! gaps of at most `g`, one of them was sent no earlier than `s - p - g`. The leader expires the session no earlier
//! than
//!
//! ```text
//!     s - g - p + T
//! ```
//!
//! That is why the clock counts from the **send** time: the acknowledgement may be slow, and the leader's clock does
//! not wait for it.
//!
//! The *margin* `m` covers three things: `p`, delays of the leader's pings, and the rates of two clocks (one
//! hundredth). A session timeout is at least two ticks unless the server was configured otherwise. So a quarter of `T`
//! is enough for `p` when the tick is unknown.
//!
//! ## Vouchers
//! An acknowledged proof `j` is a *voucher*. It is *ripe* from `acknowledged(j) + m` on: by then the follower has
//! answered a ping after it had received `j`. It is *used* once a proof that was sent later than that is acknowledged,
//! since that proof followed the answer to the leader. The lease then runs until
//!
//! ```text
//!     sent(j) + T - m
//! ```
//!
//! Proofs that follow each other faster may share one answer, and do not vouch for each other. Vouchers stay good
//! across a reconnect: a server that takes a session over has the leader revalidate it, which counts as hearing of it.
//! They stay good across a new leader, which gives every session a whole `T`, and across a pause of this process.
//!
//! The margin is counted twice: in the age of the voucher, and in `T - m`. Counting `T - T/50` for a voucher (pings
//! keep `T - m`) would be sound as well, on paper and in a simulation. This is the *reserve* of the clock, against
//! pings of the leader that come late. It is not for use: it would gain little for fresh holds, which rest on pings.
//!
//! ## Pings
//! The first proof after an idle time has no voucher, and a large margin makes the voucher older than the last ping.
//! So pings count as well. There `g` is the longest silence of a connected zookeeper-client (half of its connection
//! timeout, see [`client_silence`](LeaseClock::client_silence)), and the longest pause of this process that may pass
//! for none, `T/20`. The lease runs until `s - g + T - m`.
//!
//! The supervisor notes a sign of life every `T/40`. A gap of more than `T/20` in these signs is a *pause*, during
//! which nothing may have been sent. A proof that takes longer than `T/100` counts as a pause too: pings were as slow.
//! The opening of the session needs no such care: the leader itself counts from it.
//!
//! One case escapes this: a link to the follower that stalls while no proof is on its way, for longer than `m - p`,
//! and a follower that is cut off right after the next proof. While something is held, proofs are at most `T/5` apart,
//! and only shorter stalls go unseen. A lease that rests on a voucher does not depend on pings.
//!
//! # When a heartbeat is due
//! A heartbeat is a proof that is sent for the lease alone. While something is held, or a grant waits for its proof,
//! one is due
//! * `T/5` after the latest proof, so that there are vouchers;
//! * as soon as the oldest voucher that has not been used is ripe, so that a proof uses it. These heartbeats keep
//!   `T/20` from the last one and `T/4` from the one before, so that there are at most 8 in any time `T`.
//!
//! With commits that take `d`, and `G = max(g, T/5)`, the smallest remaining lease is
//!
//! ```text
//!     T - 2m - 2d - G
//! ```
//!
//! The default margin keeps a hold with commits of up to 8 % of `T`, or over one stall of a quarter of `T`.
//! The timing only adds proofs: that a lease ends in time does not depend on it.
//!
//! # When a hold may be granted
//! Only a hold that can be prolonged is granted: the lease must still run when the oldest unused voucher is ripe and
//! a heartbeat has used it, which takes as long as the latest proof took. See [`may_grant`](LeaseClock::may_grant).
//!
//! # Fail-stop
//! A lease that ran out while something was held has *lapsed*: no later proof revives it.
//!
//! # Time
//! The caller says what time it is, as a [`Moment`]. That clock goes on while the machine is suspended: the hold of a
//! machine that slept through its session has lapsed when it wakes. Where the system has no such clock, only fencing
//! tokens protect against that.

use std::collections::VecDeque;
use std::time::Duration;

use super::moment::Moment;

mod schedule;
mod terms;

/// The lease arithmetic of one session; pure, the caller says what time it is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct LeaseClock {
    timeout: Duration,
    margin: Duration,
    silence: Duration,
    /// Proofs, thinned out; the first is the newest that can vouch for the next.
    proofs: VecDeque<Proof>,
    latest: Moment,
    /// How long the latest proof took.
    latency: Duration,
    /// When the last heartbeat was sent, and the one before it.
    heartbeats: [Option<Moment>; 2],
    /// Signs of life of this process: the last one, and the last pause between two of them.
    alive: Moment,
    paused: Option<Pause>,
    end: Moment,
    holds: usize,
    grants: usize,
    lapsed: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Proof {
    sent: Moment,
    acknowledged: Moment,
}

/// A time during which this process may have sent nothing, or nothing may have arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Pause {
    from: Moment,
    until: Moment,
}

impl LeaseClock {
    /// The clock of a session.
    ///
    /// `silence` is the longest time between two packets of its client, while the process runs
    /// ([`client_silence`](Self::client_silence)).
    ///
    /// `opened` is a moment before the leader opened the session, as close to that as is known: the start of the pass
    /// over the servers that succeeded. It is not when the server's answer came, which may have been slow, nor the
    /// start of passes that failed, which would make the lease of a new session a stale one.
    pub(crate) fn new(timeout: Duration, margin: Duration, silence: Duration, opened: Moment) -> Self {
        Self {
            timeout,
            margin,
            silence,
            proofs: VecDeque::new(),
            latest: opened,
            latency: Duration::ZERO,
            heartbeats: [None; 2],
            alive: opened,
            paused: None,
            end: opened + timeout.saturating_sub(margin),
            holds: 0,
            grants: 0,
            lapsed: false,
        }
    }

    /// This process runs.
    pub(crate) fn alive(&mut self, now: Moment) {
        if now - self.alive > self.unnoticed() {
            self.pause(self.alive, now);
        }
        self.alive = self.alive.max(now);
    }

    /// Notes a pause. Two with too little between them for a ping to tell of are one.
    fn pause(&mut self, from: Moment, until: Moment) {
        let joined = self
            .paused
            .filter(|pause| pause.until + self.longest_gap() + self.margin > from);
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
        self.latency = now - sent;
        if self.latency > self.timeout / 100 {
            // What was sent meanwhile may have been on its way as long.
            self.pause(sent, now);
        }
        let heard = self.use_vouchers(sent).max(self.pinged_before(sent));
        let thinned = self.timeout / 20;
        if self.proofs.back().is_none_or(|last| last.sent + thinned <= sent) {
            let acknowledged = now;
            self.proofs.push_back(Proof { sent, acknowledged });
        }
        let end = heard.map(|heard| heard + self.timeout.saturating_sub(self.margin));
        self.end = end.map_or(self.end, |end| end.max(self.end));
    }

    /// Drops what is older than the newest voucher that a proof sent at `sent` uses; returns when that was sent.
    fn use_vouchers(&mut self, sent: Moment) -> Option<Moment> {
        let ripe = |proof: &Proof| proof.acknowledged + self.margin <= sent;
        while self.proofs.get(1).is_some_and(ripe) {
            self.proofs.pop_front();
        }
        let newest = self.proofs.front().filter(|proof| ripe(proof));
        newest.map(|proof| proof.sent)
    }

    /// The longest pause that may pass for none.
    fn unnoticed(&self) -> Duration {
        2 * Self::alive_interval(self.timeout)
    }

    /// The longest time between two packets of the client while no pause is noticed.
    fn longest_gap(&self) -> Duration {
        self.silence + self.unnoticed()
    }

    /// The latest time by which the client has pinged for sure before a proof sent at `sent`.
    fn pinged_before(&self, sent: Moment) -> Option<Moment> {
        let gap = self.longest_gap();
        let pinged = sent.min(self.alive).checked_sub(gap)?;
        match self.paused {
            // Pings sent since the pause must have had the time to get to the leader.
            Some(pause) if pinged.checked_sub(self.margin)? < pause.until => {
                pause.from.checked_sub(gap).map(|before| before.min(pinged))
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

    /// How many holds rest on this lease.
    pub(crate) fn holds(&self) -> usize {
        self.holds
    }

    /// When the latest proof was sent.
    pub(crate) fn latest(&self) -> Moment {
        self.latest
    }

    pub(crate) fn is_held(&self) -> bool {
        self.holds > 0
    }

    /// How long the session may still be believed at `now`.
    pub(crate) fn remaining(&mut self, now: Moment) -> Duration {
        if self.is_lapsed(now) {
            Duration::ZERO
        } else {
            self.end - now
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
}

#[cfg(test)]
mod tests;
