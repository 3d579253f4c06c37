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
//! wait for it) and from the proof **before** the latest acknowledged one: while something is held, proofs are sent
//! every `T/5`, so `s - g` is the send time of the proof before. Proofs that follow each other faster do not count as
//! "the one before" for each other, since they may share one answer of the follower.
//!
//! The first proof after an idle time has none before it. There `g` is the longest silence of a connected
//! zookeeper-client, which pings after `3/20 T` (checked every `T/20`), provided that this process was running: the
//! supervisor notes a sign of life every `T/10`, and silence counts from the last sign before the proof. Until the
//! second proof, `T/5` later, the lease rests on these pings as well.
//!
//! The *margin* covers `p` (half a tick; a session timeout is at least two ticks unless the server was configured
//! otherwise, so a quarter of `T` is enough when the tick is unknown) and the rates of two clocks (one hundredth).
//!
//! # Fail-stop
//! A lease that ran out while something was held has *lapsed*: no later proof revives it, whoever looks first.
//!
//! Time is `Instant`, which stands still while the whole machine is suspended on Linux; a machine that sleeps through
//! its session is protected by fencing tokens only.

use std::time::{Duration, Instant};

/// The lease arithmetic of one session; pure, the caller says what time it is.
#[derive(Debug)]
pub(crate) struct LeaseClock {
    timeout: Duration,
    margin: Duration,
    latest: Option<Instant>,
    previous: Option<Instant>,
    alive: Instant,
    end: Option<Instant>,
    holds: usize,
    lapsed: bool,
}

impl LeaseClock {
    pub(crate) fn new(timeout: Duration, margin: Duration, now: Instant) -> Self {
        Self {
            timeout,
            margin,
            latest: None,
            previous: None,
            alive: now,
            end: None,
            holds: 0,
            lapsed: false,
        }
    }

    /// The margin used when none is configured: half of the largest tick that a server allows, and 1 %.
    pub(crate) fn default_margin(timeout: Duration) -> Duration {
        timeout / 4 + timeout / 100
    }

    /// How often something held is confirmed, and the longest silence of a live client.
    pub(crate) fn heartbeat_interval(timeout: Duration) -> Duration {
        timeout / 5
    }

    /// How often the supervisor notes that this process runs.
    pub(crate) fn alive_interval(timeout: Duration) -> Duration {
        timeout / 10
    }

    /// This process runs.
    pub(crate) fn alive(&mut self, now: Instant) {
        self.alive = self.alive.max(now);
    }

    /// A request sent at `sent` is known at `now` to have been committed in this session.
    pub(crate) fn proved(&mut self, sent: Instant, now: Instant) {
        if self.is_lapsed(now) || self.latest.is_some_and(|latest| sent <= latest) {
            return;
        }
        let silence = Self::heartbeat_interval(self.timeout);
        if let Some(latest) = self.latest.filter(|latest| *latest + silence <= sent) {
            self.previous = Some(latest);
        }
        self.latest = Some(sent);
        let pinged = sent.min(self.alive).checked_sub(silence);
        let heard = self.previous.max(pinged);
        let end = heard.map(|heard| heard + self.timeout.saturating_sub(self.margin));
        self.end = self.end.max(end);
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
    pub(crate) fn remaining(&mut self, now: Instant) -> Duration {
        if self.is_lapsed(now) {
            return Duration::ZERO;
        }
        self.end
            .map_or(Duration::ZERO, |end| end.saturating_duration_since(now))
    }

    /// Whether the lease ran out while something was held, now or at any time before.
    pub(crate) fn is_lapsed(&mut self, now: Instant) -> bool {
        self.lapsed |= self.is_held() && self.end.is_none_or(|end| end <= now);
        self.lapsed
    }

    /// When the lease of what is held runs out.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.end.filter(|_| self.is_held())
    }

    /// When the next heartbeat is due, if something is held.
    pub(crate) fn heartbeat_due(&self) -> Option<Instant> {
        self.latest
            .filter(|_| self.is_held())
            .map(|latest| latest + Self::heartbeat_interval(self.timeout))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const T: Duration = Duration::from_millis(10_000);

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn clock(start: Instant) -> LeaseClock {
        LeaseClock::new(T, LeaseClock::default_margin(T), start)
    }

    #[test]
    fn an_idle_session_has_no_deadline_and_never_lapses() {
        let start = Instant::now();
        let mut clock = clock(start);
        assert_eq!(clock.remaining(start), Duration::ZERO);
        clock.proved(start + ms(1), start + ms(2));
        assert_eq!(clock.deadline(), None);
        assert!(!clock.is_lapsed(start + 10 * T));
    }

    #[test]
    fn the_first_proof_is_trusted_less_than_the_session_timeout() {
        let start = Instant::now();
        let mut clock = clock(start);
        clock.proved(start, start + ms(5));
        let silence_and_margin = T / 5 + T / 4 + T / 100;
        assert_eq!(clock.remaining(start), T - silence_and_margin);
    }

    #[test]
    fn a_pause_of_this_process_before_the_first_proof_shortens_the_lease() {
        let start = Instant::now();
        let mut clock = clock(start);
        let sent = start + ms(4_000);
        clock.proved(sent, sent);
        assert_eq!(clock.remaining(sent), T - T / 5 - T / 4 - T / 100 - ms(4_000));
    }

    #[test]
    fn the_proof_before_counts_even_if_no_sign_of_life_does() {
        let start = Instant::now();
        let mut clock = clock(start);
        clock.proved(start + ms(2_000), start + ms(2_000));
        clock.proved(start + ms(4_000), start + ms(4_000));
        assert_eq!(clock.end, Some(start + ms(2_000) + T - T / 4 - T / 100));
    }

    #[test]
    fn proofs_in_quick_succession_do_not_vouch_for_each_other() {
        let start = Instant::now();
        let mut clock = clock(start);
        clock.proved(start + ms(1), start + ms(1));
        clock.proved(start + ms(2), start + ms(2));
        assert!(clock.end < Some(start + T - T / 4 - T / 100));
    }

    #[test]
    fn a_late_acknowledgement_does_not_revive_a_lapsed_lease() {
        let start = Instant::now();
        let mut clock = clock(start);
        clock.proved(start, start);
        clock.hold();
        let late = start + T;
        clock.alive(late);
        clock.proved(late - ms(1), late);
        assert!(clock.is_lapsed(late));
        assert_eq!(clock.remaining(late), Duration::ZERO);
        clock.release();
        assert!(clock.is_lapsed(late));
    }

    proptest! {
        /// Against a model of the leader: a client that sends at least every T/5, a follower that answers the
        /// leader's pings every half tick until it is cut off. Whatever the clock says, the leader expires later.
        #[test]
        fn the_lease_ends_before_the_leader_can_expire_the_session(
            tick_ms in 100_u64..5_000,
            phase in 0_u64..2_500,
            gaps in prop::collection::vec(1_u64..2_000, 1..40),
            delay in 0_u64..50,
        ) {
            let half_tick = tick_ms / 2;
            let phase = phase % half_tick.max(1);
            let start = Instant::now();
            let mut clock = clock(start);
            let mut sends = vec![0_u64];
            for gap in gaps {
                sends.push(sends[sends.len() - 1] + gap);
            }
            for (index, sent) in sends.iter().enumerate() {
                let arrived = sent + delay;
                clock.alive(start + ms(*sent));
                clock.proved(start + ms(*sent), start + ms(arrived + delay));
                // The cut comes right after this proof: the leader knows what the last answered ping listed.
                let last_answer = if arrived < phase { None } else { Some(phase + (arrived - phase) / half_tick * half_tick) };
                let heard = last_answer.and_then(|answer| sends[..=index].iter().map(|s| s + delay).filter(|s| *s <= answer).max());
                let expires = heard.map_or(T, |heard| ms(heard) + T);
                if index > 0 || heard.is_some() {
                    prop_assert!(clock.end.unwrap() <= start + expires + ms(delay));
                }
            }
        }
    }
}
