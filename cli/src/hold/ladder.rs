//! [`Ladder`]: when the command gets which signal, so that it is dead before the ensemble can give its place away.

use std::time::Duration;

/// A moment of CLOCK_BOOTTIME, which goes on while the machine sleeps.
pub(crate) type Moment = Duration;

/// What is to be done now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Nothing until that moment.
    Wait(Moment),
    /// Send the first signal.
    Warn,
    /// Send SIGKILL to everything.
    Kill,
}

/// The deadlines of one command.
#[derive(Clone, Debug)]
pub(crate) struct Ladder {
    /// When the lease ends, as far as it is proven.
    deadline: Moment,
    /// Between the first signal and SIGKILL.
    grace: Duration,
    /// How much before the end of the lease SIGKILL is sent.
    reserve: Duration,
    /// When SIGKILL is due since the first signal was sent.
    kill_at: Option<Moment>,
}

impl Ladder {
    pub(crate) fn new(deadline: Moment, grace: Duration, reserve: Duration) -> Self {
        Self {
            deadline,
            grace,
            reserve,
            kill_at: None,
        }
    }

    /// The lease was prolonged. The first signal is not taken back by that.
    pub(crate) fn prolong(&mut self, deadline: Moment) {
        self.deadline = deadline;
    }

    /// The lease is prolonged no more: the first signal is due at once.
    pub(crate) fn orphaned(&mut self, now: Moment) {
        let end = now + self.grace + self.reserve;
        self.deadline = self.deadline.min(end);
    }

    /// SIGKILL is due at once.
    pub(crate) fn give_up(&mut self) {
        self.kill_at = Some(Duration::ZERO);
    }

    /// Whether the first signal was sent.
    pub(crate) fn has_begun(&self) -> bool {
        self.kill_at.is_some()
    }

    /// The next step. Once it says [`Step::Warn`], the ladder is begun and goes on to SIGKILL.
    pub(crate) fn step(&mut self, now: Moment) -> Step {
        let last = self.deadline.saturating_sub(self.reserve);
        match self.kill_at {
            Some(kill_at) if now >= kill_at => Step::Kill,
            Some(kill_at) => Step::Wait(kill_at),
            None if now >= last => {
                self.kill_at = Some(now);
                Step::Kill
            }
            None => {
                let warn_at = last.saturating_sub(self.grace);
                if now < warn_at {
                    return Step::Wait(warn_at);
                }
                self.kill_at = Some((now + self.grace).min(last));
                Step::Warn
            }
        }
    }
}

/// How much before the end of the lease SIGKILL is sent, at a session timeout.
pub(crate) fn reserve(timeout: Duration) -> Duration {
    (timeout / 100).max(Duration::from_millis(100))
}

/// The largest grace that a session timeout carries.
pub(crate) fn largest_grace(timeout: Duration, margin: Option<Duration>) -> Duration {
    let margin = margin.unwrap_or(timeout.mul_f64(0.26));
    timeout.mul_f64(0.46).saturating_sub(margin)
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn the_command_is_warned_and_then_killed_before_the_end() {
        let mut ladder = Ladder::new(ms(5_000), ms(1_000), ms(100));
        assert_eq!(ladder.step(ms(0)), Step::Wait(ms(3_900)));
        assert_eq!(ladder.step(ms(3_900)), Step::Warn);
        assert_eq!(ladder.step(ms(4_000)), Step::Wait(ms(4_900)));
        assert_eq!(ladder.step(ms(4_900)), Step::Kill);
    }

    #[test]
    fn a_prolonged_lease_delays_the_warning() {
        let mut ladder = Ladder::new(ms(5_000), ms(1_000), ms(100));
        ladder.prolong(ms(9_000));
        assert_eq!(ladder.step(ms(4_500)), Step::Wait(ms(7_900)));
    }

    #[test]
    fn a_warning_is_not_taken_back() {
        let mut ladder = Ladder::new(ms(5_000), ms(1_000), ms(100));
        assert_eq!(ladder.step(ms(3_900)), Step::Warn);
        ladder.prolong(ms(20_000));
        assert_eq!(ladder.step(ms(4_900)), Step::Kill);
    }

    #[test]
    fn what_slept_through_the_warning_is_killed_at_once() {
        let mut ladder = Ladder::new(ms(5_000), ms(1_000), ms(100));
        assert_eq!(ladder.step(ms(60_000)), Step::Kill);
    }

    #[test]
    fn a_late_warning_does_not_delay_the_kill() {
        let mut ladder = Ladder::new(ms(5_000), ms(1_000), ms(100));
        assert_eq!(ladder.step(ms(4_700)), Step::Warn);
        assert_eq!(ladder.step(ms(4_899)), Step::Wait(ms(4_900)));
    }

    #[test]
    fn an_orphan_is_warned_at_once() {
        let mut ladder = Ladder::new(ms(5_000), ms(1_000), ms(100));
        ladder.orphaned(ms(1_000));
        assert_eq!(ladder.step(ms(1_000)), Step::Warn);
        assert_eq!(ladder.step(ms(1_001)), Step::Wait(ms(2_000)));
    }

    #[test]
    fn the_largest_grace_is_a_fifth_at_the_default_margin() {
        assert_eq!(largest_grace(ms(10_000), None).as_millis(), 2_000);
        assert_eq!(largest_grace(ms(10_000), Some(ms(1_100))).as_millis(), 3_500);
        assert_eq!(reserve(ms(4_000)), ms(100));
    }
}
