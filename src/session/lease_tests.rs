//! Tests of the lease clock: single cases, and a model of the ensemble that it is held against.

use proptest::prelude::*;

use super::*;

const T: Duration = Duration::from_millis(10_000);

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// An arbitrary time at which a test begins.
fn start() -> Moment {
    Moment::from(Duration::from_secs(1_000))
}

fn clock(start: Moment) -> LeaseClock {
    LeaseClock::new(T, LeaseClock::default_margin(T), start)
}

#[test]
fn an_idle_session_has_no_deadline_and_never_lapses() {
    let start = start();
    let mut clock = clock(start);
    clock.proved(start + ms(1), start + ms(2));
    assert_eq!(clock.deadline(), None);
    assert!(!clock.is_lapsed(start + 10 * T));
}

#[test]
fn a_new_session_is_trusted_from_its_opening() {
    let start = start();
    assert_eq!(clock(start).remaining(start), T - T / 4 - T / 100);
}

/// A ping gap, and a pause that nobody notices.
const SILENCE: Duration = Duration::from_millis(2_000 + 1_000);

#[test]
fn the_first_proof_after_an_idle_time_is_trusted_less() {
    let start = start();
    let mut clock = clock(start);
    let sent = run_until(&mut clock, start, ms(60_000));
    clock.proved(sent, sent + ms(5));
    assert_eq!(clock.remaining(sent), T - SILENCE - T / 4 - T / 100);
}

#[test]
fn a_pause_of_this_process_before_a_proof_shortens_the_lease() {
    let start = start();
    let mut clock = clock(start);
    let paused = run_until(&mut clock, start, ms(60_000));
    for (after, noticed) in [(ms(4_000), false), (ms(4_001), true)] {
        let sent = paused + after;
        if noticed {
            clock.alive(sent);
        }
        clock.proved(sent, sent);
        assert_eq!(clock.end, paused - SILENCE + T - T / 4 - T / 100, "noticed: {noticed}");
    }
}

#[test]
fn the_proof_before_counts_even_if_no_sign_of_life_does() {
    let start = start();
    let mut clock = clock(start);
    clock.proved(start + ms(12_000), start + ms(12_000));
    clock.proved(start + ms(14_600), start + ms(14_600));
    assert_eq!(clock.end, start + ms(12_000) + T - T / 4 - T / 100);
}

#[test]
fn a_proof_that_was_acknowledged_late_does_not_vouch_for_one_sent_right_after() {
    let start = start();
    let mut clock = LeaseClock::new(T, ms(200), start);
    clock.proved(start + ms(20_000), start + ms(20_001));
    clock.proved(start + ms(22_000), start + ms(24_500));
    clock.proved(start + ms(24_501), start + ms(24_502));
    assert_eq!(clock.end, start + ms(20_000) + T - ms(200));
}

#[test]
fn proofs_in_quick_succession_do_not_vouch_for_each_other_but_for_later_ones() {
    let start = start();
    let mut clock = clock(start);
    let first = start + ms(60_000);
    for step in 0..200 {
        clock.proved(first + ms(10 * step), first + ms(10 * step));
        assert_eq!(clock.end, start + T - T / 4 - T / 100, "step {step}");
    }
    clock.proved(first + ms(2_600), first + ms(2_600));
    assert_eq!(clock.end, first + T - T / 4 - T / 100);
}

#[test]
fn a_late_acknowledgement_does_not_revive_a_lapsed_lease() {
    let start = start();
    let mut clock = clock(start);
    clock.hold();
    let late = start + T;
    clock.alive(late);
    clock.proved(late - ms(1), late);
    assert!(clock.is_lapsed(late));
    assert_eq!(clock.remaining(late), Duration::ZERO);
    clock.release();
    assert!(clock.is_lapsed(late));
}

fn run_until(clock: &mut LeaseClock, start: Moment, until: Duration) -> Moment {
    let end = start + until;
    let mut now = start;
    while now < end {
        now = now + LeaseClock::alive_interval(T);
        clock.alive(now.min(end));
    }
    end
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Run(u64),
    Pause(u64),
    /// A proof, and how long its packet takes to arrive.
    Prove(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        3 => (1_u64..4_000).prop_map(Step::Run),
        1 => (1_u64..1_100).prop_map(Step::Pause),
        1 => (1_u64..9_000).prop_map(Step::Pause),
        4 => (0_u64..50).prop_map(Step::Prove),
        1 => (0_u64..3_000).prop_map(Step::Prove),
    ];
    prop::collection::vec(step, 1..60)
}

/// A client that pings after at most `ping_gap` of silence while its process runs, connected to a follower.
struct Model {
    start: Moment,
    clock: LeaseClock,
    half_tick: u64,
    phase: u64,
    ping_gap: u64,
    now: u64,
    sent: u64,
    noted: u64,
    /// When packets arrived at the follower, in order.
    arrivals: Vec<u64>,
    /// Proofs on their way: sent, arrived, and when the acknowledgement is there.
    proofs: Vec<(u64, u64, u64)>,
}

impl Model {
    fn send(&mut self, delay: u64) -> u64 {
        let arrived = (self.now + delay).max(self.arrivals.last().copied().unwrap_or_default());
        self.arrivals.push(arrived);
        self.sent = self.now;
        arrived
    }

    fn step(&mut self, step: Step) -> Result<(), TestCaseError> {
        match step {
            Step::Pause(length) => self.now += length,
            Step::Run(length) => {
                for _ in 0..length {
                    self.now += 1;
                    if self.now - self.sent >= self.ping_gap {
                        self.send(0);
                    }
                    if self.now - self.noted >= 500 {
                        self.clock.alive(self.start + ms(self.now));
                        self.noted = self.now;
                    }
                    self.acknowledge()?;
                }
            }
            Step::Prove(delay) => {
                let (sent, arrived) = (self.now, self.send(delay));
                self.proofs.push((sent, arrived, arrived + 1));
                self.acknowledge()?;
            }
        }
        Ok(())
    }

    /// Tells the clock what is acknowledged by now, and holds it against a leader from which the follower is cut
    /// off right after each proof: it knows what the follower's last answer listed, one answer every half tick.
    fn acknowledge(&mut self) -> Result<(), TestCaseError> {
        while let Some((sent, arrived, acknowledged)) = self.proofs.first().copied().filter(|p| p.2 <= self.now) {
            self.proofs.remove(0);
            self.clock
                .proved(self.start + ms(sent), self.start + ms(self.now.max(acknowledged)));
            let since = arrived.checked_sub(self.phase);
            let answer = since.map(|since| self.phase + since / self.half_tick * self.half_tick);
            let listed = self
                .arrivals
                .iter()
                .copied()
                .filter(|arrival| Some(*arrival) <= answer)
                .max();
            // The leader itself counts from the opening.
            let expires = ms(listed.unwrap_or_default()) + T;
            // The session was alive when the proof was committed; else it would have been refused.
            if self.start + expires > self.start + ms(arrived) {
                prop_assert!(
                    self.clock.end <= self.start + expires,
                    "proof sent at {sent}, leader heard at {listed:?}"
                );
            }
        }
        Ok(())
    }
}

fn hold_against_the_model(
    steps: &[Step],
    half_tick: u64,
    phase: u64,
    ping_gap: u64,
    small: bool,
) -> Result<(), TestCaseError> {
    let phase = phase % half_tick;
    let start = start();
    let margin = if small {
        ms(half_tick) + T / 100
    } else {
        LeaseClock::default_margin(T)
    };
    let clock = LeaseClock::new(T, margin, start);
    let (now, sent, noted, arrivals, proofs) = (0, 0, 0, vec![0], Vec::new());
    let mut model = Model {
        start,
        clock,
        half_tick,
        phase,
        ping_gap,
        now,
        sent,
        noted,
        arrivals,
        proofs,
    };
    steps.iter().try_for_each(|step| model.step(*step))
}

#[test]
fn a_pause_that_nobody_notices_is_allowed_for() {
    let steps = [Step::Run(21_000), Step::Pause(999), Step::Run(2_498), Step::Prove(0)];
    hold_against_the_model(&steps, 2_499, 507, 1_910, false).unwrap();
    let steps = [Step::Run(21_000), Step::Pause(1_999), Step::Run(2_498), Step::Prove(0)];
    hold_against_the_model(&steps, 2_499, 507, 1_910, false).unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(3_000) })]

    /// Whatever the clock says, the leader expires the session later.
    #[test]
    fn the_lease_ends_before_the_leader_can_expire_the_session(
        steps in steps(),
        half_tick in 50_u64..2_500,
        phase in 0_u64..2_500,
        ping_gap in 500_u64..2_000,
        small_margin: bool,
    ) {
        hold_against_the_model(&steps, half_tick, phase, ping_gap, small_margin)?;
    }
}
