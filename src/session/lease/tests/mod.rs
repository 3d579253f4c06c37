//! Tests of the lease clock. Here single cases; `leader` holds it against a model of the ensemble, `slow` simulates
//! the heartbeats of slow links and stalls, `grants` and `terms` are the rules beside the lease, `edges` their bounds.

use super::*;

mod edges;
mod grants;
mod leader;
mod slow;
mod terms;

const T: Duration = Duration::from_millis(10_000);

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// An arbitrary time at which a test begins.
fn start() -> Moment {
    Moment::from(Duration::from_secs(1_000))
}

fn clock(start: Moment) -> LeaseClock {
    with_margin(LeaseClock::default_margin(T), start)
}

fn with_margin(margin: Duration, start: Moment) -> LeaseClock {
    LeaseClock::new(T, margin, T * 3 / 20, start)
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

/// The client's longest silence, and the longest pause that passes for none.
const GAP: Duration = Duration::from_millis(1_500 + 500);

#[test]
fn the_first_proof_after_an_idle_time_is_trusted_less() {
    let start = start();
    let mut clock = clock(start);
    let sent = run_until(&mut clock, start, ms(60_000));
    clock.proved(sent, sent + ms(5));
    assert_eq!(clock.remaining(sent), T - GAP - T / 4 - T / 100);
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
        assert_eq!(clock.end, paused - GAP + T - T / 4 - T / 100, "noticed: {noticed}");
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
    let mut clock = with_margin(ms(200), start);
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
